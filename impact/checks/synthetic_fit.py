"""Is a synthetic comparison to be trusted: its fit before adoption, what it hangs on, and what placebos would show."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from impact.check import Check
from impact.core import arguments, synthetic, synthetic_panel
from impact.core.synthetic import Block, Fit
from impact.core.synthetic_panel import NEVER, Panel, Redrawn
from impact.sample import Sample
from impact.show.words import counted, tested

Array = np.ndarray
REFERENCES = ("abadie2010", "abadie2021")
METHODS = ("synthetic_did", "synthetic_control", "augmented", "did")
DRAWS = 200
_BEYOND = 1e12


class _Made(NamedTuple):
    """One outcome's panel with its synthetic comparisons."""

    words: str
    periods: Array
    panel: Panel
    parts: list[Block]
    fits: list[Fit]
    unit: Array


def before(
    sample: Sample, *, outcome: str | None = None, method: str = "synthetic_control", tolerance: float = 1.0
) -> Check:
    """Whether the synthetic comparison ran close to the treated before adoption.

        RMSPE = root of the mean over periods before of gap(t)^2,

    to be set beside sigma, the standard deviation of comparison units' changes from period to period: a
    comparison that misses by more than units move in one period is no likeness.

    **Assumptions**: none to describe; a good fit over few periods may be luck, and the more units, the more of it.

    Parameters
    ----------
    sample : Sample
        With ``adoption`` and an outcome over time.
    outcome : str, optional
        The first over time, if left out.
    method : ``"synthetic_control"``, ``"synthetic_did"``, ``"augmented"`` or ``"did"``
    tolerance : float
        How large the RMSPE may be, in sigmas.

    Returns
    -------
    Check
        For each adoption group its RMSPE, that of the plain mean of comparison units, and sigma.

    Raises
    ------
    ValueError
        A unit not seen in every period; fewer than two units never treated.

    **References**: abadie2010; abadie2021.
    """
    arguments.number(tolerance, "tolerance", above=0, most=1e6)
    claim = "The synthetic comparison ran close to the treated before adoption"
    made = _made(sample, outcome, method)
    if made is None:
        return _undecided(claim, sample)
    plain = synthetic_panel.estimated(made.panel, [p._replace(method="did") for p in made.parts])[1]
    near, far = ([_root(f.effect[0, : p.before]) for f, p in zip(fits, made.parts, strict=True)]
                 for fits in (made.fits, plain))  # fmt: skip
    sigma = np.array([p.noise for p in made.parts])
    rows = ("root mean squared gap", "the same of the plain mean", "usual change in a period")
    adopted, three = np.repeat(made.periods[made.panel.starts], 3), np.column_stack([near, far, sigma]).ravel()
    table = pd.DataFrame(
        {"outcome": made.words, "adoption_group": adopted, "term": rows * len(sigma), "estimate": three}
    )
    over = int((np.array(near) > tolerance * sigma).sum())
    single = len(sigma) == 1
    reason = (
        f"The root mean squared gap is {near[0] / sigma[0] if sigma[0] else np.inf:.2f} times a usual change from "
        f"period to period; {tolerance:g} is tolerated."
        if single
        else f"{over} of {len(sigma)} adoption groups miss by more than {tolerance:g} usual changes in a period."
    )
    least = min(p.before for p in made.parts)
    notes = (f"Over {counted(least, 'period')} before adoption{'' if single else ' or more'}.",)
    return Check(claim, table, over == 0, reason, notes=notes, references=REFERENCES,
                 options={"ylabel": "gap before adoption, in the outcome's unit", "null": None})  # fmt: skip


