"""Two-way fixed effects: one regression on unit and period effects, static or by time since adoption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from impact.core import arguments, inference
from impact.core.small_sample import Arms, Joined
from impact.did import two_way_fit, two_way_panel
from impact.did.aggregate import effect_on, is_share
from impact.did.cells import measured_over_time
from impact.did.two_way_fit import Fitted, Terms
from impact.did.two_way_panel import ALWAYS, EFFECTS, ERRORS, Options, Panel
from impact.estimate import Estimate
from impact.sample import Sample, caution
from impact.study import Outcome

Array = np.ndarray
Names = str | list[str] | None


def att(
    sample: Sample,
    *,
    outcome: Names = None,
    anticipation: float = 0,
    effects: str = "within",
    errors: str = "clustered",
    always_treated: str = "leave_out",
) -> Estimate:
    """The effect since adoption by two-way effects: the coefficient of being treated.

        y_it = a_i + d_t + x_i'c_t + beta D_it + e_it,    D_it = 1 from adoption on

    with a constant for each unit and period, and covariates that may matter differently in each
    period. With one date of adoption and no covariates this is the difference in differences of means. With
    several it is an average of comparisons, also of later adopters with earlier ones, whose
    effects may still be changing: the weight of those comparisons is noted, and
    :func:`impact.checks.goodman_bacon.goodman_bacon` lists them.

    **Assumptions**: without treatment, outcomes of all adoption groups would have moved in parallel, given
    covariates; the effect is the same in all groups and at all times since adoption, wherever adoption is
    staggered; nobody reacts earlier than ``anticipation`` periods before adoption; treatment is never undone
    (where it is, the value is the effect of having adopted, for however long).

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time.
    outcome : str or several, optional
        All outcomes over time, if left out.
    anticipation : number
        Periods before adoption in which units may already react; these periods have an effect of their own,
        which is not shown.
    effects : ``"within"`` or ``"first_difference"``
        Take unit effects out by units' means, or by regressing changes from period to period on changes in
        treatment, with period effects.
    errors : ``"clustered"`` or ``"conventional"``
        By the study's clusters (with few on a side: CR2 with Bell and McCaffrey's degrees of freedom), or those
        of ordinary least squares, which published tables have and which are wrong where a unit's errors are
        related over time.
    always_treated : ``"leave_out"`` or ``"keep"``
        What becomes of units that are not seen before they are treated, which can only serve as comparisons that
        are treated themselves. Other software keeps them.

    Returns
    -------
    Estimate
        One value for each outcome. Where a single cluster is treated it has no error (NaN).

    Raises
    ------
    ValueError
        No adoption or no outcome over time; treatment that cannot be told from the
        effects of units and periods; an option that is not one of those listed; conventional errors of several
        outcomes, or with estimated weights.

    **References**: goodmanbacon2021; arellano1987; bell2002; pustejovsky2018.

    Examples
    --------
    >>> import pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> from impact.did import two_way
    >>> table = pd.DataFrame({"office": range(6), "start": [3, 3, 3, None, None, None],
    ...                       "open_1": [5, 4, 6, 1, 2, 4], "open_2": [6, 4, 8, 2, 4, 4], "open_3": [9, 7, 9, 2, 5, 5]})
    >>> study = Study(title="One-stop offices", unit="office", adoption="start",
    ...               outcomes=Outcome("open_{}", "open cases", periods=(1, 2, 3)))
    >>> round(float(two_way.att(emulate(study, table)).value[0]), 2)
    1.67
    """
    options = Options(anticipation=anticipation, effects=effects, errors=errors, always_treated=always_treated)

    def terms(panel: Panel) -> Terms:
        return two_way_fit.static(panel, options)

    return _estimate(
        sample, outcome, options, terms, "Average effect since adoption", "points", {}, two_way_panel.static_notes
    )


def event_study(
    sample: Sample,
    *,
    outcome: Names = None,
    anticipation: float = 0,
    leads: float | None = None,
    lags: float | None = None,
    reference: Any = None,
    effects: str = "within",
    errors: str = "clustered",
    always_treated: str = "leave_out",
) -> Estimate:
    """Effects by time since adoption, by two-way effects: a coefficient for each.

        y_it = a_i + d_t + x_i'c_t + sum over e of beta_e 1{t - g_i = e} + e_it

    without the reference, the last period before adoption (less anticipation), from which all
    are measured. Where groups adopt at different times and effects differ between them, each
    coefficient mixes effects of other times (Sun and Abraham): :mod:`impact.did.sun_abraham` does not.

    A treatment that lasts one period has an effect at 0 and what is left of it at 1: with ``leads=0`` these are the
    coefficients of treatment and of treatment a period ago.

    **Assumptions**: as for :func:`att`, but effects may differ with time since adoption.

    Parameters
    ----------
    sample : Sample
    outcome, anticipation, effects, errors, always_treated
        As for :func:`att`.
    leads, lags : number, optional
        How many periods before and after adoption have a coefficient of their own. All that are earlier
        count as the earliest of these, all that are later as the latest. With ``leads=0`` all periods before
        adoption are the reference. If left out, every period has its own.
    reference : number or several, optional
        The time since adoption that is zero by construction, if not the last period before adoption. Several
        may be needed where no unit is never treated.

    Returns
    -------
    Estimate
        A value for each outcome and ``time`` since adoption: 0 is the period of adoption.

    Raises
    ------
    ValueError
        As for :func:`att`; a reference at which no unit is seen.

    **References**: sun2021; borusyak2024; bell2002; pustejovsky2018.
    """
    for name, value in (("leads", leads), ("lags", lags)):
        arguments.number(value, name, least=0, most=1e6, optional=True)
    zero = None if reference is None else arguments.numbers(reference, "reference")
    if zero is not None and not len(zero):
        raise ValueError("`reference` is an empty list: name a time since adoption, or leave it out.")
    options = Options(
        anticipation=anticipation, effects=effects, errors=errors, always_treated=always_treated,
        leads=leads, lags=lags, reference=zero,
    )  # fmt: skip

    def terms(panel: Panel) -> Terms:
        return two_way_fit.dynamic(panel, options)

    axes = {"time": f"{measured_over_time(sample, outcome)[0].per.split()[0]}s since adoption"}
    return _estimate(
        sample, outcome, options, terms, "Effect by time since adoption", "path", axes, two_way_panel.dynamic_notes
    )


def _estimate(
    sample: Sample,
    outcome: Names,
    options: Options,
    terms: Callable[[Panel], Terms],
    estimand: str,
    kind: str,
    axes: dict[str, str],
    staggered: Callable[[Panel, Options], list[str]],
) -> Estimate:
    asked = measured_over_time(sample, outcome)
    two_way_fit.refuse_conventional(sample, asked, options)
    found: list[Fitted] = []
    notes: list[str] = []
    for o in asked:
        panel = two_way_panel.panel_of(sample, o, options)
        found.append(two_way_fit.fitted(sample, o, panel, terms(panel), options))
        notes += [*panel.notes, *found[-1].notes, *staggered(panel, options)]
    about = {
        "estimand": estimand,
        "method": _words(sample, options),
        "kind": kind,
        "axes": {**axes, "estimate": effect_on(asked)},
        "percent": all(is_share(sample.outcome(o.name, gaps=True)[sample.weights > 0]) for o in asked),
        "references": ("goodmanbacon2021" if kind == "points" else "sun2021", "pustejovsky2018"),
        "notes": tuple(dict.fromkeys(notes)),
    }
    return _reported(sample, _labels(asked, found), found, options, about)


def _labels(asked: tuple[Outcome, ...], found: list[Fitted]) -> dict[str, Array]:
    words = [np.repeat(o.words, len(f.value)) for o, f in zip(asked, found, strict=True)]
    return {
        "outcome": np.concatenate(words),
        **{name: np.concatenate([f.labels[name] for f in found]) for name in found[0].labels},
    }


def _words(sample: Sample, options: Options) -> str:
    names = len(sample.covariates.T)
    covariates = "covariates with effects of their own in each period" if names else "no covariates"
    early = f", reacting up to {options.anticipation:g} periods in advance" if options.anticipation else ""
    ends = [f"{word} of {value:g} and more in one" for word, value in (("leads", options.leads), ("lags", options.lags))
            if value]  # fmt: skip
    if options.leads == 0:
        ends.insert(0, "all periods before adoption as reference")
    return "; ".join(
        [f"two-way effects, {EFFECTS[options.effects]}, {covariates}{early}", *ends, ERRORS[options.errors]]
        + ([ALWAYS["keep"]] if options.always_treated == "keep" else [])
    )


def _reported(
    sample: Sample, labels: dict[str, Array], found: list[Fitted], options: Options, about: dict[str, Any]
) -> Estimate:
    """The estimate, with the errors that were asked for."""
    value, scores = np.concatenate([f.value for f in found]), np.column_stack([f.scores for f in found])
    if options.errors == "conventional":
        estimate = Estimate.of_covariance(labels, value, found[0].conventional, df=found[0].degrees, **about)
        steps = "; ".join(w for w in (*sample.steps, estimate.method) if w)
        notes = tuple(dict.fromkeys((*estimate.notes, *sample.notes)))
        return replace(estimate, counts=_counts(sample), method=steps, notes=notes)
    rests_on = np.column_stack([f.treated for f in found])
    if all(f.small is None for f in found):
        return Estimate.of(sample, labels, value, scores, rests_on=rests_on, **about)
    parts = [f.small if f.small is not None else _arms(sample, f) for f in found]
    small = parts[0] if len(parts) == 1 else Joined(
        np.hstack([p.adjusted for p in parts]), np.concatenate([p.degrees for p in parts])
    )  # fmt: skip
    lone = int(np.isnan(small.degrees).sum())
    if lone:
        which = f"{lone} of {len(value)} values rest{'s' * (lone == 1)}" if len(value) > 1 else "The value rests"
        about["notes"] = (*about["notes"], *caution([
            f"{which} on a single treated cluster (`{sample.study.cluster or sample.study.unit}`), from which no "
            "standard error can be computed: see impact.did.few_treated."
        ]))  # fmt: skip
    return Estimate.of(sample, labels, value, scores, small=small, **about)


def _arms(sample: Sample, found: Fitted) -> Arms:
    live = sample.weights > 0
    cluster = np.unique(sample.cluster[live], return_inverse=True)[1]
    treated = inference.cluster_sums(found.treated[live].astype(float), cluster) > 0
    others = inference.cluster_sums(((found.scores != 0) & ~found.treated)[live].astype(float), cluster) > 0
    return Arms(inference.cluster_sums(found.scores[live], cluster), treated, others)


def _counts(sample: Sample) -> dict[str, int]:
    used, treated = sample.weights > 0, sample.treated
    clusters = len(np.unique(sample.cluster[used]))
    return {
        "units": int(used.sum()),
        "clusters": clusters,
        "treated": int((used & treated).sum()),
        "comparison": int((used & ~treated).sum()),
    }
