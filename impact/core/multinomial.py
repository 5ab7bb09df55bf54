"""Logistic regression of several arms, what each row contributes to its error, and what it says without an answer.

With arms coded 0 to K - 1, z the covariates with an intercept, and b_0 = 0,

    P(arm = k | x) = exp(z'b_k) / sum_a exp(z'b_a).

With two arms this is the regression of ``logit.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from impact.core.linear import Coordinates, coordinates, triangle
from impact.core.logit import CONVERGED

Array = np.ndarray

FLAT = 1e-8
"""A parameter is not identified when less than this share of its column is left by those before it."""


class MultinomialFit(NamedTuple):
    """A fitted model of P(arm = k | x).

    ``design`` (n, q) and ``coefficients`` (K - 1, q) are in the fit's own ``coordinates``; ``kept`` (m,) are the
    positions of the parameters that rows can tell, among the (K - 1) q, arm after arm. ``predictor`` (n, K) is the
    linear predictor, zero for arm 0; where the covariates bar a row from an arm it is minus infinity, and the
    probability zero: the limits that maximum likelihood tends to. ``pull`` (n, K - 1) is w_i (1(arm_i = k) - p_ik),
    and ``root`` (m, m) the triangle R of R'R, the information. ``names`` are the columns that bar rows.
    """

    coordinates: Coordinates
    design: Array
    coefficients: Array
    kept: Array
    predictor: Array
    probability: Array
    pull: Array
    root: Array
    names: tuple[str, ...]

    @property
    def barred(self) -> Array:
        """(n, K): which arms the covariates place a row outside of with certainty."""
        return np.isneginf(self.predictor)

    def in_units(self) -> Array:
        """(K - 1, 1 + p) coefficients on [1, x] in the units of x, NaN for redundant columns."""
        return self.coordinates.in_units(self.coefficients.T).T

    def columns(self, slopes: Array) -> Array:
        """(n, m): the derivative in the parameters of what has these (n, K - 1) slopes in the linear predictors."""
        return _products(slopes, self.design)[:, self.kept]

    @property
    def influence(self) -> Array:
        """(n, m), made anew: what each row adds to the error of the parameters."""
        return self.carry(np.eye(len(self.root)))

    def carry(self, gradient: Array) -> Array:
        """The scores (n,) or (n, T) of a function of the parameters with gradient (m,) or (m, T)."""
        return self.columns(self.pull) @ _solve(self.root, gradient)


def multinomial(
    arm: Array, x: Array, w: Array, names: Sequence[str] | None = None, arms: Sequence[str] | None = None
) -> MultinomialFit:
    """Fit P(arm = k | x) by weighted maximum likelihood.

    Newton's method on centred and scaled columns, so that units of measurement change nothing.

    Where a combination of covariates bars some rows from an arm with certainty (a category that an arm never has),
    the likelihood has no maximum but a limit: these rows have probability 0 there, and the arms left to them the fit
    they have among themselves. That limit is what is returned; see ``barred`` and ``names``.

    Parameters
    ----------
    arm : (n,) integer codes from 0. x : (n, p) columns without intercept. w : (n,) non-negative weights.
    names : words for the columns of x; arms : words for the arms, for messages.

    Raises
    ------
    ValueError
        An arm without rows; as many columns as rows; an arm that is told from all others without error; no
        convergence.

    References
    ----------
    albert1984.
    """
    x, w, arm = np.asarray(x, float), np.asarray(w, float), np.asarray(arm, int)
    count = len(arms) if arms is not None else int(arm.max()) + 1
    arms = tuple(arms) if arms is not None else tuple(f"arm {k}" for k in range(count))
    names = tuple(names) if names is not None else tuple(f"column {j + 1}" for j in range(x.shape[1]))
    used = np.flatnonzero(w > 0)
    own, allowed, blame = arm[used], np.ones((len(used), count), bool), np.zeros(x.shape[1], bool)
    where = coordinates(x, w)
    design = where.of(x)
    _ask_for_arms(own, arms)
    _ask_for_rows(len(used), design.shape[1])
    while True:
        kept = _identified(design[used], w[used], allowed)
        coefficients, direction = _climb(own, design[used], w[used], allowed, kept)
        if direction is None:
            break
        gap = _gaps(direction, design[used], own, allowed)
        allowed &= ~(gap > 1e-4 * gap.max())
        size = np.abs(direction[:, 1:]).max(axis=0)
        blame[where.kept] |= size > 1e-3 * size.max(initial=0.0)
        _ask_for_company(own, x[used], allowed, blame, names, arms)
    predictor = design @ np.column_stack([np.zeros(design.shape[1]), coefficients.T])
    predictor[used] = np.where(allowed, predictor[used], -np.inf)
    probability = _softmax(predictor)
    return MultinomialFit(
        where,
        design,
        coefficients,
        kept,
        predictor,
        probability,
        w[:, None] * _left(probability, arm)[:, 1:],
        _root(design[used], w[used], probability[used], kept),
        tuple(name for name, to_blame in zip(names, blame, strict=True) if to_blame),
    )


def _softmax(predictor: Array) -> Array:
    over = np.exp(predictor - predictor.max(axis=1, keepdims=True))
    return over / over.sum(axis=1, keepdims=True)


def _left(p: Array, arm: Array) -> Array:
    """(n, K): one for the own arm less the probability; by what others have, which keeps its digits near one."""
    left, rows = -p, np.arange(len(arm))
    left[rows, arm] = _others(p)[rows, arm]
    return left


def _others(p: Array) -> Array:
    return p @ (1.0 - np.eye(p.shape[1]))


def _products(slopes: Array, design: Array) -> Array:
    """(n, (K - 1) q): each slope times each column, arm after arm."""
    return (slopes[:, :, None] * design[:, None, :]).reshape(len(design), -1)


def _solve(root: Array, gradient: Array) -> Array:
    from scipy.linalg import solve_triangular

    return solve_triangular(root, solve_triangular(root, gradient, trans="T"))


def _root(design: Array, w: Array, p: Array, kept: Array) -> Array:
    """The triangle of the information on the parameters kept.

    A row's information is the covariance of the arm it may be in: the sum over arms a of p_a (1_a - p)(1_a - p)'.
    Its blocks are enough where the triangle loses no digits by them; else the rows themselves are stacked.
    """
    k, q = p.shape[1] - 1, design.shape[1]
    p = np.maximum(p, 1e-300)
    others, information = _others(p), np.empty((k * q, k * q))
    for a in range(k):
        for b in range(a, k):
            block = (w * p[:, a + 1] * (others[:, a + 1] if a == b else -p[:, b + 1]))[:, None] * design
            information[a * q : (a + 1) * q, b * q : (b + 1) * q] = design.T @ block
            information[b * q : (b + 1) * q, a * q : (a + 1) * q] = (design.T @ block).T
    try:
        root = np.linalg.cholesky(information[np.ix_(kept, kept)]).T
        size = np.diag(root)
        if size.min() > 1e-3 * size.max():
            return root
    except np.linalg.LinAlgError:
        pass  # not positive definite to rounding: exactly the case for the rows themselves
    return triangle(_stacked(design, w, p)[:, kept])


def _stacked(design: Array, w: Array, p: Array) -> Array:
    """(n K, (K - 1) q): rows whose squares are the information."""
    parts = []
    for a in range(p.shape[1]):
        slopes = _left(p, np.full(len(p), a))[:, 1:]
        parts.append(_products(np.sqrt(w * p[:, a])[:, None] * slopes, design))
    return np.vstack(parts)


def _identified(design: Array, w: Array, allowed: Array) -> Array:
    """(m,) positions of the parameters that the arms left to each row can tell, first come first kept."""
    everyone = np.arange((allowed.shape[1] - 1) * design.shape[1])
    if allowed.all():
        return everyone
    even = allowed / allowed.sum(axis=1, keepdims=True)
    shape = np.asarray(np.linalg.qr(_stacked(design, w / w.mean(), even), mode="r"))
    size = np.sqrt((shape**2).sum(axis=0))
    left = [int(j) for j in everyone if size[j] > FLAT * size.max()]
    while len(left):
        diagonal = np.abs(np.diag(np.linalg.qr(shape[:, left], mode="r")))
        short = np.flatnonzero(diagonal < FLAT * size[left])
        if not len(short):
            break
        left.pop(int(short[0]))
    return np.asarray(left, int)


def _climb(own: Array, design: Array, w: Array, allowed: Array, kept: Array) -> tuple[Array, Array | None]:
    """Newton's method. Returns (coefficients, None), or (coefficients, direction of separation)."""
    w = w / w.mean()
    k, q = allowed.shape[1] - 1, design.shape[1]
    shares = np.bincount(own, weights=w, minlength=k + 1)
    coefficients = np.zeros((k, q))
    coefficients[:, 0] = np.log(shares[1:] / shares[0])
    predictor = _predict(coefficients, design, allowed)
    loss, before = _loss(predictor, own, w), np.inf
    for turn in range(200):
        p = _softmax(predictor)
        step = np.zeros(k * q)
        score = (design.T @ (w[:, None] * _left(p, own)[:, 1:])).T.ravel()
        step[kept] = _solve(_root(design, w, p, kept), score[kept])
        step = step.reshape(k, q)
        move = design @ step.T
        top = np.abs(np.where(np.isfinite(predictor), predictor, 0.0)).max()
        size, length = np.abs(move).max() / (1 + top), 1.0
        # As in logit.py: small enough, or as small as rounding allows, or the square of a small step before.
        if size <= CONVERGED or (size <= 1e3 * CONVERGED and size > before / 2) or size <= min(1e-7, before**1.5):
            return coefficients + step, None
        before = size
        trial = _predict(coefficients + step, design, allowed)
        while size > 1e-4 and _loss(trial, own, w) > loss * (1 + 1e-12) and length > 1e-6:
            length /= 2
            trial = _predict(coefficients + length * step, design, allowed)
        coefficients, predictor = coefficients + length * step, trial
        loss = _loss(predictor, own, w)
        if turn >= 20 and turn % 5 == 0:
            gap = _gaps(step, design, own, allowed)
            if gap.min() >= -1e-7 * gap.max():
                return coefficients, step
    raise ValueError(
        f"The logistic regression of {k + 1} arms on {q - 1} columns did not settle in 200 steps on {len(own)} rows. "
        "Look for extreme values in the covariates or the weights, or name fewer covariates."
    )


