"""Simulated lives, month by month: from unemployment to one of several exits, and perhaps back.

The same lives can be lived once, by the luck drawn for each person, or taken as their mean over all
luck, by a forward recursion of the probabilities. The first gives registers, the second their truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.int8]


class Lives(NamedTuple):
    """What happened, as zeros and ones, or what is expected, as probabilities."""

    exited: Floats  # (person, month, exit): left unemployment by this exit first, by this month
    present: Floats  # (person, month, state): in this state at the end of this month; 0 is unemployment


def uniform(seed: np.random.SeedSequence, shape: tuple[int, int]) -> Floats:
    """Uniform draws strictly between 0 and 1, one row a person: the same bytes for the same seed, always.

    Numpy promises that the raw stream of a bit generator stays as it is; of the distributions built on
    it, it does not. Draw from a distribution by its inverse distribution function of these.
    """
    raw = np.random.PCG64(seed).random_raw(shape[0] * shape[1])
    return ((raw >> np.uint64(11)).astype(np.float64) + 0.5).reshape(shape) * 2.0**-53


def probabilities(log_odds: Floats) -> Floats:
    """Multinomial logit: a month's probability of each exit, given its log-odds against staying.

    Parameters
    ----------
    log_odds : (person, month, exit)
    """
    odds = np.exp(log_odds)
    odds /= 1 + odds.sum(axis=2, keepdims=True)
    return odds


def lived(leave: Floats, back: Sequence[float], luck: Floats) -> Codes:
    """The state at the end of each month, by the luck drawn.

    Parameters
    ----------
    leave : (person, month, exit)
        A month's probability of each exit for a person unemployed at its beginning.
    back : one an exit
        A month's probability of unemployment again for a person who is there.
    luck : (person, 2 months)
        Uniform draws: for leaving in each month, then for coming back in each month.

    Returns
    -------
    (person, month) codes: 0 unemployed, k where the k-th exit leads.
    """
    people, months, exits = leave.shape
    come_back = np.array([0.0, *back])
    ceilings = leave.cumsum(axis=2)
    state = np.zeros(people, dtype=np.int8)
    states = np.empty((people, months), dtype=np.int8)
    for month in range(months):
        passed = (luck[:, month, None] >= ceilings[:, month]).sum(axis=1)  # exits that the draw lies beyond
        goes_to = np.where(passed == exits, 0, passed + 1)
        returns = luck[:, months + month] < come_back[state]
        state = np.where(state == 0, goes_to, np.where(returns, 0, state)).astype(np.int8)
        states[:, month] = state
    return states


def first_exit(states: Codes) -> tuple[NDArray[np.int64], Codes]:
    """Months until the first exit, and its code; all the months and 0 for a person without one."""
    left = states > 0
    first = left.argmax(axis=1)
    exit = np.take_along_axis(states, first[:, None], axis=1)[:, 0]
    return np.where(left.any(axis=1), first + 1, states.shape[1]), exit


def realised(states: Codes, exits: int) -> Lives:
    """Lives as they were lived."""
    months, exit = first_exit(states)
    by_now = months[:, None] <= np.arange(1, states.shape[1] + 1)
    return Lives(
        exited=(by_now[:, :, None] & (exit[:, None, None] == np.arange(1, exits + 1))).astype(float),
        present=(states[:, :, None] == np.arange(exits + 1)).astype(float),
    )


def expected(leave: Floats, back: Sequence[float]) -> Lives:
    """The mean of :func:`realised` over all luck. Parameters as in :func:`lived`."""
    people, months, exits = leave.shape
    stay = 1 - np.array(back)
    never_left = np.ones((people, 1))
    now = np.zeros((people, exits + 1))
    now[:, 0] = 1
    first, present = np.empty((people, months, exits)), np.empty((people, months, exits + 1))
    for month in range(months):
        first[:, month] = never_left * leave[:, month]
        never_left = never_left - first[:, month].sum(axis=1, keepdims=True)
        away = now[:, 1:] * stay + now[:, :1] * leave[:, month]
        now = np.column_stack([1 - away.sum(axis=1), away])
        present[:, month] = now
    return Lives(exited=first.cumsum(axis=1), present=present)
