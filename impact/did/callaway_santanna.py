"""Effects of a programme that units adopt at different times, after Callaway and Sant'Anna."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from impact.core import arguments
from impact.did.group_time import BASES, Effects, Options, effects, measured_over_time
from impact.estimate import Estimate
from impact.sample import Sample
from impact.study import Outcome

Array = np.ndarray
Names = str | list[str] | None

AVERAGES = ("group", "simple", "event", "period")


def att_gt(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "dr",
    comparison: str = "not_yet",
    anticipation: float = 0,
    base: str = "varying",
) -> Estimate:
    """The effect in each period on the units first treated in each period.

    For the group g first treated in period g, and b the last period before g less anticipation,

        ATT(g, t) = E[Y_t - Y_b | group g] - (the same for comparison units like them).

    Comparison units are made like the group by a regression of the change on the covariates
    (``"reg"``), by the odds of being in the group (``"ipw"``), or by both, which is right if
    either is (``"dr"``). Effects before g are placebos: they should be zero.

    **Assumptions**: without treatment, outcomes of the group and of comparison units with the same
    covariates would have moved in parallel; nobody reacts earlier than ``anticipation`` periods
    before adoption; treatment is never undone; for each unit of the group there are comparison
    units with like covariates; units do not affect each other.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time. Covariates are those of the first period.
    outcome : str or several, optional
        All outcomes over time, if left out.
    method : ``"dr"``, ``"reg"`` or ``"ipw"``
    comparison : ``"not_yet"`` or ``"never"``
        Compare with units first treated after the periods compared (never included), or only with
        units never treated while observed.
    anticipation : number
        Periods before adoption in which units may already react.
    base : ``"varying"`` or ``"universal"``
        Effects before adoption are measured from the period before each, or, like those after,
        from the last period before adoption. That period itself is zero by construction and left out.

    Returns
    -------
    Estimate
        A value for each outcome, ``adoption_group`` and period (``time``), in the outcome's unit.

    Raises
    ------
    ValueError
        No adoption or no outcome over time; periods unevenly spaced; nobody seen both before and
        after adoption; nobody to compare with; a group whose covariates allow no estimate.

    **References**: callaway2021; santanna2020.

    Examples
    --------
    >>> import pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> from impact.did import callaway_santanna
    >>> table = pd.DataFrame({"office": range(6), "start": [3, 3, 3, None, None, None],
    ...                       "open_1": [5, 4, 6, 1, 2, 4], "open_2": [6, 4, 8, 2, 4, 4], "open_3": [9, 7, 9, 2, 5, 5]})
    >>> study = Study(title="One-stop offices", unit="office", adoption="start",
    ...               outcomes=Outcome("open_{}", "open cases", periods=(1, 2, 3)))
    >>> [round(float(v), 2) for v in callaway_santanna.att_gt(emulate(study, table)).value]
    [0.0, 1.67]
    """

    def cells(found: Effects) -> _Part:
        return {"adoption_group": found.group, "time": found.time}, found.value, found.scores

    options = Options(method=method, comparison=comparison, anticipation=anticipation, base=base)
    title = "Effect by adoption group and period"
    return _estimate(sample, outcome, options, cells, title, axes={"time": "period"}, kind="path", shows_base=True)


def event_study(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "dr",
    comparison: str = "not_yet",
    anticipation: float = 0,
    base: str = "varying",
    balance: int | None = None,
) -> Estimate:
    """The effect by time since adoption, averaged over adoption groups by their size.

        theta(e) = sum over g of ATT(g, g + e) W_g / sum over g of W_g

    over the groups observed e periods after adoption, W_g being their weight. Which groups these
    are changes with e, unless ``balance`` holds them fixed.

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, method, comparison, anticipation, base
        As for :func:`att_gt`.
    balance : int, optional
        Keep only groups observed at least this many periods after adoption, and effects up to there,
        so that all effects after adoption are of the same groups.

    Returns
    -------
    Estimate
        A value for each outcome and ``time`` since adoption: 0 is the period of adoption.

    Raises
    ------
    ValueError
        As for :func:`att_gt`; no group observed as long as ``balance`` asks.

    **References**: callaway2021; santanna2020.
    """
    options = Options(method=method, comparison=comparison, anticipation=anticipation, base=base)
    if balance is not None:
        arguments.number(balance, "balance", least=0, whole=True)

    def path(found: Effects) -> _Part:
        return _by_age(found, balance)

    axes = {"time": f"{_period_word(sample, outcome)}s since adoption"}
    return _estimate(
        sample, outcome, options, path, "Effect by time since adoption", axes=axes, kind="path", shows_base=True
    )


def by_group(
    sample: Sample, *, outcome: Names = None, method: str = "dr", comparison: str = "not_yet", anticipation: float = 0
) -> Estimate:
    """The effect on each adoption group, averaged over the periods since its adoption.

        theta(g) = mean over t >= g of ATT(g, t)

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, method, comparison, anticipation
        As for :func:`att_gt`.

    Returns
    -------
    Estimate
        A value for each outcome and ``adoption_group``.

    Raises
    ------
    ValueError
        As for :func:`att_gt`.

    **References**: callaway2021; santanna2020.
    """
    options = Options(method=method, comparison=comparison, anticipation=anticipation)
    return _estimate(sample, outcome, options, _by_group, "Effect by adoption group", kind="points")


def by_period(
    sample: Sample, *, outcome: Names = None, method: str = "dr", comparison: str = "not_yet", anticipation: float = 0
) -> Estimate:
    """The effect in each period on the units treated by then, averaged over their groups by size.

        theta(t) = sum over g <= t of ATT(g, t) W_g / sum over g <= t of W_g

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, method, comparison, anticipation
        As for :func:`att_gt`.

    Returns
    -------
    Estimate
        A value for each outcome and period (``time``).

    Raises
    ------
    ValueError
        As for :func:`att_gt`.

    **References**: callaway2021; santanna2020.
    """
    options = Options(method=method, comparison=comparison, anticipation=anticipation)
    axes = {"time": _period_word(sample, outcome)}
    return _estimate(sample, outcome, options, _by_period, "Effect by period", axes=axes, kind="path")


def att(
    sample: Sample,
    *,
    outcome: Names = None,
    method: str = "dr",
    comparison: str = "not_yet",
    anticipation: float = 0,
    average: str = "group",
) -> Estimate:
    """The average effect since adoption on the units that adopted while observed, in one number.

    ``average`` says over what: ``"group"``, each group's mean effect since its adoption, by the size
    of the group (so that every treated unit counts alike, which Callaway and Sant'Anna recommend);
    ``"simple"``, all groups and periods since adoption by the size of the group (early adopters count
    more often); ``"event"``, the plain mean of the event study since adoption; ``"period"``, the
    plain mean of the effects by period.

    **Assumptions**: as for :func:`att_gt`.

    Parameters
    ----------
    sample : Sample
    outcome, method, comparison, anticipation
        As for :func:`att_gt`.
    average : ``"group"``, ``"simple"``, ``"event"`` or ``"period"``

    Returns
    -------
    Estimate
        One value for each outcome.

    Raises
    ------
    ValueError
        As for :func:`att_gt`; an ``average`` that is not one of the four.

    **References**: callaway2021; santanna2020.
    """
    if average not in AVERAGES:
        raise ValueError(f"`average` is one of {', '.join(map(repr, AVERAGES))}, not {average!r}.")
    options = Options(method=method, comparison=comparison, anticipation=anticipation)

    def overall(found: Effects) -> _Part:
        labels = {"term": np.array(["average effect since adoption"])}
        if average in ("group", "simple"):
            since = _since(found)
            count = np.array([((found.group == g) & since).sum() for g in found.group])
            share = since / np.maximum(count, 1) if average == "group" else since.astype(float)
            return labels, *found.average(share[None, :])
        of, value, scores = _by_age(found, None) if average == "event" else _by_period(found)
        kept = of["time"] >= 0 if average == "event" else np.ones(len(value), bool)
        return labels, np.array([value[kept].mean()]), scores[:, kept].mean(axis=1, keepdims=True)

    words = {"group": "", "simple": ", over groups and periods", "event": ", over times since adoption",
             "period": ", over periods"}[average]  # fmt: skip
    return _estimate(sample, outcome, options, overall, f"Average effect since adoption{words}", kind="points")


_Part = tuple[dict[str, Array], Array, Array]


def _since(found: Effects) -> Array:
    """The cells since adoption, of which there must be some to average."""
    since = found.time >= found.group
    if not since.any():
        raise ValueError(
            f"None of the {len(since)} effects that can be estimated lies after adoption, for want of comparison "
            "units then: add units that adopt later or never."
        )
    return since


def _by_age(found: Effects, balance: int | None) -> _Part:
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
    value, scores = found.average(((age == ages[:, None]) & kept).astype(float))
    return {"time": ages}, value, scores


def _by_group(found: Effects) -> _Part:
    since = _since(found)
    groups = np.unique(found.group[since])
    value, scores = found.average(((found.group == groups[:, None]) & since).astype(float))
    return {"adoption_group": groups}, value, scores


def _by_period(found: Effects) -> _Part:
    since = _since(found)
    times = np.unique(found.time[since])
    value, scores = found.average(((found.time == times[:, None]) & since).astype(float))
    return {"time": times}, value, scores


def _estimate(
    sample: Sample,
    outcome: Names,
    options: Options,
    part: Callable[[Effects], _Part],
    estimand: str,
    *,
    axes: dict[str, str] | None = None,
    kind: str,
    shows_base: bool = False,
) -> Estimate:
    """What all five share: cells of each outcome, then the part of them that is asked for."""
    asked = measured_over_time(sample, outcome)
    found = [effects(sample, o, options) for o in asked]
    parts = [part(f) for f in found]
    labels: dict[str, Array] = {
        "outcome": np.concatenate([np.repeat(o.words, len(v)) for o, (_, v, _) in zip(asked, parts, strict=True)])
    }
    for name in parts[0][0]:
        labels[name] = np.concatenate([of[name] for of, _, _ in parts])
    return Estimate.of(
        sample,
        labels,
        np.concatenate([v for _, v, _ in parts]),
        np.column_stack([s for _, _, s in parts]),
        estimand=estimand,
        method=options.words(sample.covariates.shape[1]) + (f"; {BASES[options.base]}" if shows_base else ""),
        kind=kind,
        axes={**(axes or {}), "estimate": _effect_on(asked)},
        percent=all(_is_share(sample.outcome(o.name)[sample.weights > 0]) for o in asked),
        references=("callaway2021", "santanna2020"),
        notes=tuple(dict.fromkeys(note for f in found for note in f.notes)),
    )


def _effect_on(asked: tuple[Outcome, ...]) -> str:
    return f"effect on {asked[0].words}" if len(asked) == 1 else "effect"


def _is_share(values: Array) -> bool:
    """Whether an outcome is yes or no, so that effects are in percentage points."""
    return bool(((values == 0) | (values == 1)).all())


def _period_word(sample: Sample, outcome: Names) -> str:
    """What a period is, in a word: the first of "month since enrolment"."""
    return measured_over_time(sample, outcome)[0].per.split()[0]