def ratio(
    sample: Sample, *, outcome: str | None = None, method: str = "synthetic_control", level: float = 0.05, rng: Any = 0
) -> Check:
    """Whether the gap after adoption stands out among those of placebos, each for its fit before.

        ratio = RMSPE after / RMSPE before,    p = (1 + placebos with a ratio as large) / (1 + placebos)

    Placebos are comparison clusters to which the adoption is given, in every way there is or in 200 drawn.

    **Assumptions**: nobody is affected under the null hypothesis, in any period; adoption might as well have fallen
    on any comparison cluster. The ratio excuses placebos that fit badly, not units that are more erratic.

    Parameters
    ----------
    sample, outcome, method :
        As for :func:`before`.
    level : float
        The test's probability of rejecting when nobody is affected.
    rng : seed or numpy Generator

    Returns
    -------
    Check
        It holds if p is at most ``level``; with too few comparison clusters for that it cannot be decided.

    Raises
    ------
    ValueError
        As for :func:`before`; fewer than two comparison clusters more than treated ones.

    **References**: abadie2010; abadie2021.
    """
    arguments.number(level, "level", above=0, below=1)
    arguments.seed(rng, "rng")
    claim = "The gap after adoption stands out among placebos"
    made = _made(sample, outcome, method)
    if made is None:
        return _undecided(claim, sample)
    drawn = _placebos(made, sample, rng)
    cells, _ = synthetic_panel.estimated(made.panel, made.parts)
    ours = _ratios(cells, made.panel.starts)
    theirs = _ratios(synthetic_panel.again(made.panel, made.parts, drawn), made.panel.starts)
    larger = int((theirs[2] >= ours[2] * (1 - 1e-9)).sum())
    count, free = len(theirs[2]), len(synthetic_panel.clusters_of(made.panel)[1])
    p = (1 + larger) / (1 + count)
    rows = np.column_stack([ours[:, 0], np.quantile(theirs, [0.5, 0.95], axis=1).T])
    table = pd.DataFrame({"outcome": made.words, "term": ["treated", "placebos, median", "placebos, highest 5% from"],
                          "estimate": rows[2], "rmspe_before": rows[0], "rmspe_after": rows[1],
                          "p_value": [p, np.nan, np.nan]})  # fmt: skip
    least = 1 / (1 + count)
    passed = None if least > level else p <= level
    reason = f"The ratio of {counted(larger, 'placebo')} of {count:,} is as large ({tested(p)})."
    if passed is None:
        reason = f"It cannot be decided: with {counted(count, 'placebo')} p is at least {least:.3f}. {reason}"
    notes = (
        f"Placebos are drawn among {counted(free, 'comparison cluster')}; the null hypothesis is no effect on anybody.",
    )
    return Check(claim, table, passed, reason, notes=notes, references=REFERENCES,
                 options={"ylabel": "RMSPE after over RMSPE before", "null": None})  # fmt: skip


