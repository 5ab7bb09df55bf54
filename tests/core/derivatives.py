"""The one promise behind every standard error, checked numerically."""

from __future__ import annotations

import numpy as np


def slopes(value_of, w, rows, step=1e-4):
    """w_i times the derivative of value_of(w) in w_i, for some rows: (len(rows), k).

    Central differences at two steps and Richardson's extrapolation, so that the error is of
    order step^4 and ten digits can be asked for.
    """
    found = []
    for i in rows:
        moved = []
        for h in (step * w[i], 2 * step * w[i]):
            up, down = w.copy(), w.copy()
            up[i] += h
            down[i] -= h
            moved.append((np.atleast_1d(value_of(up)) - np.atleast_1d(value_of(down))) / (2 * h))
        found.append(w[i] * (4 * moved[0] - moved[1]) / 3)
    return np.array(found)
