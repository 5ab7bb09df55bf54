"""Logistic regression, what each row contributes to its error, and what to say when it has no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from impact.core.linear import Coordinates, blocks, coordinates, root_of, triangle
from impact.core.threads import alone

Array = np.ndarray

CONVERGED = 1e-11
"""Newton stops when no row's linear predictor moved more than this share of the largest."""


class Separated(NamedTuple):
    """Rows that the covariates place in one arm with certainty, and the columns that do it.

    ``rows`` are positions; ``treated`` and ``comparison`` count them by arm; ``names`` are words.
    """

    rows: Array
    treated: int
    comparison: int
    names: tuple[str, ...]

    def __bool__(self) -> bool:
        return len(self.rows) > 0


@dataclass(frozen=True, eq=False)
class LogitFit:
    """A fitted model of P(d = 1 | x).

    ``design`` (n, k) and ``coefficients`` (k,) are in the fit's own ``coordinates``. ``logit`` is
    the linear predictor and ``probability`` its inverse logit; of separated rows they are the
    limits that maximum likelihood tends to (0 or 1, and minus or plus infinity). ``treated`` and
    ``weights`` are what was fitted, with no weight on separated rows.
    """

    coordinates: Coordinates
    design: Array
    coefficients: Array
    logit: Array
    probability: Array
    treated: Array
    weights: Array
    separated: Separated

    @cached_property
    def pull(self) -> Array:
        """(n,): (d_i - p_i) w_i, and zero for separated rows."""
        rest = np.where(self.treated, _inverse(-self.logit), -self.probability)
        return np.where(self.weights > 0, self.weights * rest, 0.0)

    @cached_property
    def root(self) -> Array:
        """(k, k): the triangle R of R'R = Z'VZ, with V the weights times the variances of treatment."""
        used = slice(None) if (self.weights > 0).all() else self.weights > 0
        chance, h = self.weights[used], self.logit[used]
        return triangle(np.sqrt(chance * _inverse(h) * _inverse(-h))[:, None] * self.design[used])

    @property
    def redundant(self) -> Array:
        """Positions in x of the columns that earlier columns already explain."""
        return self.coordinates.redundant

    def in_units(self) -> Array:
        """Coefficients on [1, x] in the units of x, NaN for redundant columns."""
        return self.coordinates.in_units(self.coefficients)

    @property
    def influence(self) -> Array:
        """(n, k), made anew: what each row adds to the error of the coefficients, (Z'VZ)^{-1} z_i (d_i - p_i) w_i."""
        return self.carry(np.eye(len(self.root)))

    def carry(self, gradient: Array) -> Array:
        """The scores (n,) or (n, T) of a function of the coefficients with gradient (k,) or (k, T)."""
        direction = _back(self.root, gradient)
        pull = self.pull if direction.ndim == 1 else self.pull[:, None]
        return np.asarray(pull * (self.design @ direction))


@alone
def logit(d: Array, x: Array, w: Array, names: Sequence[str] | None = None) -> LogitFit:
    """Fit P(d = 1 | x) by weighted maximum likelihood.

    Newton's method (iteratively reweighted least squares) on centred and scaled columns, so that
    units of measurement change nothing. Columns that earlier ones explain are left out and
    reported as ``redundant``.

    Where a combination of covariates places some rows in one arm with certainty (a category seen
    in one arm only), the likelihood has no maximum but a limit: those rows have probability 0 or
    1, and the others the fit they have among themselves. That limit is what is returned, with
    the rows and columns in ``separated`` for the caller to report.

    Parameters
    ----------
    d : (n,) bool. x : (n, p) columns without intercept. w : (n,) non-negative weights.
    names : words for the columns of x, for messages.

    Raises
    ------
    ValueError
        One arm only; as many columns as rows; complete separation; no convergence.

    References
    ----------
    albert1984; correia2021 (separated rows are set aside and the rest fitted).
    """
    d, w, x = np.asarray(d, bool), np.asarray(w, float), np.asarray(x, float)
    names = tuple(names) if names is not None else tuple(f"column {j + 1}" for j in range(x.shape[1]))
    used = w > 0
    _ask_for_two_arms(d, used)
    left, blame = used.copy(), np.zeros(x.shape[1], bool)
    while True:
        where = coordinates(x, w * left)
        design = where.of(x)
        _ask_for_rows(left, used, design, blame, names)
        rows = slice(None) if left.all() else left
        coefficients, direction = _climb(d[rows], design[rows], w[rows])
        if direction is None:
            break
        pushed = np.abs(design @ direction)
        blame[where.kept] |= np.abs(direction[1:]) > 1e-3 * np.abs(direction[1:]).max(initial=0.0)
        left &= ~(pushed > 1e-4 * pushed[left].max())
        if d[left].all() or not d[left].any():
            raise ValueError(_complete(d, x, used, names, blame))
    # Term by term, not by BLAS: rows with the same covariates then tie exactly, wherever they stand.
    predictor = np.zeros(len(d))
    for block in blocks(len(d)):
        for j, b in enumerate(coefficients):
            predictor[block] += b * design[block, j]
    set_aside = used & ~left
    predictor[set_aside] = np.where(d[set_aside], np.inf, -np.inf)
    return LogitFit(
        where,
        design,
        coefficients,
        predictor,
        _inverse(predictor),
        d,
        w * left,
        Separated(
            np.flatnonzero(set_aside),
            int((set_aside & d).sum()),
            int((set_aside & ~d).sum()),
            tuple(name for name, to_blame in zip(names, blame, strict=True) if to_blame),
        ),
    )


