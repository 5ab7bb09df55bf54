"""Few treated areas: what the table says, what it hangs on, and how it refuses what it cannot read."""

from __future__ import annotations

import doctest
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from impact import ImpactWarning, Outcome, Study, emulate
from impact.datasets import regions
from impact.did import few_treated

METHODS = ["robust t, by unit", "cluster-robust, Bell-McCaffrey", "wild cluster bootstrap", "wild bootstrap by unit",
           "permutation of areas", "synthetic control, placebo areas", "Conley-Taber", "Ferman-Pinto"]  # fmt: skip
WINDOW = {"before": 24, "after": 17}
STUDY = Study(
    title="Regional trials", unit="municipality", period="month", adoption="adoption", cluster="area",
    outcomes=[Outcome("log_broad", "broad unemployment", unit="per cent"),
              Outcome("log_open", "open unemployment", unit="per cent")],
)  # fmt: skip


@pytest.fixture(scope="module")
def trial():
    return regions(seed=1)


@pytest.fixture(scope="module")
def sample(trial):
    return emulate(STUDY, trial.months)


def people(trial):
    return trial.municipalities[["municipality", "population"]]


def places(trial):
    return trial.municipalities[["municipality", "east", "north"]]


def small(n=20, treated=5, seed=0, start=6, periods=10, **more):
    """Units that are areas of their own, with errors that last."""
    rng = np.random.default_rng(seed)
    e = np.zeros((n, periods))
    for t in range(1, periods):
        e[:, t] = 0.8 * e[:, t - 1] + rng.normal(size=n)
    adopted = np.where(np.arange(n) < treated, start, np.nan)
    table = pd.DataFrame({"unit": np.repeat(np.arange(n), periods), "time": np.tile(np.arange(1, periods + 1), n),
                          "start": np.repeat(adopted, periods), "y": e.ravel()})  # fmt: skip
    study = Study(title="t", unit="unit", period="time", adoption="start", outcomes=Outcome("y"), **more)
    return emulate(study, table)


# ---- the study ------------------------------------------------------------------------------


def test_the_study_says_that_the_aim_is_out_of_reach_and_that_little_could_be_seen(trial, sample):
    """True effects of the simulation with this seed: broad −1.0, open −5.3 per cent. The aim was −10."""
    check = few_treated.compare(sample, outcome="log_broad", aim=-10, neighbours=trial.neighbours,
                                population=people(trial), **WINDOW)  # fmt: skip
    table = check.tidy().set_index("method")
    assert list(table.index) == METHODS
    assert list(table.index[table["valid"] == "yes"]) == [METHODS[k] for k in (1, 2, 4, 5, 6, 7)]
    valid = table[table["valid"] == "yes"]
    assert (valid["p_aim"] < 0.05).all() and (valid["p_value"] > 0.15).all()
    assert (valid["conf_low"] > -10).all() and (valid["conf_high"] > 0).all()
    assert (valid["smallest_detectable"] > 4).all()
    assert check.passed and "none of 6 valid methods rejects zero" in check.reason
    assert "all 6 valid methods reject the aim of −10" in check.reason
    assert "a smaller one could not have been seen" in check.reason
    assert "23 treated units in 8 areas (of 1, 1, 1, 1, 1, 3, 6, 9)" in check.notes[0]
    value = table["estimate"].drop("synthetic control, placebo areas").to_numpy()
    np.testing.assert_allclose(value, value[0])


def test_the_estimate_is_the_difference_in_differences(trial, sample):
    months = trial.months
    y = months["log_open"].to_numpy().reshape(295, 84)
    change = y[:, 55:72].mean(axis=1) - y[:, 31:55].mean(axis=1)
    inside = trial.municipalities["adoption"].notna().to_numpy()
    found = few_treated.cluster_robust(sample, outcome="log_open", **WINDOW).tidy()
    assert found["estimate"][0] == pytest.approx(change[inside].mean() - change[~inside].mean())
    everything = few_treated.cluster_robust(sample, outcome="log_open").tidy()
    change = y[:, 55:].mean(axis=1) - y[:, :55].mean(axis=1)
    assert everything["estimate"][0] == pytest.approx(change[inside].mean() - change[~inside].mean())


