"""Two groups before and after: the plain difference in differences, and five ways of making it comparable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from impact.core import arguments
from impact.core import two_by_two as core
from impact.did.aggregate import effect_on, is_share
from impact.did.cells import first_seen
from impact.estimate import Estimate
from impact.sample import Sample, caution, told
from impact.show.words import listing
from impact.study import Outcome

Array = np.ndarray
Names = str | list[str] | None

METHODS = {
    "dr": "doubly robust",
    "improved": "doubly robust with tilted odds",
    "reg": "outcome regression",
    "ipw": "inverse probability weighting",
    "abadie": "inverse probability weighting, Horvitz-Thompson",
    "two_way": "two-way regression",
}
ERRORS = ("clustered", "robust", "conventional")


def att(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "dr",
    before: float | Iterable[float] | None = None,
    after: float | Iterable[float] | None = None,
    anticipation: float = 0,
    errors: str = "clustered",
) -> Estimate:
    """The change of the treated between two times, less that of comparison units like them.

    With D for the treated and Y_0, Y_1 the outcome before and after (means over the periods of each),

        ATT = E[Y_1 - Y_0 | D = 1] - E[ E[Y_1 - Y_0 | D = 0, x] | D = 1 ],

    the second term estimated in one of six ways (Sant'Anna and Zhao 2020): by regression (``"reg"``); by weighting
    comparison units by the odds of being treated, divided by the sum of the odds (``"ipw"``, Hajek's form) or by the
    number treated (``"abadie"``, Horvitz and Thompson's form, which moves if a constant is added to
    the outcome of cross-sections); by both (``"dr"``), right if either model is; by both with odds that balance the
    covariates exactly and regressions weighted by them (``"improved"``), whose standard error too is right if either
    model is; or not at all but for covariates as columns of one regression (``"two_way"``), which is right only if
    the effect and the trends are the same at all values of the covariates.

    Units seen both before and after are compared with themselves. If nobody is (repeated cross-sections, with
    ``missing="keep"`` in the study), ``"dr"`` and ``"improved"`` are the locally efficient estimators for
    cross-sections.

    **Assumptions**: without treatment, outcomes of treated and comparison units with the same covariates would have
    moved in parallel; nobody reacts earlier than ``anticipation`` periods before; for each treated unit there are
    comparison units with like covariates; units do not affect each other; with cross-sections also, that who is in the
    groups, and with which covariates, is the same before and after.

    Parameters
    ----------
    sample : Sample
        With an outcome over time, and two arms or ``adoption``. Covariates are those of a unit's first period.
    outcome : str or several, optional
        All outcomes over time, if left out.
    method : ``"dr"``, ``"improved"``, ``"reg"``, ``"ipw"``, ``"abadie"`` or ``"two_way"``
    before, after : period or periods, optional
        Which are compared. With two periods, the first and the second. With ``adoption``, if left out, all before the
        first adoption and all from the last one on; whoever adopts in between, or is treated
        before, is set aside and counted.
    anticipation : number
        Periods before adoption in which units may already react.
    errors : ``"clustered"``, ``"robust"`` or ``"conventional"``
        By unit or cluster of units; or, for ``"two_way"`` alone and as published tables often have them, as if all
        observations were independent, with their own variances or with one for all.

    Returns
    -------
    Estimate
        One value for each outcome, in its unit.

    Raises
    ------
    ValueError
        No outcome over time; periods that are not there or overlap; nobody left to compare; covariates that allow no
        estimate; ``errors`` of a regression asked of another method.

    **References**: santanna2020; abadie2005; graham2012.

    Examples
    --------
    >>> import pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> from impact.did import two_by_two
    >>> table = pd.DataFrame({"office": range(6), "merged": [1, 1, 1, 0, 0, 0],
    ...                       "open_1": [6, 4, 8, 2, 4, 4], "open_2": [9, 7, 9, 2, 5, 5]})
    >>> study = Study(title="One-stop offices", unit="office", treatment="merged",
    ...               outcomes=Outcome("open_{}", "open cases", periods=(1, 2)))
    >>> [round(float(v), 2) for v in two_by_two.att(emulate(study, table)).value]
    [1.67]
    """
    arguments.option(method, "method", METHODS)
    arguments.option(errors, "errors", ERRORS)
    arguments.number(anticipation, "anticipation", least=0, most=1e6)
    if errors != "clustered" and (method != "two_way" or sample.nuisance is not None):
        raise ValueError(
            f"errors={errors!r} are those of a regression on observations with given weights: set method='two_way', or "
            "leave `errors` out."
        )
    asked = _over_time(sample, outcome)
    parts = [_part(sample, o, before, after, anticipation, method, errors) for o in asked]
    about: dict[str, Any] = {
        "estimand": "Average effect on the treated, after against before",
        "method": f"difference in differences, {_how(sample, method, errors)}",
        "kind": "points",
        "axes": {"estimate": effect_on(asked)},
        "percent": all(is_share(sample.outcome(o.name, gaps=True)[sample.weights > 0]) for o in asked),
        "references": ("santanna2020", *{"abadie": ("abadie2005",), "improved": ("graham2012",)}.get(method, ())),
        "notes": tuple(dict.fromkeys(n for p in parts for n in p.notes)),
    }
    labels = {"outcome": np.array([o.words for o in asked]), "term": "average effect after"}
    value = np.array([p.value for p in parts])
    if errors != "clustered":
        return _of_observations(sample, labels, value, parts, about)
    rests_on = np.column_stack([p.treated for p in parts])
    fitted = 0 if method in ("ipw", "abadie") else sample.covariates.shape[1]
    scores = np.column_stack([p.scores for p in parts])
    return Estimate.of(sample, labels, value, scores, rests_on=rests_on, fitted=fitted, **about)


class _Part(NamedTuple):
    """What is known of one outcome; ``variance`` and ``degrees`` are those of independent observations."""

    value: float
    scores: Array
    treated: Array
    variance: float
    degrees: float
    notes: tuple[str, ...]


class _Sides(NamedTuple):
    """The columns of the outcome before and after, and who is treated, compared, or neither (n,)."""

    before: Array
    after: Array
    treated: Array
    other: Array
    notes: list[str]


def _part(
    sample: Sample, outcome: Outcome, before: Any, after: Any, anticipation: float, method: str, errors: str
) -> _Part:
    sides = _sides(sample, outcome, before, after, anticipation)
    y = sample.outcome(outcome.name, gaps=True)
    inside = (sides.treated | sides.other) & (sample.weights > 0)
    seen = np.isfinite(y)
    whole = inside & seen[:, sides.before].all(axis=1) & seen[:, sides.after].all(axis=1)
    notes = list(sides.notes)
    names = told(sample.covariate_names, sample.covariates)
    if whole.any():
        lost, n = int((inside & ~whole).sum()), int(inside.sum())
        if lost:
            notes.append(f"{lost:,} of {n:,} units are not seen in every period compared of `{outcome.name}`, and are "
                         "left out.")  # fmt: skip
        unit = np.flatnonzero(whole)
        early, late = y[unit][:, sides.before].mean(axis=1), y[unit][:, sides.after].mean(axis=1)
    else:
        unit, level, later = _cross_sections(y, seen, inside, sides)
        notes.append(f"No unit is seen in every period compared of `{outcome.name}`: the {len(unit):,} observations "
                     "are compared as cross-sections.")  # fmt: skip
    d, w, x = sides.treated[unit], sample.weights[unit], sample.covariates[unit]
    _refuse_empty(outcome, d, None if whole.any() else later, sides, sample)
    variance, degrees = np.nan, np.nan
    try:
        if whole.any() and errors == "clustered":
            found = core.changes(late - early, d, x, w, method, names)
        elif errors == "clustered":
            found = core.levels(level, later, d, x, w, method, names)
        else:
            if whole.any():
                level, later, d = np.append(early, late), np.repeat([False, True], len(unit)), np.tile(d, 2)
                w, x, unit = np.tile(w, 2), np.tile(x, (2, 1)), np.tile(unit, 2)
            fit = core.two_way(level, later, d, x, w)
            found = core.Found(*core.coefficient(fit), ())
            variance, degrees = core.observed(fit, errors)
    except ValueError as reason:
        raise ValueError(
            f"The effect on `{outcome.name}` for the {int(sides.treated[unit].sum()):,} treated cannot be estimated "
            f"with these covariates. {reason}"
        ) from reason
    if found.certain:
        notes += caution([f"Some units are certain to be treated, or not to be, by {listing(sorted(found.certain))}: "
                          f"they have nobody to be compared with in `{outcome.name}`."])  # fmt: skip
    scores = np.bincount(unit, found.scores, len(sample))
    return _Part(found.value, scores, sides.treated & inside, variance, degrees, tuple(notes))


def _cross_sections(y: Array, seen: Array, inside: Array, sides: _Sides) -> tuple[Array, Array, Array]:
    """Each observation before or after: its unit, its level, and whether it is after."""
    columns = np.concatenate([sides.before, sides.after])
    unit, at = np.nonzero(seen[:, columns] & inside[:, None])
    return unit, y[unit, columns[at]], at >= len(sides.before)


def _of_observations(
    sample: Sample, labels: dict[str, Any], value: Array, parts: list[_Part], about: dict[str, Any]
) -> Estimate:
    about["method"] = "; ".join([*sample.steps, about["method"]])
    about["notes"] = (*about["notes"], "Observations are taken as independent, also those of one unit.", *sample.notes)
    used = sample.weights > 0
    counts = {"units": int(used.sum()), "treated": int((used & parts[0].treated).sum())}
    if len(parts) > 1:
        about["notes"] += ("The errors of different outcomes are taken as independent.",)
    return Estimate.of_covariance(
        labels, value, np.diag([p.variance for p in parts]), df=min(p.degrees for p in parts), counts=counts, **about
    )


def _how(sample: Sample, method: str, errors: str) -> str:
    adjusted = METHODS[method] if sample.covariates.shape[1] or method == "two_way" else "no covariates"
    return adjusted if errors == "clustered" else f"{adjusted}, {errors} errors"


def _over_time(sample: Sample, outcome: Names) -> tuple[Outcome, ...]:
    asked = sample.measured(outcome)
    found = tuple(o for o in asked if o.name in sample.periods)
    if not found or (outcome is not None and len(found) < len(asked)):
        single = next(o.name for o in asked if o.name not in sample.periods)
        raise ValueError(
            f"`{single}` is a single value for each unit, and a difference in differences needs it before and after: "
            "give the Outcome its `periods`, or the study the `period` column of a long table."
        )
    return found


def _sides(sample: Sample, outcome: Outcome, before: Any, after: Any, anticipation: float) -> _Sides:
    periods = sample.periods[outcome.name]
    early, late = (_columns(v, periods, name, outcome) for v, name in ((before, "before"), (after, "after")))
    if sample.adoption is None:
        treated = next(iter(sample.arms.values()))
        if early is None and late is None and len(periods) == 2:
            early, late = np.array([0]), np.array([1])
        early = np.arange(late[0]) if early is None and late is not None else early
        late = np.arange(early[-1] + 1, len(periods)) if late is None and early is not None else late
        if early is None or late is None:
            raise ValueError(
                f"`{outcome.name}` has {len(periods)} periods, and the study does not say when treatment began: name "
                "the periods to compare as `before` and `after`."
            )
        _refuse_order(early, late, periods, outcome)
        return _Sides(early, late, treated, ~treated, [])
    first, notes = first_seen(sample, outcome, periods, anticipation)
    groups = np.unique(first[(sample.weights > 0) & np.isfinite(first) & (first <= periods[-1])])
    early = np.flatnonzero(periods + anticipation < groups[0]) if early is None else early
    late = np.flatnonzero(periods >= groups[-1]) if late is None else late
    _refuse_order(early, late, periods, outcome)
    treated = (first > periods[early[-1]] + anticipation) & (first <= periods[late[0]])
    other = first > periods[late[-1]] + anticipation
    aside = int(((sample.weights > 0) & ~treated & ~other & (first > -np.inf)).sum())
    return _Sides(early, late, treated, other, notes + _said_aside(aside, sample, periods, early, late))


def _said_aside(aside: int, sample: Sample, periods: Array, early: Array, late: Array) -> list[str]:
    if aside <= 0:
        return []
    return [
        f"{aside:,} of {int((sample.weights > 0).sum()):,} units adopt neither between the periods compared (up to "
        f"{periods[early[-1]]:g} and from {periods[late[0]]:g} on) nor after them, and are set aside."
    ]


def _columns(given: Any, periods: Array, name: str, outcome: Outcome) -> Array | None:
    if given is None:
        return None
    asked = arguments.numbers(
        list(given) if isinstance(given, Iterable) and not isinstance(given, str) else given, name
    )
    if not len(asked) or not np.isin(asked, periods).all():
        raise ValueError(
            f"`{name}` names {len(asked)} periods of which {int(np.isin(asked, periods).sum())} are among the "
            f"{len(periods)} of `{outcome.name}`, {periods[0]:g} to {periods[-1]:g}: name periods that there are."
        )
    return np.unique(np.searchsorted(periods, asked))


def _refuse_order(early: Array, late: Array, periods: Array, outcome: Outcome) -> None:
    if not len(early) or not len(late) or early[-1] >= late[0]:
        raise ValueError(
            f"Of the {len(periods)} periods of `{outcome.name}`, {len(early)} are taken as before and {len(late)} as "
            "after, and all of the first must come earlier than the second: name other periods as `before` and `after`."
        )


def _refuse_empty(outcome: Outcome, d: Array, later: Array | None, sides: _Sides, sample: Sample) -> None:
    cells = {"treated": d, "comparison": ~d}
    if later is not None:
        cells = {f"{who} {when}": mask & side for who, mask in cells.items()
                 for when, side in (("before", ~later), ("after", later))}  # fmt: skip
    empty = [who for who, mask in cells.items() if not mask.any()]
    if empty:
        raise ValueError(
            f"A difference in differences of `{outcome.name}` needs treated and comparison units before and after, and "
            f"of {int((sample.weights > 0).sum()):,} units there are none as {listing(empty)}: name other periods as "
            "`before` and `after`, or add units."
        )
