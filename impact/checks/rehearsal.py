"""Which estimator could be trusted with these very units? Placebo programmes tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from impact.check import Check
from impact.checks.estimators import METHODS, Estimator, named, one_value
from impact.checks.sides import single
from impact.core import arguments, placebo
from impact.core.logit import logit
from impact.core.moments import mean
from impact.sample import ImpactWarning, Sample, told
from impact.show import digits
from impact.show.words import counted, listing

Array = np.ndarray
FEW = 100  # draws below which nothing is decided
MATERIAL = 0.25  # bias tolerated, in spreads of the estimator: it costs a 95% interval one point of coverage
SHORT = 0.02  # coverage that may be missing


def rehearsal(
    sample: Sample,
    *,
    estimators: Mapping[str, Estimator] | None = None,
    size: float | Sequence[float] = 0.0,
    outcome: str | None = None,
    time: float | None = None,
    draws: int = 200,
    units: int | None = None,
    level: float = 0.95,
    rng: Any = 0,
    n_jobs: int = 1,
) -> Check:
    """Which estimators find, in placebo programmes on these very units, the effect that was planted.

    An empirical Monte Carlo study. The selection of the real programme is estimated by logistic
    regression on the study's covariates, P(treated | x) = 1 / (1 + exp(-a - x'b)). In each draw,
    units who were *not* treated are assigned to a placebo programme with that x'b, and an intercept
    a at which as large a share is treated as really was. An effect is planted: ``size`` is added to
    the outcome of the placebo treated, or, for an outcome of zeros and ones, as many outcomes are
    turned as raise the mean by ``size`` in the group of interest. As nothing else happened to these
    units, the true effect is known, and so over the draws

        bias = mean(estimate) - truth,   RMSE = sqrt(mean((estimate - truth)^2)),

    and how often the interval holds the truth. Covariates, outcomes and their dependence are real.

    **Assumptions**: selection works as the model says. A confounder that was not measured is not
    rehearsed, so that no estimator is proved right for the real comparison; one that fails here can
    hardly be trusted there. The treated are not rehearsed with: where they are unlike the
    comparison units, the real task is harder than the placebo (Advani, Kitagawa and Słoczyński
    warn that rankings need not carry over).

    Parameters
    ----------
    sample : Sample
        Before any design.
    estimators : mapping of names to functions ``Sample -> Estimate``, optional
        Each does the whole job, design and estimate, and gives one value, as in
        ``{"matching": lambda s: means.difference(nearest.match(s))}``. If left out: the difference
        in means, regression, weighting by the propensity score and the doubly robust estimator.
    size : number or several
        Planted effects, in the unit of the outcome.
    outcome, time : the measured outcome, and its period if it has several; the first, and the last.
    draws : int
        Placebo programmes.
    units : int, optional
        How many of the comparison units are drawn into each placebo study, without replacement; all
        of them, if left out.
    level : float
        Of the intervals whose coverage is counted.
    rng : seed, ``SeedSequence`` or numpy ``Generator``
    n_jobs : int
        Processes (joblib). The result does not depend on it.

    Returns
    -------
    Check
        With a row for each estimator and planted effect, best root mean squared error first. An estimator can be
        trusted here if, within Monte Carlo error, its bias is less than a quarter of its spread and
        its intervals cover no more than two points less than they say.

    Raises
    ------
    ValueError
        The sample has been designed already, has no covariates, or too few units; an estimator
        gives more than one value; an effect that cannot be planted.

    **References**: huber2013; advani2019.

    Examples
    --------
    >>> from impact import Outcome, Study, emulate
    >>> from impact.checks.rehearsal import rehearsal
    >>> from impact.datasets import helsinki
    >>> study = Study(title="Private and public services", unit="client", treatment="provider",
    ...               treated="private", comparison="public", covariates=("age", "months_worked"),
    ...               outcomes=Outcome("employed_12", "in a job at 12 months"))
    >>> check = rehearsal(emulate(study, helsinki(seed=1).clients), size=[0, 0.05], draws=20)
    >>> sorted(set(check.tidy()["truth"]))
    [0.0, 0.05]
    """
    sizes = tuple(arguments.numbers(size, "size").tolist())
    arguments.number(draws, "draws", least=2, most=1e6, whole=True)
    arguments.number(level, "level", above=0, below=1)
    arguments.number(units, "units", least=10, whole=True, optional=True)
    arguments.number(n_jobs, "n_jobs", whole=True)
    arguments.seed(rng, "rng")
    _refuse(sample, sizes, n_jobs)
    alone, y = single(sample, outcome, time)
    chosen = {name: named(name) for name in METHODS} if estimators is None else _asked(estimators)
    fit = logit(alone.treated, alone.covariates, alone.weights, names=told(alone.covariate_names, alone.covariates))
    pool = np.flatnonzero(~alone.treated & (alone.weights > 0))
    if units is not None and not 10 <= units <= len(pool):
        raise ValueError(
            f"Placebo studies of {units:,} units were asked for, and there are {len(pool):,} comparison units to draw "
            "from: choose a number from 10 up to that, or leave `units` out."
        )
    share = float(mean(alone.treated.astype(float), alone.weights))
    chance = placebo.shifted(fit.logit[pool], share, alone.weights[pool])
    plan = placebo.plan(y[pool], chance, alone.weights[pool], sizes, sample.study.estimand)
    found = _run(alone.take(pool), chosen, chance, plan, _seeds(rng, draws), units, level, n_jobs)
    table = _table(found, tuple(chosen), plan)
    return _check(alone, table, tuple(chosen), draws, len(pool) if units is None else units, level)


def _asked(estimators: Any) -> dict[str, Estimator]:
    given = arguments.mapping(estimators, "estimators", "functions of a sample")
    return {name: arguments.function(f, f"estimators[{name!r}]") for name, f in given.items()}


def _refuse(sample: Sample, sizes: Sequence[float], n_jobs: int) -> None:
    if sample.steps:
        raise ValueError(
            f"A rehearsal starts from the sample before any design, and this one was {sample.steps[-1]}: give the "
            "sample that `emulate` returned, and put the design into the estimators."
        )
    if not sample.covariates.shape[1]:
        raise ValueError(
            f"A rehearsal needs a model of selection, and the study “{sample.study.title}” has no covariates that "
            "vary: name in `covariates` what decided who was treated."
        )
    if not sizes or not np.isfinite(sizes).all():
        raise ValueError(f"`size` is {list(sizes)}: plant at least one effect that is a number, such as 0.")
    if n_jobs == 0:
        raise ValueError("`n_jobs` is 0, and is a number of processes: set 1, or -1 for as many as there are cores.")


# ---- drawing --------------------------------------------------------------------------------


def _seeds(rng: Any, draws: int) -> list[np.random.SeedSequence]:
    if isinstance(rng, np.random.Generator):
        rng = int(rng.integers(2**63))
    root = rng if isinstance(rng, np.random.SeedSequence) else np.random.SeedSequence(rng)
    # Not root.spawn, which counts: the same SeedSequence given twice gives the same answer.
    return [np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, k)) for k in range(draws)]


def _run(
    pool: Sample, estimators: Mapping[str, Estimator], chance: Array, plan: placebo.Plan,
    seeds: Sequence[np.random.SeedSequence], units: int | None, level: float, n_jobs: int,
) -> Array:  # fmt: skip
    """(draws, estimators, sizes, 4): estimate, standard error and interval; NaN where there is none."""
    from joblib import Parallel, delayed

    batches = [seeds[k : k + 10] for k in range(0, len(seeds), 10)]
    task = delayed(_batch)
    done = Parallel(n_jobs=n_jobs)(task(pool, dict(estimators), chance, plan, b, units, level) for b in batches)
    return np.concatenate(done)


def _batch(
    pool: Sample, estimators: Mapping[str, Estimator], chance: Array, plan: placebo.Plan,
    seeds: Sequence[np.random.SeedSequence], units: int | None, level: float,
) -> Array:  # fmt: skip
    out = np.full((len(seeds), len(estimators), len(plan.sizes), 4), np.nan)
    for k, seed in enumerate(seeds):
        rng = np.random.Generator(np.random.PCG64(seed))
        rows = np.arange(len(pool)) if units is None else np.sort(rng.choice(len(pool), units, replace=False))
        treated = rng.random(len(pool))[rows] < chance[rows]
        turned = rng.random(len(pool))[rows]
        if treated.all() or not treated.any():
            continue
        drawn = replace(pool.take(rows), treated=treated)
        for s in range(len(plan.sizes)):
            y = plan.planted(pool.outcome()[rows], treated, turned, s)
            study = replace(drawn, outcomes={next(iter(drawn.outcomes)): y})
            for e, (name, estimator) in enumerate(estimators.items()):
                out[k, e, s] = _answer(name, estimator, study, level)
    return out


def _answer(name: str, estimator: Estimator, sample: Sample, level: float) -> tuple[float, float, float, float]:
    """One estimator's answer to one placebo study. What it cannot answer, it refuses with a ValueError."""
    import warnings

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            found = estimator(sample)
        except ValueError:
            return (np.nan,) * 4  # counted in the table
    for w in said:  # what the package says of a placebo study is no news; what others say is
        if not issubclass(w.category, ImpactWarning):
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
    return one_value(found, name, level)


