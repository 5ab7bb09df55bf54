"""Would those who were chosen in bad times have recovered by themselves?"""

from __future__ import annotations

from typing import Any

import numpy as np

from impact.check import Check
from impact.checks import over_time, verdicts
from impact.checks.over_time import Estimator, Subject
from impact.core import arguments, reversion
from impact.core.reversion import Rule, Windows
from impact.estimate import Estimate
from impact.sample import Sample
from impact.show import digits
from impact.show.words import counted
from impact.stacking import stack

Array = np.ndarray

REFERENCES = ("daw2018", "ashenfelter1978")
TERMS = (
    "recent change, treated less others",
    "effect expected from mean reversion",
    "effect found",
    "effect less mean reversion",
)


def mean_reversion(
    sample: Sample,
    *,
    outcome: str | None = None,
    rule: Rule | None = None,
    history: int | None = None,
    horizon: int | None = None,
    baseline: int = 1,
    estimator: Estimator | None = None,
    margin: float | None = None,
    level: float = 0.05,
) -> Check:
    """How large an effect areas chosen in bad times would have shown by recovering by themselves.

    Areas apply, or are chosen, when things have gone badly, and what goes badly by chance comes back. How much of it
    comes back is seen among those never treated, after earlier dates at which nothing happened. With D the recent
    change that selection looks at and F the change that follows it,

        b = slope of F on D among the never treated, over all dates before the first adoption,
        gap = E[D | treated] - E[D | never treated], each adoption group at its own date,
        expected effect = b gap,

    and what the estimator finds less this is what is left for the programme.

    **Assumptions**: what follows a recent change is the same at fictitious dates as it would have been at the true
    ones, and linear in it; selection looked at this outcome, in this window. (Where it looked elsewhere, or a common
    shock hit those who had done badly, this does not see it.)

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time without gaps, and units never treated.
    outcome : str, optional
        An outcome over time; the study's first, if left out.
    rule : function ``(n, history) -> (n,)``, optional
        What selection looks at, of the periods before a date; the mean of the later half less the mean of the
        earlier half, if left out.
    history : int, optional
        How many periods before a date the rule sees; as many as leave about as many dates, if left out.
    horizon : int, optional
        Over how many periods after a date the change is followed; those that all groups have, but at most a third of
        the periods before the first adoption, if left out.
    baseline : int
        From the mean of how many periods before a date the change is measured.
    estimator : function ``Sample -> Estimate`` of one value
        Of the effect found; the mean change over ``horizon`` among the treated less that among the never treated, if
        left out, which is what reverts.
    margin : float, optional
        The largest expected effect that would not matter, in the outcome's unit. Without one, the verdict is never
        "holds".
    level : float
        The test's probability of rejecting when there is no mean reversion.

    Returns
    -------
    Check
        With the recent change, the effect expected from it, the effect found, and their difference.

    Raises
    ------
    ValueError
        No adoption, no outcome over time, or one with gaps; nobody never treated; windows that do not fit before
        the first adoption; a rule that does not give a number for each unit.

    **References**: daw2018; ashenfelter1978.
    """
    verdicts.of_levels(level, margin)
    subject = over_time.Subject.of(sample, outcome)
    if rule is not None:
        arguments.function(rule, "rule")
    for name, value in (("history", history), ("horizon", horizon), ("baseline", baseline)):
        arguments.number(value, name, least=1, whole=True, optional=name != "baseline")
    y, periods, never = np.asarray(sample.outcome(subject.outcome.name), float), subject.periods, subject.never
    dates = {g: int(np.searchsorted(periods, g)) for g in subject.groups}
    claim = f"Treated units were not chosen for a recent change of {subject.words} that reverts by itself"
    windows, fictitious = _windows(list(dates.values()), len(periods), history, horizon, baseline)
    why = _why_not(dates, never, fictitious, windows, sample)
    if why:
        if (history, horizon, baseline) != (None, None, 1):
            raise ValueError(f"Mean reversion cannot be seen in `{subject.outcome.name}`: {why}.")
        return Check(claim, references=REFERENCES, **verdicts.nothing(subject.words, why))
    look = _checked(rule or _halves, len(sample), windows)
    followed = {g: s for g, s in dates.items() if s >= windows.history and s + windows.horizon <= len(periods)}
    parts = _parts(subject, y, look, windows, followed, fictitious, estimator)
    both = stack(*parts)
    expected = both.transform(lambda v: np.array([v[0] * v[1]]), outcome=subject.words, term=TERMS[1])
    whole = both.transform(
        lambda v: np.array([v[1], v[0] * v[1], v[2], v[2] - v[0] * v[1]]), outcome=subject.words, term=list(TERMS)
    )
    table = whole.tidy(1 - level)
    low, high = (end[1:2] for end in whole.interval(1 - level))
    percent = over_time.is_share(y)
    passed, reason = verdicts.judged(
        [expected], low, high, level=level, margin=margin, what="effect expected from mean reversion", percent=percent
    )
    return Check(
        claim,
        table,
        passed,
        reason=f"{reason} {_left(whole, percent)}",
        percent=percent,
        options={"ylabel": f"change of {subject.words}"},
        references=REFERENCES,
        notes=tuple(dict.fromkeys((*_notes(subject, windows, fictitious, followed, parts[0]), *parts[-1].notes))),
    )


