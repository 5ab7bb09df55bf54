"""How far may trends diverge before the effect can no longer be told from zero?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from impact.check import Check
from impact.checks import honest_words, paths
from impact.core import arguments
from impact.core.honest import RESTRICTIONS, SHAPES, Honest
from impact.core.honest_restrictions import bends
from impact.estimate import Estimate

Array = np.ndarray

TIMES = (0.5, 1.0, 1.5, 2.0)
METHODS = ("fixed_length", "conditional")
REFERENCES = ("t", "normal")
TARGETS = ("first", "last", "average")


def honest_trends(
    path: Estimate,
    *,
    restriction: str = "relative",
    divergence: float | Sequence[float] | None = None,
    of: str | float | Mapping[float, float] = "first",
    shape: str | None = None,
    method: str | None = None,
    plausible: float | None = None,
    level: float = 0.05,
    reference: str = "t",
) -> Check:
    """Whether the effect differs from zero even if trends diverged after adoption, and by how much they may.

    Let delta(t) be by how much treated and comparison units would have drifted apart without treatment, zero in the
    reference period. Instead of setting it to zero, trends are held to

        relative          |delta(t) - delta(t-1)| after adoption is at most M times the largest such change before;
        smooth            the slope of delta changes by at most M from one period to the next;
        relative_smooth   it changes after adoption by at most M times the largest such change before.

    For each M there is an interval that covers the effect with the stated confidence, whichever delta it is. Parallel
    trends are the first with M = 0; ``smooth`` with M = 0 allows for trends that diverge along a straight line. The
    breakdown value is the largest M up to which zero is excluded.

    Intervals under ``smooth`` are the shortest of fixed length (Armstrong and Kolesár); the others hold what the
    conditional test with a least favourable first stage does not reject (Andrews, Roth and Pakes), at every value and
    not on a grid.

    **Assumptions**: delta is no worse than the restriction says; before the reference period nobody reacts to the
    programme; the values are about normal, with the covariance that is given.

    Parameters
    ----------
    path : Estimate
        Differences over ``time`` since adoption, all measured from one period, which is left out: an event study with
        ``base="universal"``. With anticipation, effects between that period and adoption count as effects.
    restriction : ``"relative"``, ``"smooth"`` or ``"relative_smooth"``
    divergence : number or several, optional
        M: multiples; for ``"smooth"`` in the outcome's unit. If left out, 0.5, 1, 1.5 and 2, for ``"smooth"`` times the
        largest change of slope seen before adoption.
    of : ``"first"``, ``"last"``, ``"average"``, a time since adoption, or a mapping of times to weights
        Which effect: in the period of adoption, the latest, the mean of all since adoption, or another.
    shape : ``"positive"``, ``"negative"``, ``"increasing"`` or ``"decreasing"``, optional
        What is known besides on delta after the reference period: its sign, or its direction.
    method : ``"fixed_length"`` or ``"conditional"``, optional
        Fixed length is for ``"smooth"`` without a shape only, and its default.
    plausible : number, optional
        The M that the reader holds plausible, on which the verdict is given. Without it the verdict is the reader's,
        unless zero is not excluded even without divergence.
    level : float
        One less the confidence of the intervals.
    reference : ``"t"`` or ``"normal"``
        Intervals as wide as the estimate's own degrees of freedom ask, or as published, for many clusters.

    Returns
    -------
    Check
        The interval under parallel trends, under each M, and at the breakdown value.

    Raises
    ------
    ValueError
        Effects before adoption are short differences; times with gaps or with two values; no effect where one is asked
        for; a covariance without full rank.

    **References**: rambachan2023; andrews2023; armstrong2018.

    Examples
    --------
    >>> from impact import Estimate
    >>> from impact.checks.honest_trends import honest_trends
    >>> error = [[0.02, 0.01, 0.01, 0.01], [0.01, 0.02, 0.01, 0.01], [0.01, 0.01, 0.02, 0.01], [0.01, 0.01, 0.01, 0.02]]
    >>> path = Estimate.of_covariance({"time": [-3, -2, 0, 1]}, [0.1, -0.1, 1.0, 1.1], error)
    >>> check = honest_trends(path, divergence=[1, 2], plausible=1)
    >>> check.verdict
    'holds'
    >>> for term, low in check.tidy()[["term", "conf_low"]].round(2).values:
    ...     print(f"{term}: {low}")
    parallel trends: 0.72
    plausible: 1 times: 0.47
    up to 2 times as before: 0.07
    breakdown: 2.18 times: 0.0
    """
    arguments.option(restriction, "restriction", RESTRICTIONS)
    if shape is not None:
        arguments.option(shape, "shape", SHAPES)
    arguments.number(plausible, "plausible", least=0, below=np.inf, optional=True)
    arguments.number(level, "level", above=0, most=0.5)
    arguments.option(reference, "reference", REFERENCES)
    fixed = _fixed(method, restriction, shape)
    read = paths.universal(path)
    weights, which = _target(read, of, path.axes.get("time", "periods since adoption"))
    words = honest_words.Words(restriction, path.percent)
    claim = f"The effect {which} differs from zero even if {words.condition(plausible)}"
    about: dict[str, Any] = {
        "percent": path.percent,
        "options": {"ylabel": path.axes.get("estimate")},
        "references": ("rambachan2023", "armstrong2018" if fixed else "andrews2023"),
    }
    if read.before < 1 + (restriction == "relative_smooth"):
        seen = "two periods before the reference period are needed" if read.before else "none lies before adoption"
        reason = f"It cannot be decided: of the {len(read.age)} effects {seen}, so how trends diverged is not seen."
        return Check(claim, path.tidy(1 - level), reason=reason, notes=("Add earlier periods to see it.",), **about)
    own = path.combine(_spread(path, read, weights))
    value, vcov = path.value[read.place], _covariance(path, read, own, level, reference)
    found = Honest(value, vcov, read.before, weights, restriction, shape or "", fixed, level)
    scale = float(np.sqrt(weights @ vcov[read.before :, read.before :] @ weights))
    bend = float(np.abs(bends(read.before, len(weights))[: read.before - 1] @ value).max(initial=0.0))
    sizes = _sizes(divergence, restriction, bend or scale)
    breakdown = found.breakdown(0.25 if restriction != "smooth" else scale / 4096)
    table = honest_words.table(path, own, found, sizes, breakdown, plausible, words)
    passed = False if np.isnan(breakdown) else None
    if plausible is not None:
        passed = found.excludes_zero(float(plausible))
    return Check(
        claim,
        table,
        passed,
        reason=honest_words.reason(own, table, breakdown, plausible, words, level),
        notes=honest_words.notes(own, words, found, bend, reference),
        **about,
    )


# ---- what was asked for ---------------------------------------------------------------------


def _fixed(method: str | None, restriction: str, shape: str | None) -> bool:
    free = restriction == "smooth" and shape is None
    if method is not None:
        arguments.option(method, "method", METHODS)
    if method == "fixed_length" and not free:
        limit = "a shape" if restriction == "smooth" else f"restriction={restriction!r}"
        raise ValueError(
            f"There are intervals of fixed length for smooth divergence of any shape, and {limit} was asked for: set "
            "method='conditional', or leave it out."
        )
    return free and method != "conditional"


def _target(read: paths.Path, of: Any, time: str) -> tuple[Array, str]:
    """(T,) weights on the effects after the reference period, and the effect in words."""
    after = read.after
    since = after[after >= 0]
    if isinstance(of, str):
        arguments.option(of, "of", TARGETS)
        if of == "average":
            count = f"{len(since)} times since adoption" if len(since) > 1 else "period of adoption"
            return (after >= 0) / len(since), f"averaged over the {count}"
        one = since[0] if of == "first" else since[-1]
        return (after == one).astype(float), _when(one, time)
    asked = {of: 1.0} if not isinstance(of, Mapping) else dict(of)
    weights = np.zeros(len(after))
    for when, weight in asked.items():
        arguments.number(when, "of")
        arguments.number(weight, f"of[{when}]", below=np.inf)
        place = np.isclose(after, when)
        if not place.any():
            raise ValueError(
                f"`of` asks for the effect at {when:g}, and after its reference period the path has effects at "
                f"{after[0]:g} to {after[-1]:g}: choose one of these."
            )
        weights[place] = weight
    if not weights.any():
        raise ValueError(f"`of` is {of!r}, and gives no effect a weight: give at least one of them one.")
    return weights, "in the combination asked for" if isinstance(of, Mapping) else _when(of, time)


def _when(age: float, time: str) -> str:
    if age == 0:
        return "in the period of adoption"
    return f"at {age:g} {time.replace('s since', ' since', 1) if age == 1 else time}"


def _sizes(divergence: Any, restriction: str, seen: float) -> Array:
    if divergence is None:
        if restriction != "smooth":
            return np.array(TIMES)
        return float(f"{seen:.1e}") * np.array([0.0, *TIMES])
    found = arguments.numbers(divergence, "divergence")
    if not len(found) or not np.isfinite(found).all() or (found < 0).any():
        raise ValueError(
            f"`divergence` is {divergence!r}, and is a number of at least 0, or a list of them: set it so, or leave it "
            "out."
        )
    return np.unique(found)


def _spread(path: Estimate, read: paths.Path, weights: Array) -> Array:
    """The weights on the values of the path as they stand in it."""
    whole = np.zeros(len(path.value))
    whole[read.place[read.before :]] = weights
    return whole


def _covariance(path: Estimate, read: paths.Path, own: Estimate, level: float, reference: str) -> Array:
    """The covariance in order of time, stretched so that the normal distribution gives the interval of t."""
    from scipy import stats

    vcov = path.vcov[np.ix_(read.place, read.place)]
    error = np.sqrt(np.diag(vcov))
    least = float(np.linalg.eigvalsh(vcov / np.outer(error, error))[0]) if (error > 0).all() else 0.0
    if least < 1e-10:
        clusters = path.counts.get("clusters")
        counted = "" if clusters is None else f", from {clusters:,} independent clusters"
        raise ValueError(
            f"The covariance of the {len(read.place)} effects has no full rank{counted}, so that some divergence would "
            "be known without error: choose fewer times by `where`, or make clusters finer."
        )
    if reference == "normal":
        return vcov
    return vcov * (stats.t.ppf(1 - level / 2, float(own.dfs[0])) / stats.norm.ppf(1 - level / 2)) ** 2
