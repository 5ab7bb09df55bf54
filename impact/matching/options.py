"""What designs share: the score, by which distance units are alike, how far apart partners are, and who takes part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from impact.core import arguments
from impact.core.distance import METRICS
from impact.core.neighbours import Conditions
from impact.matching.distance import WORDS, codes, conditions, describe, in_support, points
from impact.matching.treatment import FAR, Score, certainty, strangers
from impact.matching.treatment import score as scored
from impact.sample import Sample
from impact.show.words import listing

Array = np.ndarray
Pairs = tuple[Array, Array]

SCALES = ("logit", "probability")
DISCARDS = ("none", "treated", "comparison", "both")
NONE: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Reach:
    """Who may be whose partner, by row of ``sample``.

    ``live`` (n,) takes part; ``points`` (n, q) are the units, whose Euclidean distance is the one asked for;
    ``alike`` is the score, None where none was needed, and ``value`` (n,) its values; partners' scores are at most
    ``limit`` apart, they share a code of ``groups`` (n,) and meet the conditions ``kept``. ``by`` and ``within``
    say the distance and its limits, ``notes`` who does not take part.
    """

    sample: Sample
    on_score: bool
    live: Array
    points: Array
    alike: Score | None
    value: Array
    limit: float
    groups: Array
    kept: Conditions | None
    by: str
    within: str
    notes: tuple[str, ...]

    @property
    def free(self) -> bool:
        """Whether everybody in a group may be everybody's partner."""
        return bool(np.isinf(self.limit)) and self.kept is None

    def hold(self, i: Array, j: Array) -> Array:
        """Whether rows i and j may be partners, (m,) of yes and no."""
        close = np.abs(self.value[i] - self.value[j]) <= self.limit
        fit = True if self.kept is None else self.kept.hold(i, j)
        return np.asarray(close & (self.groups[i] == self.groups[j]) & fit)

    def apart(self, i: Array, j: Array) -> Array:
        """How far apart rows i and j are, (m,)."""
        if self.points.shape[1] == 1:
            return np.abs(self.points[i, 0] - self.points[j, 0])
        total = np.zeros(len(i))
        for column in self.points.T:  # a column at a time stays in the processor's cache, and rows do not
            total += (column[i] - column[j]) ** 2
        return np.sqrt(total)

    def line(self) -> tuple[Array, float]:
        """A number for each row, and how far apart partners' numbers may be: where to look for partners."""
        if np.isfinite(self.limit) or self.kept is None or not self.kept.near.shape[1]:
            return self.value, self.limit
        return self.kept.near[:, 0], float(self.kept.reach[0])

    def groups_with_both(self, treated_first: bool) -> list[Pairs]:
        """For each group that has live units of both arms, the rows of the one and of the other arm."""
        first = self.sample.treated == treated_first
        shared = np.intersect1d(self.groups[self.live & first], self.groups[self.live & ~first])
        rows = np.flatnonzero(self.live & np.isin(self.groups, shared))
        rows = rows[np.argsort(self.groups[rows], kind="stable")]
        parts = np.split(rows, np.flatnonzero(np.diff(self.groups[rows])) + 1) if len(rows) else []
        return [(part[first[part]], part[~first[part]]) for part in parts]


