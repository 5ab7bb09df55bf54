"""What designs that balance covariates by weights share: columns, targets, tolerances, and what to tell a reader."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from impact.core import balancing
from impact.core.linear import Coordinates, coordinates
from impact.core.moments import effective_size, mean, variance
from impact.core.threads import alone
from impact.matching.treatment import covariates
from impact.sample import Nuisance, Sample, told
from impact.show.words import counted, listing

Array = np.ndarray

MOMENTS = {1: "means", 2: "means and squares", 3: "means, squares and cubes"}

EXACT = 1e-7
"""A mean that misses its target by more than this share of a standard deviation is not balanced."""


def asked(sample: Sample, estimand: str | None, known: Iterable[str], what: str) -> tuple[Sample, str]:
    """The sample with the estimand asked for (the study's, if none) written into its study; others are refused."""
    chosen = sample.study.estimand if estimand is None else estimand
    known = tuple(known)
    if chosen not in known:
        raise ValueError(f"{what} for the estimand {chosen!r} was asked for: choose among {', '.join(known)}.")
    if chosen != sample.study.estimand:
        sample = replace(sample, study=sample.study.revise(estimand=chosen))
    return sample, chosen


class Columns(NamedTuple):
    """The columns to balance, (n, k), their names, and how far each may miss.

    ``slack`` (k,) is in the columns' units, with ``slack_scores`` (n, k), what each unit adds to it: a tolerance
    in standard deviations moves with the data. Both are None for exact balance.
    """

    x: Array
    names: tuple[str, ...]
    slack: Array | None = None
    slack_scores: Array | None = None


def columns(sample: Sample, what: str, moments: int, tolerance: float, estimand: str) -> Columns:
    """The sample's covariates, with powers up to ``moments`` of those that are not zeros and ones."""
    if isinstance(moments, bool) or not isinstance(moments, int | np.integer) or not 1 <= moments <= 3:
        raise ValueError(f"`moments` is {moments!r}: choose 1 for means, 2 for squares too, 3 for cubes too.")
    if not (isinstance(tolerance, int | float | np.number) and 0 <= tolerance < np.inf):
        raise ValueError(f"`tolerance` is {tolerance!r}, and is a number of standard deviations: set 0, or 0.05, say.")
    x, names = covariates(sample, what), sample.covariate_names
    if tolerance:
        # Every level of a factor has its tolerance; two levels are one column and its mirror.
        mirrored = {p[1] for p in sample.terms.values() if len(p) == 2 and _mirror(sample.characteristics[:, list(p)])}
        chosen = [j for j in range(sample.characteristics.shape[1]) if j not in mirrored]
        x, names = sample.characteristics[:, chosen], tuple(sample.characteristic_names[j] for j in chosen)
    x, names = _powers(x, told(names, x), sample.weights > 0, moments)
    if not tolerance:
        return Columns(x, names)
    width, scores = spread(x, sample, estimand)
    share = tolerance / 2 if estimand == "ATE" else tolerance  # each arm comes half the way
    return Columns(x, names, share * width, share * scores)


def _mirror(pair: Array) -> bool:
    return bool(np.ptp(pair.sum(axis=1)) == 0)


def _powers(x: Array, names: tuple[str, ...], used: Array, moments: int) -> tuple[Array, tuple[str, ...]]:
    """Powers are taken on [-1, 1], the range of the rows with weight: a choice that no weight moves."""
    if moments == 1:
        return x, names
    plain = np.flatnonzero(~((x == 0) | (x == 1)).all(axis=0))
    low, high = x[used][:, plain].min(axis=0), x[used][:, plain].max(axis=0)
    within = (x[:, plain] - (low + high) / 2) / np.where(high > low, (high - low) / 2, 1.0)
    blocks, words = [x], list(names)
    for power, word in ((2, "squared"), (3, "cubed"))[: moments - 1]:
        blocks.append(within**power)
        words += [f"{names[j]} {word}" for j in plain]
    return np.column_stack(blocks), tuple(words)


def spread(x: Array, sample: Sample, estimand: str) -> tuple[Array, Array]:
    """(k,) standard deviations in the group of interest (the two arms' average for the ATE), and (n, k) scores."""
    d, s = sample.treated, sample.weights
    groups = {"ATT": [d], "ATC": [~d]}.get(estimand, [d, ~d])
    square, scores = np.zeros(x.shape[1]), np.zeros(x.shape)
    for group in groups:
        w = s * group
        one = variance(x, w, unbiased=False)
        square += one / len(groups)
        scores += w[:, None] * ((x - mean(x, w)) ** 2 - one) / w.sum() / len(groups)
    root = np.sqrt(square)
    return root, scores / (2 * np.where(root > 0, root, 1.0))


class Balance(NamedTuple):
    """Weights and how they were estimated (None: not known).

    ``aside`` counts, by arm, the units that had to be left without weight; ``predictor`` (n,), by arm, is the linear
    predictor of every unit by that arm's weights, minus infinity for those set aside.
    """

    weights: Array
    nuisance: Nuisance | None
    aside: dict[str, int]
    predictor: dict[str, Array]


@alone
def balance(sample: Sample, over: Columns, family: balancing.Family, estimand: str, what: str) -> Balance:
    """Weigh each arm that is not itself the group of interest until its columns have that group's means."""
    d, s = sample.treated, sample.weights
    target = (s > 0) & {"ATT": d, "ATC": ~d}.get(estimand, np.ones(len(d), bool))
    weights, aside, predictor = s.copy(), {}, {}
    over = over._replace(x=np.asfortranarray(over.x))
    parts = []
    for arm, name in ((d, "treated"), (~d, "comparison")):
        if estimand == {"treated": "ATT", "comparison": "ATC"}[name]:
            continue
        found = _weigh(over, s, arm & (s > 0), target, family, f"{what} for the {estimand}", name)
        weights[arm] = found.weights[arm]
        aside[name], predictor[name] = found.aside, found.predictor
        parts.append(found.nuisance)
    nuisance = parts[0] if len(parts) == 1 else Nuisance(*(np.hstack(both) for both in zip(*parts, strict=True)))
    return Balance(weights, nuisance, aside, predictor)


class _Weighed(NamedTuple):
    weights: Array
    nuisance: Nuisance
    aside: int
    predictor: Array


def _weigh(
    over: Columns, s: Array, arm: Array, target: Array, family: balancing.Family, what: str, name: str
) -> _Weighed:
    """One arm: its weights (zero for all others), how they were estimated, how many were set aside."""
    rows, x = np.flatnonzero(arm), over.x
    mine = _rows(x, rows)
    if family.least == 0 and over.slack is None:
        stays = balancing.face(mine, _rows(x, np.flatnonzero(target)))
        if not stays.all():
            rows, mine = rows[stays], _rows(mine, np.flatnonzero(stays))
    where = balancing.standardised(mine, s[rows])
    if over.slack is not None:
        where = _every_column(where)
    z, toward, mass = balancing.columnwise(where, x), s * target, s[target].sum()
    slack, slack_scores = _totals(over, where, s, target)
    share, start = mass / s[rows].sum(), np.zeros(z.shape[1])
    start[0] = share if family is balancing.VARIANCE else np.log(max(share - family.least, 1e-3))
    try:
        found = balancing.dual(_rows(z, rows), s[rows], toward @ z, family, start=start, slack=slack)
    except balancing.Unsettled:
        raise ValueError(_cannot(over, s, rows, target, family, what, name)) from None
    weights, slope = np.zeros(len(s)), np.zeros(len(s))
    weights[rows], slope[rows] = s[rows] * found.ratio, s[rows] * found.slope
    missed = np.abs((weights - toward) @ x) / mass
    if (missed > EXACT * where.scale + (0.0 if over.slack is None else over.slack)).any():
        raise ValueError(_cannot(over, s, rows, target, family, what, name))
    push = (toward - weights)[:, None] * z
    if slack_scores is not None:
        push -= slack_scores * found.signs
    predictor = z @ found.parameters
    set_aside = arm.copy()
    set_aside[rows] = False
    predictor[set_aside] = -np.inf
    return _Weighed(weights, Nuisance(found.influence(push), slope[:, None] * z), int(set_aside.sum()), predictor)


def _rows(columns: Array, rows: Array) -> Array:
    """Some rows of an array that is stored column by column, stored likewise."""
    return columns.T.take(rows, axis=1).T


def _every_column(where: Coordinates) -> Coordinates:
    """Coordinates that leave nothing out: with a tolerance, a column that follows from others has its own."""
    every = np.arange(len(where.scale))
    return where._replace(kept=every, redundant=every[:0])


def _totals(over: Columns, where: Coordinates, s: Array, target: Array) -> tuple[Array | None, Array | None]:
    """The slack of the totals in these coordinates, with an intercept that has none, and its scores."""
    if over.slack is None or over.slack_scores is None:
        return None, None
    mass = s[target].sum()
    scores = np.where(target, s, 0.0)[:, None] * over.slack + mass * over.slack_scores
    zeros = np.zeros((len(s), 1))
    return np.concatenate([[0.0], mass * over.slack / where.scale]), np.hstack([zeros, scores / where.scale])


def _cannot(over: Columns, s: Array, rows: Array, target: Array, family: balancing.Family, what: str, name: str) -> str:
    """Why there are no such weights, naming the columns that stand in the way."""
    both = np.union1d(rows, np.flatnonzero(target))
    every = _every_column(coordinates(over.x[both], s[both]))
    z, goal = every.of(over.x[rows]), every.of(over.x[target])
    slack = np.zeros(z.shape[1])
    if over.slack is not None:
        slack[1:] = s[target].sum() * over.slack / every.scale
    total = s[target] @ goal
    missed = balancing.misses(z, s[rows], total, slack, family.least)[1:] * s[rows].sum() / s[target].sum()
    return cannot(what, name, len(rows), over.names, missed)


def cannot(what: str, name: str, count: int, names: tuple[str, ...], missed: Array) -> str:
    """The refusal: which columns miss, by how many standard deviations, and what to do."""
    worst = [j for j in np.argsort(-missed, kind="stable")[:3] if missed[j] > 1e-8]
    do = "Leave it out or merge its categories, allow a tolerance, or trim those with nobody like them first."
    if not worst:
        return (
            f"{what} was asked for, and can be had only with all but no weight on most of the {count:,} {name} units: "
            "no weights were settled on. Name fewer covariates, or allow a tolerance."
        )
    which = listing(f"`{names[j]}` (by {missed[j]:.2g} standard deviations at best)" for j in worst)
    return (
        f"{what} was asked for, but no weights on the {count:,} {name} units bring all covariates to the mean of the "
        f"group of interest: what cannot be balanced is {which}. {do}"
    )


# ---- words --------------------------------------------------------------------------------------


def worth(weights: Array, arm: Array, before: Array, name: str) -> str:
    """How many units of equal weight an arm is worth, in words."""
    count = int((arm & (before > 0)).sum())
    return f"{count:,} {name} units are worth {effective_size(weights[arm]):,.0f} of equal weight"


def heavy(weights: Array, arm: Array, name: str) -> tuple[str, ...]:
    """A note when few units carry much of an arm: one more than a tenth, or a twentieth of them more than half."""
    mine = weights[arm & (weights > 0)]
    if len(mine) < 2:
        return ()
    few = int(np.ceil(len(mine) / 20))
    top = np.partition(mine, len(mine) - few)[-few:] / mine.sum()
    if top.max() > 0.1:
        told = f"One of the {len(mine):,} {name} units carries {100 * top.max():.0f}%"
    elif top.sum() > 0.5:
        told = f"{counted(few, 'unit')} of the {len(mine):,} {name} units carry {100 * top.sum():.0f}%"
    else:
        return ()
    return (
        f"{told} of the arm's weight: the estimate leans on very few. Look at overlap, drop covariates that all but "
        "decide treatment, or match within a caliper.",
    )


def weighed(treated: Array, estimand: str) -> list[tuple[Array, str]]:
    """The arms that are given weights, with their names: all but the one that is the group of interest itself."""
    arms = {"ATT": (treated, "treated"), "ATC": (~treated, "comparison")}
    return [arm for own, arm in arms.items() if own != estimand]


def about(sample: Sample, found: Balance, estimand: str, how: str) -> dict[str, Any]:
    """The step, the notes and the line of the flow that go with the weights."""
    d, before, after = sample.treated, sample.weights, found.weights
    arms = weighed(d, estimand)
    left_out = tuple(
        f"{counted(count, f'{name} unit')} {'gets' if count == 1 else 'get'} no weight, having values of the "
        "covariates that nobody in the group of interest has."
        for name, count in found.aside.items()
        if count
    )
    return {
        "step": f"weighted for the {estimand} by {how}; "
        + listing(worth(after, arm, before, name) for arm, name in arms),
        "notes": (*left_out, *(note for arm, name in arms for note in heavy(after, arm, name))),
        "flow": "with a weight" if ((after == 0) & (before > 0)).any() else None,
    }
