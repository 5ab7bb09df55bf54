"""Does the effect hang on one area, or on those who adopted at one time? Leave each out, and estimate again."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks import over_time, verdicts
from impact.checks.over_time import Estimator, Subject
from impact.estimate import Estimate
from impact.sample import Sample
from impact.show import digits
from impact.show.words import counted, listing

Array = np.ndarray

REFERENCES = ("efron1982",)
MOST = 100
"""More treated areas than this are not left out one by one: the effect cannot hang on one of them."""


class _Part(NamedTuple):
    name: str
    rows: Array


def leave_one_area_out(
    sample: Sample, *, outcome: str | None = None, estimator: Estimator | None = None, level: float = 0.05
) -> Check:
    """Whether the conclusion stays the same without any one of the treated areas, and without any one adoption group.

    With a the effect and a(-j) the effect without the area j (a cluster of the study, or a unit if it names none),

        shift_j = a(-j) - a.

    Where few areas are treated, one of them that had luck of its own can make the effect. Adoption groups are left
    out in the same way. The conclusion is one of three: an effect above zero, one below zero, or one that is not told
    from zero.

    **Assumptions**: none; an effect that hangs on no single area may still be none.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time. Areas are clusters: name them as the study's ``cluster``. Each row
        of the table differs from the first by one area, so units must not be persons.
    outcome : str, optional
        An outcome over time; the study's first, if left out.
    estimator : function ``Sample -> Estimate`` of one value
        Such as ``callaway_santanna.att``; the difference in differences without covariates, if left out.
    level : float
        The level at which an effect is told from zero.

    Returns
    -------
    Check
        With the effect of all, without each treated area, from the one that moves it down most to the one that
        moves it up most, and without each adoption group, and how far it moves. Areas go by
        their number of units, and by name only where the study's ``labels`` give one to a unit.

    Raises
    ------
    ValueError
        No adoption or no outcome over time; a single treated area; more than a hundred treated units that the study
        puts into no cluster.

    **References**: efron1982.
    """
    verdicts.of_levels(level, None)
    subject = over_time.Subject.of(sample, outcome)
    run = over_time.runner(estimator)
    areas, notes = _areas(subject)
    whole = run(subject.only())
    rows = [_row("all", whole, whole, level)]
    moved = [_without(part, subject, whole, run, level) for part in areas]
    moved.sort(key=lambda row: (np.isnan(row["shift"]), row["shift"], row["term"]))
    for k, row in enumerate(moved, 1):
        row["term"] = row["term"].replace("an area of", f"area {k}, of", 1)
    rows += moved + [_without(part, subject, whole, run, level) for part in _groups(subject)]
    table = pd.DataFrame(rows)
    table.insert(0, "outcome", subject.words)
    conclusions = table.pop("conclusion")
    passed, reason = _judged(table, conclusions, len(areas), level, whole.percent)
    lost = int(conclusions[1:].isna().sum())
    if lost:
        notes.append(f"In {lost} of {len(table) - 1} rows there is no answer: too little is left to estimate from.")
    return Check(
        claim=f"The conclusion on {subject.words} does not hang on any one area or adoption group",
        table=table,
        passed=passed,
        reason=reason,
        percent=whole.percent,
        options={"ylabel": f"effect on {subject.words}"},
        references=REFERENCES,
        notes=tuple(dict.fromkeys((*notes, *whole.notes))),
    )


# ---- the parts --------------------------------------------------------------------------------


def _areas(subject: Subject) -> tuple[list[_Part], list[str]]:
    """The clusters with units that the effect rests on; none of them, with a note, where they are too many."""
    sample = subject.sample
    treated = subject.live & np.isin(subject.first, subject.groups)
    named = sample.study.cluster is not None  # a design may have put units into sets, which are no areas
    member = sample.cluster if named else pd.factorize(sample.unit)[0]
    codes = np.unique(member[treated])
    what = f"`{sample.study.cluster or sample.study.unit}`"
    if len(codes) > MOST:
        many = (
            f"{len(codes):,} treated areas ({what}) are too many for any one of them to matter; they were not left out."
        )
        return [], [many]
    if len(codes) < 2:
        raise ValueError(
            f"{counted(len(codes), 'treated area')} ({what}) with units seen before and after adoption: nothing is "
            "left without it; name a finer `cluster`, or add areas."
        )
    said = ["Each row differs from the first by one unit: name areas as the study's `cluster` if units are persons."]
    return [_Part(_name(sample, member == c, treated), member == c) for c in codes], said * (not named)


def _name(sample: Sample, member: Array, treated: Array) -> str:
    """An area in words: by name if the study's labels give one, else by how many treated units it has."""
    units = np.unique(sample.unit[member].astype(str))
    if len(units) == 1 and units[0] in sample.study.labels:
        return sample.study.labels[units[0]]
    return f"an area of {counted(int((member & treated).sum()), 'unit')}"


