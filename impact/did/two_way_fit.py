"""The regression behind two-way effects: from regressors by adoption group to values with errors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from impact.core import bell_mccaffrey
from impact.core.collapsed import Collapsed, collapsed, collapsed_with_gaps
from impact.core.regression import Regression, regress
from impact.core.small_sample import FEW, Small
from impact.did.two_way_panel import Options, Panel
from impact.sample import Sample, caution
from impact.show.words import listing
from impact.study import Outcome

Array = np.ndarray


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
    """The regression: from means of units that are alike, or on all observations where the small sample needs them."""
    k = len(next(iter(terms.labels.values())))
    live = sample.weights > 0
    cluster = np.zeros(len(sample), int)
    cluster[live] = np.unique(sample.cluster[live], return_inverse=True)[1]
    covers = _covers(panel, terms)
    few = bool((_sides(cluster, panel, covers) < FEW).any())
    exact = few and sample.nuisance is None and options.errors == "clustered"
    exact = exact and _affordable(cluster, panel, terms)
    fit = regression(outcome, panel, terms, options, all_observations=exact)
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
    """The regression of an outcome on the terms: by groups treated alike if that is the same, or by observations."""
    y, pattern, within = panel.outcome, terms.pattern, options.effects == "within"
    if not within:
        y, pattern = np.diff(y, axis=1), np.diff(pattern, axis=1)
    try:
        if not all_observations and not panel.gaps:
            return collapsed(y, panel.group, pattern, panel.covariates, panel.weights, within=within)
        unit, period = np.nonzero(~np.isnan(y) & panel.used[:, None])
        if not len(unit):
            raise ValueError("No unit is seen in two periods running, to take differences of: use effects='within'.")
        if not all_observations and not panel.covariates.shape[1] and not panel.repeated:
            found = collapsed_with_gaps(y, panel.group, pattern, panel.weights, within=within)
            if found is not None:
                return found
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
        f"Effects at {listing(f'{t:g}' for t in times)} periods since adoption cannot be told from the effects of "
        f"units and periods{never}: zero is assumed there, as at the reference, and others are measured from it."
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
