"""The regression behind two-way effects: from a sample to regressors by adoption group, and to values with errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from impact.core import arguments, bell_mccaffrey, goodman_bacon
from impact.core.collapsed import Collapsed, collapsed
from impact.core.regression import Regression, regress
from impact.core.small_sample import FEW, Small
from impact.did.cells import first_seen, periods_of
from impact.sample import Sample, caution
from impact.show.words import listing
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


class Terms(NamedTuple):
    """Regressors: ``pattern`` (C, T, K), of which the first k, labelled by ``labels``, are reported."""

    labels: dict[str, Array]
    pattern: Array


class Fitted(NamedTuple):
    """Values of one outcome with (n, k) scores and what their errors can be made of.

    ``treated`` (n, k) says which units are treated behind each value.
    """

    labels: dict[str, Array]
    value: Array
    scores: Array
    treated: Array
    small: Small | None
    few: bool
    conventional: Array
    degrees: int
    notes: tuple[str, ...]


def panel_of(sample: Sample, outcome: Outcome, options: Options) -> Panel:
    """The outcome, and who adopts when; units treated from the start are left out, or kept if so asked."""
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


def static(panel: Panel, options: Options) -> Terms:
    """Treated or not; and, besides, whether in the periods of anticipation."""
    age = panel.periods - panel.first[:, None]
    columns = [age >= 0]
    if options.anticipation:
        columns.append((age < 0) & (age >= -options.anticipation))
    pattern = np.stack(columns, axis=2).astype(float)
    return Terms({"term": np.array(["average effect since adoption"])}, pattern)


def dynamic(panel: Panel, options: Options) -> Terms:
    """A column for each time since adoption, the last before adoption and others of reference left out.

    Lags come first and early leads last: of columns that say the same, the later go.
    """
    step = panel.periods[1] - panel.periods[0]
    base = -options.anticipation - step
    age = panel.periods - panel.first[:, None]
    low = -np.inf if options.leads is None else -options.leads
    if options.reference is None and options.leads is not None:
        low = min(low, base)
    high = np.inf if options.lags is None else options.lags
    age = np.where(np.isfinite(age), np.clip(age, low, high), np.nan)
    times = np.unique(age[np.isfinite(age)])
    # The last period before, on the periods' own grid: anticipation need not be a multiple of their step.
    zero = np.array([times[times <= base].max(initial=-np.inf)]) if options.reference is None else options.reference
    strange = [z for z in zero if not np.isclose(times, z).any()]
    if strange:
        raise ValueError(
            f"`reference` is to be a time since adoption at which treated units are seen, and {len(strange)} of "
            f"{len(zero)} is not: there are {listing(f'{t:g}' for t in times)}."
        )
    times = times[~np.isclose(times[:, None], zero).any(axis=1)]
    if not len(times):
        raise ValueError(
            "No time since adoption is left besides the reference: ask for more `leads` or `lags`, or fewer references."
        )
    times = np.concatenate([times[times >= 0], times[times < 0][::-1]])
    return Terms({"time": times}, (age[:, :, None] == times).astype(float))


def fitted(sample: Sample, outcome: Outcome, panel: Panel, terms: Terms, options: Options) -> Fitted:
    """The regression: from group means where every unit is seen, else on all observations."""
    k = len(next(iter(terms.labels.values())))
    live = sample.weights > 0
    cluster = np.zeros(len(sample), int)
    cluster[live] = np.unique(sample.cluster[live], return_inverse=True)[1]
    covers = _covers(panel, terms)
    few = bool((_sides(cluster, panel, covers) < FEW).any())
    exact = few and sample.nuisance is None and options.errors == "clustered"
    exact = exact and _affordable(cluster, panel, terms)
    fit = regression(outcome, panel, terms, options, all_observations=exact or panel.gaps)
    kept = np.flatnonzero(fit.kept < k)
    place = fit.kept[kept]
    small = None
    if exact and isinstance(fit, Regression):
        small = fit.small(cluster)
        small = None if small is None else small.carry(np.eye(len(fit.kept))[kept])
    order = np.argsort(next(iter(terms.labels.values()))[place], kind="stable")
    picked, place = kept[order], place[order]
    return Fitted(
        {name: label[place] for name, label in terms.labels.items()},
        fit.coefficients[picked],
        fit.scores[:, picked],
        (covers[:, place])[panel.group] & panel.used[:, None],
        None if small is None else small.carry(np.eye(len(order))[order]),
        few,
        fit.conventional()[np.ix_(picked, picked)],
        fit.degrees,
        _untold(terms, np.setdiff1d(np.arange(k), fit.kept), panel),
    )


def _covers(panel: Panel, terms: Terms) -> Array:
    """(C, k): which groups a value is about; where none is never treated, the last to adopt stand against them."""
    covers = (terms.pattern != 0).any(axis=1)
    return covers & (panel.start < panel.start.max())[:, None]


def _sides(cluster: Array, panel: Panel, covers: Array) -> Array:
    """(2, k): the clusters with units that a value is about, and those with others."""
    member = np.zeros((int(cluster.max()) + 1, len(panel.start)), bool)
    member[cluster[panel.used], panel.group[panel.used]] = True
    touched = np.array([member @ covers, member @ ~covers])
    return touched.sum(axis=1)


def _affordable(cluster: Array, panel: Panel, terms: Terms) -> bool:
    columns = terms.pattern.shape[2] + len(panel.periods) * (1 + panel.covariates.shape[1])
    return (int(cluster.max()) + 1) * float(columns) ** 3 <= bell_mccaffrey.WORK


def regression(
    outcome: Outcome, panel: Panel, terms: Terms, options: Options, *, all_observations: bool
) -> Regression | Collapsed:
    y, pattern, within = panel.outcome, terms.pattern, options.effects == "within"
    if not within:
        y, pattern = np.diff(y, axis=1), np.diff(pattern, axis=1)
    try:
        if not all_observations:
            return collapsed(y, panel.group, pattern, panel.covariates, panel.weights, within=within)
        unit, period = np.nonzero(~np.isnan(y) & panel.used[:, None])
        if not len(unit):
            raise ValueError("No unit is seen in two periods running, to take differences of: use effects='within'.")
        x = pattern[panel.group[unit], period]
        later = range(1 if within and not panel.repeated else 0, y.shape[1])
        own = [(period == t) * z[unit] for z in panel.covariates.T for t in later]
        constants = panel.group[unit] if panel.repeated else unit
        effects = (constants, period) if within else (period,)
        return regress(y[unit, period], np.column_stack([x, *own]), row=unit, effects=effects, weights=panel.weights)
    except ValueError as reason:
        raise ValueError(f"The effect on `{outcome.name}` cannot be estimated by two-way effects. {reason}") from reason


def _untold(terms: Terms, lost: Array, panel: Panel) -> tuple[str, ...]:
    if not len(lost):
        return ()
    times = np.sort(terms.labels["time"][lost])
    never = "" if (panel.start == len(panel.periods)).any() else ", no unit being never treated"
    return caution([
        f"The effect at {listing(f'{t:g}' for t in times)} periods since adoption cannot be told from the effects of "
        f"units and periods{never}: it is set to zero, and all others are measured from it too."
    ])  # fmt: skip


def refuse_conventional(sample: Sample, asked: tuple[Outcome, ...], options: Options) -> None:
    """Conventional errors know one outcome, and weights that are given."""
    if options.errors == "clustered":
        return
    if len(asked) > 1:
        raise ValueError(
            f"Conventional errors were asked for {len(asked)} outcomes, and how these go together is not in them: "
            "name one `outcome`, or use errors='clustered'."
        )
    if sample.nuisance is not None:
        raise ValueError(
            f"Conventional errors were asked for, and the weights of this sample were estimated ({sample.steps[-1]}), "
            "whose error they leave out: use errors='clustered'."
        )


def static_notes(panel: Panel, options: Options) -> list[str]:
    """How much of the estimate compares units with units that are treated already."""
    start, periods = panel.start, len(panel.periods)
    groups = int((start < periods).sum())
    if groups < 2:
        return []
    said = f"Adoption is staggered over {groups} periods: "
    mislead = "which mislead where effects change over time or differ between groups"
    if options.effects != "within":
        return [f"{said}part of this estimate compares changes with those of units already treated, {mislead}."]
    weight = np.bincount(panel.group[panel.used], panel.weights[panel.used], len(start))
    parts = goodman_bacon.comparisons(start, weight, np.zeros((len(start), periods)))
    share = float(parts.weight[parts.forbidden].sum())
    where = " (in the balanced panel without covariates)" if panel.gaps or panel.covariates.shape[1] else ""
    return [
        f"{said}{100 * share:.0f}% of this estimate's weight{where} lies on comparisons with units already treated, "
        f"{mislead}; impact.checks.goodman_bacon lists them."
    ]


def dynamic_notes(panel: Panel, options: Options) -> list[str]:
    """That coefficients by time since adoption may mix effects of other times."""
    groups = int((panel.start < len(panel.periods)).sum())
    if groups < 2:
        return []
    return [
        f"Adoption is staggered over {groups} periods: where effects differ between adoption groups, each of these "
        "coefficients mixes effects of other times since adoption; impact.did.sun_abraham keeps them apart."
    ]
