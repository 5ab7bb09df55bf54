"""One event as it was followed in each arm: who was watched when, and the times that may be asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from impact.core import arguments, risk_sets
from impact.estimate import Estimate
from impact.sample import Durations, Sample
from impact.show.words import listing
from impact.study import Event

Array = np.ndarray

ENOUGH = 10
"""Fewer units at risk than this make a value that deserves a word of caution."""

POINTS = 60
"""The most times of a curve when the caller names none."""


@dataclass(frozen=True, eq=False)
class FollowUp:
    """An event, its durations, and the units' weights within each arm: zero outside it."""

    event: Event
    durations: Durations
    weights: dict[str, Array]

    def times(self, asked: Any = None) -> tuple[Array, tuple[str, ...]]:
        """The times asked for, or a grid while both arms are watched; with notes on thin ones.

        Times at which nobody of an arm is watched are refused: a curve says nothing there.
        """
        times = self._grid() if asked is None else self._asked(asked, "times")
        return times, self._thin(times)

    def horizon(self, asked: Any = None) -> tuple[Array, tuple[str, ...]]:
        """The horizons asked for, or the last time at which both arms are watched."""
        if asked is None:
            ends = [self.durations.time[w > 0].max() for w in self.weights.values()]
            horizon = np.array([min(ends)])
        else:
            horizon = self._asked(asked, "horizon")
            if (horizon <= 0).any():
                raise ValueError(
                    "A horizon of 0 or less was asked for, and no time passes before it: ask for a later one."
                )
        return horizon, self._thin(horizon)

    def curve(self, core: Callable[..., tuple[Array, Array]], **asked: Any) -> tuple[Array, Array]:
        """A function of ``core.risk`` in each arm, treated first: values (2, ...) and scores (n, 2, ...)."""
        time, status, entry = self.durations
        found = [core(time, status, w, entry=entry, **asked) for w in self.weights.values()]
        return np.stack([v for v, _ in found]), np.stack([s for _, s in found], axis=1)

    def at_risk(self, times: Array) -> dict[str, Array]:
        """How many units of each arm are watched just before each time, for the numbers under a curve."""
        time, _, entry = self.durations
        times = np.unique([0.0, *times])
        counts = [risk_sets.number_at_risk(time, w, times=times, entry=entry)[1] for w in self.weights.values()]
        return {**labels(group=list(self.weights), time=times), "at_risk": np.concatenate(counts)}

    def causes(self, cause: str | Sequence[str] | None) -> tuple[list[str], list[int]]:
        """The names of the causes asked for, and their places among the event's causes."""
        words = list(self.event.causes.values())
        asked = words if cause is None else list(arguments.texts(cause, "cause"))
        unknown = [c for c in asked if c not in words]
        if unknown or not asked:
            raise ValueError(
                f"The cause {listing(map(repr, unknown)) or 'of an empty list'} was asked for, and "
                f"`{self.event.status}` has {listing(map(repr, words))}: choose among these, or leave `cause` out."
            )
        return asked, [words.index(c) for c in asked]

    def _asked(self, asked: Any, what: str) -> Array:
        times = np.unique(arguments.numbers(asked, what))
        if not len(times) or not np.isfinite(times).all() or (times < 0).any():
            wrong = int((~(times >= 0) | np.isinf(times)).sum())
            raise ValueError(
                f"`{what}` holds {len(times)} times, of which {wrong} are missing, infinite or before time zero: "
                f"ask for {self.event.unit} from time zero on."
            )
        for name, w in self.weights.items():
            blind = ~self._watched(w, times)
            if blind.any():
                where = listing(f"{t:g}" for t in times[blind][:5]) + (" and later" if blind.sum() > 5 else "")
                raise ValueError(
                    f"`{self.event.duration}` was asked for at {where}, and nobody of the {int((w > 0).sum()):,} "
                    f"units in “{name}” is observed there: {self._advice()}."
                )
        return times

    def _watched(self, w: Array, times: Array) -> Array:
        """Whether the arm has somebody at risk just before each time, or has all left by then."""
        time, status, entry = self.durations
        _, rows = risk_sets.number_at_risk(time, w, times=times, entry=entry)
        sets = risk_sets.scan(time, status > 0, w, 1, entry)
        return (rows > 0) | (sets.survival[sets.upto(times)] == 0)

    def _grid(self) -> Array:
        """The event times while both arms are watched, if they are few; else times of equal distance."""
        time, status, _ = self.durations
        used = sum(self.weights.values()) > 0
        times = np.unique(time[used & (status > 0)])
        if not 0 < len(times) <= POINTS:
            end = time[used].max()
            step = _step(end)
            times = step * np.arange(1, int(end / step * (1 + 1e-12)) + 1)
        both = np.all([self._watched(w, times) for w in self.weights.values()], axis=0)
        if not both.any():
            raise ValueError(
                f"There is no time at which units of both arms are observed in `{self.event.duration}`: look at the "
                "durations and entries of each arm."
            )
        return times[both]

    def _thin(self, times: Array) -> tuple[str, ...]:
        notes = []
        for name, w in self.weights.items():
            _, rows = risk_sets.number_at_risk(self.durations.time, w, times=times, entry=self.durations.entry)
            few = times[rows < ENOUGH]
            if len(few):
                when = (
                    f"{len(few)} of the {len(times)} times, the first at {few[0]:g}"
                    if len(times) > 1
                    else f"{few[0]:g}"
                )
                notes.append(
                    f"Fewer than {ENOUGH} units of “{name}” are at risk at {when} ({self.event.unit}): "
                    "read the values there with care."
                )
            notes += self._emptied(name, w)
        return tuple(notes)

    def _emptied(self, name: str, w: Array) -> list[str]:
        """Under delayed entry an early risk set may be so small that its events end the curve for good."""
        time, status, entry = self.durations
        if entry is None:
            return []
        sets = risk_sets.scan(time, status > 0, w, 1, entry)
        over = np.flatnonzero(sets.survival == 0)
        if not len(over):
            return []
        later = int(((w > 0) & (time > sets.time[over[0]])).sum())
        if not later:
            return []
        return [
            f"In “{name}” everybody at risk early on ({int(sets.rows_at_risk[over[0]])} units) had left before "
            f"{later:,} other units of `{self.event.duration}` left or entered, so the curve ends there: start the "
            "follow-up later."
        ]

    def _advice(self) -> str:
        """What to ask for instead: a round time at which enough units of both arms are at risk."""
        time, _, entry = self.durations
        step = _step(max(time[w > 0].max() for w in self.weights.values()))
        grid = step * np.arange(0, POINTS + 1)
        rows = [risk_sets.number_at_risk(time, w, times=grid, entry=entry)[1] for w in self.weights.values()]
        enough = grid[np.min(rows, axis=0) >= ENOUGH]
        if not len(enough):
            return "ask for earlier times, or leave them out for the times that can be had"
        return f"ask for times up to {enough[-1]:g}, when at least {ENOUGH} units of each arm still are"


