"""Trimming: who is left out, by hand, and that every design builds on it."""

from __future__ import annotations

import numpy as np
import pytest

from impact import ImpactWarning, emulate
from impact.core.logit import logit
from impact.matching import covariate_balancing, energy, entropy, means, nearest, propensity, stable, trimming
from tests.contracts import promises
from tests.matching.test_nearest import clients, quiet, study

TRIMS = [trimming.crump, trimming.quantile, trimming.common_support]
each = pytest.mark.parametrize("trim", TRIMS, ids=["crump", "quantile", "common_support"])


def start(**changes):
    sample = emulate(study(**changes), clients(n=400, shift=1.5))
    return sample, logit(sample.treated, sample.covariates, sample.sampling).probability


@quiet
def test_the_rule_of_thumb():
    sample, e = start()
    after = trimming.crump(sample)
    assert np.array_equal(after.weights > 0, (e >= 0.1) & (e <= 0.9)) and (after.weights > 0).sum() < 400
    assert np.array_equal(after.score, e)
    assert after.flow[-1].step == "trimmed" and after.flow[-1].total == (after.weights > 0).sum()


@quiet
@pytest.mark.parametrize("weights", [None, "weight"])
def test_the_cut_of_least_variance(weights):
    """The largest set whose costs 1 / (e (1 - e)) are at most twice their mean; no cut has a variance much lower.

    That equation is of the whole population: among 400 units the least of all cuts may be a unit away.
    """
    sample, e = start(weights=weights)
    kept = trimming.crump(sample, cut=None).weights > 0
    s, cost = sample.sampling, 1 / (e * (1 - e))
    sets = [cost <= c for c in np.sort(cost)]
    fit = [k for k in sets if cost[k].max() <= 2 * np.average(cost[k], weights=s[k])]
    assert np.array_equal(kept, fit[-1]) and not kept.all()
    variance = [s[k] @ cost[k] / s[k].sum() ** 2 for k in sets]
    assert s[kept] @ cost[kept] / s[kept].sum() ** 2 < 1.001 * min(variance)


@quiet
def test_quantiles_of_the_two_arms():
    sample, e = start()
    d = sample.treated
    kept = trimming.quantile(sample, share=0.1).weights > 0
    low = np.quantile(e[d], 0.1, method="inverted_cdf")
    high = np.quantile(e[~d], 0.9, method="inverted_cdf")
    assert kept[(e >= low) & (e < high)].all() and not kept[(e < low) | (e > high * 1.05)].any()
    assert (trimming.quantile(sample, share=0).weights > 0).sum() == ((e >= e[d].min()) & (e <= e[~d].max())).sum()


@quiet
def test_common_support():
    sample, e = start()
    d = sample.treated
    out = {True: d & ((e < e[~d].min()) | (e > e[~d].max())), False: ~d & ((e < e[d].min()) | (e > e[d].max()))}
    assert out[True].any() and out[False].any()
    for drop, gone in (("both", out[True] | out[False]), ("treated", out[True]), ("comparison", out[False])):
        assert np.array_equal(trimming.common_support(sample, discard=drop).weights == 0, gone)


def test_it_says_that_the_effect_is_on_those_who_stay():
    sample, _ = start()
    with pytest.warns(ImpactWarning, match="Trimming left out .* the effect is that on the units that stay"):
        assert len(trimming.crump(sample).notes) == 1


DESIGNS = [nearest.match, propensity.weight, entropy.weight, stable.weight, covariate_balancing.weight,
           covariate_balancing.tilt, energy.weight]  # fmt: skip


@quiet
@each
@pytest.mark.parametrize("design", DESIGNS, ids=lambda f: f"{f.__module__.split('.')[-1]}.{f.__name__}")
def test_designs_build_on_what_is_left(trim, design):
    """As if the others had never been in the study; and the derivative holds through weights that know it."""
    trimmed = trim(start()[0])
    after, alone = design(trimmed), design(trimmed.take(trimmed.weights > 0))
    assert (after.weights[trimmed.weights == 0] == 0).all()
    assert np.allclose(after.weights[trimmed.weights > 0], alone.weights, rtol=1e-8, atol=1e-10)
    a, b = means.difference(after), means.difference(alone)
    assert a.value == pytest.approx(b.value, rel=1e-9) and len(after.steps) == 2
    if after.nuisance is not None:
        assert promises.derivative_gap(lambda s: means.difference(design(s)), trimmed, units=6) < 1e-6


@quiet
@each
@pytest.mark.parametrize("design", [nearest.match, entropy.weight], ids=["matched", "weighted"])
def test_nothing_is_trimmed_after_a_design(trim, design):
    with pytest.raises(ValueError, match="trim first, then match or weigh"):
        trim(design(start()[0]))


@quiet
def test_trimming_may_be_repeated_and_nothing_stands_on_estimated_weights():
    sample, _ = start()
    twice = trimming.common_support(trimming.crump(sample))
    assert len(twice.steps) == 2 and len(twice.flow) == len(sample.flow) + 2
    for design in DESIGNS:
        with pytest.raises(ValueError, match="already estimated"):
            design(entropy.weight(twice))


def test_options_are_refused_in_words():
    sample, _ = start()
    for trim, options, words in (
        (trimming.crump, {"cut": 0.5}, "`cut` is 0.5"),
        (trimming.quantile, {"share": -0.1}, "`share` is -0.1"),
        (trimming.common_support, {"discard": "all"}, "`discard` is 'all'"),
        (trimming.crump, {"cut": 0.499}, "leaves nobody of"),
    ):
        with pytest.raises(ValueError, match=words):
            trim(sample, **options)
