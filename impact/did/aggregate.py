"""From cells to the five quantities that every estimator of staggered adoption gives by the same names.

``att_gt`` gives the cells themselves; ``event_study``, ``by_group``, ``by_period`` and ``att`` average them by
the weight of their adoption groups (Callaway and Sant'Anna 2021, section 3).

References: callaway2021.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from impact.core import arguments
from impact.did.cells import Effects, measured_over_time
from impact.estimate import Estimate
from impact.sample import Sample
from impact.study import Outcome

Array = np.ndarray
Names = str | list[str] | None
Cells = Callable[[Sample, Outcome], Effects]

AVERAGES = {
    "group": "",
    "simple": ", over groups and periods",
    "event": ", over times since adoption",
    "period": ", over periods",
}


class Part(NamedTuple):
    """Some values of one outcome: labels, (m,) values, (n, m) scores, and (m, C) the cells each rests on."""

    labels: dict[str, Array]
    value: Array
    scores: Array
    cells: Array


@dataclass(frozen=True)
class Quantities:
    """The five quantities of one estimator: ``cells`` gives the effects of each outcome asked for.

    ``about`` are words on the estimates, such as ``method`` and ``references``.
    """

    sample: Sample
    outcome: Names
    cells: Cells
    about: Mapping[str, Any]

    def att_gt(self) -> Estimate:
        """The cells: labels outcome, ``adoption_group`` and ``time``."""

        def part(found: Effects) -> Part:
            labels = {"adoption_group": found.group, "time": found.time}
            return Part(labels, found.value, found.scores, np.eye(len(found.value), dtype=bool))

        return self._estimate(part, "Effect by adoption group and period", "path", {"time": "period"})

    def event_study(self, balance: int | None = None) -> Estimate:
        """By ``time`` since adoption; with ``balance``, of groups observed that long after adoption."""
        if balance is not None:
            arguments.number(balance, "balance", least=0, whole=True)

        def part(found: Effects) -> Part:
            return _by_age(found, balance)

        axes = {"time": f"{self._period()}s since adoption"}
        return self._estimate(part, "Effect by time since adoption", "path", axes)

    def by_group(self) -> Estimate:
        """Each ``adoption_group``'s mean effect since its adoption."""
        return self._estimate(_by_group, "Effect by adoption group", "points", {})

    def by_period(self) -> Estimate:
        """In each ``time``, over the groups treated by then."""
        return self._estimate(_by_period, "Effect by period", "path", {"time": self._period()})

    def att(self, average: str = "group") -> Estimate:
        """One number, averaged as ``average`` says."""
        if average not in AVERAGES:
            raise ValueError(f"`average` is one of {', '.join(map(repr, AVERAGES))}, not {average!r}.")

        def part(found: Effects) -> Part:
            return _overall(found, average)

        return self._estimate(part, f"Average effect since adoption{AVERAGES[average]}", "points", {})

    def _period(self) -> str:
        """What a period is, in a word: the first of "month since enrolment"."""
        return measured_over_time(self.sample, self.outcome)[0].per.split()[0]

    def _estimate(self, part: Callable[[Effects], Part], estimand: str, kind: str, axes: Mapping[str, str]) -> Estimate:
        """What all five share: cells of each outcome, then the part of them that is asked for."""
        sample, asked = self.sample, measured_over_time(self.sample, self.outcome)
        found = [self.cells(sample, o) for o in asked]
        parts = [part(f) for f in found]
        labels: dict[str, Array] = {
            "outcome": np.concatenate([np.repeat(o.words, len(p.value)) for o, p in zip(asked, parts, strict=True)])
        }
        for name in parts[0].labels:
            labels[name] = np.concatenate([p.labels[name] for p in parts])
        notes = (*self.about.get("notes", ()), *(note for f in found for note in f.notes))
        words = {
            "estimand": estimand,
            "kind": kind,
            "axes": {**axes, "estimate": effect_on(asked)},
            "percent": all(is_share(sample.outcome(o.name, gaps=True)[sample.weights > 0]) for o in asked),
        }
        return Estimate.of(
            sample,
            labels,
            np.concatenate([p.value for p in parts]),
            np.column_stack([p.scores for p in parts]),
            rests_on=np.column_stack([f.treated(p.cells) for f, p in zip(found, parts, strict=True)]),
            fitted=max(f.fitted for f in found),
            **{**words, **self.about, "notes": tuple(dict.fromkeys(notes))},
        )


def _overall(found: Effects, average: str) -> Part:
    labels = {"term": np.array(["average effect since adoption"])}
    if average in ("group", "simple"):
        since = _since(found)
        count = np.array([((found.group == g) & since).sum() for g in found.group])
        share = since / np.maximum(count, 1) if average == "group" else since.astype(float)
        return Part(labels, *found.average(share[None, :]))
    of, value, scores, cells = _by_age(found, None) if average == "event" else _by_period(found)
    kept = of["time"] >= 0 if average == "event" else np.ones(len(value), bool)
    mean = np.array([value[kept].mean()])
    return Part(labels, mean, scores[:, kept].mean(axis=1, keepdims=True), np.asarray(cells[kept].any(axis=0))[None])


def _since(found: Effects) -> Array:
    """The cells since adoption, of which there must be some to average."""
    since = found.time >= found.group
    if not since.any():
        raise ValueError(
            f"None of the {len(since)} effects that can be estimated lies after adoption, for want of comparison "
            "units then: add units that adopt later or never."
        )
    return since


def _by_age(found: Effects, balance: int | None) -> Part:
    age = found.time - found.group
    if balance is not None:
        reach = np.array([age[found.group == g].max() for g in found.group])
        kept = (reach >= balance) & (age <= balance)
        if not kept.any():
            raise ValueError(
                f"No adoption group is observed {balance} periods after adoption, as `balance` asks; the longest is "
                f"{reach.max():g}: ask for at most that."
            )
    else:
        kept = np.ones(len(age), bool)
    ages = np.unique(age[kept])
    return Part({"time": ages}, *found.average(((age == ages[:, None]) & kept).astype(float)))


def _by_group(found: Effects) -> Part:
    since = _since(found)
    groups = np.unique(found.group[since])
    return Part({"adoption_group": groups}, *found.average(((found.group == groups[:, None]) & since).astype(float)))


def _by_period(found: Effects) -> Part:
    since = _since(found)
    times = np.unique(found.time[since])
    return Part({"time": times}, *found.average(((found.time == times[:, None]) & since).astype(float)))


def effect_on(asked: tuple[Outcome, ...]) -> str:
    """The words of the axis on which effects are drawn."""
    return f"effect on {asked[0].words}" if len(asked) == 1 else "effect"


def is_share(values: Array) -> bool:
    """Whether an outcome is yes or no wherever it is seen, so that effects are in percentage points."""
    return bool(((values == 0) | (values == 1) | np.isnan(values)).all())