class Part(NamedTuple):
    """What one event adds to an estimate: labels, (k,) values, (n, k) scores and notes."""

    labels: dict[str, Array]
    value: Array
    scores: Array
    notes: tuple[str, ...] = ()


class Followed(NamedTuple):
    """The events asked for, as followed in each arm of a sample."""

    sample: Sample
    events: tuple[FollowUp, ...]

    def estimate(self, parts: Sequence[Part], **about: Any) -> Estimate:
        """One estimate from a part for each event, told apart by the label ``outcome``."""
        both = list(zip(self.events, parts, strict=True))
        columns: dict[str, Array] = {
            "outcome": np.concatenate([np.repeat(f.event.words, p.value.size) for f, p in both])
        }
        for name in parts[0].labels:
            columns[name] = np.concatenate([p.labels[name] for p in parts])
        value = np.concatenate([p.value.ravel() for p in parts])
        scores = np.column_stack([p.scores.reshape(len(self.sample), -1) for p in parts])
        notes = tuple(dict.fromkeys(note for p in parts for note in p.notes))
        return Estimate.of(self.sample, columns, value, scores, notes=notes, **about)

    def drawing(self, parts: Sequence[Part], start: float) -> dict[str, Any]:
        """What a figure of curves shows besides them: their value at time zero, and how many are at risk."""
        if len(self.events) > 1:  # each has numbers of its own
            return {"start": start}
        return {"start": start, "at_risk": self.events[0].at_risk(parts[0].labels["time"])}

    @property
    def unit(self) -> str:
        """The unit of time, of the first event if they differ."""
        return self.events[0].event.unit

    @property
    def since(self) -> str:
        """Words for a time axis: "months since enrolment"."""
        start = self.sample.study.time_zero.split(",")[0].strip()
        start = re.sub(r"^(the )?(day|date|week|month|quarter|year) of ", "", start)
        return f"{self.unit} since {start if 0 < len(start) <= 40 else 'time zero'}"


def follow_up(sample: Sample, outcome: str | Sequence[str] | None) -> Followed:
    """The events asked for, as followed in each arm. Refuses studies without arms or events."""
    arms, events = sample.arms, sample.events(outcome)
    weights = {name: np.where(arm, sample.weights, 0.0) for name, arm in arms.items()}
    for name, w in weights.items():
        if not (w > 0).any():
            raise ValueError(
                f"None of the {int(arms[name].sum()):,} units in “{name}” has a weight left, so there is no curve to "
                "draw for it: loosen the design that set their weights to zero."
            )
    return Followed(sample, tuple(FollowUp(event, sample.outcome(event.name), weights) for event in events))


def labels(**columns: Any) -> dict[str, Array]:
    """Every combination of the columns' values, the last column fastest, as the arrays are laid out."""
    grid = np.meshgrid(*(np.arange(len(v)) for v in columns.values()), indexing="ij")
    return {name: np.asarray(list(v))[at.ravel()] for (name, v), at in zip(columns.items(), grid, strict=True)}


def _step(end: float) -> float:
    """A round step that makes at most ``POINTS`` times: one, where that gives a dozen or more."""
    if 12 <= end <= POINTS:
        return 1.0
    power = 10.0 ** np.floor(np.log10(max(end, 1e-9) / POINTS))
    return float(next(m * power for m in (1, 2, 5, 10, 20) if end / (m * power) <= POINTS))
