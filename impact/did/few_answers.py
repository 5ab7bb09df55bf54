"""Several methods on several outcomes with few treated areas: the table, and what it says in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from impact.check import Check
from impact.core import arguments
from impact.did import few_places
from impact.did.cells import measured_over_time
from impact.did.few_change import Change
from impact.did.few_methods import YES, Ask, Method, Row, subcluster
from impact.estimate import Estimate
from impact.sample import Sample
from impact.show import digits
from impact.show.words import counted, tested

Array = np.ndarray


@dataclass(frozen=True)
class Answers:
    """For each outcome its change, and a row for each method."""

    ask: Ask
    found: tuple[tuple[Change, list[Row]], ...]

    @classmethod
    def of(
        cls,
        sample: Sample,
        shown: Sequence[Method],
        outcome: str | list[str] | None,
        before: int | None,
        after: int | None,
        *,
        aim: float | None,
        level: float,
        draws: int = 999,
        rng: Any = 0,
        neighbours: Any = None,
        coordinates: Any = None,
        population: Any = None,
    ) -> Answers:
        """Every method on every outcome. Draws by unit are shown only where they differ from those by area."""
        arguments.number(aim, "aim", optional=True, least=-1e100, most=1e100)
        arguments.number(level, "level", above=0, below=1)
        arguments.seed(rng, "rng")
        arguments.number(draws, "draws", least=2, most=1e6, whole=True)
        outcomes = measured_over_time(sample, outcome)
        sample = sample.take(_by_label(sample.unit))  # what is drawn depends on labels, not on the order of rows
        people = None if population is None else few_places.people(sample, population)
        ask = Ask(few_places.Places.of(sample, neighbours, coordinates), people, aim, level, int(draws), rng)
        found = []
        for each in outcomes:
            change = Change.of(sample, each, before, after)
            found.append((change, [m(change, ask) for m in shown if m is not subcluster or not change.spread_out]))
        return cls(ask, tuple(found))

    def compared(self, references: tuple[str, ...]) -> Check:
        """Whether all valid methods conclude the same on every outcome."""
        told = [self._agreement(change, [row for row in rows if row.valid == YES]) for change, rows in self.found]
        agreed = [passed for passed, _ in told]
        return self._check(
            f"What is concluded on {self._words} is the same by every method that is valid here",
            None if None in agreed else all(agreed),
            [reason for _, reason in told],
            references,
        )

    def alone(self, references: tuple[str, ...]) -> Check:
        """Whether the first method tells every change from zero; not doing so is no evidence of none."""
        rows = [rows[0] for _, rows in self.found]
        passed = all(row.valid == YES and row.p_value <= self._alpha for row in rows)
        said = [self._single(change, row) for (change, _), row in zip(self.found, rows, strict=True)]
        return self._check(f"Treatment changed {self._words}", True if passed else None, said, references)

    # ---- in words -------------------------------------------------------------------------

    @property
    def _alpha(self) -> float:
        return 1 - self.ask.level + 1e-12

    @property
    def _words(self) -> str:
        return self.found[0][0].words if len(self.found) == 1 else "each outcome"

    def _check(self, claim: str, passed: bool | None, said: Iterable[str], references: tuple[str, ...]) -> Check:
        change = self.found[0][0]
        sizes = ", ".join(map(str, np.sort(change.sizes)))
        counts = (
            f"{counted(int(change.treated.sum()), 'treated unit')} in {counted(len(change.sizes), 'area')} "
            f"(of {sizes}) and {counted(int((~change.treated).sum()), 'untreated one')}; {change.said}."
        )
        notes = [*self.ask.places.notes, *(note for each, _ in self.found for note in each.notes)]
        return Check(
            claim,
            self._table(),
            passed,
            reason=" ".join(said),
            references=references,
            notes=tuple(dict.fromkeys([counts, *notes])),
        )

    def _table(self) -> Any:
        """The rows as a table. An Estimate makes its labels, since topics handle no tables of their own."""
        rows = [row for _, mine in self.found for row in mine]
        labels = {"outcome": [c.words for c, mine in self.found for _ in mine], "method": [row.method for row in rows]}
        index = Estimate.of_covariance(labels, np.zeros(len(rows)), np.eye(len(rows))).index
        columns = [f for f in Row._fields if f != "method" and (self.ask.aim is not None or f != "p_aim")]
        return index.assign(**{name: [getattr(row, name) for row in rows] for name in columns})

    def _agreement(self, change: Change, valid: list[Row]) -> tuple[bool | None, str]:
        if not valid:
            return None, f"It cannot be decided for {change.words}: no method is valid here, and the table says why."
        verdicts, said = [], []
        for null, p in ((0.0, "p_value"), (self.ask.aim, "p_aim")):
            if null is None:
                continue
            values = np.array([getattr(row, p) for row in valid])
            rejected = int((values <= self._alpha).sum())
            verdicts.append(rejected in (0, len(valid)))
            said.append(_counted(rejected, len(valid), null, values))
        reach = [row.smallest_detectable for row in valid]
        places = digits.decimals([_spread(row) for row in valid if np.isfinite(_spread(row))] or [1.0])
        least, most = digits.fixed(min(reach), places), digits.fixed(max(reach), places)
        value = digits.fixed(valid[0].estimate, places)
        across = least if least == most else f"{least} to {most}, by method"
        said = [
            f"On {change.words} the estimate is {value}: {' and '.join(said)}.",
            f"The smallest effect found with 80% power is {across}: a smaller one could not have been seen.",
        ]
        return all(verdicts), " ".join(said)

    def _single(self, change: Change, row: Row) -> str:
        if not np.isfinite(row.p_value):
            return f"It cannot be decided for {change.words} ({row.valid})."
        places = digits.decimals([_spread(row)] if np.isfinite(_spread(row)) else [abs(row.estimate) / 10 or 1.0])
        about = f"On {change.words} the estimate is {digits.fixed(row.estimate, places)}"
        about += f", {100 * self.ask.level:g}% interval {digits.interval(row.conf_low, row.conf_high, places)}"
        doubt = "" if row.valid == YES else f" The method is not valid here ({row.valid})."
        reach = digits.fixed(row.smallest_detectable, places)
        floor = f"the smallest effect found with 80% power is {reach}"
        return f"{about} ({tested(row.p_value)}); {floor}.{doubt}"


def _spread(row: Row) -> float:
    """A number of the size of the standard error, for decimals."""
    return (row.conf_high - row.conf_low) / 4


def _counted(rejected: int, valid: int, null: float, p: Array) -> str:
    """How many methods reject a value, in words."""
    what = "zero" if null == 0 else f"the aim of {digits.plain(null)}"
    low, high = p.min(), p.max()
    between = tested(low) if low == high else f"p from {digits.p_value(low)} to {digits.p_value(high)}"
    if valid == 1:
        return f"the one valid method {'rejects' if rejected else 'does not reject'} {what} ({between})"
    if rejected in (0, valid):
        which = f"all {valid} valid methods reject" if rejected else f"none of {valid} valid methods rejects"
        return f"{which} {what} ({between})"
    return f"{rejected} of {valid} valid methods reject {what} and {valid - rejected} do not ({between})"


def _by_label(labels: Array) -> Array:
    """The rows in the order of their labels."""
    return np.argsort(labels.astype(str) if labels.dtype == object else labels, kind="stable")