def _groups(subject: Subject) -> list[_Part]:
    """The adoption groups, if there is more than one."""
    found = subject.groups
    return [_Part(f"those who adopted in {g:g}", subject.first == g) for g in found] if len(found) > 1 else []


# ---- the rows ---------------------------------------------------------------------------------


def _without(part: _Part, subject: Subject, whole: Estimate, run: Estimator, level: float) -> dict[str, Any]:
    try:
        found = run(subject.only(part.rows))
    except ValueError:  # too little is left: counted in a note
        found = None
    return _row(f"without {part.name}", found, whole, level)


def _row(name: str, found: Estimate | None, whole: Estimate, level: float) -> dict[str, Any]:
    numbers = ("estimate", "std_error", "conf_low", "conf_high", "shift")
    if found is None:
        return {"term": name, **dict.fromkeys(numbers, np.nan), "conclusion": None}
    low, high = (float(end[0]) for end in found.interval(1 - level))
    moved = np.nan if found is whole else float(found.value[0] - whole.value[0])
    values = (float(found.value[0]), float(found.std_error[0]), low, high, moved)
    conclusion = "above zero" if low > 0 else "below zero" if high < 0 else "not told from zero"
    known = np.isfinite(values[1])
    return {"term": name, **dict(zip(numbers, values, strict=True)), "conclusion": conclusion if known else None}


def _judged(
    table: pd.DataFrame, conclusions: pd.Series, areas: int, level: float, percent: bool
) -> tuple[bool | None, str]:
    groups = len(table) - 1 - areas
    if not areas + groups:
        return None, "It cannot be decided: there is one adoption group, and areas are too many."
    if conclusions[0] is None:
        return None, "It cannot be decided: the effect has no standard error."
    parts = listing([f"each of {areas} areas"] * bool(areas) + [f"each of {groups} adoption groups"] * bool(groups))
    values, at = table["estimate"][1:], f"{100 * (1 - level):g}% interval"
    by, unit = (100.0, " percentage points") if percent else (1.0, "")
    low, high = (digits.plain(by * v) for v in (values.min(), values.max()))
    span = f"Without {parts} in turn the effect goes from {low} to {high}{unit}"
    other = conclusions[1:][conclusions[1:].notna() & (conclusions[1:] != conclusions[0])]
    if len(other):
        turns = listing(f"{counted(int(n), 'time')} {word}" for word, n in other.value_counts().items())
        flips = int((np.sign(values) == -np.sign(table["estimate"][0])).sum())
        sign = f"Its sign turns {counted(flips, 'time')}." if flips else "Its sign never turns."
        return False, f"{span}; with all it is {conclusions[0]} ({at}), without one of them {turns}. {sign}"
    if conclusions.isna().any():
        return None, f"It cannot be decided: without some of {parts} too little is left to estimate from."
    return True, f"{span}, and stays {conclusions[0]} each time ({at})."
