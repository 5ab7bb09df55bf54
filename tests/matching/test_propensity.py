"""Weighting by the propensity score: its formulas, its words, and what it does at the edge of overlap."""

from __future__ import annotations

import numpy as np
import pytest

from impact import ImpactWarning, emulate
from impact.core.logit import logit
from impact.matching import doubly_robust, means, propensity, regression
from tests.contracts import promises
from tests.matching.test_nearest import clients, quiet, study


@quiet
@pytest.mark.parametrize("weights", [None, "weight"])
@pytest.mark.parametrize("estimand", ["ATT", "ATC", "ATE"])
def test_the_weights_are_those_of_the_docstring(estimand, weights):
    sample = emulate(study(weights=weights, estimand=estimand), clients())
    weighted = propensity.weight(sample)
    e = logit(sample.treated, sample.covariates, sample.sampling).probability
    d, s = sample.treated, sample.sampling
    expected = {
        "ATT": np.where(d, s, s * e / (1 - e)),
        "ATC": np.where(d, s * (1 - e) / e, s),
        "ATE": np.where(d, s / e, s / (1 - e)),
    }[estimand]
    assert np.allclose(weighted.weights, expected, rtol=1e-12)
    assert np.array_equal(weighted.score, e) and weighted.strata is None


@quiet
def test_another_estimand_is_written_into_the_study():
    sample = emulate(study(), clients())
    weighted = propensity.weight(sample, estimand="ATE")
    assert weighted.study.estimand == "ATE" and sample.study.estimand == "ATT"
    assert means.difference(weighted).index["term"].tolist() == ["ATE"]
    with pytest.raises(ValueError, match="'LATE' was asked for: choose among ATT, ATC, ATE"):
        propensity.weight(sample, estimand="LATE")


@quiet
def test_the_step_says_what_the_weights_are_worth():
    weighted = propensity.weight(emulate(study(), clients()))
    w = weighted.weights[~weighted.treated]
    assert f"comparison units are worth {w.sum() ** 2 / (w @ w):,.0f} of equal weight" in weighted.steps[-1]
    assert "treated units are worth" not in weighted.steps[-1]


def test_few_units_with_much_weight_are_a_warning_with_numbers():
    table = clients(n=200, seed=2, shift=3.0)
    with pytest.warns(ImpactWarning, match=r"of the \d+ comparison units carr.* \d+% of the arm's weight") as caught:
        weighted = propensity.weight(emulate(study(covariates=("age",)), table))
    w = np.sort(weighted.weights[~weighted.treated])[::-1]
    share = 100 * (w[0] if w[0] > 0.1 * w.sum() else w[: int(np.ceil(len(w) / 20))].sum()) / w.sum()
    assert f"{share:.0f}%" in str(caught[0].message)


def test_even_weights_are_no_warning(recwarn):
    weighted = propensity.weight(emulate(study(), clients(n=1000, shift=0.2)))
    assert weighted.notes == () and not [w for w in recwarn if w.category is ImpactWarning]


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (1, r"6 treated units have covariates that the other arm never has .*the effect on them is not identified"),
        (0, r"6 comparison units have covariates .*6 get no weight"),
    ],
)
def test_a_level_in_one_arm_only(arm, words):
    table = clients(seed=5)
    rare = table.index[table["arm"] == arm][:6]
    table.loc[rare, "office"] = "west"
    sample = emulate(study(), table)
    with pytest.warns(ImpactWarning, match=words):
        weighted = propensity.weight(sample)
    assert (weighted.weights[rare] == arm).all()
    assert len(weighted.flow) == len(sample.flow) + (arm == 0)
    for f in (means.difference, regression.difference, doubly_robust.difference):
        with pytest.warns(ImpactWarning):
            assert promises.derivative_gap(lambda s, f=f: f(propensity.weight(s)), sample, units=12) < 1e-6


@quiet
def test_permuted_units_keep_their_weights():
    sample = emulate(study(), clients())
    mix = np.random.default_rng(1).permutation(300)
    a, b = propensity.weight(sample).weights[mix], propensity.weight(sample.take(mix)).weights
    assert np.allclose(a, b, rtol=1e-12)


@quiet
def test_knowing_that_weights_are_estimated_changes_the_error():
    sample = emulate(study(outcomes=study().outcomes), clients(n=800))
    weighted = propensity.weight(sample)
    from dataclasses import replace

    naive = replace(weighted, nuisance=None)
    a, b = means.difference(weighted), means.difference(naive)
    assert a.value == pytest.approx(b.value) and abs(a.std_error[0] / b.std_error[0] - 1) > 1e-4
