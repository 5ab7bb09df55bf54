"""What was asked for, checked: each function returns the argument, or says in a sentence what it may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np


def number(
    value: Any,
    name: str,
    *,
    least: float = -np.inf,
    above: float = -np.inf,
    most: float = np.inf,
    below: float = np.inf,
    whole: bool = False,
    optional: bool = False,
) -> Any:
    """A number within its bounds: at least ``least``, more than ``above``, at most ``most``, less than ``below``."""
    if optional and value is None:
        return None
    kinds = int | np.integer if whole else int | float | np.integer | np.floating
    if (
        isinstance(value, bool | np.bool_)
        or not isinstance(value, kinds)
        or not (value >= least and value > above and value <= most and (value < below or below == np.inf))
    ):
        bounds = [f"of at least {least:g}"] * (least > -np.inf) + [f"above {above:g}"] * (above > -np.inf)
        bounds += [f"of at most {most:g}"] * (most < np.inf) + [f"below {below:g}"] * (below < np.inf)
        what = " ".join([f"a {'whole ' if whole else ''}number", " and ".join(bounds)]).strip()
        raise ValueError(f"`{name}` is {value!r}, and is {what}: set it so, or leave it out.")
    return value


def option(value: Any, name: str, known: Iterable[str]) -> str:
    """One of the words that are known."""
    *first, last = (repr(word) for word in known)
    if not isinstance(value, str) or repr(value) not in (*first, last):
        words = f"{', '.join(first)} or {last}" if first else last
        raise ValueError(f"`{name}` is {value!r}: choose {words}, or leave it out.")
    return value


def text(value: Any, name: str) -> str:
    """A name."""
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is {value!r}, and is a name in quotes: set it so, or leave it out.")
    return value


def function(value: Any, name: str) -> Callable[..., Any]:
    """Something to call with a sample."""
    if not callable(value):
        raise ValueError(f"`{name}` is {value!r}, and is a function of a sample: set it so, or leave it out.")
    return value


def mapping(value: Any, name: str, of: str, *, least: int = 1) -> dict[str, Any]:
    """A dictionary of names to ``of`` (a text that says what), with at least so many."""
    if not isinstance(value, Mapping) or len(value) < least or not all(isinstance(k, str) for k in value):
        raise ValueError(f"`{name}` is {value!r}, and is a dictionary of names to {of}: set it so, or leave it out.")
    return dict(value)


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
