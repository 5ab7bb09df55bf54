"""Is there somebody to compare with?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks.sides import judged
from impact.core import arguments
from impact.core.balance import deviation
from impact.core.logit import logit
from impact.core.moments import effective_size, mean, smd
from impact.sample import Sample, told

Array = np.ndarray


def overlap(sample: Sample, *, tolerance: float = 0.05, bins: int = 20) -> Check:
    """Whether units of one arm have units of the other with a like probability of treatment.

    The probability is the propensity score P(treated | covariates), from the design if it
    estimated one, else by logistic regression. A unit is outside the overlap when no unit of the
    other arm has a score as low, or as high, as its own. For the ATT the treated are judged,
    for the ATC the comparison units, otherwise both.

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
    sides = judged(sample)
    worst = max(outside[arm] for arm in sides)
    return Check(
        claim=f"Nearly all units of the {' and the '.join(sides)} group have somebody like them in the other",
        table=table,
        passed=bool(worst <= tolerance),
        reason=f"{100 * outside['treated']:.1f}% of the treated and {100 * outside['comparison']:.1f}% of the "
        f"comparison units lie outside the other arm's range of scores; {100 * tolerance:g}% of the "
        f"{' and '.join(sides)} units are tolerated.",
        kind="overlap",
        references=("heckman1998", "crump2009"),
        notes=_effective(sample),
    )


def lost(sample: Sample, *, threshold: float = 0.1) -> Check:
    """Whether the units that the design left out are like those it kept.

    Trimming, a caliper or exact matching leave units without a partner. The effect is then that on the
    units kept; who they are is told by the standardised difference, for each covariate,

        (mean of those left out - mean of those kept) / s,

    with s the standard deviation over all units of the side whose effect is asked for (the
    treated for the ATT, the comparison units for the ATC, both for the ATE), before the design.

    **Assumptions**: none.

    Parameters
    ----------
    sample : Sample
        After a design.
    threshold : float
        The largest standardised difference that is tolerated.

    Returns
    -------
    Check
        With the means of those kept and of those left out, and their standardised difference (``estimate``).

    Raises
    ------
    ValueError
        The sample has no covariates.

    **References**: crump2009; stuart2010.
    """
    arguments.number(threshold, "threshold", above=0, most=1e6)
    names, x = sample.characteristic_names, sample.characteristics
    if not names:
        raise ValueError(f"The study “{sample.study.title}” has no covariates to tell who was left out: name some.")
    sides = judged(sample)
    w = sample.sampling
    asked = (w > 0) & ((sample.treated & ("treated" in sides)) | (~sample.treated & ("comparison" in sides)))
    out = asked & (sample.weights <= 0)
    kept, share = asked & ~out, float(w[out].sum() / w[asked].sum())
    who = " and ".join(sides)
    claim = f"The {who} units that the design left out are like those it kept"
    about: dict[str, Any] = {
        "options": {"ylabel": "left out less kept, in standard deviations"},
        "references": ("crump2009", "stuart2010"),
    }
    mine = mean(x[kept], w[kept]) if kept.any() else np.full(len(names), np.nan)
    if not (out.any() and kept.any()):
        table = pd.DataFrame({"term": names, "mean_kept": mine, "mean_lost": np.nan, "estimate": 0.0})
        whom = "all" if kept.any() else "none"
        return Check(
            claim, table, True if kept.any() else None, reason=f"The design kept {whom} of the {who} units.", **about
        )
    scale = deviation(x[asked], np.ones(int(asked.sum()), bool), w[asked], "ATT")
    gap = smd(x[asked], out[asked], w[asked], scale)
    table = pd.DataFrame({"term": names, "mean_kept": mine, "mean_lost": mean(x[out], w[out]), "estimate": gap})
    worst = int(np.abs(gap).argmax())
    return Check(
        claim,
        table,
        bool((np.abs(gap) < threshold).all()),
        reason=f"{int(out.sum()):,} of {int(asked.sum()):,} {who} units ({100 * share:.1f}%) are left out; they differ "
        f"most from those kept in {told(names, x)[worst]}, by {abs(gap[worst]):.2f} standard deviations.",
        notes=() if share < 0.05 else ("The effect is that on the units kept: say so beside it.",),
        **about,
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
