"""Did the treatment change who is seen?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks import over_time, verdicts
from impact.checks.over_time import Estimator
from impact.sample import Sample
from impact.show.words import listing

Array = np.ndarray

REFERENCES = ("lee2009",)


def composition(
    sample: Sample,
    *,
    outcome: str | None = None,
    estimator: Estimator | None = None,
    margin: float | None = 0.05,
    level: float = 0.05,
) -> Check:
    """Whether treatment changed the share of units of which the outcome is seen.

    People who find work, move or die leave the register, and a treatment that moves some of them out of sight
    changes who is compared. With S 1 if the outcome is seen and 0 if not,

        effect on being seen = E[S after - S before | treated] - (the same for comparison units),

    as the estimator compares them. In a repeated cross-section, where each unit is seen once, it says whether
    treated groups grew or shrank among those asked.

    **Assumptions**: without treatment the shares seen would have moved in parallel. Equal shares are not the same
    people: who leaves may still differ.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time, of a study with ``missing="keep"``; of others every unit is
        seen in every period.
    outcome : str, optional
        An outcome over time; the study's first, if left out.
    estimator : function ``Sample -> Estimate`` of one value
        Such as ``callaway_santanna.att``; the difference in differences without covariates, if left out.
    margin : float, optional
        The largest effect on the share seen that would not matter; five percentage points, if left out. With None,
        the verdict is "holds" only where every unit is seen in every period.
    level : float
        The test's probability of rejecting when the shares move alike.

    Returns
    -------
    Check
        With the effect on being seen, and in a note the shares seen before and after adoption, and among those
        never treated.

    Raises
    ------
    ValueError
        No adoption or no outcome over time.

    **References**: lee2009.
    """
    verdicts.of_levels(level, margin)
    subject = over_time.Subject.of(sample, outcome)
    run = over_time.runner(estimator)
    seen = np.isfinite(subject.values).astype(float)
    claim = f"Treatment did not change of whom {subject.words} is seen"
    notes: tuple[str, ...] = ()
    if seen[subject.live].all():
        table = pd.DataFrame({"term": ["on being seen"], "estimate": [0.0], "std_error": [0.0]})
        passed: bool | None = True
        reason = f"Every unit is seen in each of {seen.shape[1]} periods."
    else:
        found = run(subject.only(values=seen, words=f"seeing {subject.words}"))
        table = found.tidy(1 - level)[["estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"]]
        low, high = table["conf_low"].to_numpy(), table["conf_high"].to_numpy()
        table["smallest_detectable"] = found.detectable(verdicts.POWER, 1 - level)
        table.insert(0, "term", "on being seen")
        passed, reason = verdicts.judged(
            [found], low, high, level=level, margin=margin, what="effect on being seen", percent=True
        )
        shares = _shares(seen, subject.first, subject.periods, sample.weights)
        told = listing(f"{100 * share:.1f}% {of}" for of, share in shares.items())
        notes = (f"The outcome is seen in {told}.", *found.notes)
    table.insert(0, "outcome", subject.words)
    return Check(
        claim,
        table,
        passed,
        reason=reason,
        percent=True,
        options={"ylabel": f"effect on seeing {subject.words}"},
        references=REFERENCES,
        notes=notes,
    )


def _shares(seen: Array, first: Array, periods: Array, w: Array) -> dict[str, float]:
    """The shares of periods in which units are seen, by whether and when they adopt."""
    who = {
        "of periods before adoption": (periods < first[:, None]) & (first <= periods[-1])[:, None],
        "of those since": (periods >= first[:, None]) & np.isfinite(first)[:, None],
        "of those of units never treated": np.broadcast_to((first > periods[-1])[:, None], seen.shape),
    }
    held = {name: w[:, None] * mask for name, mask in who.items()}
    return {name: float((v * seen).sum() / v.sum()) for name, v in held.items() if v.sum() > 0}
