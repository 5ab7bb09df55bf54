"""A sparse matrix of ones whose rows are runs of columns in order, as the sets of those who are near on one number.

Kept as where each run begins and ends, so that products take the time of its sides, however long the runs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Windows(NamedTuple):
    """Square, of ``side``: row ``rows[k]`` has ones in the columns ``columns[first[k]:last[k]]``, other rows none."""

    side: int
    rows: Array
    columns: Array
    first: Array
    last: Array

    def __matmul__(self, values: Array) -> Array:
        """The sum of ``values`` (side,) or (side, k) over the columns of each row."""
        picked = values[self.columns]
        running = np.concatenate([np.zeros((1, *picked.shape[1:])), np.cumsum(picked, axis=0)])
        out = np.zeros((self.side, *picked.shape[1:]))
        out[self.rows] = running[self.last] - running[self.first]
        return out

    @property
    def T(self) -> Turned:  # noqa: N802 (as numpy and scipy have it)
        return Turned(self)


class Turned(NamedTuple):
    """The transpose of windows."""

    windows: Windows

    def __matmul__(self, values: Array) -> Array:
        """The sum of ``values`` (side,) over the rows that have each column."""
        _, rows, columns, first, last = self.windows
        count = len(columns) + 1

        def covering(v: Array | None) -> Array:
            return np.cumsum(np.bincount(first, v, count) - np.bincount(last, v, count))[:-1]

        out = np.zeros(self.windows.side)
        # What no row has is nothing, and not what rounding leaves of a difference.
        out[columns] = np.where(covering(None) > 0, covering(values[rows]), 0.0)
        return out
