"""One outcome of a sample as the panel that two-way effects are estimated on, and what is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from impact.core import arguments, goodman_bacon
from impact.did.cells import first_seen, periods_of
from impact.sample import Sample
from impact.study import Outcome

Array = np.ndarray

EFFECTS = {"within": "unit and period effects", "first_difference": "first differences with period effects"}
ERRORS = {"clustered": "errors by cluster", "conventional": "conventional errors"}
ALWAYS = {"leave_out": "units treated from the start left out", "keep": "units treated from the start kept"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Options:
    """What was asked for; refused in words where it makes no sense."""

    anticipation: float = 0
    effects: str = "within"
    errors: str = "clustered"
    always_treated: str = "leave_out"
    leads: float | None = None
    lags: float | None = None
    reference: Array | None = None

    def __post_init__(self) -> None:
        for name, known in (("effects", EFFECTS), ("errors", ERRORS), ("always_treated", ALWAYS)):
            arguments.option(getattr(self, name), name, known)
        arguments.number(self.anticipation, "anticipation", least=0, most=1e6)


class Panel(NamedTuple):
    """One outcome of a sample, its units sorted into groups that adopt together.

    ``first`` (C,) is each group's first treated period, infinite for never, ``start`` (C,) its position
    among the T periods; ``group`` (n,) the group of each unit; ``weights`` (n,) are zero for units left out.
    """

    outcome: Array
    periods: Array
    first: Array
    start: Array
    group: Array
    weights: Array
    covariates: Array
    notes: tuple[str, ...]

    @property
    def used(self) -> Array:
        return self.weights > 0

    @property
    def seen(self) -> Array:
        """(n, T) which observations there are, of units with weight."""
        return np.asarray(~np.isnan(self.outcome) & self.used[:, None])

    @property
    def gaps(self) -> bool:
        return bool((self.seen != self.used[:, None]).any())

    @property
    def once(self) -> Array:
        """(n,) units seen in a single period."""
        return np.asarray(self.seen.sum(axis=1) == 1)

    @property
    def repeated(self) -> bool:
        """A repeated cross-section: nobody is seen twice, and groups have constants in place of units."""
        return self.gaps and bool((self.seen.sum(axis=1) <= 1).all())


def panel_of(sample: Sample, outcome: Outcome, options: Options, *, after: bool = False) -> Panel:
    """The outcome, and who adopts when.

    Units treated in all periods are left out, or kept if so asked; with ``after``, those that are seen only after
    they adopt are kept in any case.
    """
    periods = periods_of(sample, outcome)
    seen, notes = first_seen(sample, outcome, periods, options.anticipation)
    assert sample.adoption is not None
    weights, always = sample.weights, seen == -np.inf
    if options.always_treated == "keep":
        seen = np.where(always, sample.adoption, seen)
        notes = [n.replace("and are left out", "and are kept as comparisons that are treated") for n in notes]
    else:
        weights = np.where(always, 0.0, weights)
    seen = np.where(seen > periods[-1], np.inf, seen)
    first, group = np.unique(np.where(weights > 0, seen, np.inf), return_inverse=True)
    panel = Panel(
        sample.outcome(outcome.name, gaps=True), periods, first, np.searchsorted(periods, first), group, weights,
        sample.covariates, (),
    )  # fmt: skip
    if not after and options.always_treated == "leave_out" and panel.gaps and not panel.repeated:
        adopts = np.isfinite(panel.first)[panel.group] & panel.used
        late = adopts & ~(panel.seen & (periods < panel.first[panel.group][:, None])).any(axis=1)
        if late.any():
            notes.append(
                f"{int(late.sum()):,} of {int(panel.used.sum()):,} units adopt while observed but are not seen before "
                f"in `{outcome.name}`, and are left out."
            )
        panel = panel._replace(weights=np.where(late, 0.0, panel.weights))
    return panel._replace(notes=(*notes, *_gap_notes(panel, outcome, options)))


def _gap_notes(panel: Panel, outcome: Outcome, options: Options) -> list[str]:
    """Who is not seen in every period, and what becomes of them."""
    if panel.repeated:
        if options.effects != "within":
            raise ValueError(
                f"First differences were asked for, and none of {int(panel.used.sum()):,} units is seen in more than "
                f"one period of `{outcome.name}`: use effects='within', in which adoption groups have constants."
            )
        return [f"No unit is seen twice in `{outcome.name}`: adoption groups have constants in place of units."]
    once, n = int(panel.once.sum()), int(panel.used.sum())
    if not once:
        return []
    return [f"{once:,} of {n:,} units are seen in a single period of `{outcome.name}` and say nothing on changes."]


def static_notes(panel: Panel, options: Options) -> list[str]:
    """How much of the estimate compares units with units that are treated already."""
    periods = len(panel.periods)
    weight = np.bincount(panel.group, panel.weights, len(panel.start))
    start, weight = panel.start[weight > 0], weight[weight > 0]
    groups = int((start < periods).sum())
    if groups < 2:
        return []
    said = f"Adoption is staggered over {groups} periods: "
    mislead = "which mislead where effects change over time or differ between groups"
    if options.effects != "within":
        return [f"{said}part of this estimate compares changes with those of units already treated, {mislead}."]
    parts = goodman_bacon.comparisons(start, weight, np.zeros((len(start), periods)))
    share = float(parts.weight[parts.forbidden].sum())
    where = " (in the balanced panel without covariates)" if panel.gaps or panel.covariates.shape[1] else ""
    return [
        f"{said}{100 * share:.0f}% of this estimate's weight{where} lies on comparisons with units already treated, "
        f"{mislead}; impact.checks.goodman_bacon lists them."
    ]


def dynamic_notes(panel: Panel, options: Options) -> list[str]:
    """That coefficients by time since adoption may mix effects of other times."""
    groups = len(np.unique(panel.group[panel.used & (panel.start < len(panel.periods))[panel.group]]))
    if groups < 2:
        return []
    return [
        f"Adoption is staggered over {groups} periods: where effects differ between adoption groups, each of these "
        "coefficients mixes effects of other times since adoption; impact.did.sun_abraham keeps them apart."
    ]
