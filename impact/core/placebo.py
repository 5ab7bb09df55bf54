"""Placebo programmes: chances of treatment and planted effects for units to whom nothing happened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Array = np.ndarray


def shifted(predictor: Array, share: float, w: Array) -> Array:
    """(n,) probabilities expit(a + predictor), a such that their weighted mean is ``share``.

    Rows with a predictor of minus or plus infinity keep the probability 0 or 1.
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    free = np.isfinite(predictor)
    sure = w[~free & (predictor > 0)].sum()
    if not free.any() or not sure < share * w.sum() < sure + w[free].sum():
        raise ValueError(
            f"A placebo programme for {100 * share:.1f}% of {len(w):,} units was asked for, but the model of selection "
            f"leaves only {int(free.sum()):,} of them a choice: name fewer covariates, or levels with more units."
        )
    middle = np.median(predictor[free])
    reach = np.abs(predictor[free] - middle).max() + 50.0
    a = brentq(lambda a: w @ expit(a - middle + predictor) - share * w.sum(), -reach, reach, xtol=1e-12)
    return expit(a - middle + predictor)


class Plan(NamedTuple):
    """The effects to plant: as asked, as true in the group of interest, and the chance that a 0 or 1 is turned."""

    sizes: tuple[float, ...]
    truths: tuple[float, ...]
    turning: tuple[float, ...] | None

    def planted(self, y: Array, treated: Array, turned: Array, which: int) -> Array:
        """The outcome with the effect planted among the treated. ``turned`` (n,) are uniform draws."""
        size = self.sizes[which]
        if self.turning is None:
            return y + size * treated
        flips = treated & (turned < self.turning[which]) & (y == (0.0 if size > 0 else 1.0))
        return np.where(flips, 1.0 - y, y)


def plan(y: Array, chance: Array, w: Array, sizes: Sequence[float], estimand: str) -> Plan:
    """How to plant effects of these sizes.

    A measurement is raised by the size. An outcome of zeros and ones is turned for a random share
    of those who have the other value, such that the mean effect over the group of interest (the
    placebo treated for "ATT", the others for "ATC", all for "ATE") is the size.
    """
    sizes = tuple(sizes)
    if not zero_one(y):
        return Plan(sizes, sizes, None)
    over = w * {"ATT": chance, "ATC": 1 - chance, "ATE": np.ones(len(y))}[estimand]
    level = float(over @ y / over.sum())
    turning = []
    for size in sizes:
        room = 1 - level if size > 0 else level
        if abs(size) > room:
            raise ValueError(
                f"An effect of {size:g} was to be planted on an outcome whose mean is {level:.3f} without the "
                f"programme, which leaves room for {room:.3f}: plant a smaller one."
            )
        turning.append(abs(size) / room if size else 0.0)
    return Plan(sizes, sizes, tuple(turning))


def zero_one(y: Array) -> bool:
    return bool(((y == 0) | (y == 1)).all())