def test_each_method_alone_is_its_row_of_the_table(trial, sample):
    tables = {"coordinates": places(trial), "population": people(trial)}
    asked = {"outcome": "log_broad", "aim": -10, **WINDOW}
    table = few_treated.compare(sample, **tables, **asked).tidy().set_index("method")
    coordinates = {"coordinates": places(trial)}
    alone = [few_treated.permutation(sample, **coordinates, **asked),
             few_treated.conley_taber(sample, **coordinates, **asked),
             few_treated.synthetic_control(sample, **coordinates, **asked),
             few_treated.ferman_pinto(sample, **tables, **asked),
             few_treated.wild_bootstrap(sample, **asked), few_treated.cluster_robust(sample, **asked)]  # fmt: skip
    for check in alone:
        for _, row in check.tidy().iterrows():
            pd.testing.assert_series_equal(row.drop("method"), table.loc[row["method"]], check_names=False)
        assert check.passed is None and "the smallest effect found with 80% power" in check.reason


def test_an_effect_that_is_there_is_told(trial):
    inside = trial.months["adoption"].notna() & (trial.months["month"] >= "2017-08")
    raised = trial.months.assign(log_broad=trial.months["log_broad"] - 15 * inside)
    check = few_treated.permutation(emulate(STUDY, raised), outcome="log_broad", coordinates=places(trial), **WINDOW)
    assert check.passed and check.verdict == "holds"


def test_shifting_and_scaling_the_outcome_does_what_it_must(trial, sample):
    asked = {"outcome": "log_broad", "coordinates": places(trial), "population": people(trial), "draws": 199, **WINDOW}
    plain = few_treated.compare(sample, **asked).tidy()
    moved = replace(sample, outcomes={k: -3 * v + 7 for k, v in sample.outcomes.items()})
    table = few_treated.compare(moved, **asked).tidy()
    exact = table["method"].isin(METHODS[:6])  # the others draw errors, not signs or places
    np.testing.assert_allclose(table["estimate"], -3 * plain["estimate"])
    np.testing.assert_allclose(table["p_value"][exact], plain["p_value"][exact])
    np.testing.assert_allclose(table["conf_low"][exact], -3 * plain["conf_high"][exact], rtol=1e-6)
    np.testing.assert_allclose(table["smallest_detectable"], 3 * plain["smallest_detectable"], rtol=0.05)


def test_units_without_weight_are_not_there(trial, sample):
    """The same draws, so that every number is the same."""
    treated = np.isfinite(sample.adoption)
    kept = treated | (np.arange(295) % 3 > 0)
    asked = {"outcome": "log_broad", "coordinates": places(trial), "population": people(trial), "draws": 99, **WINDOW}
    weightless = few_treated.compare(replace(sample, weights=np.where(kept, sample.weights, 0.0)), **asked)
    gone = few_treated.compare(sample.take(np.flatnonzero(kept)), **asked)
    pd.testing.assert_frame_equal(weightless.tidy(), gone.tidy())
    doubled = few_treated.compare(replace(sample, weights=2 * sample.weights), **asked)
    pd.testing.assert_frame_equal(few_treated.compare(sample, **asked).tidy(), doubled.tidy())


def test_neighbours_may_be_in_any_order_and_from_any_table(trial, sample):
    polars = pytest.importorskip("polars")
    asked = {"outcome": "log_broad", "draws": 99, **WINDOW}
    plain = few_treated.permutation(sample, neighbours=trial.neighbours, **asked).tidy()
    turned = trial.neighbours.rename(columns={"municipality": "neighbour", "neighbour": "municipality"})
    turned = turned[["municipality", "neighbour"]].sample(frac=1, random_state=1)
    for table in (turned, polars.from_pandas(turned)):
        pd.testing.assert_frame_equal(plain, few_treated.permutation(sample, neighbours=table, **asked).tidy())


