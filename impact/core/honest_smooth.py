"""The shortest fixed-length interval for an effect when trends diverge smoothly.

delta (K + T,) is the difference in trends, zero in the reference period, and its second differences are at most M.
The estimator ``l' b_post + v' b_pre`` has, with z_j = sum over t > j of (t - j) v_t and t counted back from the
reference period, a bias of at most

    M (sum over j >= 0 of |sum over t > j of (t - j) l_t| + sum over j >= 1 of |z_j|),

provided that z_0 = sum of t l_t, so that straight lines cost nothing. The interval is the estimate plus and minus the
1 - alpha quantile of |N(bias, variance)|. Which v makes it shortest is found on the frontier of bias and variance.
That is a lasso in z, whose solutions are piecewise linear, so that one path serves every M.

References: rambachan2023, armstrong2018.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Array = np.ndarray


class Frontier(NamedTuple):
    """Knots of the path, from least bias to least variance: price of bias (p,), free parameters z (p, K - 1).

    ``weights @ (1, z)`` are the weights v of the K periods before; ``variance`` (K, K) is quadratic in (1, z);
    ``fixed`` is the bias that no weights avoid, per unit of M.
    """

    price: Array
    z: Array
    weights: Array
    post: Array
    variance: Array
    fixed: float

    def at(self, price: float) -> tuple[Array, float, float]:
        """The weights, the standard error and the bias per unit of M at a price."""
        z = np.array([np.interp(-price, -self.price, column) for column in self.z.T])
        full = np.concatenate([[1.0], z])
        return self.weights @ full, float(np.sqrt(full @ self.variance @ full)), self.fixed + float(np.abs(z).sum())


def frontier(vcov: Array, before: int, post: Array) -> Frontier:
    """All estimators that are best for some M: ``vcov`` (K + T, K + T), ``before`` is K, ``post`` the (T,) weights."""
    k, t = before, len(post)
    # v_t = z_{t-1} - 2 z_t + z_{t+1}, rows from the earliest period to the last before the reference.
    second = np.zeros((k, k + 2))
    for lag in range(1, k + 1):
        second[k - lag, lag - 1 : lag + 2] = (1.0, -2.0, 1.0)
    total = float(np.arange(1, t + 1) @ post)
    weights = np.column_stack([total * second[:, 0], second[:, 1:k]])
    whole = np.vstack([weights, np.column_stack([post, np.zeros((t, k - 1))])])
    variance = whole.T @ vcov @ whole
    ahead = np.array([np.arange(1, t - j + 1) @ post[j:] for j in range(t)])
    price, z = _lasso(variance[1:, 1:], variance[1:, 0])
    return Frontier(price, z, weights, np.asarray(post, float), variance, float(np.abs(ahead).sum()))


def _lasso(hessian: Array, linear: Array) -> tuple[Array, Array]:
    """The path of ``min z'Hz/2 + linear'z + price |z|_1`` over all prices: its knots, from the highest to zero."""
    p = len(linear)
    z, active, sign = np.zeros(p), np.zeros(p, bool), np.zeros(p)
    price = float(np.abs(linear).max(initial=0.0))
    prices, path = [price], [z.copy()]
    if price > 0:
        first = int(np.abs(linear).argmax())
        active[first], sign[first] = True, -np.sign(linear[first])
    just = -1
    while price > 0 and len(prices) < 50 * (p + 1):
        # Along the path the gradient of active coordinates is -price * sign: z = start - price * move.
        move, start = np.zeros(p), np.zeros(p)
        inner = np.linalg.inv(hessian[np.ix_(active, active)])
        start[active], move[active] = -inner @ linear[active], inner @ sign[active]
        nothing, slope = hessian @ start + linear, -hessian @ move
        crossing = np.full(p, -1.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            gone = np.where(active & (move != 0), start / move, -1.0)
            joins = np.stack([nothing / (1 - slope), nothing / (-1 - slope)])
        below = price * (1 - 1e-10)
        gone[(gone >= below) | ~np.isfinite(gone)] = -1.0
        if just >= 0:
            gone[just] = -1.0
        joins[:, active] = -1.0
        joins[~np.isfinite(joins) | (joins >= below)] = -1.0
        crossing = np.maximum(gone, joins.max(axis=0))
        nxt = int(crossing.argmax())
        price = max(float(crossing[nxt]), 0.0)
        z = start - price * move
        just = -1
        if price > 0:
            if active[nxt]:
                active[nxt], z[nxt], sign[nxt] = False, 0.0, 0.0
            else:
                active[nxt], just = True, nxt
                sign[nxt] = -np.sign((hessian @ z + linear)[nxt])
        prices.append(price)
        path.append(z.copy())
    return np.array(prices), np.array(path).reshape(len(prices), p)


def quantile(bias: float, chance: float) -> float:
    """The quantile of ``|N(bias, 1)|``."""
    from scipy import optimize
    from scipy.special import ndtr, ndtri

    top = bias + float(ndtri((1 + chance) / 2)) + 1e-9
    return float(optimize.brentq(lambda c: ndtr(c - bias) - ndtr(-c - bias) - chance, 0.0, top, xtol=1e-13))


def interval(of: Frontier, value: Array, most: float, level: float) -> tuple[float, float, Array]:
    """The estimate, half the length of the shortest interval if slopes change by at most ``most``, and its weights."""
    from scipy import optimize

    def slope(price: float) -> float:
        """Proportional to the derivative of the length along the frontier: negative where bias is still too dear."""
        _, error, bias = of.at(price)
        ratio = most * bias / error
        cut = quantile(ratio, 1 - level)
        up, down = np.exp(-((cut - ratio) ** 2) / 2), np.exp(-((cut + ratio) ** 2) / 2)
        rise = (up - down) / (up + down)
        return price * (cut - ratio * rise) - most * error * rise

    top = float(of.price[0])
    price = 0.0
    if most > 0 and top > 0:
        price = top if slope(top) <= 0 else float(optimize.brentq(slope, 0.0, top, xtol=1e-14 * top, rtol=1e-12))
    weights, error, bias = of.at(price)
    full = np.concatenate([weights, of.post])
    return float(full @ value), error * quantile(most * bias / error, 1 - level), full
