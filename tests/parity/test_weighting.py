"""Balancing weights against R.

Figures: R 4.2.2 with WeightIt 1.4.0, ebal 0.1-8 and sandwich 3.0-2 on MatchIt's `lalonde` (185 treated, 429 comparison
units; formula treat ~ age + educ + race + married + nodegree + re74 + re75). WeightIt's errors are those of
lm_weightit(re78 ~ treat, weightit = w), vcov = "asympt", which has no finite-sample factor: an Estimate's variance is
n/(n-1) times it. WeightIt stops entropy balancing when standardised differences are of the order of 1e-5, and its
covariate-balancing score at 1e-4; here they are zero, and figures agree as far as that.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from impact import emulate
from impact.checks.balance import balance
from impact.core.moments import effective_size
from impact.matching import covariate_balancing, entropy, means, propensity
from impact.sample import Nuisance
from tests.parity.test_matching import lalonde, study

__all__ = ["lalonde"]
pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
FACTOR = np.sqrt(613 / 614)

# effect, effective sizes of the treated and of the comparison group, HC0 error that takes weights as given, and how far
WEIGHTED = {
    "ebal::ebalance(t, X)": (
        entropy.weight, {}, 1273.26181391192, 185, 98.457834424404, 824.386727633778, 1e-11),
    "ebal::ebalance(t, [X, squares of age, educ, re74, re75])": (
        entropy.weight, {"moments": 2}, 1068.08902589817, 185, 34.319705992975, 896.849776627802, 1e-8),
    "weightit(method = 'ebal')": (
        entropy.weight, {}, 1273.24328688375, 185, 98.457793970118, 824.387359383325, 2e-5),
    "weightit(method = 'ebal', estimand = 'ATE')": (
        entropy.weight, {"estimand": "ATE"}, 951.681247540862, 40.357114466208, 342.545557364415,
        1475.8247346997, 2e-5),
    "weightit(method = 'cbps')": (
        covariate_balancing.weight, {}, 1273.21939177306, 185, 98.452200628845, 824.401602466252, 1e-4),
    "weightit(method = 'cbps', estimand = 'ATE')": (
        covariate_balancing.weight, {"estimand": "ATE"}, 619.3984470852, 44.20981995926, 280.010468760665,
        1377.23109156122, 1e-3),
    "ifelse(t == 1, 1 - p, p)": (
        propensity.weight, {"estimand": "ATO"}, 1242.20063127236, 145.635948489085, 166.101430572428,
        775.097299912643, 1e-8),
    "pmin(p, 1 - p) / ifelse(t == 1, p, 1 - p)": (
        propensity.weight, {"estimand": "ATM"}, 1119.52118948864, 154.180495694907, 147.317512126012,
        772.582290690387, 1e-8),
    "ifelse(t == 1, mean(t) / p, (1 - mean(t)) / (1 - p)), stabilised": (
        propensity.weight, {"estimand": "ATE"}, 224.676308271433, 58.326661479912, 329.007759387642,
        909.477668248428, 1e-7),
}  # fmt: skip


@pytest.mark.parametrize("call", list(WEIGHTED))
def test_effects_and_sizes(lalonde, call):
    """lm(re78 ~ treat, weights) with vcovHC(fit, "HC0"), which takes the weights as given."""
    design, options, value, treated, comparison, hc0, near = WEIGHTED[call]
    sample = design(emulate(study(), lalonde), **options)
    d, w, y = sample.treated, sample.weights, sample.outcome("re78")
    assert means.difference(sample).value[0] == pytest.approx(value, rel=near)
    assert effective_size(w[d]) == pytest.approx(treated, rel=near)
    assert effective_size(w[~d]) == pytest.approx(comparison, rel=near)
    naive = sum((w[a] ** 2 @ (y[a] - np.average(y[a], weights=w[a])) ** 2) / w[a].sum() ** 2 for a in (d, ~d))
    assert np.sqrt(naive) == pytest.approx(hc0, rel=near)


@pytest.mark.parametrize(
    ("estimand", "error", "near"), [("ATT", 789.755767452499, 2e-5), ("ATE", 1128.07418788531, 1e-4)]
)
def test_the_error_of_a_covariate_balancing_score(lalonde, estimand, error, near):
    """WeightIt's, at weights that balance to 1e-4."""
    e = means.difference(covariate_balancing.weight(emulate(study(), lalonde), estimand=estimand))
    assert e.std_error[0] * FACTOR == pytest.approx(error, rel=near)


@pytest.mark.parametrize(
    ("estimand", "error", "ours"), [("ATT", 780.879482050633, 789.7448001), ("ATE", 1232.59006208119, 1233.9387367)]
)
def test_the_error_of_entropy_balancing_counts_the_target(lalonde, estimand, error, ours):
    """WeightIt takes the means that are balanced to as known, though they are a sample's: ours is larger.

    With these means held, WeightIt's figure is found again. For the ATT the weights are also those of the
    covariate-balancing score, whose error WeightIt gives as 789.76: the target counted.
    """
    sample = entropy.weight(emulate(study(), lalonde), estimand=estimand)
    assert means.difference(sample).std_error[0] * FACTOR == pytest.approx(ours, rel=1e-8)
    d, w = sample.treated, sample.weights
    target = d if estimand == "ATT" else np.ones(len(d), bool)
    centred = sample.covariates - sample.covariates[target].mean(axis=0)
    influence, gradient = [], []
    for arm in [~d] if estimand == "ATT" else [d, ~d]:
        z = np.column_stack([np.ones(len(d)), centred])
        gradient.append((w * arm)[:, None] * z)
        push = -gradient[-1].copy()
        push[:, 0] += target
        influence.append(push @ np.linalg.inv(gradient[-1].T @ z))
    held = replace(sample, nuisance=Nuisance(np.hstack(influence), np.hstack(gradient)))
    assert means.difference(held).std_error[0] * FACTOR == pytest.approx(error, rel=2e-6)


def test_overlap_weights_balance_exactly(lalonde):
    """Standardised differences of R's are below 6e-9, the tolerance of its glm."""
    table = balance(propensity.weight(emulate(study(), lalonde), estimand="ATO")).table
    assert table.loc[table["term"] != "propensity score", "after"].abs().max() < 1e-12
