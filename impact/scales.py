"""Scales on which a confidence interval is taken to be symmetric: (there, slope, back)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Function = Callable[[Array], Array]


def _inside(x: Array) -> Array:
    """Probabilities kept off 0 and 1, where these scales are infinite."""
    return np.clip(x, 1e-15, 1 - 1e-15)


SCALES: dict[str, tuple[Function, Function, Function]] = {
    "identity": (lambda x: x, np.ones_like, lambda x: x),
    "log": (np.log, lambda x: 1 / x, np.exp),
    "loglog": (
        lambda x: np.log(-np.log(_inside(x))),
        lambda x: 1 / (_inside(x) * np.log(_inside(x))),
        lambda x: np.exp(-np.exp(x)),
    ),
    "logit": (
        lambda x: np.log(_inside(x) / (1 - _inside(x))),
        lambda x: 1 / (_inside(x) * (1 - _inside(x))),
        lambda x: 1 / (1 + np.exp(-x)),
    ),
}
