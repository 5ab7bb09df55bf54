"""Samples as panels with a synthetic comparison for each adoption group, and the errors of what is averaged of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from impact.core import arguments, synthetic_panel
from impact.core.synthetic import Block, Fit, noise
from impact.core.synthetic_panel import NEVER, Cells, Panel
from impact.did.cells import first_seen, measured_over_time, periods_of
from impact.sample import Sample, caution
from impact.show import digits
from impact.show.words import counted
from impact.study import Outcome

Array = np.ndarray

METHODS = {
    "synthetic_did": ("synthetic difference in differences", ("arkhangelsky2021",)),
    "synthetic_control": ("synthetic control on the outcomes before", ("abadie2010",)),
    "augmented": ("ridge-augmented synthetic control", ("benmichael2021",)),
    "did": ("difference in differences, all units and periods alike", ("arkhangelsky2021",)),
}
NAMES = {"placebo": "placebos", "jackknife": "the jackknife", "bootstrap": "the bootstrap"}
SOLVERS = {"frank_wolfe": "weights as R synthdid finds them", "exact": "weights at the optimum"}
APART = 1e-3
"""By how much of the effect and of a usual change the published solver may miss the optimum without a word."""

ERRATIC = 1.5
"""How many times the comparison units' usual change the treated units' may be without a word of caution."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How comparison paths are made and how their error is found; refused in words where it makes no sense."""

    method: str = "synthetic_did"
    errors: str | None = None
    draws: int = 200
    rng: Any = 0
    solver: str = "frank_wolfe"

    def __post_init__(self) -> None:
        arguments.option(self.method, "method", METHODS)
        arguments.option(self.solver, "solver", SOLVERS)
        if self.errors is not None:
            arguments.option(self.errors, "errors", NAMES)
        arguments.number(self.draws, "draws", least=20, most=1e5, whole=True)
        arguments.seed(self.rng, "rng")


class Found(NamedTuple):
    """One outcome: its panel, blocks, fits and cells, its periods, and the redrawn cells that give its error."""

    outcome: Outcome
    periods: Array
    panel: Panel
    parts: list[Block]
    fits: list[Fit]
    cells: Cells
    drawn: Cells
    errors: str
    notes: tuple[str, ...]

    @property
    def groups(self) -> Array:
        """(K,) the periods of adoption."""
        return self.periods[self.panel.starts]

    @property
    def ages(self) -> Array:
        """(K, T) periods since adoption."""
        return self.periods[None, :] - self.groups[:, None]


def found(sample: Sample, outcome: str | list[str] | None, options: Options) -> list[Found]:
    """Every outcome asked for, with the same draws for all."""
    asked = measured_over_time(sample, outcome)
    seed = int(np.random.default_rng(options.rng).integers(2**63))
    every = [np.asarray(sample.outcome(o.name, gaps=True), float).reshape(len(sample), -1) for o in sample.measured()]
    return [_one(sample, o, options, np.hstack(every), seed) for o in asked]


def _one(sample: Sample, outcome: Outcome, options: Options, keys: Array, seed: int) -> Found:
    periods = periods_of(sample, outcome)
    y = np.asarray(sample.outcome(outcome.name), float)
    first, notes = first_seen(sample, outcome, periods)
    used = (sample.weights > 0) & (first > periods[0])
    start = np.searchsorted(periods, np.where(np.isfinite(first), first, np.inf))
    _refuse_none(sample, outcome, int((start[used] == len(periods)).sum()), used)
    panel = synthetic_panel.arranged(y[used], sample.weights[used], sample.cluster[used], start[used], keys[used])
    _refuse_short(panel, periods, outcome, options)
    errors = _errors(panel, options)
    parts = synthetic_panel.blocks(panel, options.method, options.solver)
    cells, fits = synthetic_panel.estimated(panel, parts)
    rng = np.random.default_rng(seed)
    if errors == "jackknife":
        drawn = synthetic_panel.left_out(panel, parts, fits)
    else:
        copies = getattr(synthetic_panel, {"placebo": "placebos"}.get(errors, errors))(panel, options.draws, rng)
        # At the optimum, whatever the solver: their spread is the same to three digits, in a fraction of the time.
        drawn = synthetic_panel.again(panel, [part._replace(solver="exact") for part in parts], copies)
    notes += [*_whom(panel, fits, outcome, options.method), *_missed(panel, cells, parts, outcome, options)]
    notes += [*_erratic(panel, parts, outcome), *_sizes(panel)] if errors == "placebo" else []
    return Found(outcome, periods, panel, parts, fits, cells, drawn, errors, tuple(notes))


def _refuse_none(sample: Sample, outcome: Outcome, never: int, used: Array) -> None:
    if never < 2:
        raise ValueError(
            "A synthetic comparison is made of at least two units that are not treated up to the last period of "
            f"`{outcome.name}`, and among {int(used.sum()):,} units there {'is' if never == 1 else 'are'} {never}: add "
            "units never treated, or use impact.did.callaway_santanna, which compares with units not yet treated."
        )


