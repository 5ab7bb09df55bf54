"""What balancing weights promise: balance as far as asked, the best weights that have it, and words where none have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact import ImpactWarning, Outcome, emulate
from impact.checks.balance import balance
from impact.core.moments import effective_size, mean
from impact.matching import covariate_balancing, doubly_robust, energy, entropy, means, nearest, propensity, stable
from tests.contracts import promises
from tests.matching.test_estimators import drawn
from tests.matching.test_nearest import clients, quiet, study

EXACT = {
    "entropy": entropy.weight,
    "tilt": covariate_balancing.tilt,
    "stable": lambda s, **k: stable.weight(s, tolerance=0, **k),
}
exact = pytest.mark.parametrize("design", list(EXACT.values()), ids=list(EXACT))
weights = pytest.mark.parametrize("weights", [None, "weight"])
estimands = pytest.mark.parametrize("estimand", ["ATT", "ATC", "ATE"])


def gaps(sample):
    table = balance(sample).table
    return table.loc[table["term"] != "propensity score", "after"].abs().to_numpy()


@quiet
@exact
@weights
@estimands
def test_both_arms_have_the_means_and_the_total_of_the_group_of_interest(design, weights, estimand):
    before = emulate(study(weights=weights), clients(n=400))
    after = design(before, estimand=estimand)
    d, s, w = before.treated, before.sampling, after.weights
    target = {"ATT": d, "ATC": ~d, "ATE": np.ones(400, bool)}[estimand]
    for arm in (d, ~d):
        assert np.allclose(mean(before.characteristics[arm], w[arm]), mean(before.characteristics[target], s[target]))
        assert w[arm].sum() == pytest.approx(s[target].sum(), rel=1e-9)
    assert after.study.estimand == estimand


@quiet
def test_moments_are_balanced_as_far_as_asked():
    before = emulate(study(), clients(n=400))
    age, d = before.characteristics[:, before.columns_of("age")[0]], before.treated
    for moments in (1, 2, 3):
        w = entropy.weight(before, moments=moments).weights
        apart = [abs(np.average(age[~d] ** p, weights=w[~d]) / np.mean(age[d] ** p) - 1) for p in (1, 2, 3)]
        assert max(apart[:moments]) < 1e-9 and all(a > 1e-6 for a in apart[moments:])


@quiet
@pytest.mark.parametrize("design", [entropy.weight, stable.weight])
@estimands
def test_a_tolerance_is_kept_and_used(design, estimand):
    before = emulate(study(), clients(n=400))
    after, even = design(before, estimand=estimand, tolerance=0.1), design(before, estimand=estimand, tolerance=0)
    assert 0.05 < gaps(after).max() < 0.1 * (1 + 1e-9) and gaps(even).max() < 1e-9
    for arm in (before.treated, ~before.treated):
        assert effective_size(after.weights[arm]) >= effective_size(even.weights[arm])


@quiet
@pytest.mark.parametrize(("moments", "tolerance"), [(1, 0.05), (2, 0.1), (3, 0.0)])
@pytest.mark.parametrize("design", [entropy.weight, stable.weight])
@pytest.mark.parametrize("estimand", ["ATT", "ATE"])
def test_the_derivative_holds_with_tolerances_and_moments(design, moments, tolerance, estimand):
    def way(s):
        return means.difference(design(s, estimand=estimand, moments=moments, tolerance=tolerance))

    assert promises.derivative_gap(way, emulate(study(weights="weight"), clients()), units=6) < 1e-6


@quiet
@pytest.mark.parametrize("estimand", ["ATO", "ATM"])
def test_overlap_and_matching_weights(estimand):
    before = emulate(study(weights="weight"), clients())
    after = propensity.weight(before, estimand=estimand)
    e, d, s = after.score, before.treated, before.sampling
    own = np.where(d, e, 1 - e)
    assert np.allclose(after.weights, s * (1 - own if estimand == "ATO" else np.minimum(e, 1 - e) / own), rtol=1e-12)
    assert means.difference(after).index["term"].tolist() == [estimand]
    for f in (means.difference, doubly_robust.difference):
        assert (
            promises.derivative_gap(lambda s, f=f: f(propensity.weight(s, estimand=estimand)), before, units=8) < 1e-6
        )


@quiet
def test_an_effect_on_the_overlap_needs_its_weights():
    sample = emulate(study(estimand="ATO"), clients())
    for f in (means.difference, doubly_robust.difference):
        with pytest.raises(ValueError, match="ATO.*propensity.weight"):
            f(sample)
    for design in (entropy.weight, stable.weight, covariate_balancing.tilt, energy.weight, nearest.match):
        with pytest.raises(ValueError, match="ATO"):
            design(sample)
    assert means.difference(propensity.weight(sample)).value.shape == (1,)


@quiet
def test_one_arm_weighted_by_a_balancing_score_is_entropy_balancing():
    sample = emulate(study(), clients())
    for estimand in ("ATT", "ATC"):
        same = [f(sample, estimand=estimand) for f in (entropy.weight, covariate_balancing.weight)]
        assert np.allclose(same[0].weights, same[1].weights, rtol=1e-9)
        e, d = same[1].score, sample.treated
        odds = e / (1 - e) if estimand == "ATT" else (1 - e) / e
        other = ~d if estimand == "ATT" else d
        assert np.allclose(same[1].weights[other], odds[other], rtol=1e-9)


@quiet
def test_one_score_for_both_arms_makes_their_totals_alike():
    sample = emulate(study(weights="weight", estimand="ATE"), clients())
    after = covariate_balancing.weight(sample)
    d, w, e = sample.treated, after.weights, after.score
    assert np.allclose(w, sample.sampling / np.where(d, e, 1 - e), rtol=1e-9)
    x = sample.design()
    assert np.allclose(w[d] @ x[d], w[~d] @ x[~d], rtol=1e-9)


# ---- the best weights there are -----------------------------------------------------------------


@quiet
def test_stable_weights_are_the_most_even():
    """scipy's SLSQP on the weights themselves, a problem of another size with the same answer."""
    from scipy.optimize import minimize

    sample = emulate(study(), clients(n=60))
    d, tolerance = sample.treated, 0.05
    after = stable.weight(sample, tolerance=tolerance)
    x = sample.characteristics
    wide = tolerance * x[d].std(axis=0)
    bounds = [
        {"type": "ineq", "fun": lambda p: wide - (p @ x[~d] - x[d].mean(axis=0))},
        {"type": "ineq", "fun": lambda p: wide + (p @ x[~d] - x[d].mean(axis=0))},
        {"type": "eq", "fun": lambda p: p.sum() - 1},
    ]
    n = int((~d).sum())
    found = minimize(lambda p: n * p @ p, np.full(n, 1 / n), bounds=[(0, 1)] * n, constraints=bounds, tol=1e-12)
    assert np.allclose(after.weights[~d] / d.sum(), found.x, atol=1e-6)


