"""Whom a check looks at: the arms that are judged, levels of a covariate, one outcome at one time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from impact.core import arguments
from impact.core.linear import coordinates
from impact.sample import Sample
from impact.study import Outcome

Array = np.ndarray

MOST_LEVELS = 50


def of_two_arms(sample: Sample) -> None:
    """Refuse a sample of more than two arms, in words."""
    if sample.arm is not None:
        _ = sample.arms


def judged(sample: Sample) -> tuple[str, ...]:
    """The sides whose units the effect is about."""
    of_two_arms(sample)
    return {"ATT": ("treated",), "ATC": ("comparison",)}.get(sample.study.estimand, ("treated", "comparison"))


def levels(sample: Sample, term: str) -> list[tuple[str, Array]]:
    """The levels of a covariate in words, each with who has it as (n,) bool."""
    columns = list(sample.columns_of(arguments.text(term, "by")))
    x = sample.characteristics[:, columns]
    values, place = np.unique(x, axis=0, return_inverse=True)
    if len(values) > MOST_LEVELS:
        raise ValueError(
            f"Balance by `{term}` was asked for, which has {len(values):,} different values: name a covariate with "
            f"{MOST_LEVELS} levels or fewer, or cut it into groups first."
        )
    names = [sample.characteristic_names[j] for j in columns]
    found = [(_word(names, value), place.ravel() == k) for k, value in enumerate(values)]
    return found[::-1] if len(columns) > 1 else found  # the columns of a factor are in the order of its levels


def _word(names: list[str], value: Array) -> str:
    """A level by its column, as "school: basic"; a number by name and value, as "woman 1"."""
    if len(names) > 1 and value.sum() == 1 and set(value) <= {0.0, 1.0}:
        return names[int(value.argmax())]
    return ", ".join(f"{name} {v:g}" for name, v in zip(names, value, strict=True))


def single(sample: Sample, outcome: str | None = None, time: float | None = None) -> tuple[Sample, Array]:
    """The sample with one measured outcome only, and that outcome's values (n,).

    The study's first measured outcome, if none is named; of an outcome over time the period
    ``time``, or the last.
    """
    _ = sample.arms  # refuses staggered adoption in words
    arguments.number(time, "time", optional=True)
    asked = sample.measured(outcome)[0]
    values = np.asarray(sample.outcome(asked.name), float)
    words = asked.words
    if values.ndim == 2:
        periods = sample.periods[asked.name]
        at = len(periods) - 1 if time is None else _place(asked, periods, time)
        values, words = values[:, at], f"{words}, {asked.per} {periods[at]:g}"
    elif time is not None:
        raise ValueError(
            f"The outcome `{asked.name}` was asked for at time {time:g}, and is measured once: leave `time` out."
        )
    return with_outcome(sample, asked, values, words)


def with_outcome(sample: Sample, like: Outcome, values: Array, words: str) -> tuple[Sample, Array]:
    """The sample with these values (n,) as its only outcome, and the values."""
    of_two_arms(sample)
    only = Outcome(like.name, words, unit=like.unit)
    study = sample.study.revise(outcomes=only)
    return replace(sample, study=study, outcomes={only.name: values}, periods={}), values


def _place(asked: Outcome, periods: Array, time: float) -> int:
    found = np.flatnonzero(np.isclose(periods, time))
    if not len(found):
        raise ValueError(
            f"The outcome `{asked.name}` was asked for at time {time:g}, and is measured from {periods.min():g} to "
            f"{periods.max():g}: name one of its periods."
        )
    return int(found[0])


def without(sample: Sample, terms: Iterable[str]) -> tuple[Sample, tuple[str, ...]]:
    """The sample as if the study had never named these covariates, nor any that follow from others, and those left."""
    follow = set(sample.terms) - set(sample.distinct)
    gone = {j for term in (*terms, *follow) for j in sample.columns_of(term)}
    kept = [j for j in range(sample.characteristics.shape[1]) if j not in gone]
    place = {j: k for k, j in enumerate(kept)}
    left = {t: tuple(place[j] for j in columns if j in place) for t, columns in sample.terms.items()}
    left = {t: columns for t, columns in left.items() if columns}
    x = sample.characteristics[:, kept]
    names = tuple(sample.characteristic_names[j] for j in kept)
    full = coordinates(x, sample.sampling).kept if x.shape[1] else np.zeros(0, int)
    fewer = replace(
        sample,
        study=sample.study.revise(covariates=tuple(left)),
        characteristics=x,
        characteristic_names=names,
        covariates=np.ascontiguousarray(x[:, full]),
        covariate_names=tuple(names[j] for j in full),
        terms=left,
    )
    return fewer, tuple(left)
