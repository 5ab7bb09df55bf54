"""What is said of effects that cannot be estimated, or hardly, and of units and periods that were not observed.

The rest of a table still comes, and no average hides that a part of it is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from impact.sample import Sample, caution
from impact.show.words import listing
from impact.study import Outcome

Array = np.ndarray

NOBODY = "nobody"
"""The reason of a cell whose group has no comparison unit at all; any other reason is a sentence, but for two:
"mine" and "others", where the group or its comparison units are never seen in both periods."""
MOST = 6
SMALL = 10
"""Adoption groups of fewer units than this get a word of caution."""


def said(
    sample: Sample, outcome: Outcome, whom: str, group: Array, time: Array, first: Array, why: Mapping[int, str]
) -> list[str]:
    """Notes that name the (C,) cells for which there is ``why`` no effect, and what averages then leave out."""
    if not why:
        return []
    notes, loud = [], []
    nobody = [k for k in why if why[k] == NOBODY]
    if nobody:
        notes.append(
            f"{len(nobody)} of {len(group)} combinations of adoption group and period of `{outcome.name}` have no "
            f"{whom} to compare with, and no effect is given for them: {_which(group, time, nobody)}."
        )
    reasons: dict[tuple[float, str], list[int]] = {}
    for k, reason in why.items():
        if reason != NOBODY:
            reasons.setdefault((float(group[k]), _kind(reason)), []).append(k)
    for (g, _), cells in list(reasons.items())[:MOST]:
        count = int(((first == g) & (sample.weights > 0)).sum())
        periods = "period" if len(cells) == 1 else "periods"
        loud.append(
            f"No effect on `{outcome.name}` is given for the {count:,} units first treated in {g:g} in {periods} "
            f"{_some(time[cells])}: {_sentence(why[cells[0]], whom)}"
        )
    if len(reasons) > MOST:
        rest = sum(len(cells) for cells in list(reasons.values())[MOST:])
        loud.append(f"The same holds for {rest} more effects on `{outcome.name}`, of {len(reasons) - MOST} groups.")
    return notes + list(caution([*loud, *_averages(sample, outcome, group, time, first, why)]))


def _averages(
    sample: Sample, outcome: Outcome, group: Array, time: Array, first: Array, why: Mapping[int, str]
) -> list[str]:
    """What an average over the cells that there are does not cover."""
    since = time >= group
    gone = np.zeros(len(group), bool)
    gone[list(why)] = True
    lost, all_of_it = np.unique(group[gone & since]), set(group[since]) - set(group[since & ~gone])
    if not len(lost):
        return []
    weight = {g: float(sample.weights[first == g].sum()) for g in np.unique(group)}
    share = 100 * sum(weight[g] for g in lost) / sum(weight.values())
    never = f"; nothing is known of those first treated in {_some(sorted(all_of_it))}" if all_of_it else ""
    return [
        f"Averages of effects on `{outcome.name}` are over the effects that there are, without "
        f"{int((gone & since).sum())} of {int(since.sum())} since adoption, which concern groups with "
        f"{_percent(share)} of the treated units{never}."
    ]


def refuse(
    sample: Sample, outcome: Outcome, whom: str, group: Array, time: Array, first: Array, why: Mapping[int, str]
) -> NoReturn:
    """There is no effect at all."""
    if all(reason == NOBODY for reason in why.values()):
        never = whom.endswith("never treated")
        instead = "compare with comparison='not_yet'" if never else "add units that adopt later"
        raise ValueError(
            f"There are no {whom} to compare with among the {int((sample.weights > 0).sum()):,} units of "
            f"`{outcome.name}`: all adopt (`{sample.study.adoption}`) in time; {instead}."
        )
    k, reason = next((k, reason) for k, reason in why.items() if reason != NOBODY)
    count = int(((first == group[k]) & (sample.weights > 0)).sum())
    raise ValueError(
        f"None of {len(group)} effects on `{outcome.name}` can be estimated. In period {time[k]:g} for the {count} "
        f"units first treated in {group[k]:g}: {_sentence(reason, whom)}"
    )


def _sentence(reason: str, whom: str) -> str:
    if reason == "mine":
        return (
            "none of them is seen both then and in the period that it is measured from; unbalanced='levels' compares "
            "all observations instead."
        )
    if reason == "others":
        return (
            f"none of the {whom} is seen both then and in the period that it is measured from; unbalanced='levels' "
            "compares all observations instead."
        )
    return reason


def _kind(reason: str) -> str:
    """A reason without its numbers: what differs only in counts is said once for a group."""
    return "".join(c for c in reason if not c.isdigit())


def _which(group: Array, time: Array, cells: list[int]) -> str:
    found = [f"those first treated in {g:g} in {_some(time[[k for k in cells if group[k] == g]])}"
             for g in np.unique(group[cells])]  # fmt: skip
    return listing(found[:MOST]) + (f" and {len(found) - MOST} more groups" if len(found) > MOST else "")


def _some(values: object) -> str:
    """Periods in words: a run of them as from to."""
    found = [f"{float(v):g}" for v in np.sort(np.asarray(values, float))]
    return listing(found) if len(found) <= 2 else f"{found[0]} to {found[-1]}" if len(found) > MOST else listing(found)


def _percent(share: float) -> str:
    return "less than 1%" if share < 1 else f"{share:.0f}%"


# ---- units that are not always seen, or have hardly anybody like them ---------------------------


def gaps(name: str, seen: Array, unbalanced: str) -> tuple[bool, list[str]]:
    """Whether any unit is seen twice, of (n, T) who is seen when, and what is done if levels are compared."""
    times, n = seen.sum(axis=1), len(seen)
    some, twice = int((times < seen.shape[1]).sum()), bool((times > 1).any())
    if not twice:
        return False, [
            f"Each of {n:,} units is seen in one period of `{name}` only: the observations of different periods are "
            "compared, as from repeated cross-sections. Whom they cover must not change over time."
        ]
    if unbalanced != "levels":
        return True, []  # said when it is known how many each effect keeps
    return True, [
        f"{some:,} of {n:,} units are not seen in every period of `{name}`. All observations are compared as from "
        "repeated cross-sections, nobody being followed (unbalanced='levels'); whom they cover must not change over "
        "time."
    ]


def followed(name: str, seen: Array, shares: list[float]) -> list[str]:
    """What is done with units not always seen where each effect is of those seen in both of its periods."""
    some, least, most = int((~seen.all(axis=1)).sum()), 100 * min(shares), 100 * max(shares)
    return [
        f"{some:,} of {len(seen):,} units are not seen in every period of `{name}`. They are kept: each effect is of "
        f"the units seen in both of its periods, which are {least:.0f} to {most:.0f}% of those it concerns; "
        "unbalanced='levels' compares all observations instead, following nobody."
    ]


def unlike(name: str, certain: set[str], leaning: Mapping[float, tuple[str, ...]], method: str) -> list[str]:
    """Units that nobody is like, and covariates that comparison units say nothing of."""
    notes = []
    if certain:
        notes.append(
            f"Some units are certain to be treated, or not to be, by {listing(sorted(certain))} in some comparisons of "
            f"`{name}`: they have nobody to be compared with there."
        )
    for group, names in leaning.items():
        where = " in the regression" if method == "dr" else ""
        notes.append(
            f"Among the units compared with those first treated in {group:g}, {listing(f'`{n}`' for n in names)} "
            f"cannot be told from the other covariates: the effect on `{name}` takes no account of it{where}."
        )
    return list(caution(notes))


def small(groups: Array, first: Array, sample: Sample) -> list[str]:
    """A word on adoption groups of few units."""
    few = [g for g in groups if (first == g).sum() < SMALL]
    if not few:
        return []
    which = listing(f"{g:g}" for g in few[:8]) + (" and more" if len(few) > 8 else "")
    return [
        f"{len(few)} of {len(groups)} adoption groups (`{sample.study.adoption}` {which}) have fewer than {SMALL} "
        "units: the standard errors of their own effects are too small to rely on."
    ]
