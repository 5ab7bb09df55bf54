"""Where units lie: who neighbours whom, or coordinates, as tables that go with a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from impact import columns as col
from impact import frames, places
from impact.core import areas
from impact.did.few_change import Change
from impact.sample import Sample, caution

Array = np.ndarray
Generator = np.random.Generator


@dataclass(frozen=True, eq=False)
class Places:
    """Where the units of a sample lie: pairs of rows that touch, or coordinates, or nothing is known."""

    pairs: Array | None = None
    place: Array | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, sample: Sample, neighbours: Any, coordinates: Any) -> Places:
        """The tables read, in the order of the sample's rows."""
        if neighbours is not None and coordinates is not None:
            raise ValueError("Both `neighbours` and `coordinates` are given: give the one that says who lies together.")
        if neighbours is not None:
            notes: list[str] = []
            linked = places.neighbours(sample, neighbours, notes)
            return cls(pairs=np.array(linked.nonzero()), notes=caution(notes))
        if coordinates is not None:
            return cls(place=places.coordinates(sample, coordinates))
        return cls()

    @property
    def known(self) -> bool:
        return self.pairs is not None or self.place is not None

    @property
    def words(self) -> str:
        """How an area hangs together."""
        return "of units that touch" if self.pairs is not None else "of nearest units"

    def anywhere(self, change: Change, sizes: Array, draws: int, rng: Generator) -> Array:
        """(draws, n) bool: contiguous areas of these sizes, among the units of the change."""
        if self.pairs is not None:
            return areas.by_contact(self._touching(change.rows), sizes, draws, rng)
        assert self.place is not None
        nearest = areas.nearest_first(self.place[change.rows], int(sizes.sum()))
        return areas.by_distance(nearest, sizes, draws, rng)

    def around(self, rows: Array, size: int, rng: Generator) -> Array:
        """(m, size): positions in ``rows`` of the contiguous areas of this size, one around each unit with room."""
        if self.pairs is not None:
            return areas.around_by_contact(self._touching(rows), size, rng)
        if self.place is not None and size <= len(rows):
            return areas.nearest_first(self.place[rows], size)
        return np.empty((0, size), int)

    def _touching(self, rows: Array) -> Array:
        assert self.pairs is not None
        at = np.full(int(max(self.pairs.max(initial=0), rows.max())) + 1, -1)
        at[rows] = np.arange(len(rows))
        one, other = at[self.pairs]
        inside = (one >= 0) & (other >= 0)
        return areas.contacts(one[inside], other[inside], len(rows))


def people(sample: Sample, table: Any) -> Array:
    """(n,) how many people stand behind each unit, from a table with the unit's column and one of numbers."""
    unit = sample.study.unit
    names = frames.names(table)
    if len(names) != 2 or unit not in names:
        raise ValueError(
            f"`population` is a table with `{unit}` and one number, and this one has {len(names)} columns "
            f"({col.listed(map(str, names[:10]))}): keep these two."
        )
    found = frames.select(table, [unit, *(n for n in names if n != unit)])
    values = col.numbers(found.iloc[:, 1], str(found.columns[1]), "population")
    labels = found[unit].to_numpy().tolist()
    if len(set(labels)) < len(labels):
        twice = len(labels) - len(set(labels))
        raise ValueError(f"{twice} of {len(labels)} rows of `population` repeat a unit (`{unit}`): keep one row each.")
    known = dict(zip(labels, values.tolist(), strict=True))
    of = np.array([known.get(label, np.nan) for label in sample.unit.tolist()])
    none = int((~(of > 0) & (sample.weights > 0)).sum())
    if none:
        raise ValueError(
            f"`population` has no number above zero for {none} of {len(sample)} units (`{unit}`): complete it."
        )
    return of
