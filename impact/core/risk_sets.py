"""Who is at risk when: the weight at risk and leaving at each distinct event time.

A row is at risk at a time u when ``entry < u <= time``; without an entry (or with one at or before
zero) it is at risk from the start, time zero included. A row leaves by cause k = 1 .. K, or is
censored (``status`` 0). At a tie the events come first: somebody censored at u was at risk at u.
A row without weight is nowhere at risk, and the times at which only such rows leave are not event
times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Counts(NamedTuple):
    """Events and the rows at risk at each distinct event time, by weight and by number of rows."""

    time: Array  # (m,) the distinct event times, ascending
    at_risk: Array  # (m,) weight at risk just before
    events: Array  # (m, K) weight of the events of each cause
    rows_at_risk: Array  # (m,) rows with weight that are at risk just before
    rows_events: Array  # (m, K) rows with weight that leave by each cause


def counts(
    time: Array, status: Array, w: Array, *, causes: int | None = None, entry: Array | None = None
) -> Counts:
    """The table that every curve here is computed from: one row for each distinct event time.

    ``causes`` is K; unless given, the largest status.
    """
    table = scan(time, status, w, causes, entry)
    inside = slice(1, None)  # the scan's first row stands for "before any event"
    return Counts(
        table.time[inside],
        table.at_risk[inside],
        table.events[inside],
        table.rows_at_risk[inside],
        table.rows_events[inside],
    )


def number_at_risk(time: Array, w: Array, *, times: Array, entry: Array | None = None) -> tuple[Array, Array]:
    """The weight and the number of rows at risk just before each of ``times``: two arrays of (T,)."""
    live = np.asarray(w) > 0
    ends, weight = np.asarray(time, float)[live], np.asarray(w, float)[live]
    begins = _start(entry, live)
    times = np.atleast_1d(np.asarray(times, float))

    def from_then_on(at: Array, size: Array) -> Array:
        order = np.argsort(at)
        tail = np.append(np.cumsum(size[order][::-1])[::-1], 0)
        return tail[np.searchsorted(at[order], times, side="left")]

    rows = np.ones(len(ends), int)
    waiting = [from_then_on(begins, size) if begins is not None else 0 for size in (weight, rows)]
    return from_then_on(ends, weight) - waiting[0], from_then_on(ends, rows) - waiting[1]


@dataclass(frozen=True, eq=False)
class Scan:
    """The counts at each event time, and the distinct histories of the rows.

    Row 0 of every array over event times stands for "before any event", so that positions need no
    shift. A history is at risk at the event times ``first`` + 1 .. ``last``; if ``cause`` > 0 it
    leaves at ``last``.
    """

    time: Array  # (m + 1,)
    at_risk: Array  # (m + 1,)
    events: Array  # (m + 1, K)
    rows_at_risk: Array
    rows_events: Array
    hazard: Array  # (m + 1, K)
    room: Array  # (m + 1,) 1 - the hazard of leaving at all, or 1 where nobody stays
    survival: Array  # (m + 1,)
    first: Array  # (histories,)
    last: Array
    cause: Array
    weight: Array  # (n,) weights of all rows
    live: Array  # positions of the rows with weight
    history: Array  # the history of each row with weight

    @property
    def before(self) -> Array:
        """Survival just before each event time."""
        return np.append(1.0, self.survival[:-1])

    @property
    def jump(self) -> Array:
        """How much the logarithm of survival falls with the weight of an event at each time."""
        return 1 / (self.at_risk * self.room)

    def upto(self, times: Array) -> Array:
        """The number of event times up to and including each of ``times``."""
        return np.searchsorted(self.time[1:], np.atleast_1d(np.asarray(times, float)), side="right")

    def spread(self, slope: Array) -> Array:
        """Derivatives by history (histories, ...) to scores by row (n, ...)."""
        scores = np.zeros((len(self.weight), *slope.shape[1:]))
        own = self.weight[self.live].reshape(-1, *(1,) * (slope.ndim - 1))
        scores[self.live] = own * slope[self.history]
        return scores


def scan(time: Array, status: Array, w: Array, causes: int | None, entry: Array | None) -> Scan:
    w, status = np.asarray(w, float), np.asarray(status).astype(int)
    live = np.flatnonzero(w > 0)
    end, cause, own = np.asarray(time, float)[live], status[live], w[live]
    begin = _start(entry, live)
    causes = causes or max(1, int(status.max(initial=0)))
    if begin is not None and (begin >= end).any():
        raise ValueError(
            f"{int((begin >= end).sum())} rows enter at or after the time they leave, so were never at risk. "
            "Leave them out, or correct their entry."
        )
    if (cause > causes).any() or (cause < 0).any():
        raise ValueError(
            f"Statuses run from 0 (still there) to {causes}; some are outside. Number the causes from one."
        )
    u = np.unique(end[cause > 0])
    size = len(u) + 1
    last = np.searchsorted(u, end, side="right")
    first = np.zeros_like(last) if begin is None else np.searchsorted(u, begin, side="right")

    def standing(weights: Array | None) -> Array:
        """Those whose last event time is here or later, less those who have yet to enter."""
        gone, waiting = np.bincount(last, weights, size), np.bincount(first, weights, size)
        return gone[::-1].cumsum()[::-1] - (waiting[::-1].cumsum()[::-1] if begin is not None else 0)

    def leaving(weights: Array | None) -> Array:
        return np.column_stack(
            [
                np.bincount(last[cause == k], None if weights is None else weights[cause == k], size)
                for k in range(1, causes + 1)
            ]
        )

    rows, exits, n, d = standing(None), leaving(None), standing(own), leaving(own)
    # A count of rows decides whether somebody stays: sums of weights have rounding error.
    all_leave = rows == exits.sum(axis=1)
    n = np.where(all_leave, d.sum(axis=1), n)
    rows[0], n[0], all_leave[0] = len(live), 1.0, False
    hazard = d / n[:, None]
    room = np.where(all_leave, 1.0, 1 - hazard.sum(axis=1))
    key = (first * size + last) * (causes + 1) + cause
    _, at, history = np.unique(key, return_index=True, return_inverse=True)
    return Scan(
        time=np.append(np.inf, u),
        at_risk=n,
        events=d,
        rows_at_risk=rows.astype(int),
        rows_events=exits.astype(int),
        hazard=hazard,
        room=room,
        survival=np.cumprod(np.where(all_leave, 0.0, room)),
        first=first[at],
        last=last[at],
        cause=cause[at],
        weight=w,
        live=live,
        history=history.reshape(-1),
    )


def _start(entry: Array | None, live: Array) -> Array | None:
    """Entries after time zero; whoever entered by then is at risk from the start."""
    if entry is None:
        return None
    begin = np.asarray(entry, float)[live]
    return np.where(begin > 0, begin, -np.inf) if (begin > 0).any() else None
