"""The effect on a total and on its parts, in a table that adds up: what calling things otherwise cannot change.

A programme may lower open unemployment by moving the unemployed into services, where they are counted
otherwise. The total of both, broad unemployment, does not move by that. Here the effect on the total is split
into the effects on its parts, with the covariance between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from impact.check import Check
from impact.core import arguments, fieller
from impact.did import callaway_santanna
from impact.did.cells import measured_over_time
from impact.estimate import Estimate
from impact.sample import Sample
from impact.show.words import listing
from impact.study import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = np.ndarray
Estimator = Callable[..., Estimate]

UNTREATED = "untreated: "  # before the name of an outcome that is kept where not treated, and zero where treated
EFFECT, OF_TOTAL, OF_ITSELF = "effect", "per cent of the total", "per cent of itself"


def decompose(
    sample: Sample,
    *,
    total: str,
    parts: Sequence[str],
    estimator: Estimator = callaway_santanna.att,
    relative: bool = True,
    tolerance: float = 1e-6,
) -> Decomposition:
    """The effect on a total and on each of its parts, in the total's unit and in per cent.

    With y the total, y_1, ..., y_K its parts, theta(.) the effect on each by the same estimator, and m(.) the
    level of the treated, while treated, that the estimator expects without the programme,

        theta(y) = theta(y_1) + ... + theta(y_K),
        in per cent of the total: 100 theta(y_k) / m(y),
        in per cent of itself:    100 theta(y_k) / m(y_k).

    The effects and the first per cent add up to the total's, the second does not. An estimator that is linear in
    the outcome makes of y what it makes of y while treated, which is the level observed, less m(y). So
    -m(y) is the estimator itself, applied to y where not treated and to zero where treated; that is how it is
    computed here, for any estimator. One that weighs periods or units differently for each outcome (synthetic
    control) has effects that do not add up, and is refused.

    Outcomes must be levels, such as persons or per cent of the labour force: logarithms do not add up. With
    shares of the population as outcomes and ``weights`` by population, effects are those on all residents
    together; with numbers of persons as outcomes and no weights, those on the mean unit.

    **Assumptions**: those of the estimator, for every part.

    Parameters
    ----------
    sample : Sample
        With ``adoption``, and the total and its parts as outcomes over time, in one unit.
    total, parts : names of outcomes of the study
    estimator : function
        Of a sample and ``outcome``, with one value for each: :func:`impact.did.callaway_santanna.att` or the
        ``att`` of another module; options by ``functools.partial``.
    relative : bool
        Whether changes in per cent are given as well.
    tolerance : number
        By how much the parts may miss the total in a unit and period, as a share of the mean total.

    Returns
    -------
    Decomposition
        All values jointly in ``.estimate``, labelled by ``outcome`` and ``term``.

    Raises
    ------
    ValueError
        The parts do not add up to the total, or are seen in other periods than it, with the count; an estimator
        whose effects do not add up, or that has no single value for each outcome.

    **References**: fieller1954; callaway2021.

    Examples
    --------
    >>> import pandas as pd
    >>> from impact import Outcome, Study, emulate
    >>> table = pd.DataFrame({"area": [1, 1, 2, 2, 3, 3, 4, 4], "year": [1, 2] * 4, "start": [2] * 4 + [None] * 4,
    ...                       "open": [50, 40, 60, 52, 50, 51, 61, 60], "services": [10, 18, 10, 19, 10, 11, 9, 8]})
    >>> table["broad"] = table["open"] + table["services"]
    >>> study = Study(title="Trial", unit="area", period="year", adoption="start",
    ...               outcomes=[Outcome(name) for name in ("broad", "open", "services")])
    >>> found = decompose(emulate(study, table), total="broad", parts=["open", "services"], relative=False)
    >>> dict(zip(found.estimate.index["outcome"], found.estimate.value.round(1).tolist()))
    {'open': -9.0, 'services': 8.5, 'broad': -0.5}
    """
    names = (*arguments.texts(parts, "parts"), arguments.text(total, "total"))
    _refuse_names(names)
    arguments.yes_or_no(relative, "relative")
    arguments.number(tolerance, "tolerance", least=0, below=1)
    arguments.function(estimator, "estimator")
    asked = measured_over_time(sample, list(names))
    _refuse_sums(sample, names, tolerance)
    found = _jointly(_with_untreated(sample, asked) if relative else sample, asked, estimator, relative)
    _refuse_weights(found.value[: len(asked)], tolerance)
    return _rows(found, asked, relative)


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The effect on a total, split into its parts.

    Attributes
    ----------
    estimate : Estimate
        All values jointly. ``outcome`` is a part, or the total, which comes last; ``term`` says in what the
        effect is measured: its unit, per cent of the total, per cent of itself.
    """

    estimate: Estimate

    def part(self, term: str) -> Estimate:
        """The effects measured in one way: ``"effect"``, ``"per cent of the total"`` or ``"per cent of itself"``."""
        kept = [t for t in self.estimate.index["term"].unique() if str(t).startswith(term)]
        if not kept:
            known = listing(dict.fromkeys(map(repr, self.estimate.index["term"])), "or")
            raise ValueError(f"This decomposition has no {term!r}: choose {known}.")
        return self.estimate.where(f"term == {kept[0]!r}")

    def share(self, part: str, *, of: str, level: float = 0.95) -> Check:
        """How much of the change in one part is a move into another: minus the effect there over the effect here.

        A share of one says that all who left ``of`` are found in ``part``: nothing but the name has changed. The
        interval is Fieller's, which holds however small the effect on ``of`` is; where that cannot be told
        from zero, the share may be anything, and the interval says so.

        Parameters
        ----------
        part, of : parts in the words of the table
        level : the confidence level

        References
        ----------
        fieller1954.
        """
        effects = self.part(EFFECT)
        known = list(effects.index["outcome"])
        for name, value in (("part", part), ("of", of)):
            arguments.option(value, name, known)
        arguments.number(level, "level", above=0, below=1)
        at = [known.index(part), known.index(of)]
        df = effects.dfs[at].min()
        low, high = (-100 * v for v in fieller.limits(effects.value[at], effects.vcov[np.ix_(at, at)], df, level)[::-1])
        value = -100 * effects.value[at[0]] / effects.value[at[1]]
        bounded = bool(np.isfinite(low))
        table = effects.index.iloc[[at[0]]].reset_index(drop=True)
        table = table.assign(term=f"per cent of the change in {of}", estimate=value, conf_low=low, conf_high=high)
        return Check(
            claim=f"More changed in {of} than its move into {part}",
            table=table,
            passed=(True if high < 100 else False if low >= 100 else None) if bounded else None,
            reason=_verdict(part, of, value, low, high, level),
            options={"null": 100.0, "ylabel": f"per cent of the change in {of}"},
            references=("fieller1954",),
            notes=effects.footer(),
        )

    # ---- reading: as the estimate does ------------------------------------------------------

    def tidy(self, level: float = 0.95, simultaneous: bool = False) -> Any:
        """A table with one row per value."""
        return self.estimate.tidy(level, simultaneous)

    def plot(self, ax: Axes | None = None, term: str = OF_TOTAL, **options: Any) -> Axes:
        """The effects measured in one way, as points with intervals."""
        terms = self.estimate.index["term"]
        shown = self.part(term if terms.str.startswith(term).any() else EFFECT)
        words = {"estimate": str(shown.index["term"].iloc[0])}
        return shown.about(index=shown.index[["outcome"]], axes=words).plot(ax, **options)

    def to_html(self) -> str:
        """The table in HTML."""
        return self.estimate.to_html()

    def to_latex(self) -> str:
        """The table in LaTeX."""
        return self.estimate.to_latex()

    def to_markdown(self) -> str:
        """The table in Markdown."""
        return self.estimate.to_markdown()

    def __repr__(self) -> str:
        return repr(self.estimate)

    def _repr_html_(self) -> str:
        return self.to_html()


