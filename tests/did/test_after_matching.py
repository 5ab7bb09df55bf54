"""A design first, then differences in differences: Heckman, Ichimura, Smith and Todd (1998), by hand and against truth.

A design makes units that adopt and units that never do alike on covariates, outcomes before adoption among them;
the estimator then compares their changes, with the design's weights.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.checks import balance
from impact.did import callaway_santanna as did
from impact.matching import entropy, exact, kernel, nearest, optimal, propensity, subclass
from tests.contracts import promises, walk

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
against_never = partial(did.att, comparison="never")
PERIODS = (1, 2, 3, 4)
EFFECT = 2.0
DESIGNS = {
    "nearest": nearest.match,
    "optimal": optimal.match,
    "full": optimal.full,
    "kernel": kernel.match,
    "entropy": entropy.weight,
    "propensity": propensity.weight,
    "subclass": subclass.stratify,
}


def offices(n=400, seed=0, slope=1.5, starts=(3.0,)):
    """Offices in need adopt more often and change faster: trends are parallel only given need and size."""
    rng = np.random.default_rng(seed)
    need, large = rng.normal(size=n), rng.integers(0, 2, n)
    adopts = rng.random(n) < 1 / (1 + np.exp(0.9 - 0.7 * need - 0.4 * large))
    start = np.where(adopts, rng.choice(starts, n), np.nan)
    t = np.array(PERIODS)
    y = rng.normal(size=(n, 1)) + 2 * need[:, None] + slope * (need + 0.5 * large)[:, None] * (t - 1)
    y = y + EFFECT * (t >= start[:, None]) + rng.normal(size=(n, len(t)))
    table = pd.DataFrame({"office": np.arange(n), "start": start, "need": need, "large": large})
    return table.assign(**{f"placed_{k}": y[:, k - 1] for k in PERIODS}, size=rng.gamma(3, 1, n))


def study(**about):
    placed = Outcome("placed_{}", "placements", periods=PERIODS, per="month")
    about = {"covariates": ("need", "large"), **about}
    return Study(title="One-stop offices", unit="office", adoption="start", outcomes=placed, **about)


def sample_of(table=None, **about):
    return emulate(study(**about), offices() if table is None else table)


def mean_change(sample):
    """The change from period 2 to the mean of periods 3 and 4."""
    y = sample.outcome("placed")
    return y[:, 2:].mean(axis=1) - y[:, 1]


# ---- by hand -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DESIGNS)
def test_the_estimate_is_the_weighted_difference_of_changes(name):
    """With the covariates out of the second step, the design's weights do everything."""
    designed = DESIGNS[name](sample_of())
    change, w, d = mean_change(designed), designed.weights, designed.treated
    want = np.average(change[d], weights=w[d]) - np.average(change[~d], weights=w[~d])
    bare = plain(designed)
    assert against_never(bare).value[0] == pytest.approx(want, rel=1e-10)


def plain(sample):
    """The sample without covariates for the second step."""
    from dataclasses import replace

    none = np.empty((len(sample), 0))
    return replace(sample, covariates=none, covariate_names=())


def test_pairs_are_differences_of_changes_within_pairs():
    matched = plain(nearest.match(sample_of()))
    change = mean_change(matched)
    used = matched.weights > 0
    pairs = pd.DataFrame({"set": matched.strata, "d": matched.treated, "change": change})[used]
    gap = pairs.pivot(index="set", columns="d", values="change")
    gap = gap[True] - gap[False]
    found = against_never(matched)
    assert found.value[0] == pytest.approx(gap.mean(), rel=1e-10)
    assert found.counts["clusters"] == len(gap)
    assert found.std_error[0] == pytest.approx(gap.std(ddof=1) / np.sqrt(len(gap)), rel=0.01)


def test_the_kernel_estimate_by_hand():
    """Each office that adopts, less a mean of never-adopters weighted by how near their scores are."""
    sample = sample_of()
    matched = kernel.match(sample, bandwidth=0.1)
    score, d, change = matched.score, sample.treated, mean_change(sample)
    gap = (score[~d][None, :] - score[d][:, None]) / 0.1
    w = np.maximum(0.75 * (1 - gap**2), 0)
    reached = w.sum(axis=1) > 0
    partner = (w[reached] @ change[~d]) / w[reached].sum(axis=1)
    want = (change[d][reached] - partner).mean()
    assert against_never(plain(matched)).value[0] == pytest.approx(want, rel=1e-9)


def test_after_exact_balance_regression_and_double_robustness_add_nothing():
    """Entropy balancing leaves no difference in means for a linear regression of the change to remove."""
    weighted = entropy.weight(sample_of())
    values = [against_never(weighted, method=m).value[0] for m in ("dr", "reg", "ipw")]
    np.testing.assert_allclose(values, against_never(plain(weighted)).value[0], rtol=1e-7)