def test_999_draws_of_contiguous_areas_take_less_than_a_second(trial, sample):
    few_treated.permutation(sample, outcome="log_broad", neighbours=trial.neighbours, **WINDOW)  # imports
    start = time.process_time()
    few_treated.permutation(sample, outcome="log_broad", neighbours=trial.neighbours, **WINDOW)
    few_treated.permutation(sample, outcome="log_broad", coordinates=places(trial), **WINDOW)
    spent = time.process_time() - start
    print(f"{spent / 2:.2f} CPU seconds")
    assert spent < 2


# ---- what is valid where ----------------------------------------------------------------------


def valid(check):
    return check.tidy().set_index("method")["valid"]


def test_without_places_the_table_says_what_is_not_valid(sample):
    found = valid(few_treated.compare(sample, outcome="log_broad", draws=99, **WINDOW))
    for method in METHODS[4:7]:
        assert found[method].startswith("no: units drawn apart")
    assert found["Ferman-Pinto"].startswith("no: give `population`")
    assert (found == "yes").sum() == 2
    alone = few_treated.permutation(sample, outcome="log_broad", draws=99, **WINDOW)
    assert alone.passed is None and "not valid here" in alone.reason


def test_with_twenty_units_and_five_treated_donors_are_too_few_and_the_rest_is_offered():
    check = few_treated.compare(small())
    found = valid(check)
    assert "wild bootstrap by unit" not in found.index, "it is the wild cluster bootstrap where areas are units"
    assert list(found.index[found == "yes"]) == ["cluster-robust, Bell-McCaffrey", "wild cluster bootstrap",
                                                *METHODS[4:6]]  # fmt: skip
    assert found["robust t, by unit"] == "no: 5 treated units are too few for it"
    assert found["Conley-Taber"] == "no: 15 untreated areas that lie apart do not show the tails, and it needs 20"


def test_with_one_treated_unit_only_what_can_answer_does():
    check = few_treated.compare(small(n=60, treated=1))
    found = valid(check)
    assert list(found.index[found == "yes"]) == METHODS[4:7]
    assert found["cluster-robust, Bell-McCaffrey"] == "no: one treated area shows no spread between areas"
    alone = few_treated.cluster_robust(small(n=60, treated=1))
    assert "cannot be decided" in alone.reason and alone.passed is None
    few_places = valid(few_treated.compare(small(n=12, treated=1)))
    assert few_places["permutation of areas"] == "no: 12 different places cannot tell at this level"
    assert not (few_places == "yes").any()
    assert "no method is valid here" in few_treated.compare(small(n=12, treated=1)).reason


def test_too_few_draws_are_said():
    found = valid(few_treated.compare(small(), draws=9))
    assert found["permutation of areas"] == found["wild cluster bootstrap"] == "no: 9 draws are too few for this level"


def test_whole_clusters_are_drawn_where_untreated_ones_are_as_large(sample):
    cluster = np.arange(295) // 5
    some = replace(sample, cluster=cluster, adoption=np.where(cluster < 6, 56.0, np.inf))
    table = few_treated.permutation(some, outcome="log_broad", **WINDOW).tidy()
    assert table["donor_pool"][0] == "59 areas, 6 drawn whole" and table["valid"][0] == "yes"


def test_methods_that_disagree_are_said():
    for seed in range(40):
        check = few_treated.compare(small(seed=seed), draws=199)
        p = check.tidy().loc[check.tidy()["valid"] == "yes", "p_value"]
        assert check.passed == bool((p <= 0.05).all() or (p > 0.05).all())
        if not check.passed:
            assert f"{(p <= 0.05).sum()} of 4 valid methods reject zero" in check.reason
            return
    raise AssertionError("no disagreement in 40 samples")


# ---- panels of other shapes -------------------------------------------------------------------


