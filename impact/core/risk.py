"""Who is still at risk, who has left and by which way out: curves, and every row's part in their error.

With d_jk the weight of the events of cause k at the j-th distinct event time u_j, n_j the weight at
risk there, h_jk = d_jk / n_j and h_j their sum over causes,

    S(t) = product over u_j <= t of (1 - h_j)                    Kaplan-Meier
    H_k(t) = sum over u_j <= t of h_jk                           Nelson-Aalen
    F_k(t) = sum over u_j <= t of S_(j-1) h_jk                   Aalen-Johansen
    L_k(t) = sum over u_j <= t of (t - u_j) S_(j-1) h_jk         time lost to k: the area under F_k
    R(t) = t - sum over k of L_k(t)                              restricted mean: the area under S

so that S and the F_k add up to one, and R and the L_k to t. Each function returns the values and
their scores, w_i times the derivative of the value in w_i, exactly and in O(n log n): rows that were
at risk at the same event times and left in the same way have the same derivative, which is
therefore worked out once for each such history. A row without weight has a score of zero. Who is at
risk when, and in what order things happen at a tie, is settled in ``risk_sets``.

Arguments throughout: ``time`` (n,), ``status`` (n,) with 0 for censored and k for cause k, weights
``w`` (n,) that are not negative, ``entry`` (n,) or None, and ``causes``, the number K (unless given,
the largest status).

References: kaplan1958, aalen1978, andersen2013, royston2013, jaeckel1972.
"""

from __future__ import annotations

import numpy as np

from impact.core.risk_sets import Scan, scan

Array = np.ndarray


def kaplan_meier(
    time: Array, status: Array, w: Array, *, times: Array, entry: Array | None = None
) -> tuple[Array, Array]:
    """The probability of having left by no way out by each time: values (T,) and scores (n, T).

    References: kaplan1958.
    """
    sets = scan(time, np.asarray(status) > 0, w, 1, entry)
    upto = sets.upto(times)
    drift = np.cumsum(sets.hazard.sum(axis=1) / (sets.at_risk * sets.room))
    slope = _seen(drift, sets, upto)
    slope -= np.where(_left_by(sets, upto), sets.jump[sets.last][:, None], 0.0)
    return sets.survival[upto], sets.spread(sets.survival[upto] * slope)


def nelson_aalen(
    time: Array,
    status: Array,
    w: Array,
    *,
    times: Array,
    causes: int | None = None,
    entry: Array | None = None,
) -> tuple[Array, Array]:
    """The cumulative hazard of each cause by each time: values (K, T) and scores (n, K, T).

    References: aalen1978.
    """
    sets = scan(time, status, w, causes, entry)
    upto = sets.upto(times)
    left = _left_by(sets, upto)
    slopes = []
    for k, hazard in enumerate(sets.hazard.T, start=1):
        drift = np.cumsum(hazard / sets.at_risk)
        hit = np.where(left & (sets.cause == k)[:, None], 1 / sets.at_risk[sets.last][:, None], 0.0)
        slopes.append(hit - _seen(drift, sets, upto))
    return np.cumsum(sets.hazard, axis=0)[upto].T, sets.spread(_by_cause(slopes, sets, len(upto)))


def aalen_johansen(
    time: Array,
    status: Array,
    w: Array,
    *,
    times: Array,
    causes: int | None = None,
    entry: Array | None = None,
) -> tuple[Array, Array]:
    """The probability of having left by each cause by each time: values (K, T) and scores (n, K, T).

    One scan serves all causes.

    References: aalen1978.
    """
    sets = scan(time, status, w, causes, entry)
    return _accumulate(sets, (sets.time[:, None] <= np.atleast_1d(np.asarray(times, float))).astype(float))


def time_lost(
    time: Array,
    status: Array,
    w: Array,
    *,
    horizon: Array,
    causes: int | None = None,
    entry: Array | None = None,
) -> tuple[Array, Array]:
    """The mean time before each horizon lost to each cause: values (K, T) and scores (n, K, T).

    Beyond the last time seen a curve is held level; the caller judges whether a horizon lies there.

    References: andersen2013.
    """
    sets = scan(time, status, w, causes, entry)
    return _accumulate(sets, np.maximum(np.atleast_1d(np.asarray(horizon, float)) - sets.time[:, None], 0.0))


def restricted_mean(
    time: Array, status: Array, w: Array, *, horizon: Array, entry: Array | None = None
) -> tuple[Array, Array]:
    """The mean time before each horizon until leaving by any way out: values (T,) and scores (n, T).

    References: royston2013.
    """
    lost, scores = time_lost(time, np.asarray(status) > 0, w, horizon=horizon, causes=1, entry=entry)
    return np.atleast_1d(np.asarray(horizon, float)) - lost[0], -scores[:, 0]


def _left_by(sets: Scan, upto: Array) -> Array:
    """Whether each history had left, by any way out, by each time: (histories, T)."""
    return (sets.cause > 0)[:, None] & (sets.last[:, None] <= upto)


def _seen(drift: Array, sets: Scan, upto: Array) -> Array:
    """A running sum over the event times at which each history was at risk, by each time: (histories, T)."""
    return drift[np.minimum(sets.last[:, None], upto)] - drift[np.minimum(sets.first[:, None], upto)]


def _accumulate(sets: Scan, gain: Array) -> tuple[Array, Array]:
    """Sums over event times of gain_j S_(j-1) h_jk, with what each history adds to their error.

    ``gain`` is (m + 1, T): one column for each value asked for, known and free of the data's weights.
    A row's weight works through the survival before each later event (``trend`` while at risk,
    ``settled`` after it has left), through the risk set it enlarges, and through its own event.
    """
    first, last = sets.first, sets.last
    a = np.cumsum(sets.hazard.sum(axis=1) / (sets.at_risk * sets.room))
    a_before = np.append(0.0, a[:-1])
    settled = a[last] - a[first] - np.where(sets.cause > 0, sets.jump[last], 0.0)
    values, slopes = [], []
    for k, hazard in enumerate(sets.hazard.T, start=1):
        mass = sets.before * hazard
        total, drift, shared = (
            np.cumsum(gain * part[:, None], axis=0) for part in (mass, mass * a_before, mass / sets.at_risk)
        )
        trend = drift[last] - drift[first] - a[first][:, None] * (total[last] - total[first])
        slope = trend + settled[:, None] * (total[-1] - total[last]) - (shared[last] - shared[first])
        mine = sets.cause == k
        at = last[mine]
        slope[mine] += (sets.before / sets.at_risk)[at][:, None] * gain[at]
        values.append(total[-1])
        slopes.append(slope)
    return np.stack(values), sets.spread(_by_cause(slopes, sets, gain.shape[1]))


def _by_cause(slopes: list[Array], sets: Scan, width: int) -> Array:
    return np.stack(slopes, axis=1).reshape(len(sets.first), len(slopes), width)