def reach(
    sample: Sample,
    what: str,
    *,
    distance: str = "score",
    on: str | Sequence[str] = (),
    score: Any = None,
    scale: str = "logit",
    folds: int = 5,
    rng: Any = None,
    caliper: float | None = None,
    caliper_in: str = "SD",
    calipers: Mapping[str, float] = NONE,
    calipers_sd: Mapping[str, float] = NONE,
    exact: str | Sequence[str] = (),
    antiexact: str | Sequence[str] = (),
    discard: str = "none",
    needed: bool = False,
) -> Reach:
    """Who may be whose partner. The options are those of :func:`impact.matching.nearest.match`; no score is
    estimated that nothing needs: the distance, a caliper, the support, or what the design has ``needed`` it for."""
    refuse(distance=distance, scale=scale, caliper=caliper, caliper_in=caliper_in, discard=discard)
    on, exact, antiexact = (
        arguments.texts(v, name) for v, name in ((on, "on"), (exact, "exact"), (antiexact, "antiexact"))
    )
    if on and distance == "score":
        raise ValueError(
            f"`on` names {listing(f'`{t}`' for t in on)}, and the distance is that of the score, which looks at every "
            "covariate: set `distance` to 'mahalanobis' or another, or leave `on` out."
        )
    refuse_calipers(calipers=calipers, calipers_sd=calipers_sd)
    refuse_folds(folds, rng)
    live, alike = sample.weights > 0, None
    if distance == "score" or caliper is not None or discard != "none" or needed:
        alike = scored(sample, score, scale, folds, rng, what)
        live[alike.outside] = False
        live &= in_support(alike.value, sample.treated, live, discard)
    value = np.zeros(len(sample)) if alike is None else np.where(live, alike.value, 0.0)
    unit = float(value[live].std(ddof=1)) if caliper_in == "SD" else 1.0
    limit = np.inf if caliper is None else float(caliper * unit)
    other = None if distance == "score" else (value, limit)
    groups = codes(sample, exact)
    return Reach(
        sample,
        distance == "score",
        live,
        value[:, None] if distance == "score" else np.asfortranarray(points(sample, distance, on, live)),
        alike,
        value,
        limit,
        np.zeros(len(sample), int) if groups is None else groups,
        conditions(sample, calipers, calipers_sd, antiexact, live, other),
        alike.words if distance == "score" and alike is not None else metric(distance, on),
        within(caliper, caliper_in, limit, alike) + describe(calipers, calipers_sd, exact, antiexact),
        certainty(strangers(sample), FAR)
        if alike is None
        else (*alike.notes, *discarded(sample, alike, live, discard)),
    )


def refuse(*, caliper: float | None = None, **named: Any) -> None:
    """A caliper, and options that are one of a few words."""
    if caliper is not None and (
        isinstance(caliper, bool) or not isinstance(caliper, int | float | np.number) or not caliper > 0
    ):
        raise ValueError(
            f"`caliper` is {caliper!r}, and is a positive number of standard deviations: set 0.2, say, or None for any "
            "distance."
        )
    known = {
        "distance": ("score", *METRICS), "scale": SCALES, "caliper_in": ("SD", "score"), "discard": DISCARDS,
    }  # fmt: skip
    for name, given in named.items():
        if given not in known[name]:
            raise ValueError(f"`{name}` is {given!r}: choose {listing(map(repr, known[name]), 'or')}.")


def refuse_calipers(**named: Any) -> None:
    """Calipers on covariates that are no mapping."""
    for name, given in named.items():
        if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
            raise ValueError(
                f"`{name}` is {given!r}, and gives covariates the largest difference allowed: set it as in "
                "{'age': 2}, or leave it out."
            )


def refuse_folds(folds: int, rng: Any) -> None:
    """Folds and seeds that make no sense, whether or not a classifier uses them."""
    arguments.number(folds, "folds", least=2, most=1000, whole=True)
    arguments.seed(rng, "rng")


def probability(sample: Sample, score: Any, folds: int, rng: Any, what: str) -> tuple[Array, Score]:
    """How likely treatment was, (n,), with the words for it; refused where a covariate is no probability."""
    refuse_folds(folds, rng)
    found = scored(sample, score, "probability", folds, rng, what)
    if found.probability is None:
        raise ValueError(
            f"{what} was asked for by {found.words}, which has values below 0 or above 1: name a covariate that is the "
            "probability of treatment, or leave `score` out for logistic regression."
        )
    return found.probability, found


def metric(distance: str, on: Sequence[str]) -> str:
    """A distance other than that of scores, in words."""
    return WORDS[distance] + (f" of {listing(f'`{t}`' for t in on)}" if on else "")


def within(caliper: float | None, caliper_in: str, limit: float, alike: Score | None) -> str:
    """How far apart scores may be, in words."""
    if alike is None:
        return "at any distance"
    if caliper is None:
        return f"at any distance {alike.on}"
    return f"within {caliper:g} SD ({limit:.3g}) {alike.on}" if caliper_in == "SD" else f"within {limit:g} {alike.on}"


def discarded(sample: Sample, alike: Score, live: Array, discard: str) -> tuple[str, ...]:
    """A note on who was discarded for want of support."""
    gone = (sample.weights > 0) & ~live
    gone[alike.outside] = False
    if discard == "none" or not gone.any():
        return ()
    return (
        f"{int((gone & sample.treated).sum()):,} treated and {int((gone & ~sample.treated).sum()):,} comparison units "
        "have scores beyond those of the other arm and were discarded before matching.",
    )