def _inverse(predictor: Array) -> Array:
    small = np.exp(-np.abs(predictor))
    return np.where(predictor < 0, small, 1.0) / (1.0 + small)


def _climb(d: Array, design: Array, w: Array) -> tuple[Array, Array | None]:
    """Newton's method. Returns (coefficients, None), or (coefficients, direction of separation)."""
    w = w / w.mean()
    sign = np.where(d, 1.0, -1.0)
    coefficients = _first_guess(d, design, w)
    predictor = design @ coefficients
    loss, before = _loss(sign * predictor, w), np.inf
    root = None
    for turn in range(200):
        kept = root if before < 1e-4 else None  # after so small a step the triangle would hardly change
        step, root = _newton(d, design, w, predictor, kept)
        move = design @ step
        size, length = _largest(move) / (1 + _largest(predictor)), 1.0
        # Small enough; or as small as rounding allows, what is left no longer shrinking; or small, after a step that
        # squared the one before, so that what is left is the square of this one, or its product with the one before.
        squared = size <= min(3e-7, before**1.5) and (kept is None or size * before <= CONVERGED / 10)
        if size <= CONVERGED or (size <= 1e3 * CONVERGED and size > before / 2) or squared:
            return coefficients + step, None
        before = size
        ahead = predictor + move
        # An honest Newton step halves until it does not lose; ties are rounding, not loss. A small one cannot lose.
        if size > 1e-4:
            allowed, loss = loss * (1 + 1e-12), _loss(sign * ahead, w)
            while loss > allowed and length > 1e-6:
                length /= 2
                ahead = predictor + length * move
                loss = _loss(sign * ahead, w)
        coefficients, predictor = coefficients + length * step, ahead
        if turn >= 20 and turn % 5 == 0 and _separates(sign * move):
            return coefficients, step
    raise ValueError(
        f"The logistic regression on {design.shape[1] - 1} columns did not settle in 200 steps on {len(d)} rows. "
        "Look for extreme values in the covariates or the weights, or name fewer covariates."
    )


def _first_guess(d: Array, design: Array, w: Array) -> Array:
    """Where to start from: the share of treated or, with many rows, a few steps on some of them if these gain."""
    guess = np.zeros(design.shape[1])
    share = (w @ d) / w.sum()
    guess[0] = np.log(share / (1 - share))
    better, least = guess, max(5_000, 50 * len(guess))
    for share, most in ((least / len(d), 5), (1 / 8, 1)):  # many steps on few rows, then one on more of them
        some = slice(None, None, max(int(1 / share), 1))
        few, z, v = d[some], np.asfortranarray(design[some]), w[some]
        if 4 * len(few) > len(d) or len(few) < least or few.all() or not few.any():
            break
        for _ in range(most):
            step, _ = _newton(few, z, v, z @ better)
            better = better + step
            if not np.abs(better).max() < 30:  # the few may be separated where all are not
                return guess
            if np.abs(step).max() < 1e-2:
                break
    if better is guess:
        return guess
    sign = np.where(d, 1.0, -1.0)
    return better if _loss(sign * (design @ better), w) < _loss(sign * guess[0], w) else guess


