"""What was asked for, checked: each function returns the argument, or says in a sentence what it may be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def number(
    value: Any, name: str, *, least: float = -np.inf, above: float = -np.inf, most: float = np.inf, whole: bool = False
) -> Any:
    """A number within its bounds: at least ``least``, more than ``above``, at most ``most``."""
    kinds = int | np.integer if whole else int | float | np.integer | np.floating
    if (
        isinstance(value, bool | np.bool_)
        or not isinstance(value, kinds)
        or not (value >= least and value > above and value <= most)
    ):
        bounds = [f"of at least {least:g}"] * (least > -np.inf) + [f"above {above:g}"] * (above > -np.inf)
        bounds += [f"of at most {most:g}"] * (most < np.inf)
        what = " ".join([f"a {'whole ' if whole else ''}number", " and ".join(bounds)]).strip()
        raise ValueError(f"`{name}` is {value!r}, and is {what}: set it so, or leave it out.")
    return value


def yes_or_no(value: Any, name: str) -> bool:
    """True or False, and nothing that Python merely takes for one of them."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"`{name}` is {value!r}, and is True or False: set it so, or leave it out.")
    return bool(value)


def texts(value: Any, name: str) -> tuple[str, ...]:
    """A name, or several."""
    found = (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)
    if not all(isinstance(v, str) for v in found):
        raise ValueError(
            f"`{name}` is {value!r}, and is a name in quotes, or a list of them: set it so, or leave it out."
        )
    return found


def numbers(value: Any, name: str) -> np.ndarray:
    """A number, or a list of them, as (k,) float."""
    try:
        found = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        found = np.empty((0, 0))
    if found.ndim > 1:
        raise ValueError(f"`{name}` is {value!r}, and is a number, or a list of them: set it so, or leave it out.")
    return np.atleast_1d(found)


def seed(value: Any, name: str) -> Any:
    """Something to draw random numbers from: None, a whole number, or a generator of numpy."""
    generators = np.random.Generator | np.random.BitGenerator | np.random.SeedSequence
    if value is None or isinstance(value, generators):
        return value
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise ValueError(
            f"`{name}` is {value!r}, and is a whole number from 0 on or a numpy Generator: set it so, or leave it out."
        )
    return value
