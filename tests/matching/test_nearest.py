"""What matching promises beyond parity: its words, its refusals, sampling weights, and whom it leaves out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from impact import ImpactWarning, Outcome, Study, emulate
from impact.core.logit import logit
from impact.matching import means, nearest, propensity

quiet = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def clients(n=300, seed=1, shift=1.0):
    r = np.random.default_rng(seed)
    age, office = r.normal(45, 9, n), r.choice(["north", "south", "east"], n)
    d = r.random(n) < 1 / (1 + np.exp(-(-1.2 + shift * 0.08 * (age - 45) + 0.5 * (office == "south"))))
    y = (r.random(n) < 0.3 + 0.1 * d).astype(float)
    return pd.DataFrame(
        {"id": np.arange(n), "arm": d.astype(int), "age": age, "office": office, "job": y,
         "weight": r.uniform(0.5, 2, n), "pay": 10 * y + r.normal(size=n)}
    )  # fmt: skip


def study(**changes):
    base = Study(
        title="Pilot", unit="id", treatment="arm", covariates=("age", "office"), outcomes=Outcome("job", "in a job")
    )
    return base.revise(**changes)


@quiet
def test_partners_are_within_the_caliper_and_the_rest_left_out():
    sample = emulate(study(), clients())
    matched = nearest.match(sample, caliper=0.05)
    fit = logit(sample.treated, sample.covariates, sample.weights)
    reach = 0.05 * fit.logit.std(ddof=1)
    used = matched.weights > 0
    for s in np.unique(matched.strata[used]):
        pair = matched.strata == s
        assert pair.sum() == 2 and np.ptp(fit.logit[pair]) <= reach
    assert (matched.weights[used] == 1).all()
    assert np.array_equal(matched.score, fit.probability)
    assert len(np.unique(matched.cluster[used])) == used.sum() // 2
    last = matched.flow[-1]
    assert (last.treated, last.comparison) == ((used & sample.treated).sum(), (used & ~sample.treated).sum())


def test_whoever_is_left_out_is_said_with_counts_and_as_a_warning():
    sample = emulate(study(), clients())
    with pytest.warns(ImpactWarning, match="treated units found no free comparison unit within 0.01 SD") as caught:
        matched = nearest.match(sample, caliper=0.01)
    lost = int(sample.treated.sum() - (matched.weights[matched.treated] > 0).sum())
    assert f"{lost} of {sample.treated.sum()} treated units" in matched.notes[-1]
    assert "the effect is now that on the" in matched.notes[-1]
    assert [str(w.message) for w in caught if w.category is ImpactWarning] == list(matched.notes)
    assert any("found no free" in note for note in means.difference(matched).notes)


@quiet
def test_exact_partners_share_the_level():
    sample = emulate(study(), clients())
    matched = nearest.match(sample, exact="office")
    columns = list(sample.columns_of("office"))
    for s in np.unique(matched.strata[matched.strata >= 0]):
        assert np.ptp(matched.characteristics[matched.strata == s][:, columns], axis=0).max() == 0
    assert "the same `office`" in matched.steps[-1]
    with pytest.raises(KeyError, match="`region` is not among the covariates"):
        nearest.match(sample, exact=("region",))


@quiet
@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_both_sides_of_a_set_weigh_what_its_chooser_does(ratio):
    sample = emulate(study(weights="weight"), clients())
    matched = nearest.match(sample, ratio=ratio)
    for s in np.unique(matched.strata[matched.strata >= 0]):
        mine = matched.strata == s
        chose = mine & matched.treated
        assert matched.weights[chose] == sample.sampling[chose]
        partners = matched.weights[mine & ~matched.treated]
        assert np.allclose(partners, partners[0]) and partners.sum() == pytest.approx(sample.sampling[chose][0])


@quiet
def test_sampling_weights_enter_the_model_of_treatment():
    table = clients()
    weighted = nearest.match(emulate(study(weights="weight"), table))
    fit = logit(weighted.treated, weighted.covariates, weighted.sampling)
    assert np.allclose(weighted.score, fit.probability, atol=1e-12)
    assert not np.allclose(weighted.score, nearest.match(emulate(study(), table)).score, atol=1e-3)


@quiet
@pytest.mark.parametrize("ratio", [1, 3])
def test_with_replacement_weights_are_use_counts(ratio):
    sample = emulate(study(), clients(seed=3))
    matched = nearest.match(sample, ratio=ratio, replace=True, caliper=None)
    d = matched.treated
    assert matched.strata is None and np.array_equal(matched.cluster, sample.cluster)
    assert matched.weights[~d].sum() == pytest.approx(matched.weights[d].sum())
    counts = matched.weights[~d] * ratio
    assert np.allclose(counts, np.round(counts)) and counts.max() > 1
    assert any("Standard errors take these counts as given" in note for note in matched.notes)


@quiet
def test_the_comparison_group_chooses_for_the_atc():
    sample = emulate(study(estimand="ATC"), clients(seed=4))
    with pytest.warns(ImpactWarning, match="comparison units found no free treated unit"):
        matched = nearest.match(sample)
    d, used = matched.treated, matched.weights > 0
    assert (used & d).sum() == (used & ~d).sum() <= d.sum()
    back = replace(sample, treated=~d, study=sample.study.revise(estimand="ATT"))
    mirrored = nearest.match(back, order="largest")
    assert np.array_equal(mirrored.weights, matched.weights)


@quiet
def test_a_level_in_one_arm_only_is_left_out_and_said():
    table = clients(seed=5)
    rare = table.index[table["arm"] == 1][:6]
    table.loc[rare, "office"] = "west"
    sample = emulate(study(), table)
    with pytest.warns(ImpactWarning, match=r"6 treated units have covariates that the other arm never has"):
        matched = nearest.match(sample, caliper=None)
    assert (matched.weights[rare] == 0).all()
    assert any("`office: a rare level`" in note for note in matched.notes)  # fewer than ten units: unnamed


@quiet
def test_units_without_weight_take_no_part():
    sample = emulate(study(), clients(seed=6))
    half = sample.reweight(np.where(np.arange(300) % 2, 1.0, 0.0), step="kept every other client")
    matched = nearest.match(half)
    assert (matched.weights[::2] == 0).all()
    alone = nearest.match(sample.take(np.arange(1, 300, 2)))
    assert np.array_equal(matched.weights[1::2], alone.weights)


@quiet
def test_the_order_of_rows_matters_only_in_ties():
    sample = emulate(study(), clients(seed=7))
    mix = np.random.default_rng(1).permutation(300)
    for order in ("largest", "smallest", "closest"):
        a, b = nearest.match(sample, order=order), nearest.match(sample.take(mix), order=order)
        assert np.array_equal(a.weights[mix], b.weights)


@quiet
def test_a_random_order_follows_its_seed():
    sample = emulate(study(), clients(seed=8))
    a, b, c = (nearest.match(sample, order="random", rng=s, caliper=0.05).weights for s in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_nobody_within_the_caliper_is_a_sentence_with_counts():
    table = clients(seed=9)
    table["age"] = np.where(table["arm"] == 1, 60.0, 40.0) + np.random.default_rng(1).normal(0, 0.1, 300)
    table.loc[table["arm"].ne(1).idxmax(), "age"] = 61.5
    table.loc[table["arm"].eq(1).idxmax(), "age"] = 38.5
    sample = emulate(study(covariates=("age",)), table)
    with pytest.raises(
        ValueError, match=r"none of the \d+ treated units has one among the \d+ comparison units: widen"
    ):
        nearest.match(sample, caliper=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratio": 0}, "whole number of partners"),
        ({"ratio": 1.5}, "whole number of partners"),
        ({"ratio": "two"}, "whole number of partners"),
        ({"caliper": 0}, "positive number of standard deviations"),
        ({"caliper": -1.0}, "positive number of standard deviations"),
        ({"caliper": float("nan")}, "positive number of standard deviations"),
        ({"scale": "odds"}, "'logit' or 'probability'"),
        ({"order": "farthest"}, "'largest', 'smallest', 'closest', 'data' or 'random'"),
    ],
)
def test_an_option_that_does_not_exist_is_answered_with_those_that_do(options, words):
    with pytest.raises(ValueError, match=words):
        nearest.match(emulate(study(), clients()), **options)


def test_the_ate_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match="partners for one arm only.*propensity.weight"):
        nearest.match(emulate(study(estimand="ATE"), clients()))


def test_no_covariates_is_refused():
    with pytest.raises(ValueError, match="no covariates that vary: name in `covariates`"):
        nearest.match(emulate(study(covariates=()), clients()))


def test_complete_separation_names_the_covariate():
    table = clients()
    table["code"] = 2.0 * table["arm"] + 0.01 * table["age"]
    with pytest.raises(ValueError, match="`code` tells the .* treated and the .* comparison units apart without error"):
        nearest.match(emulate(study(covariates=("age", "code")), table))


@quiet
def test_a_weighted_sample_is_not_matched_on_top():
    weighted = propensity.weight(emulate(study(), clients()))
    with pytest.raises(ValueError, match="already estimated"):
        nearest.match(weighted)


@quiet
def test_a_matcher_that_broke_its_caliper_would_be_caught(monkeypatch):
    sample = emulate(study(), clients())
    rows = np.flatnonzero(sample.treated)[:3], np.flatnonzero(~sample.treated)[:3]
    monkeypatch.setattr(nearest, "nearest", lambda *a, **k: np.column_stack(rows))
    with pytest.raises(RuntimeError, match="fault of the package"):
        nearest.match(sample, caliper=1e-9)
    monkeypatch.setattr(nearest, "nearest", lambda *a, **k: np.column_stack([rows[0], rows[1][[0, 0, 1]]]))
    with pytest.raises(RuntimeError, match="number of uses"):
        nearest.match(sample, caliper=None)


def test_fewer_partners_than_asked_for_is_said():
    sample = emulate(study(), clients(seed=10))
    with pytest.warns(ImpactWarning, match=r"have fewer than the 4 partners asked for"):
        nearest.match(sample, ratio=4)