def _verdict(part: str, of: str, value: float, low: float, high: float, level: float) -> str:
    if not np.isfinite(low):
        return (
            f"The effect on {of} cannot be told from zero at the level of {level:g}, so that its move into {part} may "
            "be any share of it."
        )
    if high < 100:
        return f"At most {high:.0f} per cent of the change in {of} is a move into {part}."
    if low >= 100:
        return f"At least {low:.0f} per cent of the change in {of} is a move into {part}: the total did not fall."
    return f"The change in {of} may be a move into {part} altogether, or in part: {value:.0f} per cent of it."


# ---- the values ---------------------------------------------------------------------------------


def _with_untreated(sample: Sample, asked: tuple[Outcome, ...]) -> Sample:
    """The sample with each outcome once more: as it is where a unit is not treated, and zero where it is."""
    assert sample.adoption is not None
    outcomes, periods, more = dict(sample.outcomes), dict(sample.periods), []
    for outcome in asked:
        y, when = sample.outcome(outcome.name, gaps=True), sample.periods[outcome.name]
        twin = replace(outcome, column=UNTREATED + outcome.column, label="")
        treated = when >= sample.adoption[:, None]
        outcomes[twin.name] = np.where(treated & ~np.isnan(y), 0.0, y)
        periods[twin.name] = when
        more.append(twin)
    study = sample.study.revise(outcomes=(*sample.study.outcomes, *more))
    return replace(sample, study=study, outcomes=outcomes, periods=periods)