# ---- telling --------------------------------------------------------------------------------


def _table(found: Array, names: Sequence[str], plan: placebo.Plan) -> pd.DataFrame:
    rows = []
    for s, (asked, truth) in enumerate(zip(plan.sizes, plan.truths, strict=True)):
        for e, name in enumerate(names):
            value, error, low, high = found[:, e, s].T
            ok = np.isfinite(value) & np.isfinite(error)
            n = int(ok.sum())
            gap = value[ok] - truth
            spread = float(gap.std(ddof=1)) if n > 1 else np.nan
            rows.append({
                "method": name, "term": f"effect of {digits.label(asked)} planted", "truth": truth,
                "estimate": float(value[ok].mean()) if n else np.nan,
                "bias": float(gap.mean()) if n else np.nan,
                "spread": spread,
                "std_error": float(error[ok].mean()) if n else np.nan,
                "rmse": float(np.sqrt((gap**2).mean())) if n else np.nan,
                "coverage": float(((low <= truth) & (truth <= high))[ok].mean()) if n else np.nan,
                "draws": n, "refused": len(value) - n,
            })  # fmt: skip
    table = pd.DataFrame(rows)
    order = table.groupby("method")["rmse"].max()
    place = table["method"].map(order).fillna(np.inf)
    return table.assign(_place=place).sort_values(["_place", "method", "truth"], kind="stable").drop(
        columns="_place"
    ).reset_index(drop=True)  # fmt: skip