def test_on_baseline_outcomes_and_covariates():
    """The outcome of the first period is a covariate like any other: balanced exactly, with need and size."""
    table = offices()
    sample = emulate(study(covariates=("need", "large", "placed_1")), table)
    weighted = entropy.weight(sample)
    assert balance.balance(weighted).table["after"].abs().max() < 1e-6
    w, d = weighted.weights, weighted.treated
    first = weighted.outcome("placed")[:, 0]
    assert np.average(first[d], weights=w[d]) == pytest.approx(np.average(first[~d], weights=w[~d]), abs=1e-6)
    path = did.event_study(weighted, comparison="never", base="universal")
    before = path.where("time == -2")
    assert abs(before.value[0] + np.subtract(*(np.average((weighted.outcome("placed")[:, 1])[m], weights=w[m])
                                               for m in (d, ~d)))) < 1e-6  # fmt: skip


def test_a_long_table_takes_the_outcome_before_as_a_covariate():
    wide = offices()
    long = pd.wide_to_long(wide, "placed", i="office", j="month", sep="_").reset_index()
    about = {
        "title": "Offices",
        "unit": "office",
        "period": "month",
        "adoption": "start",
        "outcomes": Outcome("placed"),
    }
    long["placed_1"] = long["office"].map(wide.set_index("office")["placed_1"])
    found = against_never(entropy.weight(emulate(Study(**about, covariates=("need", "large", "placed_1")), long)))
    again = against_never(entropy.weight(emulate(study(covariates=("need", "large", "placed_1")), wide)))
    np.testing.assert_allclose(found.value, again.value)
    np.testing.assert_allclose(found.std_error, again.std_error)


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [against_never, partial(did.event_study, comparison="never"), did.att],
                         ids=["never", "event study", "not yet"])  # fmt: skip
@pytest.mark.parametrize("design", walk.functions("Sample"), ids=walk.name)
def test_scores_are_derivatives_after_every_design(design, estimator):
    """Through estimated weights; with matched sets, in the weights that matching gave."""
    sample = sample_of(offices(n=150, starts=(3.0, 4.0)), weights="size")
    try:
        designed = design(sample)
    except ValueError as reason:
        assert len(str(reason).split()) > 8
        return
    if designed.nuisance is not None:
        assert promises.derivative_gap(lambda s: estimator(design(s)), sample, units=5) < 1e-6
    else:
        assert promises.derivative_gap(estimator, designed, units=5) < 1e-6


def test_estimated_weights_are_in_the_error():
    sample = sample_of()
    weighted = entropy.weight(sample)
    from dataclasses import replace

    given = replace(weighted, nuisance=None)
    knows, takes_as_given = plain(weighted), plain(given)
    assert against_never(knows).std_error[0] < 0.9 * against_never(takes_as_given).std_error[0]


def test_units_that_all_adopt_are_refused_in_words():
    table = offices().dropna(subset=["start"])
    table.loc[table.index[::2], "start"] = 4.0
    with pytest.raises(ValueError, match="all 140 rows with weight are in the treated arm|All 140 units"):
        nearest.match(sample_of(table))


def test_exact_matching_keeps_strata_of_units_that_adopt_at_different_times():
    sample = sample_of(offices(starts=(3.0, 4.0)), covariates=("large",))
    matched = exact.match(sample)
    found = did.by_group(matched, comparison="never")
    assert list(found.index["adoption_group"]) == [3.0, 4.0] and np.isfinite(found.std_error).all()


# ---- truth ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DESIGNS)
def test_the_bias_of_trends_that_follow_covariates_is_removed(name):
    """One large draw. Plain differences are off by more than 1; after a design they are near the truth of 2."""
    sample = sample_of(offices(n=4000, seed=3))
    naive = against_never(plain(sample))
    assert naive.value[0] - EFFECT > 1 and naive.value[0] - EFFECT > 10 * naive.std_error[0]
    found = against_never(plain(DESIGNS[name](sample)))
    left = {"nearest": 0.25, "kernel": 0.15, "subclass": 0.35, "optimal": 1.0}.get(name, 0.1)  # what remains unmatched
    assert abs(found.value[0] - EFFECT) < left + 3 * found.std_error[0]
    assert abs(against_never(DESIGNS[name](sample)).value[0] - EFFECT) < 3.5 * found.std_error[0], "with regression"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nearest", "kernel", "entropy", "propensity"])
def test_coverage_after_a_design(name):
    """300 samples of 400 offices: with covariates in the second step too, 95 per cent intervals cover 92 to 98."""
    inside, gaps = [], []
    for seed in range(300):
        found = against_never(DESIGNS[name](sample_of(offices(seed=1000 + seed))))
        low, high = found.interval()
        inside.append(low[0] <= EFFECT <= high[0])
        gaps.append(found.value[0] - EFFECT)
    print(f"{name}: covers {np.mean(inside):.3f}, bias {np.mean(gaps):+.3f}, spread {np.std(gaps):.3f}")
    assert 0.92 <= np.mean(inside) <= 0.985
    assert abs(np.mean(gaps)) < 3 * np.std(gaps) / np.sqrt(300)