def _jointly(sample: Sample, asked: tuple[Outcome, ...], estimator: Estimator, relative: bool) -> Estimate:
    """The estimator on all outcomes at once, and on their twins: one value each, in this order."""
    twins = sample.study.outcomes[-len(asked) :] if relative else ()
    every = (*asked, *twins)
    found = estimator(sample, outcome=[o.name for o in every])
    words = [o.words for o in every]
    if not isinstance(found, Estimate) or list(found.index.get("outcome", ())) != words:
        raise ValueError(
            f"The estimator gives {_count(found)} for {len(every)} outcomes, and a decomposition needs one for each, "
            "labelled by `outcome`: give an average such as impact.did.callaway_santanna.att."
        )
    return found.about(notes=tuple(n for n in found.notes if UNTREATED not in n))


def _count(found: Any) -> str:
    return f"{len(found.value)} values" if isinstance(found, Estimate) else "no Estimate"


def _rows(found: Estimate, asked: tuple[Outcome, ...], relative: bool) -> Decomposition:
    """Effects in their unit and in per cent, all as functions of the same values."""
    k = len(asked)
    names = [o.words for o in asked]
    unit = asked[-1].unit
    times = 100.0 if found.percent else 1.0
    terms = [f"{EFFECT} (percentage points)" if found.percent else f"{EFFECT} ({unit})" if unit else EFFECT] * k
    rows: list[tuple[int, int | None]] = [(i, None) for i in range(k)]
    notes = list(found.notes)
    if relative:
        sure = np.abs(found.value[k:]) > 2 * found.std_error[k:]
        if not sure.all():
            lost = listing(name for name, s in zip(names, sure, strict=True) if not s)
            notes.append(f"The level of {lost} without the programme cannot be told from zero: no per cent of it.")
        if sure[-1]:
            rows += [(i, k - 1) for i in range(k)]
            terms += [f"{OF_TOTAL}, {names[-1]}"] * k
        own = [i for i in range(k) if sure[i]]
        rows += [(i, i) for i in own]
        terms += [OF_ITSELF] * len(own)
    estimate = _carried(found, rows, k, times)
    return Decomposition(
        estimate.about(
            index=estimate.index.assign(outcome=[names[i] for i, _ in rows], term=terms),
            estimand=f"Effect on {names[-1]} and its parts",
            percent=False,
            kind="points",
            axes={"estimate": "effect"},
            notes=tuple(dict.fromkeys(notes)),
            references=tuple(dict.fromkeys((*found.references, "fieller1954"))),
        )
    )


def _carried(found: Estimate, rows: list[tuple[int, int | None]], k: int, times: float) -> Estimate:
    """Row (i, None) is the effect on outcome i; (i, j) is it in per cent of the level of j without the programme."""
    scale = np.abs(found.value).max() or 1.0  # so that the derivative's steps fit whatever the unit

    def values(v: Array) -> Array:
        return np.array([v[i] * scale * times if j is None else -100 * v[i] / v[k + j] for i, j in rows])

    return found.combine(np.eye(len(found.value)) / scale, outcome="").transform(values, outcome="")


# ---- what does not add up -----------------------------------------------------------------------


def _refuse_names(names: tuple[str, ...]) -> None:
    if len(set(names)) < len(names) or len(names) < 3:
        raise ValueError(
            f"A total has at least two parts, each named once, and {len(names) - 1} with "
            f"{len(set(names))} different names were given: name the outcomes that add up to `{names[-1]}`."
        )


def _refuse_sums(sample: Sample, names: tuple[str, ...], tolerance: float) -> None:
    """The parts add up to the total wherever they are seen, and are seen where it is."""
    used = sample.weights > 0
    *parts, total = (sample.outcome(name, gaps=True)[used] for name in names)
    whole = f"`{names[-1]}`"
    if any(p.shape != total.shape for p in parts):
        raise ValueError(f"{whole} and its parts are seen in different periods: give all of them the same.")
    gaps = sum((np.isnan(p) != np.isnan(total)) for p in parts) > 0
    if gaps.any():
        raise ValueError(
            f"In {int(gaps.sum()):,} of {gaps.size:,} unit-periods {whole} is seen and some of its parts "
            f"{listing(f'`{n}`' for n in names[:-1])} are not, or they are and it is not: complete them."
        )
    gap = np.abs(np.sum(parts, axis=0) - total)
    wrong = gap > max(tolerance, 1e-12) * np.nanmean(np.abs(total))
    if wrong.any():
        raise ValueError(
            f"{listing(f'`{n}`' for n in names[:-1])} do not add up to {whole} in {int(wrong.sum()):,} of "
            f"{wrong.size:,} unit-periods (by up to {np.nanmax(gap):.3g}): name all the parts, in the unit of the "
            "total and not as logarithms, or allow for rounding by `tolerance`."
        )


def _refuse_weights(effects: Array, tolerance: float) -> None:
    miss = abs(effects[:-1].sum() - effects[-1])
    if miss > max(10 * tolerance, 1e-6) * np.abs(effects).max():
        raise ValueError(
            f"By this estimator the effects on {len(effects) - 1} parts miss the effect on the total by {miss:.3g}, "
            "because it weighs units or periods differently for each outcome: use one that weighs all alike, such as "
            "impact.did.callaway_santanna.att."
        )
