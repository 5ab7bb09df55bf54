"""The four groups of a triple difference: who is in them, their three differences, and how many clusters each holds.

References: ortiz2025.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from impact.core import arguments, doubly_robust
from impact.core.corners import Corners
from impact.core.inference import cluster_sums, covariance
from impact.core.small_sample import Arms
from impact.did.cells import Effects
from impact.did.observed import Observed, lacking
from impact.did.options import BASES, COMPARISONS, METHODS
from impact.estimate import Estimate
from impact.sample import Sample, caution, told
from impact.show.words import listing

Array = np.ndarray


@dataclass(frozen=True)
class Options:
    """How the cells are estimated; refused in words where it makes no sense."""

    method: str
    comparison: str
    anticipation: float
    base: str = "varying"

    def __post_init__(self) -> None:
        arguments.option(self.method, "method", METHODS)
        arguments.option(self.comparison, "comparison", COMPARISONS)
        arguments.option(self.base, "base", BASES)
        arguments.number(self.anticipation, "anticipation", least=0, most=1e6)


class Affected(NamedTuple):
    """Who is affected (n,), the other covariates (n, p) with their names, and the column in words."""

    inside: Array
    x: Array
    names: tuple[str, ...]
    word: str

    @classmethod
    def of(cls, sample: Sample, name: str | None) -> Affected:
        """The units whom the programme may reach, by a covariate that is yes or no."""
        marks = sample.characteristics
        binary = [
            term for term, at in sample.terms.items()
            if len(at) == 1 and ":" not in term and np.isin(marks[:, at[0]], (0, 1)).all()
        ]  # fmt: skip
        if name is None:
            if len(binary) != 1:
                raise ValueError(
                    f"A triple difference needs to know whom the programme may reach, and {len(binary)} of "
                    f"{len(sample.terms)} covariates of the study are yes or no: name the one as `affected`."
                )
            name = binary[0]
        arguments.text(name, "affected")
        single = name in sample.characteristic_names
        at = (sample.characteristic_names.index(name),) if single else sample.columns_of(name)
        values = marks[:, at[0]]
        if len(at) != 1 or not np.isin(values, (0, 1)).all():
            raise ValueError(
                f"`affected` names `{name}`, which makes {len(at)} columns or holds other values than 0 and 1: name a "
                "covariate that is 1 for those whom the programme may reach and 0 for others."
            )
        own = {t for t, places in sample.terms.items() if at[0] in places}
        bare = {t.removeprefix("C(").removesuffix(")") for t in own} | own
        gone = {sample.characteristic_names[j] for t, places in sample.terms.items()
                if bare & {p.strip() for p in t.replace("*", ":").split(":")} or t in own for j in places}  # fmt: skip
        kept = [j for j, c in enumerate(sample.covariate_names) if c not in gone]
        x = sample.covariates[:, kept]
        return cls(values == 1, x, told(tuple(sample.covariate_names[j] for j in kept), x), sample.study.say(name))

    def with_corners(self, found: Estimate, sample: Sample) -> Estimate:
        """With errors that know how many clusters are in each of the four groups, where clusters lie within them."""
        arms, codes = found.small, found.cluster
        assert isinstance(arms, Arms) and codes is not None and sample.adoption is not None
        live = sample.weights > 0
        if sample.nuisance is not None:
            live = live | (sample.nuisance.influence != 0).any(axis=1)
        mark, first = np.zeros(len(arms.sums), bool), np.zeros(len(arms.sums))
        mark[codes], first[codes] = self.inside[live], sample.adoption[live]
        if (mark[codes] != self.inside[live]).any() or (first[codes] != sample.adoption[live]).any():
            return found  # clusters hold several of the groups, and are compared as they are
        treated = first[arms.treated.any(axis=1)]
        never = ~np.isin(first, treated) & (first > treated.min())
        corner = np.empty(arms.sums.shape, int)
        for k in range(arms.sums.shape[1]):
            adopts = np.isin(first, first[arms.treated[:, k] > 0])
            # A mean of one unit leaves it no score: who belongs to a group is told by that, not by the score.
            corner[:, k] = np.where(adopts | never | (arms.sums[:, k] != 0), 2 * ~adopts + ~mark, -1)
        small = Corners(arms.sums, corner, arms.fitted)
        lone = int((small.counts.min(axis=0) < 2).sum())
        named = sample.study.cluster or sample.study.unit
        alone = [
            f"{lone} of {len(found.value)} values rest on a single cluster (`{named}`) in one of the four groups "
            "compared, from which no standard error can be computed."
        ]
        return replace(found, small=small, notes=(*found.notes, *caution(alone[:lone])))


class _Cell(NamedTuple):
    group: float
    at: int
    base: int


@dataclass(frozen=True, eq=False)
class Work:
    """The cells of one outcome."""

    sample: Sample
    seen: Observed
    whom: Affected
    options: Options

    def effects(self) -> Effects:
        seen, options = self.seen, self.options
        wanted = [c for g in seen.groups for c in self._wanted(g)]
        found: dict[_Cell, tuple[float, Array]] = {}
        certain: set[str] = set()
        for g in seen.groups:
            mine = [c for c in wanted if c.group == g]
            gaps = np.isnan(seen.y[:, sorted({k for c in mine for k in (c.at, c.base)})]).any()
            by_rivals: dict[tuple[float, ...], list[_Cell]] = {}
            for c in mine:
                by_rivals.setdefault(self._rivals(c), []).append(c)
            for rivals, same in by_rivals.items():
                for some in [[c] for c in same] if gaps else [same]:
                    found.update(self._combined(some, rivals, certain))
        lost = [(c.group, float(seen.periods[c.at])) for c in wanted if c not in found]
        why = f"because affected or other units are missing there or among {COMPARISONS[options.comparison]}"
        notes = seen.notes + lacking(lost, len(wanted), seen.outcome, why)
        if certain:
            notes += caution([f"Some units are certain of their group by {listing(sorted(certain))} in comparisons of "
                              f"`{seen.outcome.name}`: they have nobody to be compared with there."])  # fmt: skip
        if np.isnan(seen.y[seen.weights > 0]).any():
            notes.append(f"Each effect on `{seen.outcome.name}` rests on the units seen in both of its periods.")
        self._refuse_nothing(found, wanted)
        done = [c for c in wanted if c in found]
        return Effects(
            np.array([c.group for c in done]),
            seen.periods[[c.at for c in done]],
            np.array([found[c][0] for c in done]),
            np.column_stack([found[c][1] for c in done]),
            np.where(self.whom.inside | ~np.isin(seen.first, seen.groups), seen.first, -np.inf),
            seen.weights * self.whom.inside,
            tuple(notes),
            0 if options.method == "ipw" else self.whom.x.shape[1],
        )

    def _wanted(self, g: float) -> list[_Cell]:
        periods, options = self.seen.periods, self.options
        before = int(np.flatnonzero(periods + options.anticipation < g)[-1])
        bases = [before if options.base == "universal" or t >= g else k - 1 for k, t in enumerate(periods)]
        return [_Cell(float(g), k, b) for k, b in enumerate(bases) if b not in (k, -1)]

    def _rivals(self, cell: _Cell) -> tuple[float, ...]:
        """The groups to compare with, each on its own; infinity stands for all that adopt after the last period."""
        last = max(self.seen.periods[cell.at], self.seen.periods[cell.base]) + self.options.anticipation
        later = tuple(g for g in self.seen.groups if g > last and g != cell.group)
        return (*(later if self.options.comparison == "not_yet" else ()), np.inf)

    def _combined(
        self, cells: list[_Cell], rivals: tuple[float, ...], certain: set[str]
    ) -> dict[_Cell, tuple[float, Array]]:
        """Each cell's estimate: of one comparison group, or the average of several with the smallest variance."""
        each = [part for r in rivals if (part := self._against(cells, r, certain)) is not None]
        if not each:
            return {}
        value, scores = np.stack([v for v, _ in each]), np.stack([s for _, s in each])
        out = {}
        for k, c in enumerate(cells):
            share = np.ones(1)
            if len(each) > 1:
                spread = covariance(cluster_sums(scores[:, :, k].T, self.sample.cluster))
                share = np.linalg.pinv(spread, hermitian=True, rcond=1e-10).sum(axis=0)
                share = share / share.sum()
            out[c] = float(share @ value[:, k]), share @ scores[:, :, k]
        return out

    def _against(self, cells: list[_Cell], rival: float, certain: set[str]) -> tuple[Array, Array] | None:
        """(C,) values and (n, C) scores of cells of one group that are compared with one other."""
        seen = self.seen
        change = seen.y[:, [c.at for c in cells]] - seen.y[:, [c.base for c in cells]]
        there = (seen.weights > 0) & np.isfinite(change).all(axis=1)
        member = seen.first == cells[0].group
        other = seen.first > seen.periods[-1] + self.options.anticipation if np.isinf(rival) else seen.first == rival
        target = there & member & self.whom.inside
        parts = (
            (there & member & ~self.whom.inside, 1),
            (there & other & self.whom.inside, 1),
            (there & other & ~self.whom.inside, -1),
        )
        if not target.any() or not all(p.any() for p, _ in parts):
            return None
        value, scores = np.zeros(len(cells)), np.zeros(change.shape)
        for part, sign in parts:
            rows = target | part
            try:
                x, w = self.whom.x[rows], seen.weights[rows]
                how = self.options.method
                found = doubly_robust.levels(change[rows], target[rows], x, w, "ATT", how, self.whom.names)
            except ValueError as reason:
                raise ValueError(
                    f"The effect on `{seen.outcome.name}` for the {int(target.sum())} affected units first treated in "
                    f"{cells[0].group:g} cannot be estimated with these covariates. {reason} Or leave this group out "
                    "by an eligibility rule."
                ) from reason
            if found.propensity is not None:
                certain.update(found.propensity.separated.names)
            value += sign * (found.treated - found.comparison)
            scores[rows] += sign * (found.treated_scores - found.comparison_scores)
        return value, scores

    def _refuse_nothing(self, found: dict[_Cell, tuple[float, Array]], wanted: list[_Cell]) -> None:
        if found:
            return
        seen, used = self.seen, self.seen.weights > 0
        adopts = np.isin(seen.first, seen.groups)
        counts = [int((used & a & b).sum()) for a in (adopts, ~adopts) for b in (self.whom.inside, ~self.whom.inside)]
        raise ValueError(
            f"None of {len(wanted)} triple differences of `{seen.outcome.name}` can be formed: there are {counts[0]} "
            f"affected and {counts[1]} other units that adopt, {counts[2]} and {counts[3]} that do not; all four are "
            "needed, or comparison='not_yet'."
        )
