"""Effects in repeated samples of a thousand, selected on covariates: intervals of 95 per cent cover 93 to 97.

What estimators find by themselves or after weighting; after every design: test_designs.py. The truth is the mean over
two million draws of both potential outcomes (``people``).
Coverage is held to the bounds promised, and to three standard errors of a binomial share for the simulation.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
from joblib import Parallel, delayed

from impact import ImpactWarning, emulate
from impact.matching import abadie_imbens, doubly_robust, means, propensity, quantiles, regression, subgroups
from tests.truth.people import STUDY, draw

pytestmark = pytest.mark.slow

N, REPS = 1000, 500


@cache
def truth():
    """By estimand: difference in means, ratio and odds ratio of P(y > 1), difference in medians, and by group."""
    many = draw(np.random.default_rng(99), 2_000_000)
    rows = {"ATT": many[many["arm"] == 1], "ATC": many[many["arm"] == 0], "ATE": many}
    found = {}
    for estimand, part in rows.items():
        p1, p0 = (part["y1"] > 1).mean(), (part["y0"] > 1).mean()
        gap = part["y1"] - part["y0"]
        found[estimand] = {
            "difference": [gap.mean()],
            "risk ratio": [p1 / p0],
            "odds ratio": [p1 / (1 - p1) * (1 - p0) / p0],
            "median": [part["y1"].median() - part["y0"].median()],
            "medians": [part["y1"].median(), part["y0"].median()],
            "contrast": list(np.diff(gap.groupby(part["group"]).mean())),
            "groups": [gap.mean(), *gap.groupby(part["group"]).mean()],
        }
    return found


def weighted(estimator, /, **options):
    return lambda s: estimator(propensity.weight(s), **options)


def learners():
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    return {"outcome_model": make_pipeline(PolynomialFeatures(2), RidgeCV()),
            "treatment_model": LogisticRegression(), "folds": 5, "outcome": "y"}  # fmt: skip


def matched(**options):
    return partial(abadie_imbens.difference, outcome="y", **options)


CASES = {
    "on the score, ATT": ("ATT", "difference", matched(metric="score")),
    "on the score, four, ATT": ("ATT", "difference", matched(metric="score", matches=4)),
    "on the score, ATC": ("ATC", "difference", matched(metric="score")),
    "on the score, ATE": ("ATE", "difference", matched(metric="score")),
    "bias adjusted, ATT": ("ATT", "difference", matched(bias_adjust=True)),
    "bias adjusted, Mahalanobis, four, ATC": (
        "ATC", "difference", matched(bias_adjust=True, metric="mahalanobis", matches=4)),
    "bias adjusted, ATE": ("ATE", "difference", matched(bias_adjust=True, matches=4)),
    "bias adjusted, two neighbours": ("ATT", "difference", matched(bias_adjust=True, matches=4, variance_matches=2)),
    "risk ratio by weighting": ("ATT", "risk ratio", weighted(means.risk_ratio, outcome="high")),
    "odds ratio by weighting, ATE": ("ATE", "odds ratio", weighted(means.odds_ratio, outcome="high")),
    "risk ratio, doubly robust": ("ATT", "risk ratio", partial(doubly_robust.risk_ratio, outcome="high")),
    "median by weighting": (
        "ATT", "median", weighted(quantiles.difference, outcome="y", quantiles=[0.5], draws=200)),
    "median by weighting, ATE": (
        "ATE", "median", weighted(quantiles.difference, outcome="y", quantiles=[0.5], draws=200)),
    "medians of both arms by weighting": (
        "ATT", "medians", weighted(quantiles.levels, outcome="y", quantiles=[0.5], draws=200)),
    "difference between subgroups": (
        "ATT", "contrast", partial(subgroups.contrasts, term="group", outcome="y", estimator=regression.difference)),
    "regression by subgroup": (
        "ATT", "groups", partial(subgroups.effects, term="group", outcome="y", estimator=regression.difference)),
    "weighting by subgroup": (
        "ATT", "groups", weighted(subgroups.effects, term="group", outcome="y", estimator=doubly_robust.difference)),
    "learners, ATT": ("ATT", "difference", lambda s: doubly_robust.difference(s, **learners())),
    "learners, ATE": ("ATE", "difference", lambda s: doubly_robust.difference(s, **learners())),
}  # fmt: skip


CASES["64 matches, not adjusted"] = ("ATT", "difference", matched(matches=64))


def one(seed):
    """For each case (k, 3): estimates, their errors, and whether the interval covers."""
    r = np.random.default_rng(seed)
    rows = draw(r, N)
    y = np.where(rows["arm"] == 1, rows["y1"], rows["y0"])
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImpactWarning)
        sample = emulate(STUDY, rows.assign(y=y, high=(y > 1).astype(int), id=np.arange(N)))
        for name, (estimand, quantity, estimator) in CASES.items():
            e = estimator(replace(sample, study=STUDY.revise(estimand=estimand)))
            target = np.array(truth()[estimand][quantity])
            low, high = e.interval()
            found[name] = np.column_stack([e.value - target, e.std_error, (low <= target) & (target <= high)])
    return found


@pytest.fixture(scope="module")
def runs():
    """By case, (REPS, k, 3)."""
    truth()
    drawn = Parallel(n_jobs=-1)(delayed(one)(seed) for seed in range(5000, 5000 + REPS))
    return {name: np.array([d[name] for d in drawn]) for name in CASES}


def judged(runs, name):
    """(bias, spread, stated error, coverage), each (k,)."""
    off, error, covers = np.moveaxis(runs[name], 2, 0)
    return off.mean(axis=0), off.std(axis=0, ddof=1), np.sqrt((error**2).mean(axis=0)), covers.mean(axis=0)


@pytest.mark.parametrize("name", [name for name in CASES if "not adjusted" not in name])
def test_intervals_cover(runs, name):
    bias, spread, stated, covered = judged(runs, name)
    print(
        f"{name}: bias {bias.round(4)}, spread {spread.round(4)}, stated {stated.round(4)}, covered {covered.round(3)}"
    )
    assert (np.abs(covered - 0.95) <= 0.02 + 3 * np.sqrt(0.95 * 0.05 / REPS)).all()
    assert (np.abs(bias) < (0.2 + 3 / np.sqrt(REPS)) * spread).all()


def test_without_adjustment_a_bias_is_left(runs):
    """Abadie and Imbens (2006): with two continuous covariates the distance between partners costs coverage."""
    bias, spread, stated, covered = judged(runs, "64 matches, not adjusted")
    print(f"not adjusted: bias {bias.round(4)}, spread {spread.round(4)}, stated {stated.round(4)}, covered {covered}")
    assert (np.abs(bias) > 0.5 * spread).all() and (covered < 0.93).all()