@quiet
@pytest.mark.parametrize("estimand", ["ATT", "ATE"])
def test_energy_weights_are_the_closest(estimand):
    """No small step towards any unit, or away from one, comes closer."""
    sample = emulate(study(weights="weight"), clients(n=120))
    after = energy.weight(sample, estimand=estimand)
    d, s = sample.treated, sample.sampling
    x = sample.characteristics
    apart = np.array([np.cov(x[a].T, aweights=s[a], ddof=0).diagonal() for a in (d, ~d)]).mean(axis=0)
    z = x / np.sqrt(apart)
    distance = np.sqrt(((z[:, None] - z[None]) ** 2).sum(axis=2))
    q = s * d if estimand == "ATT" else s
    q = q / q.sum()
    for arm in [~d] if estimand == "ATT" else [d, ~d]:
        p, v = after.weights[arm] / after.weights[arm].sum(), s[arm] / s[arm].sum()
        slope = 2 * distance[arm] @ q - 2 * distance[np.ix_(arm, arm)] @ p + 2 * energy.RIDGE * p / (arm.sum() * v)
        level = slope @ p
        assert np.allclose(slope[p > 0], level, atol=1e-9) and (slope[p == 0] >= level - 1e-9).all()
        assert after.weights[arm].sum() == pytest.approx((s * d if estimand == "ATT" else s).sum())


@quiet
def test_energy_weights_draw_whole_distributions_together():
    before = emulate(study(covariates=("age",)), clients(n=600, shift=1.5))
    distance = {name: balance(design(before)).table["ks_after"].iloc[-1]
                for name, design in (("energy", energy.weight), ("entropy", entropy.weight))}  # fmt: skip
    assert distance["energy"] < distance["entropy"]


def test_energy_weights_are_refused_where_memory_would_not_do():
    with pytest.raises(ValueError, match=r"5,000 units.*feasible to 4,000.*entropy\.weight"):
        energy.weight(emulate(study(), clients(n=5000)))


# ---- where there are none -----------------------------------------------------------------------