def _check(sample: Sample, table: pd.DataFrame, names: Sequence[str], draws: int, units: int, level: float) -> Check:
    trusted, failing = [], []
    for name, rows in table.groupby("method", sort=False):
        n = rows["draws"].clip(lower=1)
        bias = rows["bias"].abs() <= rows["spread"] * (MATERIAL + 2 / np.sqrt(n))
        cover = rows["coverage"] >= level - SHORT - 2 * np.sqrt(level * (1 - level) / n)
        answers = rows["refused"] <= 0.05 * draws
        if bool((bias & cover & answers).all()):
            trusted.append(str(name))
            continue
        worst = rows.loc[(rows["bias"].abs() / rows["spread"]).fillna(np.inf).idxmax()]
        why = [] if answers.all() else [f"had no answer in {counted(int(rows['refused'].max()), 'draw')}"]
        why += [] if bias.all() else [f"is off by {worst['bias'] / worst['spread']:+.1f} of its own spreads"]
        why += [] if cover.all() else [f"covers {100 * rows['coverage'].min():.0f}% at {100 * level:g}%"]
        failing.append(f"“{name}” {listing(why)}")
    kept = f"Can be trusted here: {listing(f'“{t}”' for t in trusted)}. " if trusted else ""
    said = kept + (f"Cannot: {'; '.join(failing)}." if failing else "")
    decided = draws >= FEW
    return Check(
        claim="Some of the estimators find what was planted in placebo programmes on these very units, without bias "
        "and with intervals that cover",
        table=table.assign(outcome=sample.measured()[0].words)[["outcome", *table.columns]],
        passed=bool(trusted) if decided else None,
        reason=("" if decided else f"It cannot be decided with {draws} draws (at least {FEW} are needed); so far: ")
        + said.strip(),
        percent=placebo.zero_one(sample.outcome()),
        options={"ylabel": "mean estimate"},
        references=("huber2013", "advani2019"),
        notes=(
            f"{counted(draws, 'placebo programme')} among {units:,} comparison units each. A rehearsal knows no "
            "confounder that was not measured: who fails it cannot be trusted; who passes may still be wrong.",
        ),
    )