def earlier(
    sample: Sample,
    *,
    outcome: str | None = None,
    method: str = "synthetic_did",
    periods: int | None = None,
    level: float = 0.05,
    rng: Any = 0,
) -> Check:
    """Whether an adoption that is pretended to have come earlier has an effect, on periods before the true one.

        effect = average gap over the last ``periods`` before adoption, weights chosen on the periods before those

    **Assumptions**: nobody reacted before adoption; the treated and placebos are equally erratic.

    Parameters
    ----------
    sample, outcome, method :
        As for :func:`before`.
    periods : int, optional
        How much earlier; half of the periods before the first adoption, if left out.
    level, rng :
        As for :func:`ratio`.

    Returns
    -------
    Check
        It does not hold if the pretended effect is told from zero; otherwise it is for the reader to judge.

    Raises
    ------
    ValueError
        As for :func:`ratio`; ``periods`` leaves none before.

    **References**: abadie2010; abadie2021.
    """
    from scipy import stats

    arguments.number(level, "level", above=0, below=1)
    arguments.number(periods, "periods", least=1, whole=True, optional=True)
    arguments.seed(rng, "rng")
    claim = "An adoption pretended to come earlier has no effect"
    made = _made(sample, outcome, method)
    if made is None:
        return _undecided(claim, sample)
    shortest = int(made.panel.starts.min())
    back = max(1, shortest // 2) if periods is None else int(periods)
    if back >= shortest:
        raise ValueError(
            f"An adoption {back} periods earlier was asked for, and the first group has {counted(shortest, 'period')} "
            f"before its own: ask for fewer `periods`, at most {shortest - 1}."
        )
    drawn = _placebos(made, sample, rng)
    here = Redrawn(made.panel.w[None], made.panel.group[None])
    value = _pretended(made, method, back, here)[0]
    error = float(_pretended(made, method, back, drawn).std(ddof=1))
    degrees = len(synthetic_panel.clusters_of(made.panel)[1]) - 1
    reach = stats.t.ppf(1 - level / 2, degrees) * error
    p = float(2 * stats.t.sf(abs(value) / error, degrees)) if error > 0 else float(value == 0)
    table = pd.DataFrame({"outcome": made.words, "term": [f"adoption {back} periods earlier"], "estimate": value,
                          "std_error": error, "p_value": p, "conf_low": value - reach,
                          "conf_high": value + reach})  # fmt: skip
    reason = (
        f"The pretended effect differs from zero by more than placebos do ({tested(p)})."
        if p <= level
        else f"It cannot be told from zero ({tested(p)}); effects up to the ends of its interval are not ruled out."
    )
    return Check(claim, table, False if p <= level else None, reason, references=REFERENCES,
                 options={"ylabel": "effect where there can be none"})  # fmt: skip


def donors(
    sample: Sample,
    *,
    outcome: str | None = None,
    method: str = "synthetic_control",
    tolerance: float = 0.25,
    named: bool = False,
) -> Check:
    """Whether the average effect hangs on one comparison unit: each that has weight is left out in turn.

        shift_j = effect without unit j - effect with all

    **Assumptions**: none; an effect that does not move may still be biased.

    Parameters
    ----------
    sample, outcome, method :
        As for :func:`before`.
    tolerance : float
        How far the effect may move, as a share of itself.
    named : bool
        Name comparison units in the table. Units are numbered otherwise, by their weight: say ``True`` only where
        they are areas, never where they are persons or firms.

    Returns
    -------
    Check
        The effect with all and without each, its shift, and the weight it had, for the twenty that matter most.

    Raises
    ------
    ValueError
        As for :func:`before`.

    **References**: abadie2010; abadie2021.
    """
    arguments.number(tolerance, "tolerance", above=0, most=1e6)
    arguments.yes_or_no(named, "named")
    claim = "The effect does not hang on any one comparison unit"
    made = _made(sample, outcome, method)
    if made is None:
        return _undecided(claim, sample)
    panel, size = made.panel, np.array([made.panel.w[made.panel.group == k].sum() for k in range(len(made.parts))])
    weight = np.average([f.unit[0] for f in made.fits], axis=0, weights=size)
    weight = np.where(panel.group == NEVER, weight, 0.0)
    order = np.argsort(-np.abs(weight), kind="stable")
    order = order[np.abs(weight[order]) > 1e-6][:20]
    after = (np.arange(panel.y.shape[1]) >= panel.starts[:, None]).astype(float)[None]
    w = np.vstack([panel.w, np.where(np.eye(len(panel.w), dtype=bool)[order], 0.0, panel.w)])
    again = synthetic_panel.again(panel, made.parts, Redrawn(w, np.broadcast_to(panel.group, w.shape)))
    value = synthetic_panel.averages(again, after)[:, 0]
    names = [f"without unit {k + 1}" for k in range(len(order))]
    if named:
        names = [f"without {made.unit[panel.row[i]]}" for i in order]
    table = pd.DataFrame({"outcome": made.words, "term": ["all comparison units", *names], "estimate": value,
                          "shift": np.append(np.nan, value[1:] - value[0]),
                          "weight": np.append(np.nan, weight[order])})  # fmt: skip
    moved = np.abs(value[1:] - value[0])
    most = float(moved.max(initial=0))
    share = most / abs(value[0]) if value[0] else np.inf
    return Check(
        claim,
        table,
        bool(most <= tolerance * abs(value[0])),
        f"Without the unit that matters most the effect moves by {100 * share:.0f}% of itself; {100 * tolerance:g}% is "
        "tolerated.",
        options={"ylabel": "effect"},
        notes=() if named else ("Units are numbered by their weight.",),
        references=REFERENCES,
    )


# ---- panels -----------------------------------------------------------------------------------


def _made(sample: Sample, outcome: str | None, method: str) -> _Made | None:
    """The panel of one outcome over time; None for a study without adoption."""
    arguments.option(method, "method", METHODS)
    asked = next((o for o in sample.measured(outcome) if o.name in sample.periods), None)
    if sample.adoption is None or asked is None:
        return None
    periods, y = sample.periods[asked.name], np.asarray(sample.outcome(asked.name), float)
    used = (sample.weights > 0) & (sample.adoption > periods[0])
    start = np.searchsorted(periods, sample.adoption[used])
    never = int((start == len(periods)).sum())
    if never < 2 or never == len(start):
        raise ValueError(
            f"A synthetic comparison needs units that adopt within the periods of `{asked.name}` and at least two that "
            f"do not, and of {len(start):,} units {never:,} do not: add units, or periods."
        )
    panel = synthetic_panel.arranged(y[used], sample.weights[used], sample.cluster[used], start, y[used])
    parts = synthetic_panel.blocks(panel, method, "exact")
    return _Made(asked.words, periods, panel, parts, synthetic_panel.estimated(panel, parts)[1], sample.unit[used])


def _undecided(claim: str, sample: Sample) -> Check:
    table = pd.DataFrame({"outcome": [o.words for o in sample.study.outcomes], "estimate": np.nan})
    lacks = (
        "`adoption`, which says when each unit was first treated" if sample.adoption is None else "outcome over time"
    )
    reason = f"It cannot be decided: the study has no {lacks}: name one in the study."
    return Check(claim, table, reason=reason, references=REFERENCES)


def _placebos(made: _Made, sample: Sample, rng: Any) -> Redrawn:
    held, free = synthetic_panel.clusters_of(made.panel)
    if len(free) < held.sum() + 2:
        raise ValueError(
            f"Placebos need at least two comparison clusters more than treated ones, and there are {len(free):,} and "
            f"{int(held.sum()):,}: add comparison units to the study “{sample.study.title}”."
        )
    return synthetic_panel.placebos(made.panel, DRAWS, np.random.default_rng(rng))


def _pretended(made: _Made, method: str, back: int, drawn: Redrawn) -> Array:
    """(B,) the average effect of adoption ``back`` periods earlier, on what was seen before the true one."""
    panel = made.panel
    effect, size = np.zeros((2, len(made.parts), len(drawn.w)))
    for k, start in enumerate(panel.starts):
        mine, inside = panel.group == k, panel.group == NEVER
        part = synthetic.block(panel.y[:, :start], int(start) - back, panel.w * (mine | inside), mine, method, "exact")
        ours = drawn.group == k
        found = synthetic.fit(part, drawn.w * (ours | (drawn.group == NEVER)), ours)
        effect[k], size[k] = found.effect[:, part.before :].mean(axis=1), (drawn.w * ours).sum(axis=1)
    return (effect * size).sum(axis=0) / size.sum(axis=0)


def _root(gaps: Array) -> float:
    return float(np.sqrt((gaps**2).mean()))


def _ratios(cells: synthetic_panel.Cells, starts: Array) -> Array:
    """(3, B): root mean squared gap before, after, and their ratio, over groups by their weight."""
    since = np.arange(cells.effect.shape[2]) >= starts[:, None]
    squared, size = cells.effect**2, cells.size
    parts = [np.sqrt(((squared * side).sum(axis=2) / side.sum(axis=1) * size).sum(axis=1) / size.sum(axis=1))
             for side in (~since, since)]  # fmt: skip
    early, late = parts
    exact = np.where(late > 0, _BEYOND, 1.0)  # no gap at all before
    return np.array([early, late, np.divide(late, early, out=exact, where=early > 0)])
