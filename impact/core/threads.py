"""One thread for matrix products of few columns, which several threads only slow down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def alone(function: Callable[P, T]) -> Callable[P, T]:
    """The function with BLAS on one thread while it runs: on blocks of rows with a dozen columns the others have
    nothing to do but to wait, which takes as much of a processor as work."""

    @wraps(function)
    def run(*args: P.args, **options: P.kwargs) -> T:
        with _limited():
            return function(*args, **options)

    return run


def _limited() -> AbstractContextManager[Any]:
    found = _controller()
    return nullcontext() if found is None else found.limit(limits=1, user_api="blas")


@cache
def _controller() -> Any:
    try:
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
    except ImportError:  # it comes with scikit-learn
        return None
    return ThreadpoolController()