def _predict(coefficients: Array, design: Array, allowed: Array) -> Array:
    found = np.column_stack([np.zeros(len(design)), design @ coefficients.T])
    return np.where(allowed, found, -np.inf)


def _loss(predictor: Array, own: Array, w: Array) -> float:
    top = predictor.max(axis=1)
    mine = predictor[np.arange(len(own)), own]
    return float(w @ (top - mine + np.log(np.exp(predictor - top[:, None]).sum(axis=1))))


def _gaps(direction: Array, design: Array, own: Array, allowed: Array) -> Array:
    """(n, K): how much more a direction pushes each row towards its own arm than towards another left to it.

    A direction that nowhere pushes towards another arm proves that the likelihood has no maximum: going
    that way for ever never loses.
    """
    push = np.column_stack([np.zeros(len(design)), design @ direction.T])
    return np.where(allowed, push[np.arange(len(own)), own][:, None] - push, 0.0)


# ---- refusals -----------------------------------------------------------------------------------


def _ask_for_arms(own: Array, arms: Sequence[str]) -> None:
    empty = [f"“{name}”" for k, name in enumerate(arms) if not (own == k).any()]
    if empty:
        raise ValueError(
            f"A model of {len(arms)} arms was asked for, but none of the {len(own)} rows with weight is in "
            f"{' or '.join(empty)}. Keep units of every arm."
        )


def _ask_for_rows(n: int, q: int) -> None:
    if n <= q:
        raise ValueError(
            f"A logistic regression on {q} columns (with the intercept) was asked of {n} rows. "
            "Name fewer covariates or merge categories, or use more units."
        )


def _ask_for_company(
    own: Array, x: Array, allowed: Array, blame: Array, names: Sequence[str], arms: Sequence[str]
) -> None:
    """Refuse an arm whose every row is barred from all others: nobody in it can be compared."""
    for k, name in enumerate(arms):
        mine = own == k
        if allowed[mine].sum() > mine.sum():
            continue
        a, b = x[mine], x[~mine]
        alone = (a.min(axis=0) > b.max(axis=0)) | (a.max(axis=0) < b.min(axis=0))
        chosen = alone if alone.any() else blame
        found = [f"`{n}`" for n, c in zip(names, chosen, strict=True) if c][:5]
        who = ", ".join(found) or "a combination of covariates"
        raise ValueError(
            f"A model of {len(arms)} arms was asked for, but {'a combination of ' if len(found) > 1 else ''}{who} "
            f"tells the {int(mine.sum())} units of “{name}” from all others without error, so they are comparable with "
            "nobody. Leave out covariates that follow from treatment, or leave out this arm."
        )