def _newton(
    d: Array, design: Array, w: Array, predictor: Array, root: Array | None = None
) -> tuple[Array, Array | None]:
    """Newton's step, and the triangle of the information where it is good enough to serve again; or the step by a
    triangle of before."""
    k = design.shape[1]
    gram, pulled = np.zeros((k, k)), np.zeros(k)
    for rows in blocks(len(d)):
        z, h = design[rows].T, predictor[rows]
        small = np.exp(-np.abs(h))
        one = 1.0 + small
        pulled += z @ (w[rows] * (d[rows] - np.where(h < 0, small, 1.0) / one))
        if root is None:
            gram += (z * (w[rows] * small / (one * one))) @ z.T
    root = root_of(gram) if root is None else root
    if root is not None:
        return _back(root, pulled), root
    # The triangle of [Z, r] holds both R and Q'r, so Q (n x k) is never made.
    p, q = _inverse(predictor), _inverse(-predictor)
    half = np.sqrt(np.maximum(w * p * q, 1e-300))
    columns = np.column_stack([half[:, None] * design, w * np.where(d, q, -p) / half])
    whole = np.asarray(np.linalg.qr(columns, mode="r"))
    return np.asarray(np.linalg.solve(whole[:k, :k], whole[:k, k])), None


def _back(root: Array, right: Array) -> Array:
    """Solve R'R x = right, for a triangle R."""
    return np.asarray(np.linalg.solve(root, np.linalg.solve(root.T, right)))


def _separates(move: Array) -> bool:
    """Whether a direction only ever pushes rows towards the arm they are in.

    Far along, Newton's steps on a likelihood without a maximum settle on such a direction, which
    proves that there is none: going that way for ever never loses.
    """
    return bool(move.min() >= -1e-7 * move.max())


def _largest(x: Array) -> float:
    return float(max(x.max(), -x.min()))


def _loss(margin: Array, w: Array) -> float:
    total = 0.0
    for rows in blocks(len(w)):
        m = margin[rows]
        total += w[rows] @ (np.log1p(np.exp(-np.abs(m))) - np.minimum(m, 0.0))
    return float(total)


def _ask_for_two_arms(d: Array, used: Array) -> None:
    n = int(used.sum())
    if not d[used].any() or d[used].all():
        arm = "treated" if n and d[used].all() else "comparison"
        raise ValueError(
            f"A model of treatment was asked for, but all {n} rows with weight are in the {arm} arm. "
            "Keep units of both arms."
        )


def _ask_for_rows(left: Array, used: Array, design: Array, blame: Array, names: Sequence[str]) -> None:
    n, k = int(left.sum()), design.shape[1]
    if n > k:
        return
    aside = int(used.sum()) - n
    why = f" once {aside} rows that {_list(names, blame)} places in one arm are set aside" if aside else ""
    raise ValueError(
        f"A logistic regression on {k} columns (with the intercept) was asked of {n} rows{why}. "
        "Name fewer covariates or merge categories, or use more units."
    )


def _complete(d: Array, x: Array, used: Array, names: Sequence[str], blame: Array) -> str:
    """The message for complete separation, naming single columns that do it alone if there are any."""
    a, b = x[used & d], x[used & ~d]
    alone = (a.min(axis=0) > b.max(axis=0)) | (a.max(axis=0) < b.min(axis=0))
    who = _list(names, alone if alone.any() else blame)
    return (
        f"A model of treatment was asked for, but {who} tells the {len(a)} treated and the {len(b)} comparison "
        "units apart without error, so no two of them are comparable and the model has no maximum. Leave out "
        "covariates that follow from treatment, or choose a comparison group that overlaps with the treated."
    )


def _list(names: Sequence[str], chosen: Array, most: int = 5) -> str:
    found = [f"`{name}`" for name, c in zip(names, chosen, strict=True) if c]
    if not found:
        return "a combination of covariates"
    more = f" and {len(found) - most} more" if len(found) > most else ""
    how = "" if len(found) == 1 else "a combination of "
    return how + ", ".join(found[:most]) + more
