"""The main job: from a declared study and its data to a report, in one call.

It composes what the topics offer, in the order in which a referee would ask: who is compared,
how alike they are, what the effect is, and whether other methods agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from impact.checks.balance import balance
from impact.checks.goodman_bacon import goodman_bacon
from impact.checks.honest_trends import honest_trends
from impact.checks.overlap import overlap
from impact.checks.trends import parallel_trends
from impact.core.inference import SEED
from impact.did import callaway_santanna, imputation, sun_abraham, two_way
from impact.emulation import emulate
from impact.estimate import Estimate
from impact.matching import doubly_robust, means, nearest, propensity, regression
from impact.report import Report
from impact.sample import Sample
from impact.show import words
from impact.stacking import stack
from impact.study import Event, Outcome, Study
from impact.survival import aalen_johansen, restricted_mean

Tell = Callable[[str], None]
TOGETHER = (
    "So that methods can be compared, matched sets are clusters for all of them: errors may differ a little from those "
    "that a method has alone."
)
SEEDS = {"draws behind simultaneous bands": SEED}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The choices of an analysis that a study leaves open, declared before the results are seen.

    Parameters
    ----------
    ratio : int
        Comparison units matched to each treated unit.
    caliper : float or None
        The furthest a match may be, in standard deviations of the logit of the propensity score.
    replace : bool
        Whether a comparison unit may be matched more than once.
    exact : tuple of covariates
        Covariates on which a match must agree exactly.
    times : tuple of numbers, optional
        Times at which effects on exits are told in the summary; the end of follow-up, if empty.
    horizon : number, optional
        Until when time lost is counted; the end of follow-up, if empty.
    comparison : ``"not_yet"`` or ``"never"``
        With staggered adoption: who the comparison units are.
    anticipation : int
        With staggered adoption: periods before adoption in which units may already react.
    """

    ratio: int = 1
    caliper: float | None = 0.2
    replace: bool = False
    exact: tuple[str, ...] = ()
    times: tuple[float, ...] = ()
    horizon: float | None = None
    comparison: str = "not_yet"
    anticipation: int = 0

    def __post_init__(self) -> None:
        for name in ("exact", "times"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str | int | float) else tuple(value))

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any]) -> Plan:
        """A plan from the ``[plan]`` table of a study file. ``caliper = false`` means none."""
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(content) - set(known))
        if unknown:
            raise KeyError(f"The plan has {', '.join(f'`{u}`' for u in unknown)}: it may have {', '.join(known)}.")
        values = dict(content)
        if values.get("caliper") is False:
            values["caliper"] = None
        return cls(**values)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What an evaluation found: the answers that a reader asks for first, and the report that holds them all."""

    headline: tuple[Estimate, ...]
    findings: tuple[str, ...]
    report: Report


def evaluate(study: Study, data: Any, *, plan: Plan | None = None, tell: Tell | None = None) -> Evaluation:
    """Evaluate a pilot: build the comparison group, judge it, estimate the effects, and set up the report.

    For a study with two arms: nearest-neighbour matching on the propensity score (headline),
    weighting by the odds of treatment, regression after matching and the doubly robust estimator,
    beside the unadjusted difference. For staggered adoption: group-time effects (Callaway and
    Sant'Anna) with the event study and a test of trends before adoption; then how far trends may
    diverge, the same average by other methods, and what two-way effects would have compared.

    Parameters
    ----------
    study : Study
    data : dataframe, as :func:`impact.emulate` takes it
    plan : Plan, optional
    tell : function of a text, optional
        Told what is being done, for progress.

    Raises
    ------
    KeyError, ValueError
        The study does not fit its data; the message says what to do.
    """
    plan, tell = plan or Plan(), tell or (lambda _: None)
    tell("reading the sample")
    sample = emulate(study, data)
    return _staggered(sample, plan, tell) if study.treatment is None else _two_arms(sample, plan, tell)


# ---- two arms -----------------------------------------------------------------------------


def _two_arms(sample: Sample, plan: Plan, tell: Tell) -> Evaluation:
    if not sample.covariates.shape[1]:
        raise ValueError(
            f"The study “{sample.study.title}” has no covariates that vary, so no comparison group can be made alike: "
            "name some in `covariates`."
        )
    tell("matching")
    matched = nearest.match(sample, ratio=plan.ratio, caliper=plan.caliper, replace=plan.replace, exact=plan.exact)
    tell("weighting")
    weighted = propensity.weight(sample)
    headline: list[Estimate] = []
    exhibits: list[Any] = [balance(matched), overlap(sample)]
    robustness: list[Estimate] = []
    for outcome in sample.study.outcomes:
        tell(f"estimating the effect on {outcome.words}")
        if isinstance(outcome, Event):
            times = _times(sample, outcome, plan)
            main = aalen_johansen.risk_difference(matched, outcome=outcome.name, times=times)
            main = main.about(estimand=f"{main.estimand}, {_when(times, outcome)}", kind="points")
            exhibits += [main, *_event_exhibits(matched, outcome, plan)]
        else:
            main = means.difference(matched, outcome=outcome.name)
            exhibits += [main]
        if outcome.name not in sample.periods:
            headline.append(main)
            robustness.append(_side_by_side(sample, matched, weighted, outcome, plan))
    tell("setting up the report")
    findings = tuple(s for e in headline for s in _sentences(e, sample))
    report = Report.of(matched, *exhibits, title=sample.study.title, summary=findings, seeds=SEEDS)
    report += Report.of(weighted, balance(weighted), *robustness, title="The same effects by other methods")
    return Evaluation(tuple(headline), findings, report)


def _event_exhibits(matched: Sample, event: Event, plan: Plan) -> Iterator[Estimate]:
    """Incidence by exit, its difference over time, and time lost to each exit."""
    yield aalen_johansen.cumulative_incidence(matched, outcome=event.name)
    yield aalen_johansen.risk_difference(matched, outcome=event.name)
    yield restricted_mean.time_lost(matched, outcome=event.name, horizon=plan.horizon)


def _times(sample: Sample, event: Event, plan: Plan) -> Sequence[float]:
    """The times of the plan, or the last at which both arms are still observed."""
    if plan.times:
        return plan.times
    time = sample.outcome(event.name).time
    return (float(min(time[arm].max() for arm in sample.arms.values())),)


def _when(times: Sequence[float], event: Event) -> str:
    return f"{words.listing(f'{t:g}' for t in times)} {event.unit} after time zero"


def _side_by_side(sample: Sample, matched: Sample, weighted: Sample, outcome: Outcome | Event, plan: Plan) -> Estimate:
    """One outcome's effect by every method, on the same units, with the covariance between methods."""
    if isinstance(outcome, Event):
        times = _times(sample, outcome, plan)
        answers = {
            "no adjustment": aalen_johansen.risk_difference(sample, outcome=outcome.name, times=times),
            "matched": aalen_johansen.risk_difference(matched, outcome=outcome.name, times=times),
            "weighted by the odds": aalen_johansen.risk_difference(weighted, outcome=outcome.name, times=times),
        }
    else:
        answers = {
            "no adjustment": means.difference(sample, outcome=outcome.name),
            "matched": means.difference(matched, outcome=outcome.name),
            "matched, with regression": regression.difference(matched, outcome=outcome.name),
            "weighted by the odds": means.difference(weighted, outcome=outcome.name),
            "doubly robust": doubly_robust.difference(sample, outcome=outcome.name),
        }
    named = [_of_method(e, name) for name, e in answers.items()]
    table = stack(
        *named,
        estimand=f"{named[1].estimand}, by method",
        method="each method as named in its row",
        notes=(TOGETHER, *dict.fromkeys(n for e in named for n in e.notes)),
        kind="points",
    )
    return _beside(table, len(named))


def _of_method(estimate: Estimate, name: str) -> Estimate:
    """An estimate whose rows say by which method they were found."""
    labels = estimate.index.drop(columns=["term"], errors="ignore")
    return estimate.about(index=labels.assign(method=name))


def _beside(table: Estimate, methods: int) -> Estimate:
    """The rows of one quantity by every method beside each other, where they came one method after the other."""
    k = len(table.value) // methods
    order = np.arange(len(table.value)).reshape(methods, k).T.ravel()
    labels = {c: table.index[c].to_numpy()[order] for c in table.index}
    return table.combine(np.eye(len(order))[order], **labels)


def _sentences(estimate: Estimate, sample: Sample) -> Iterator[str]:
    """Each value as a sentence for the reader of a paper."""
    study, (treated, comparison) = sample.study, sample.study.arms
    for row in estimate.tidy().itertuples():
        outcome = next(o for o in study.outcomes if row.outcome in (o.name, o.words))
        if isinstance(outcome, Event):
            quantity = f"share whose first exit was “{row.cause}” within {row.time:g} {outcome.unit}"
            unit = ""
        else:
            quantity = f"share {outcome.words}" if estimate.percent else f"mean {outcome.words}"
            unit = outcome.unit
        yield words.finding(
            quantity, row.estimate, row.std_error, row.conf_low, row.conf_high, treated=treated, comparison=comparison,
            percent=estimate.percent, unit=unit,
        )  # fmt: skip


# ---- staggered adoption -------------------------------------------------------------------


def _staggered(sample: Sample, plan: Plan, tell: Tell) -> Evaluation:
    headline: list[Estimate] = []
    exhibits: list[Any] = []
    options: dict[str, Any] = {"comparison": plan.comparison, "anticipation": plan.anticipation}
    followed = [o for o in sample.measured() if o.name in sample.periods]
    for outcome in followed:
        tell(f"estimating the effect on {outcome.words}")
        path = callaway_santanna.event_study(sample, outcome=outcome.name, **options)
        overall = callaway_santanna.att(sample, outcome=outcome.name, **options)
        headline.append(overall)
        exhibits += [overall, path, parallel_trends(path),
                     callaway_santanna.by_group(sample, outcome=outcome.name, **options)]  # fmt: skip
        tell(f"doubting the effect on {outcome.words}")
        exhibits += _doubts(sample, outcome, options)
    tell("setting up the report")
    findings = tuple(s for e, o in zip(headline, followed, strict=True) for s in _average_sentences(e, o))
    report = Report.of(sample, *exhibits, title=sample.study.title, summary=findings, seeds=SEEDS)
    return Evaluation(tuple(headline), findings, report)


def _doubts(sample: Sample, outcome: Outcome, options: Mapping[str, Any]) -> Iterator[Any]:
    """How far trends may diverge, the same average by other methods, and what two-way effects compare."""
    common = {"outcome": outcome.name, "anticipation": options["anticipation"]}
    asked: dict[str, Callable[[], Any]] = {
        "honest trends": lambda: honest_trends(
            callaway_santanna.event_study(sample, outcome=outcome.name, base="universal", **options)
        ),
        "the average by other methods": lambda: _averages(sample, outcome, options, common),
        "what two-way effects compare": lambda: goodman_bacon(sample, outcome=outcome.name),
    }
    for name, ask in asked.items():
        try:
            yield ask()
        except ValueError as reason:  # the report says what could not be answered, and why
            yield f"Not answered for {outcome.words}, {name}: {reason}"


def _averages(sample: Sample, outcome: Outcome, options: Mapping[str, Any], common: Mapping[str, Any]) -> Estimate:
    """The average over all groups and periods since adoption by every method, with the covariance between methods."""
    answers = {
        "Callaway and Sant'Anna": callaway_santanna.att(sample, outcome=outcome.name, average="simple", **options),
        "Sun and Abraham": sun_abraham.att(sample, average="simple", **common),
        "imputation": imputation.att(sample, average="simple", **common),
        "two-way effects": two_way.att(sample, **common),
    }
    named = [_of_method(e, name) for name, e in answers.items()]
    return stack(
        *named,
        estimand=f"{named[0].estimand}, by method",
        method="each method as named in its row",
        notes=tuple(dict.fromkeys(n for e in named for n in e.notes)),
        kind="points",
    )


def _average_sentences(estimate: Estimate, outcome: Outcome) -> Iterator[str]:
    for row in estimate.tidy().itertuples():
        yield words.finding(
            outcome.words, row.estimate, row.std_error, row.conf_low, row.conf_high, treated="the programme",
            comparison="no programme yet", percent=estimate.percent, unit=outcome.unit,
        )  # fmt: skip