def _refuse_short(panel: Panel, periods: Array, outcome: Outcome, options: Options) -> None:
    short = panel.starts < 2
    if options.method != "did" and short.any():
        units = int(np.isin(panel.group, np.flatnonzero(short)).sum())
        raise ValueError(
            f"Weights are chosen by the outcomes before adoption, and of `{outcome.name}` there is one period before "
            f"for the {counted(units, 'unit')} first treated in {periods[1]:g}: add earlier periods, leave these units "
            "out by an eligibility rule, or use method='did'."
        )


def _errors(panel: Panel, options: Options) -> str:
    """The way of finding the error that was asked for, or that these numbers of clusters allow.

    The jackknife bears treated units more erratic than the others, and placebos do not; but with the few weights of
    a synthetic control, held, it is far too wide, and with two treated clusters it covers too rarely.
    """
    held, free = synthetic_panel.clusters_of(panel)
    treated, donors = int(held.sum()), len(free)
    lone = int((held < 2).sum())
    need = {
        "placebo": (donors >= treated + 2, f"at least two comparison clusters more than the {treated:,} treated"),
        "jackknife": (not lone, "at least two treated clusters in every adoption group"),
        "bootstrap": (not lone, "at least two treated clusters in every adoption group"),
    }
    asked = options.errors
    if asked is None:
        sparse = options.method in ("synthetic_control", "augmented")
        asked, other = ("placebo", "jackknife") if lone or treated < 3 or sparse else ("jackknife", "placebo")
        asked = other if need[other][0] and not need[asked][0] else asked
    possible, words = need[asked]
    others = [repr(name) for name, (can, _) in need.items() if can]
    if not possible:
        raise ValueError(
            f"The error by {NAMES[asked]} needs {words}, and there are {counted(donors, 'comparison cluster')} and "
            f"{counted(treated, 'treated cluster')} in {counted(len(held), 'adoption group')}, {lone} of which "
            f"{'has' if lone == 1 else 'have'} one: {f'choose errors={others[0]}, or ' if others else ''}add units."
        )
    return asked


def _whom(panel: Panel, fits: list[Fit], outcome: Outcome, method: str) -> list[str]:
    """Whom the comparison is made of, without naming anybody."""
    donors = int((panel.group == NEVER).sum())
    if method == "did":
        return []
    said = []
    for fitted in fits:
        share = fitted.unit[0][panel.group == NEVER]
        said.append((int((np.abs(share) > 1e-6).sum()), 1 / float((share**2).sum()), float(share.max())))
    some, worth, most = (np.array(v) for v in zip(*said, strict=True))
    each = "" if len(fits) == 1 else f" for each of {len(fits)} adoption groups"

    def span(v: Array, form: str = "g") -> str:
        low, high = (format(x, form) for x in (v.min(), v.max()))
        return low if low == high else f"{low} to {high}"

    return [
        f"Of {counted(donors, 'comparison unit')} of `{outcome.name}`, {span(some)} have weight{each}, worth "
        f"{span(worth, '.1f')} alike; the largest weight is {span(100 * most, '.0f')}%."
    ]


def _erratic(panel: Panel, parts: list[Block], outcome: Outcome) -> list[str]:
    """Whether the treated were so much more erratic before that placebos understate their error."""
    ours = [noise(panel.y[:, : part.before], panel.w * (panel.group == k)) for k, part in enumerate(parts)]
    ratio = max((mine / part.noise if part.noise else 1.0) for mine, part in zip(ours, parts, strict=True))
    if not ratio > ERRATIC:
        return []
    return [*caution([
        f"From period to period before adoption `{outcome.name}` changes {ratio:.1f} times as much among the treated "
        "as among comparison units: the error that placebos give is too small."
    ])]  # fmt: skip


def _sizes(panel: Panel) -> list[str]:
    """Whether placebo clusters have fewer or more units than the treated, and so other errors."""
    held, free = synthetic_panel.clusters_of(panel)
    each, theirs = (panel.group != NEVER).sum() / held.sum(), (panel.group == NEVER).sum() / len(free)
    if not max(each / theirs, theirs / each) > ERRATIC:
        return []
    return [
        f"Treated clusters have {each:.1f} units on average and comparison clusters {theirs:.1f}: placebos are means "
        f"of {'fewer' if each > theirs else 'more'} units, and their error is "
        f"too {'large' if each > theirs else 'small'}."
    ]


def _missed(panel: Panel, cells: Cells, parts: list[Block], outcome: Outcome, options: Options) -> list[str]:
    """Whether the average effect would be another at the optimum that the published solver is on its way to."""
    if options.solver == "exact" or options.method in ("did", "augmented"):
        return []
    best, _ = synthetic_panel.estimated(panel, [part._replace(solver="exact") for part in parts])
    after = (np.arange(panel.y.shape[1]) >= panel.starts[:, None]).astype(float)[None]
    here, there = (float(synthetic_panel.averages(c, after)[0, 0]) for c in (cells, best))
    if not abs(here - there) > APART * (abs(there) + max(part.noise for part in parts)):
        return []
    places = digits.decimals([abs(here - there)])
    return [
        "The search for weights as R synthdid does it ends before the best are found: with those the average effect "
        f"on `{outcome.name}` is {digits.fixed(there, places)} rather than {digits.fixed(here, places)} "
        "(solver='exact')."
    ]
