"""Did the programme reach the neighbours of the treated?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from impact import places
from impact.check import Check
from impact.checks import over_time, verdicts
from impact.checks.over_time import Estimator, Subject
from impact.core import arguments
from impact.sample import Sample
from impact.show import digits
from impact.show.words import counted

Array = np.ndarray

REFERENCES = ("butts2021",)
NEAREST = 5


def spillover(
    sample: Sample,
    *,
    neighbours: Any = None,
    coordinates: Any = None,
    nearest: int | None = None,
    distance: float | None = None,
    outcome: str | None = None,
    estimator: Estimator | None = None,
    margin: float | None = None,
    level: float = 0.05,
) -> Check:
    """Whether untreated neighbours of the treated fare like others untreated, and what the effect is without them.

    Jobs taken in one area may be lost in the next, or workers may move. Neighbours who are worse off for the
    programme make it look better than it is, because it is they with whom it is compared. Neighbours are
    taken as treated when the first of the treated units next to them adopts, and treated units are left out:

        effect on neighbours = E[change | neighbour] - E[change | untreated, not a neighbour],

    as the estimator compares them. Then the effect on the treated is estimated without the neighbours.

    **Assumptions**: without the programme, neighbours and other untreated units would have moved in parallel; the
    programme reaches no farther than the neighbours. What reaches all areas alike is not seen.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time.
    neighbours : dataframe of two columns, optional
        Pairs of units that lie next to each other.
    coordinates : dataframe of three columns, optional
        The study's unit and where it lies on a plane. Without either table nothing can be decided.
    nearest : int, optional
        With coordinates: how many of the units nearest to a treated unit are its neighbours; five, if neither
        this nor ``distance`` is given.
    distance : float, optional
        With coordinates: how far from a treated unit its neighbours lie at most.
    outcome : str, optional
        An outcome over time; the study's first, if left out.
    estimator : function ``Sample -> Estimate`` of one value
        Such as ``callaway_santanna.att``; the difference in differences without covariates, if left out.
    margin : float, optional
        The largest effect on neighbours that would not matter, in the outcome's unit. Without one, the verdict is
        never "holds".
    level : float
        The test's probability of rejecting when there is no effect on neighbours.

    Returns
    -------
    Check
        With the effect on neighbours, and the effect on the treated with and without neighbours among those they
        are compared with, and how far it moves.

    Raises
    ------
    ValueError
        No adoption or no outcome over time; tables that cannot be read; both kinds of table; no neighbours, or no
        others.

    **References**: butts2021.
    """
    verdicts.of_levels(level, margin)
    arguments.number(nearest, "nearest", least=1, whole=True, optional=True)
    arguments.number(distance, "distance", above=0, below=np.inf, optional=True)
    subject = over_time.Subject.of(sample, outcome)
    run = over_time.runner(estimator)
    claim = f"The programme did not reach {subject.words} of the neighbours of the treated"
    if neighbours is None and coordinates is None:
        why = "nobody said which units are neighbours; give a table of `neighbours`, or of `coordinates`"
        return Check(claim, references=REFERENCES, **verdicts.nothing(subject.words, why))
    notes: list[str] = []
    link = _links(sample, neighbours, coordinates, nearest, distance, notes)
    reached = _reached(subject, link)
    never = subject.never & np.isposinf(subject.first)
    near = never & np.isfinite(reached)
    _refuse_empty(near, never, sample)
    beside = subject.only(~never, adoption=np.where(near, reached, np.inf))
    found = [run(beside), run(subject.only()), run(subject.only(near))]
    table = pd.concat([e.tidy(1 - level) for e in found], ignore_index=True)
    table = table[["estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"]]
    terms = ["on neighbours", "on the treated", "on the treated, without neighbours"]
    table.insert(0, "term", terms)
    table.insert(0, "outcome", subject.words)
    moved, error = verdicts.shift(found[2], found[1])
    table["shift"], table["shift_error"] = [np.nan, np.nan, moved], [np.nan, np.nan, error]
    detectable = float(found[0].detectable(verdicts.POWER, 1 - level)[0])
    table["smallest_detectable"] = [detectable, np.nan, np.nan]
    percent = found[1].percent
    low, high = table["conf_low"].to_numpy()[:1], table["conf_high"].to_numpy()[:1]
    passed, reason = verdicts.judged(
        found[:1], low, high, level=level, margin=margin, what="effect on neighbours", percent=percent
    )
    count = (
        f"{counted(int(near.sum()), 'untreated neighbour')} and {int((never & ~near).sum()):,} other untreated units."
    )
    return Check(
        claim,
        table,
        passed,
        reason=f"{reason} {_moves(moved, error, percent)}",
        percent=percent,
        options={"ylabel": f"effect on {subject.words}"},
        references=REFERENCES,
        notes=tuple(dict.fromkeys((count, *notes, *(n for e in found for n in e.notes)))),
    )


def _moves(moved: float, error: float, percent: bool) -> str:
    by, unit = (100.0, " percentage points") if percent else (1.0, "")
    places = digits.decimals([by * (error if error > 0 else moved)], [by * moved])
    return f"Without neighbours the effect on the treated moves by {digits.fixed(by * moved, places)}{unit}."


def _links(
    sample: Sample, neighbours: Any, coordinates: Any, nearest: int | None, distance: float | None, notes: list[str]
) -> Any:
    """(n, n) sparse: row i holds the neighbours of unit i."""
    from scipy.sparse import csr_array

    if neighbours is not None and coordinates is not None:
        raise ValueError("Both `neighbours` and `coordinates` say who lies next to whom: give one of them.")
    if neighbours is not None:
        if nearest is not None or distance is not None:
            raise ValueError(
                "`nearest` and `distance` go with `coordinates`, and `neighbours` was given: leave them out."
            )
        return places.neighbours(sample, neighbours, notes)
    if nearest is not None and distance is not None:
        raise ValueError("Both `nearest` and `distance` say how far neighbours lie: give one of them.")
    if distance is not None:
        return places.within(sample, coordinates, distance)
    k = min(NEAREST, len(sample) - 1) if nearest is None else nearest
    if nearest is None:
        notes.append(f"Neighbours of a treated unit are the {k} units nearest to it.")
    near = places.nearest(sample, coordinates, k)
    n = len(sample)
    return csr_array((np.ones(near.size, bool), (np.repeat(np.arange(n), k), near.ravel())), shape=(n, n))


def _reached(subject: Subject, link: Any) -> Array:
    """(n,) when the first of the units that a unit lies next to adopted; infinity if none did while observed."""
    adoption = subject.sample.adoption
    assert adoption is not None
    start, end = link.nonzero()
    adopted = (adoption[start] <= subject.periods[-1]) & subject.live[start]
    when = np.full(len(adoption), np.inf)
    np.minimum.at(when, end[adopted], adoption[start[adopted]])
    return when


def _refuse_empty(near: Array, never: Array, sample: Sample) -> None:
    if near.any() and (never & ~near).any():
        return
    what = "none" if not near.any() else "all"
    how = "look farther" if what == "none" else "look less far, or name closer neighbours"
    raise ValueError(
        f"Of {counted(int(never.sum()), 'unit')} never treated (`{sample.study.adoption}`), {what} are neighbours of a "
        f"treated unit, so neighbours and others cannot be compared: {how}."
    )
