"""Is there somebody to compare with?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from impact.check import Check
from impact.core import arguments
from impact.core.logit import logit
from impact.core.moments import effective_size
from impact.sample import Sample, told

Array = np.ndarray


def overlap(sample: Sample, *, tolerance: float = 0.05, bins: int = 20) -> Check:
    """Whether units of one arm have units of the other with a like probability of treatment.

    The probability is the propensity score P(treated | covariates), from the design if it
    estimated one, else by logistic regression. A unit is outside the overlap when no unit of the
    other arm has a score as low, or as high, as its own. For the ATT the treated are judged,
    for the ATC the comparison units, for the ATE both.

    **Assumptions**: the score is well estimated; units outside are the visible part of the problem.

    Parameters
    ----------
    sample : Sample
    tolerance : float
        The share of units outside the overlap that is tolerated.
    bins : int
        Bins of the score in the table, of equal width over its range, rounded outwards to twentieths.

    Returns
    -------
    Check
        With the share of each arm, before the design, in each bin of the score.

    Raises
    ------
    ValueError
        The covariates separate the arms perfectly: then there is no overlap at all.

    **References**: heckman1998; crump2009.
    """
    arguments.number(tolerance, "tolerance", least=0, most=1)
    arguments.number(bins, "bins", least=1, most=1000, whole=True)
    d, w = sample.treated, sample.sampling
    score = sample.score
    if score is None:
        score = logit(d, sample.covariates, w, names=told(sample.covariate_names, sample.covariates)).probability
    edges = _edges(score[w > 0], bins)
    place = np.clip(np.digitize(score, edges) - 1, 0, bins - 1)
    table = pd.DataFrame(
        {
            "score_low": edges[:-1],
            "score_high": edges[1:],
            "treated": np.bincount(place[d], w[d], bins) / w[d].sum(),
            "comparison": np.bincount(place[~d], w[~d], bins) / w[~d].sum(),
        }
    )
    outside = {"treated": _outside(score, d, w), "comparison": _outside(score, ~d, w)}
    judged = {"ATT": ["treated"], "ATC": ["comparison"], "ATE": ["treated", "comparison"]}[sample.study.estimand]
    worst = max(outside[arm] for arm in judged)
    return Check(
        claim=f"Nearly all units of the {' and the '.join(judged)} group have somebody like them in the other",
        table=table,
        passed=bool(worst <= tolerance),
        reason=f"{100 * outside['treated']:.1f}% of the treated and {100 * outside['comparison']:.1f}% of the "
        f"comparison units lie outside the other arm's range of scores; {100 * tolerance:g}% of the "
        f"{' and '.join(judged)} units are tolerated.",
        kind="overlap",
        references=("heckman1998", "crump2009"),
        notes=_effective(sample),
    )


def _edges(score: Array, bins: int) -> Array:
    low, high = np.floor(score.min() * 20) / 20, np.ceil(score.max() * 20) / 20
    return np.linspace(low, high if high > low else low + 0.05, bins + 1)


def _outside(score: Array, arm: Array, w: Array) -> float:
    other = score[~arm & (w > 0)]
    out = arm & ((score < other.min()) | (score > other.max()))
    return float(w[out].sum() / w[arm].sum())


def _effective(sample: Sample) -> tuple[str, ...]:
    """How many equally weighted units the weighted arms are worth (Kish)."""
    if not sample.steps:
        return ()
    worth = [effective_size(sample.weights[arm]) for arm in (sample.treated, ~sample.treated)]
    return (f"After the design the arms are worth {worth[0]:,.0f} treated and {worth[1]:,.0f} comparison units "
            "of equal weight.",)  # fmt: skip