def _left(whole: Estimate, percent: bool) -> str:
    """What was found, what of it was to be expected, and what is left, in words."""
    by, unit = (100.0, " percentage points") if percent else (1.0, "")
    _, expected, found, left = (by * whole.value).tolist()
    low, high = (by * end[3] for end in whole.interval())
    places = digits.decimals((by * whole.std_error[1:]).tolist(), [left])
    said = [digits.fixed(v, places) for v in (expected, found, left)]
    return (
        f"Mean reversion would show as {said[0]}{unit}, and {said[1]} was found: {said[2]} is left (95% interval "
        f"{digits.interval(low, high, places)})."
    )


def _notes(
    subject: Subject, windows: Windows, fictitious: list[int], followed: dict[float, int], slope: Estimate
) -> list[str]:
    never = subject.never
    lost = int((subject.live & ~np.isin(subject.first, list(followed)) & ~never).sum())
    return [
        f"The rule of selection sees {windows.history} periods before a date; the change is followed for "
        f"{windows.horizon}, from the mean of {windows.baseline} before. Per unit of what the rule gives, "
        f"{digits.fixed(float(slope.value[0]), 3)} followed (standard error {slope.std_error[0]:.3f}), at "
        f"{counted(len(fictitious), 'date')} before adoption among {counted(int(never.sum()), 'unit')} never treated.",
        *[f"{counted(lost, 'treated unit')} are left out, for want of periods before or after adoption."] * bool(lost),
    ]


def _windows(
    dates: list[int], count: int, history: int | None, horizon: int | None, baseline: int
) -> tuple[Windows, list[int]]:
    """The windows, as asked for or such that they fit, and the fictitious dates that they leave before adoption."""
    start = min(dates)
    ahead = max(1, min(count - max(dates), start // 3)) if horizon is None else horizon
    behind = max(2, 2 * (start // 4), baseline) if history is None else history
    return Windows(behind, ahead, baseline), list(range(max(behind, baseline), min(start, count - ahead + 1)))


def _why_not(dates: dict[float, int], never: Array, fictitious: list[int], windows: Windows, sample: Sample) -> str:
    """Why nothing can be seen, or an empty text."""
    if never.sum() < 3:
        return f"{counted(int(never.sum()), 'unit')} were never treated (`{sample.study.adoption}`); add some"
    if not fictitious:
        return (
            f"{max(windows.history, windows.baseline)} periods before a date earlier than the first adoption, which "
            f"has {min(dates.values())}, and {windows.horizon} after it are not there; add periods, or ask for a "
            "shorter `history`, `horizon` or `baseline`"
        )
    return ""


def _halves(history: Array) -> Array:
    half = history.shape[1] // 2
    later, earlier = history[:, -half or -1 :], history[:, : max(half, 1)]
    return np.asarray(later.mean(axis=1) - earlier.mean(axis=1))


def _checked(rule: Rule, n: int, windows: Windows) -> Rule:
    """The rule, refused in words if it does not give a number for each unit."""

    def look(history: Array) -> Array:
        found = np.asarray(rule(history.copy()))
        if found.shape != (n,) or found.dtype.kind not in "fiub" or not np.isfinite(found.astype(float)).all():
            raise ValueError(
                f"`rule` was given {n:,} units by {windows.history} periods and gave {found.dtype} of shape "
                f"{found.shape}: let it return one finite number for each unit."
            )
        return found.astype(float)

    return look


def _parts(
    subject: Subject,
    y: Array,
    look: Rule,
    windows: Windows,
    followed: dict[float, int],
    fictitious: list[int],
    estimator: Estimator | None,
) -> list[Estimate]:
    """The slope, the gap, and the effect found, each with its scores."""
    sample, first, never, w = subject.sample, subject.first, subject.never, subject.sample.weights
    b, of_b = reversion.slope(y, fictitious, look, windows, w * never)
    if np.isnan(b):
        raise ValueError(
            f"What `rule` gives does not vary among the {int(never.sum()):,} units never treated: let it look at "
            "something that does."
        )
    seen = {g: reversion.at(y, s, look, windows) for g, s in followed.items()}
    gap, of_gap = reversion.gap({g: d for g, (d, _) in seen.items()}, first, never, w)
    found, of_found = reversion.gap({g: f for g, (_, f) in seen.items()}, first, never, w)
    treated = ((w > 0) & np.isin(first, list(followed)))[:, None]

    def estimate(value: Any, scores: Any, **about: Any) -> Estimate:
        return Estimate.of(sample, {"term": "part"}, value, scores, percent=over_time.is_share(y), **about)

    parts = [estimate(b, of_b), estimate(gap, of_gap, rests_on=treated)]
    if estimator is None:
        return [*parts, estimate(found, of_found, rests_on=treated)]
    effect = over_time.runner(estimator)(subject.only())
    if effect.scores is None:
        raise ValueError(
            f"The estimator (“{effect.method}”) has no scores, so the error of its difference from mean reversion is "
            "not known: give one that has, or leave it out."
        )
    return [*parts, effect]
