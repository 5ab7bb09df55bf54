"""The promises as functions that measure how far an estimator is from keeping them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from impact import Estimate, Sample

Estimator = Callable[[Sample], Estimate]


def nudged(sample: Sample, i: int, share: float) -> Sample:
    """The sample with the weight of unit i changed by a share of itself."""
    factor = np.ones(len(sample))
    factor[i] += share
    return replace(sample, weights=sample.weights * factor, sampling=sample.sampling * factor)


def derivative(f: Estimator, sample: Sample, i: int, h: float = 2e-3) -> np.ndarray:
    """``w_i ∂θ/∂w_i`` by central differences with one Richardson step: an error of order h^4."""

    def central(step: float) -> np.ndarray:
        return (f(nudged(sample, i, step)).value - f(nudged(sample, i, -step)).value) / (2 * step)

    return (4 * central(h / 2) - central(h)) / 3


def derivative_gap(f: Estimator, sample: Sample, units: int = 12) -> float:
    """The largest gap between a unit's score and the derivative of the estimate in its weight.

    Relative to the largest score of the same value, so that euros and probabilities count alike.
    """
    e = f(sample)
    assert e.scores is not None and e.unit is not None
    row = {u: k for k, u in enumerate(e.unit)}
    size = np.abs(e.scores).max(axis=0)
    worst = 0.0
    for i in np.linspace(0, len(sample) - 1, units).astype(int):
        mine = e.scores[row[sample.unit[i]]] if sample.unit[i] in row else np.zeros(len(size))
        gap = np.abs(derivative(f, sample, i) - mine)
        worst = max(worst, float(np.max(np.divide(gap, size, out=gap.copy(), where=size > 0))))
    return worst


def same(a: Estimate, b: Estimate, rtol: float = 1e-7) -> bool:
    """Whether two estimates agree in values and covariance."""
    scale = np.sqrt(np.outer(np.diag(a.vcov), np.diag(a.vcov)))
    close = np.allclose(a.value, b.value, rtol=rtol, atol=rtol * max(1e-300, np.abs(a.value).max()))
    return bool(close and np.all(np.abs(a.vcov - b.vcov) <= rtol * np.maximum(scale, 1e-300)))


def frozen(sample: Sample) -> Sample:
    """The sample with every array made read-only, so that a method that writes into it fails."""

    def lock(value: Any) -> None:
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
        elif isinstance(value, tuple):
            for v in value:
                lock(v)
        elif isinstance(value, dict):
            for v in value.values():
                lock(v)

    copy = sample.take(np.arange(len(sample)))
    for value in vars(copy).values():
        lock(value)
    return copy