@exact
def test_what_cannot_be_balanced_is_named(design):
    table = clients()
    table["office"] = table["office"].where(table["arm"] == 0, "west")
    with pytest.raises(ValueError, match=r"comparison units.*cannot be balanced.*`office: west`.*trim") as refusal:
        design(emulate(study(), table))
    assert "`age`" not in str(refusal.value)


def test_a_score_that_cannot_balance_names_what_stands_in_the_way():
    table = clients()
    table.loc[np.flatnonzero(table["arm"] == 1)[:12], "office"] = "west"
    with pytest.raises(ValueError, match=r"cannot be balanced.*`office: west`"):
        covariate_balancing.weight(emulate(study(estimand="ATE"), table))


def test_a_mean_out_of_reach_of_all_weights_together():
    """Each covariate is in reach, both at once are not: the treated lie off the line of the others."""
    r = np.random.default_rng(0)
    a = r.uniform(0, 1, 200)
    d = np.arange(200) < 40
    b = np.where(d, 1 - a + 0.5, a) + 0.001 * r.normal(size=200)
    a = np.where(d, 0.3 + 0.1 * a, a)
    table = pd.DataFrame({"id": np.arange(200), "arm": d.astype(int), "a": a, "b": b, "job": 1.0})
    with pytest.raises(ValueError, match="cannot be balanced"):
        entropy.weight(emulate(study(covariates=("a", "b")), table))


def test_units_unlike_anybody_in_the_group_of_interest_get_no_weight():
    table = clients()
    table.loc[np.flatnonzero(table["arm"] == 0)[:9], "office"] = "west"
    sample = emulate(study(), table)
    with pytest.warns(ImpactWarning, match="9 comparison units get no weight"):
        after = entropy.weight(sample)
    west = (table["office"] == "west").to_numpy()
    assert (after.weights[west] == 0).all() and (after.weights[~west] > 0).all()
    assert after.flow[-1].comparison == (~sample.treated).sum() - 9
    assert gaps(after).max() < 1e-9
    with pytest.warns(ImpactWarning):
        assert (covariate_balancing.weight(sample).score[west] == 0).all()
    with pytest.warns(ImpactWarning):
        assert promises.derivative_gap(lambda s: means.difference(entropy.weight(s)), sample, units=12) < 1e-6


def test_options_are_refused_in_words():
    sample = emulate(study(), clients())
    for options, words in (
        ({"moments": 4}, "`moments` is 4"),
        ({"moments": True}, "`moments`"),
        ({"tolerance": -0.1}, "`tolerance` is -0.1"),
        ({"estimand": "LATE"}, "'LATE' was asked for: choose among ATT, ATC, ATE"),
    ):
        with pytest.raises(ValueError, match=words):
            entropy.weight(sample, **options)
    with pytest.raises(ValueError, match="no covariates"):
        entropy.weight(emulate(study(covariates=()), clients()))


# ---- bias and coverage ------------------------------------------------------------------------


@pytest.mark.slow
@quiet
@pytest.mark.parametrize(
    "design",
    [
        entropy.weight,
        lambda s: entropy.weight(s, estimand="ATE"),
        lambda s: covariate_balancing.weight(s, estimand="ATE"),
        lambda s: covariate_balancing.tilt(s, estimand="ATE"),
        lambda s: stable.weight(s, tolerance=0.01),
        lambda s: propensity.weight(s, estimand="ATO"),
        lambda s: propensity.weight(s, estimand="ATM"),
    ],
    ids=["entropy", "entropy, ATE", "balancing score, ATE", "tilting, ATE", "stable", "ATO", "ATM"],
)
def test_bias_and_coverage(design):
    """300 samples of 600 with an effect of one: intervals that claim 95% cover it within three Monte Carlo errors."""
    mean, covered, ratio, error = simulated(design)
    assert abs(mean - 1) < 0.02 + 3 * error
    assert abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 300) + 0.005 and 0.9 < ratio < 1.1


def simulated(design):
    """The mean, the share of intervals that cover, the mean error over the spread, and the mean's own error."""
    r = np.random.default_rng(20)
    asked = study(covariates=("a", "b"), outcomes=Outcome("y"))
    found = [means.difference(design(emulate(asked, drawn(r)))) for _ in range(300)]
    value = np.array([e.value[0] for e in found])
    low, high = np.array([[e.interval()[0][0], e.interval()[1][0]] for e in found]).T
    covered = ((low <= 1) & (1 <= high)).mean()
    ratio = np.mean([e.std_error[0] for e in found]) / value.std(ddof=1)
    print(f"mean {value.mean():.4f}, covered {covered:.3f}, error over spread {ratio:.3f}")
    return value.mean(), covered, ratio, value.std() / np.sqrt(300)