def test_several_starts_leave_out_what_lies_between():
    sample = small(n=30, treated=8)
    staggered = replace(sample, adoption=np.where(np.arange(30) < 4, 5.0, sample.adoption))
    with pytest.warns(ImpactWarning, match="adopted in 2 different periods: the 1 periods between"):
        check = few_treated.cluster_robust(staggered)
    y = sample.outcome("y")
    change = y[:, 5:].mean(axis=1) - y[:, :4].mean(axis=1)
    assert check.tidy()["estimate"][0] == pytest.approx(change[:8].mean() - change[8:].mean())
    assert any("left out" in note for note in check.notes)


def test_units_treated_from_the_start_are_left_out_and_counted():
    sample = small(n=30, treated=6)
    early = replace(sample, adoption=np.where(np.arange(30) == 0, 1.0, sample.adoption))
    with pytest.warns(ImpactWarning, match="1 of 30 units have no period of `y` before"):
        check = few_treated.cluster_robust(early)
    assert "5 treated units" in check.notes[0]


def test_covariates_are_adjusted_for():
    sample = small(n=60, treated=20)
    x = np.random.default_rng(1).normal(size=60) + (np.arange(60) < 20)
    moved = {"y": sample.outcome("y") + np.where(np.arange(1, 11) >= 6, 5.0, 0.0) * x[:, None]}
    with_x = replace(sample, outcomes=moved, covariates=x[:, None], covariate_names=("x",))
    plain = few_treated.compare(replace(sample, covariates=x[:, None]), draws=99).tidy()
    found = few_treated.compare(with_x, draws=99).tidy()
    for column in ("estimate", "p_value"):
        of = found["method"] != METHODS[5]  # which makes no use of covariates
        np.testing.assert_allclose(found[column][of], plain[column][of], atol=1e-9)


# ---- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {"neighbours": t.neighbours, "coordinates": places(t)}, "Both `neighbours` and `coordinates`"),
        (lambda t: {"neighbours": t.neighbours.drop(columns="municipality")}, r"unit's column \(`municipality`\)"),
        (lambda t: {"neighbours": t.neighbours.assign(neighbour=-1)}, "no neighbour for 295 of 295 units"),
        (lambda t: {"coordinates": places(t).head(290)}, "no finite number, on 5 of 295 units"),
        (lambda t: {"coordinates": pd.concat([places(t), places(t).head(2)])}, "repeats 2 units"),
        (lambda t: {"coordinates": places(t).assign(east="here")}, "other than numbers"),
        (lambda t: {"population": people(t).assign(population=0)}, "not above zero for 295 units"),
        (lambda t: {"before": 60}, "`before` asks for 60 periods before the first adoption, and `log_broad` has 55"),
        (lambda t: {"after": 30}, "`after` asks for 30 periods from the last adoption on, and `log_broad` has 29"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(trial, sample, change, words):
    with pytest.raises(ValueError, match=words):
        few_treated.compare(sample, outcome="log_broad", draws=99, **change(trial))


def test_nobody_to_compare_with_is_refused():
    with pytest.raises(ValueError, match="1 of 20 units of `y` are never treated"):
        few_treated.compare(small(n=20, treated=19))


def test_areas_without_room_are_refused(trial, sample):
    pairs = trial.municipalities["municipality"].to_numpy()[:294].reshape(-1, 2)
    table = pd.DataFrame(pairs, columns=["municipality", "neighbour"])
    with pytest.raises(ValueError, match="find no room in 99 of 99 draws"):
        few_treated.permutation(sample, outcome="log_broad", neighbours=table, draws=99)
    found = valid(few_treated.conley_taber(sample, outcome="log_broad", neighbours=table, draws=99))
    assert found["Conley-Taber"] == "no: no 3 untreated units lie together"


def test_examples_in_docstrings():
    result = doctest.testmod(sys.modules["impact.did.few_treated"])
    assert result.attempted > 0 and result.failed == 0
