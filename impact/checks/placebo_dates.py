"""Is there an effect before the programme began? Pretend that it began earlier, and look only at what came before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks import over_time, verdicts
from impact.checks.over_time import Estimator, Subject
from impact.estimate import Estimate
from impact.sample import Sample
from impact.show.words import counted
from impact.stacking import stack

Array = np.ndarray

REFERENCES = ("bertrand2004", "imbens2015")


def placebo_dates(
    sample: Sample,
    *,
    outcome: str | None = None,
    earlier: float | Sequence[float] | None = None,
    estimator: Estimator | None = None,
    margin: float | None = None,
    level: float = 0.05,
) -> Check:
    """Whether a programme that is pretended to have begun k periods earlier has an effect before it began.

    For each adoption group g, only periods before g are kept, and units that have not adopted by then; the group is
    pretended to have adopted in g - k. The estimator does not know. What it finds,

        placebo(k) = sum over g of W_g (effect found in g for adoption in g - k) / sum over g of W_g,

    W_g being the group's weight, is bias or chance. All k are tested jointly. Unlike effects before adoption in an
    event study, which compare single periods, these are means over the k periods before adoption, and any estimator
    can be put to them, synthetic control and two-way effects as well.

    **Assumptions**: nobody reacts before adoption. (Who does is not told from trends that are not parallel.)

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time. Adoption groups without a period before the longest move are
        left out of all.
    outcome : str, optional
        An outcome over time; the study's first, if left out.
    earlier : number or several
        How much earlier adoption is pretended, in the unit of the periods; one, two and three periods, as far as
        half of the treated go, if left out.
    estimator : function ``Sample -> Estimate`` of one value
        Such as ``callaway_santanna.att``, or a design and an estimator; the difference in differences without
        covariates, if left out.
    margin : float, optional
        The largest effect that would count as none, in the outcome's unit. Without one, the verdict is never "holds".
    level : float
        The test's probability of rejecting when there is no effect.

    Returns
    -------
    Check
        With the effect found for each move, its error and interval, and the smallest effect that would have been
        found with 80% power. The sizes of groups are taken as given.

    Raises
    ------
    ValueError
        No adoption or no outcome over time; nobody is seen so much earlier.

    **References**: bertrand2004; imbens2015.
    """
    verdicts.of_levels(level, margin)
    subject = over_time.Subject.of(sample, outcome)
    run = over_time.runner(estimator)
    claim = f"A programme pretended to begin earlier has no effect on {subject.words}"
    moves, gone, notes = over_time.reach(subject, earlier)
    if not moves:
        why = "half of the treated have no second period before adoption; add earlier periods"
        return Check(claim, references=REFERENCES, **verdicts.nothing(subject.words, why))
    found = [_moved(subject, gone, k, run) for k in moves]
    table = pd.concat([e.tidy(1 - level) for e in found], ignore_index=True)
    table = table[["estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"]]
    table["smallest_detectable"] = [float(e.detectable(verdicts.POWER, 1 - level)[0]) for e in found]
    table.insert(0, "term", [f"begun {k:g} earlier" for k in moves])
    table.insert(0, "outcome", subject.words)
    percent = found[0].percent
    low, high = table["conf_low"].to_numpy(), table["conf_high"].to_numpy()
    passed, reason = verdicts.judged(
        found, low, high, level=level, margin=margin, what="placebo effect", percent=percent
    )
    return Check(
        claim,
        table,
        passed,
        reason=reason,
        percent=percent,
        options={"ylabel": f"effect on {subject.words} where there can be none"},
        references=REFERENCES,
        notes=tuple(dict.fromkeys((*notes, *(n for e in found for n in e.notes)))),
    )


def _moved(subject: Subject, gone: Array, k: float, run: Estimator) -> Estimate:
    """The effect found when each group is pretended to have adopted k earlier, over groups by their weight."""
    first = np.where(gone, -np.inf, subject.first)
    effects, sizes = [], []
    for g in np.intersect1d(subject.groups, first):
        if not (subject.live & (first > g)).any():
            continue
        adoption = np.where(first == g, g - k, np.inf)
        effects.append(run(subject.only(first < g, kept=subject.periods < g, adoption=adoption)))
        sizes.append(subject.sample.weights[first == g].sum())
    if not effects:
        raise ValueError(
            f"There is nobody to compare with before adoption in `{subject.outcome.name}`: all units adopt at once; "
            "add units that adopt later or never."
        )
    if len(effects) == 1:
        return effects[0]
    share = np.array(sizes) / np.sum(sizes)
    if all(e.scores is not None for e in effects):
        return stack(*effects).combine(share, term="placebo")
    return _at_worst(effects, share)


def _at_worst(effects: list[Estimate], share: Array) -> Estimate:
    """The average over groups whose covariance is not known: the error is what it is if all err together."""
    error = float(share @ [e.std_error[0] for e in effects])
    value = float(share @ [e.value[0] for e in effects])
    said = (
        f"The covariance between {counted(len(effects), 'adoption group')} is not known for this estimator: errors "
        "are at most what is given."
    )
    made = Estimate.of_covariance({"term": "placebo"}, value, error**2, df=min(e.df for e in effects))
    return replace(made, percent=effects[0].percent, notes=(*effects[0].notes, said))
