"""The door: every table becomes the same sample, whoever is left out is counted, and nothing is changed."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from impact import Event, ImpactWarning, Outcome, Sample, Study, emulate
from tests.contracts import walk
from tests.contracts.walk import PANEL, TRIAL, people


def regions(n: int) -> pd.DataFrame:
    return walk.regions(n, periods=6)


def sampled(study: Study, data: Any) -> Sample:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImpactWarning)  # what is noted is looked at on the sample
        return emulate(study, data)


def arrays(sample: Sample) -> dict[str, Any]:
    by_row = ("covariates", "characteristics", "weights", "treated", "adoption")
    found: dict[str, Any] = {name: getattr(sample, name) for name in by_row}
    for name, value in sample.outcomes.items():
        parts = value if isinstance(value, tuple) else (value,)
        found |= {f"{name} {k}": part for k, part in enumerate(parts) if part is not None}
    return {n: v for n, v in found.items() if v is not None}


def assert_same(a: Sample, b: Sample) -> None:
    assert arrays(a).keys() == arrays(b).keys()
    for name, value in arrays(a).items():
        np.testing.assert_array_equal(value, arrays(b)[name], err_msg=name)
    assert a.covariate_names == b.covariate_names and a.terms == b.terms
    assert list(a.unit) == list(b.unit) and a.flow == b.flow and a.notes == b.notes
    np.testing.assert_array_equal(a.cluster, b.cluster)


# ---- tables ------------------------------------------------------------------------------------


def of_polars(data: pd.DataFrame) -> Any:
    return pytest.importorskip("polars").from_pandas(data)


def of_lazy_polars(data: pd.DataFrame) -> Any:
    return of_polars(data).lazy()


def of_arrow(data: pd.DataFrame) -> Any:
    return pytest.importorskip("pyarrow").Table.from_pandas(data, preserve_index=False)


CONNECTIONS: list[Any] = []


def of_duckdb(data: pd.DataFrame) -> Any:
    CONNECTIONS.append(pytest.importorskip("duckdb").connect())  # a relation lives as long as its connection
    return CONNECTIONS[-1].from_arrow(of_arrow(data))


def test_a_relation_without_its_connection_says_so():
    relation = of_duckdb(register())
    CONNECTIONS[-1].close()
    with pytest.raises(ValueError, match="see that its query runs, and that a connection it needs is open"):
        emulate(REGISTER, relation)


def of_nullable(data: pd.DataFrame) -> Any:
    return data.convert_dtypes()


def of_arrow_types(data: pd.DataFrame) -> Any:
    pytest.importorskip("pyarrow")
    return data.convert_dtypes(dtype_backend="pyarrow")


def of_categories(data: pd.DataFrame) -> Any:
    return data.assign(**{c: data[c].astype("category") for c in ("provider", "school", "exit") if c in data})


KINDS = [of_polars, of_lazy_polars, of_arrow, of_duckdb, of_nullable, of_arrow_types, of_categories]


def register(n: int = 120) -> pd.DataFrame:
    """People with dates, yes and no, and text, for a study that uses them all."""
    start = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(n) % 40, unit="D")
    data = people(n)
    return data.assign(
        start=start, end=start + pd.to_timedelta(data["months"] * 30, unit="D"), ill=data["woman"] == 1,
        office=data["office"] % 7,
    )  # fmt: skip


REGISTER = TRIAL.revise(
    covariates=("age", "school", "ill", "C(office)"), cluster="office", weights="weight",
    eligibility={"adults": "age >= 25 and school != 'none'", "early": "start < '2020-02-05'"},
    outcomes=(Outcome("score"), Outcome("pay_{}", periods=(1, 2, 3)),
              Event("end", "exit", {1: "job", 2: "education", 3: "other"}, since="start")),
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("case", ["people", "regions"])
def test_every_kind_of_table_gives_the_same_sample(kind, case):
    study, data = (REGISTER, register()) if case == "people" else (PANEL, regions(30))
    one, other = sampled(study, data), sampled(study, kind(data))
    assert_same(one, other)
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize("kind", [pd.DataFrame, of_polars, of_arrow, of_arrow_types], ids=lambda kind: kind.__name__)
def test_the_table_is_never_changed(kind):
    for study, data in ((REGISTER, register()), (PANEL, regions(30))):
        table = kind(data)
        before = copy.deepcopy(table)
        sampled(study, table)
        assert before.equals(table)


def test_rows_in_another_order_are_the_same_units():
    for study, data in ((REGISTER, register()), (PANEL, regions(30))):
        mixed = data.sample(frac=1, random_state=1)  # with its index mixed too
        one, other = sampled(study, data), sampled(study, mixed)
        order = pd.Index(other.unit).get_indexer(one.unit)
        for name, value in arrays(one).items():
            np.testing.assert_allclose(value, arrays(other)[name][order], rtol=1e-12, err_msg=name)


def test_the_index_of_a_table_means_nothing():
    data = register()
    for index in ([0] * len(data), np.arange(len(data))[::-1], pd.date_range("2020", periods=len(data))):
        assert_same(sampled(REGISTER, data), sampled(REGISTER, data.set_axis(index)))


def test_the_fingerprint_follows_what_is_used_and_nothing_else():
    data = register()
    mark = sampled(REGISTER, data).fingerprint
    assert sampled(REGISTER, data.assign(unused=3)).fingerprint == mark
    assert sampled(REGISTER.revise(title="another question"), data).fingerprint != mark
    for column in ("score", "pay_2", "age", "weight", "office"):
        changed = data.copy()
        changed.loc[3, column] = changed.loc[3, column] + 1
        assert sampled(REGISTER, changed).fingerprint != mark, column


# ---- who is counted ------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    missing=st.dictionaries(
        st.sampled_from(["age", "school", "score", "provider", "weight", "office", "months", "exit"]),
        st.sets(st.integers(0, 119), max_size=20), max_size=4),
    others=st.sets(st.integers(0, 119), max_size=20), oldest=st.integers(30, 60),
)  # fmt: skip
def test_nobody_is_lost_without_being_counted(missing, others, oldest):
    data = people(120).astype({"office": float, "exit": float, "woman": float})
    data.loc[sorted(others), "provider"] = "neither"
    for column, rows in missing.items():
        data.loc[sorted(rows), column] = None
    study = TRIAL.revise(missing="drop", cluster="office", weights="weight", covariates=("age", "C(school)"),
                         eligibility={"not too old": f"age <= {oldest}"})  # fmt: skip
    try:
        sample = sampled(study, data)
    except ValueError:  # nobody, or one arm, may be left
        return
    steps = sample.flow
    assert steps[0].total == 120 and steps[-1].total == len(sample)
    assert all(a.total >= b.total for a, b in zip(steps, steps[1:], strict=False))
    assert steps[-1].treated == sample.treated.sum() and steps[-1].other == 0
    eligible = data[data["age"] <= oldest]
    whole = eligible[eligible["provider"].isin(["private", "public"])].dropna(
        subset=["age", "school", "score", "weight", "office", "months", "exit"])  # fmt: skip
    assert sorted(sample.unit) == sorted(whole["id"]), "those who satisfy every demand, and nobody else"
    assert not any(np.isnan(v).any() for v in arrays(sample).values())


def test_missing_values_stop_a_study_and_are_counted_by_column():
    data = people(120).astype({"woman": float})
    data.loc[:4, "age"] = None
    data.loc[3:9, "pay_2"] = None
    with pytest.raises(ValueError, match=r"of 120 units, in `pay_2` \(7\), `age` \(5\): fill them, or set missing"):
        emulate(TRIAL, data)
    with pytest.warns(ImpactWarning, match="excluded; missing in"):
        sample = emulate(TRIAL.revise(missing="drop"), data)
    assert [s.total for s in sample.flow] == [120, 110] and sample.flow[-1].step == "no missing values"


def test_the_flow_names_each_reason_in_its_order():
    data = people(120)
    data.loc[:9, "provider"] = "neither"
    study = TRIAL.revise(eligibility={"not young": "age >= 35", "not old": "age < 60"})
    sample = sampled(study, data)
    assert [s.step for s in sample.flow] == ["in the data", "not young", "not old", "in either arm"]
    kept = data[(data["age"] >= 35) & (data["age"] < 60)]
    assert sample.flow[2].other == (kept["provider"] == "neither").sum()
    assert repr(sample).count("\n") == 4


# ---- covariates ------------------------------------------------------------------------------------------


def test_factors_keep_every_level_for_balance_and_one_less_for_adjustment():
    sample = sampled(TRIAL.revise(covariates=("age", "school")), people())
    assert sample.covariate_names == ("age", "school: secondary", "school: tertiary")
    assert sample.characteristic_names == ("age", "school: basic", "school: secondary", "school: tertiary")
    assert sample.terms == {"age": (0,), "school": (1, 2, 3)} and sample.columns_of("school") == (1, 2, 3)
    np.testing.assert_array_equal(sample.characteristics[:, 1:].sum(axis=1), 1)


def test_levels_that_nobody_has_are_left_out_and_order_is_kept():
    data = people()
    school = pd.Categorical(data["school"], categories=["tertiary", "none", "secondary", "basic"])
    sample = sampled(TRIAL.revise(covariates=("school",)), data.assign(school=school))
    assert sample.characteristic_names == ("school: tertiary", "school: secondary", "school: basic")


def test_numbers_declared_as_categories_are_levels_and_other_numbers_are_not():
    data = people(300)
    as_number = sampled(TRIAL.revise(covariates=("woman", "office")), data)
    as_levels = sampled(TRIAL.revise(covariates=("woman", "C(office)")), data)
    categories = data.assign(office=data["office"].astype("category"))
    declared = sampled(TRIAL.revise(covariates=("woman", "office")), categories)
    assert as_number.covariate_names == ("woman", "office")
    assert declared.covariate_names == as_levels.covariate_names and len(declared.covariate_names) == 25
    np.testing.assert_array_equal(declared.covariates, as_levels.covariates)


def test_interactions_and_curves_are_what_they_say():
    data = people()
    study = TRIAL.revise(covariates=("age*woman", "I(age**2)", "woman:school", "log(age)", "I(age > 45)"))
    sample = sampled(study, data)
    column = dict(zip(sample.characteristic_names, sample.characteristics.T, strict=True))
    age, woman = data["age"].to_numpy(), data["woman"].to_numpy()
    np.testing.assert_allclose(column["age × woman"], age * woman)
    np.testing.assert_allclose(column["I(age**2)"], age**2)
    np.testing.assert_allclose(column["woman × school: basic"], woman * (data["school"] == "basic"))
    np.testing.assert_allclose(column["log(age)"], np.log(age))
    np.testing.assert_allclose(column["I(age > 45)"], age > 45)
    assert [sample.characteristic_names[j] for j in sample.terms["age*woman"]] == ["age", "woman", "age × woman"]


def test_a_spline_spans_what_scipy_says_it_spans():
    from scipy.interpolate import BSpline

    data = people()
    age = data["age"].to_numpy()
    sample = sampled(TRIAL.revise(covariates=("bs(age, 5)",)), data)
    knots = np.r_[[age.min()] * 4, np.quantile(age, [1 / 3, 2 / 3]), [age.max()] * 4]
    basis = BSpline.design_matrix(age, knots, 3).toarray()
    together = np.column_stack([np.ones(len(age)), sample.covariates])
    assert np.linalg.matrix_rank(together) == 6 == np.linalg.matrix_rank(np.column_stack([together, basis]))


def test_the_recipe_makes_the_same_columns_for_other_people():
    data = people(200)
    study = TRIAL.revise(covariates=("bs(age, 4)", "C(school)*woman", "center(score2)", "constant"))
    data = data.assign(score2=data["score"] ** 2, constant=1)
    sample = sampled(study, data)
    again = sample.formula.design(data.iloc[50:60])
    np.testing.assert_allclose(again, sample.covariates[50:60], atol=1e-12)
    with pytest.raises(ValueError, match="`school` has levels that the sample it was made on lacks in 10 of 10"):
        sample.formula.design(data.iloc[50:60].assign(school="other"))


def test_columns_that_say_nothing_new_are_left_out_and_noted():
    data = people().assign(one=1, twice=lambda d: 2 * d["age"] + 3, copy=lambda d: d["school"])
    with pytest.warns(ImpactWarning) as said:
        sample = emulate(TRIAL.revise(covariates=("age", "school", "one", "twice", "copy")), data)
    assert sample.covariate_names == ("age", "school: secondary", "school: tertiary")
    assert [str(w.message) for w in said] == list(sample.notes) == [
        "Left out of the adjustment, the same for every unit: `one`.",
        "Left out of the adjustment, determined by other covariates: `twice`, `copy`.",
    ]  # fmt: skip
    assert len(sample.characteristic_names) == 9, "balance is judged on all"


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_the_scale_of_a_covariate_does_not_decide_what_is_collinear(scale):
    data = people()
    far = data.assign(far=1e3 * scale + scale * data["score"])
    sample = sampled(TRIAL.revise(covariates=("age", "woman", "far")), far)
    assert sample.covariate_names == ("age", "woman", "far")


# ---- over time ---------------------------------------------------------------------------------------------


def test_a_column_a_period_and_a_row_a_period_are_one_outcome():
    data = people()
    long = data.melt(id_vars=["id", "provider", "age"], value_vars=["pay_1", "pay_2", "pay_3"], value_name="pay")
    long["month"] = long["variable"].str[-1].astype(int)
    wide = TRIAL.revise(covariates=("age",), outcomes=Outcome("pay_{}", periods=(1, 2, 3)))
    study = wide.revise(outcomes=Outcome("pay"), period="month")
    one, other = sampled(wide, data), sampled(study, long.sample(frac=1, random_state=3))
    order = pd.Index(other.unit).get_indexer(one.unit)
    np.testing.assert_array_equal(one.outcome(), other.outcome()[order])
    np.testing.assert_array_equal(one.periods["pay"], other.periods["pay"])


@pytest.mark.parametrize("form", ["dates", "iso", "zones", "arrow"])
def test_months_may_be_dates_of_any_kind(form):
    data = regions(30)
    plain = sampled(PANEL, data)
    first = pd.Timestamp("2019-11-01")

    def month(k: float) -> Any:
        return pd.NaT if np.isnan(k) else first + pd.DateOffset(months=int(k) - 1)

    dated = data.assign(quarter=data["quarter"].map(month), start=data["start"].map(month))
    for column in ("quarter", "start"):
        if form == "iso":
            dated[column] = dated[column].dt.strftime("%Y-%m-%d").astype(object).where(dated[column].notna(), None)
        if form == "zones":
            dated[column] = dated[column].dt.tz_localize("Europe/Helsinki")
    table = of_arrow(dated.assign(quarter=dated["quarter"].dt.date)) if form == "arrow" else dated
    sample = sampled(PANEL, table)
    np.testing.assert_array_equal(sample.adoption, plain.adoption)
    np.testing.assert_array_equal(sample.periods["rate"], plain.periods["rate"])
    np.testing.assert_array_equal(sample.outcome(), plain.outcome())


def test_units_that_are_not_seen_throughout_stop_the_study_or_are_counted():
    data = regions(30).drop(index=[3, 20])
    with pytest.raises(ValueError, match="2 of 30 units lack `rate` in some of the 6 periods of `quarter`"):
        emulate(PANEL, data)
    sample = sampled(PANEL.revise(missing="drop"), data)
    assert len(sample) == 28 and sample.flow[-1].step == "observed in all 6 periods"
    everybody = sampled(PANEL, regions(30))
    np.testing.assert_array_equal(sample.outcome(), everybody.outcome()[~np.isin(np.arange(30), [0, 3])])


def test_periods_that_only_the_ineligible_have_are_no_periods():
    data = regions(30)
    last = data[data["quarter"] == 6]
    late = last.assign(quarter=7, region=last["region"] + 100, deprivation=99.0, start=np.nan)
    both = pd.concat([data, late], ignore_index=True)
    sample = sampled(PANEL.revise(eligibility={"poor": "deprivation < 50"}), both)
    assert list(sample.periods["rate"]) == [1, 2, 3, 4, 5, 6] and len(sample) == 30


def test_what_changes_over_time_is_taken_from_the_first_period_and_noted():
    data = regions(30)
    data["deprivation"] += data["quarter"]
    with pytest.warns(ImpactWarning, match="`deprivation` changes over time for 30 units; its value in each unit's"):
        sample = emulate(PANEL, data)
    np.testing.assert_allclose(sample.covariates[:, 0], data.loc[data["quarter"] == 1, "deprivation"])
    with pytest.raises(ValueError, match="`start` changes over time for 30 units"):
        emulate(PANEL, data.assign(start=data["quarter"]))


def test_treatment_that_ends_again_is_counted():
    data = regions(30)
    on = ((data["quarter"] >= data["start"]) & (data["quarter"] < 5)).astype(int)
    study = PANEL.revise(adoption=None, treatment="on")
    with pytest.raises(ValueError, match="`on` changes over time for .*treatment ends again for 20 of them"):
        emulate(study, data.assign(on=on))


@pytest.mark.parametrize("never", ["empty", "infinity", "zero", "99"])
def test_never_may_be_empty_infinite_or_a_code(never):
    data = regions(30)
    plain = sampled(PANEL, data)
    code = {"empty": np.nan, "infinity": np.inf, "zero": 0, "99": 99}[never]
    study = PANEL if never in ("empty", "infinity") else PANEL.revise(never=code)
    sample = sampled(study, data.fillna({"start": code}))
    np.testing.assert_array_equal(sample.adoption, plain.adoption)
    assert sample.flow[0] == plain.flow[0]


def test_zero_before_the_first_period_is_never_treated_and_said():
    data = regions(30)
    plain, zero = sampled(PANEL, data), data.fillna({"start": 0})
    count = int((plain.adoption == np.inf).sum())
    with pytest.warns(ImpactWarning, match=f"`start` is 0 for {count} of 30 units.* taken as never treated"):
        sample = emulate(PANEL, zero)
    np.testing.assert_array_equal(sample.adoption, plain.adoption)
    assert sample.flow[0] == plain.flow[0]


def unseen(data):
    """A tenth of the rows are lost, and one region altogether."""
    kept = np.random.default_rng(2).uniform(size=len(data)) > 0.1
    return data.assign(rate=data["rate"].where(kept & (data["region"] != 5)))


def test_units_seen_in_some_periods_stay_where_the_study_keeps_them():
    data = unseen(regions(30))
    sample = sampled(PANEL.revise(missing="keep"), data)
    assert len(sample) == 29 and sample.flow[-1].step == "observed in some period"
    values = sample.outcome("rate", gaps=True)
    assert np.isnan(values).sum() == data["rate"].isna().sum() - 6
    some = int(np.isnan(values).any(axis=1).sum())
    assert any(n.startswith(f"{some} of 29 units are not seen in every one of the 6 periods") for n in sample.notes)
    with pytest.raises(ValueError, match=f"`rate` is not seen in every period for {some} of 29 units"):
        sample.outcome("rate")
    each = data[data["rate"].notna()].groupby("region").sample(1, random_state=1)
    each = each.assign(region=np.arange(len(each)))
    assert any("a repeated cross-section" in n for n in sampled(PANEL.revise(missing="keep"), each).notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.assign(start=np.nan), "Nobody of 30 units is treated by `start` within the periods observed"),
        (lambda d: d.assign(start=d["start"] + 90), "Nobody of 30 units is treated by `start` within the periods"),
        (lambda d: d.assign(quarter=pd.Timestamp("2020-01-01") + pd.to_timedelta(d["quarter"] * 31, unit="D")),
         "holds numbers and the period `quarter` dates"),
        (lambda d: d.assign(start=pd.Timestamp("2020-01-01")), "holds dates, and a number is needed"),
        (lambda d: d[d["quarter"] == 3], "holds a single period"),
        (lambda d: pd.concat([d, d.head(7)]), "7 of 187 rows repeat a unit"),
        (lambda d: d.assign(region=d["region"].mask(d["region"] == 4)), "`region` is missing in 6 of 180"),
        (lambda d: d.assign(quarter=d["quarter"].mask(d["region"] == 4)), "`quarter` is missing in 6 of 180"),
    ],
)  # fmt: skip
def test_a_panel_that_does_not_fit_says_why(change, words):
    with pytest.raises(ValueError) as refused:
        emulate(PANEL, change(regions(30)))
    assert words in str(refused.value)


# ---- events -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "days"), [("days", 1), ("weeks", 7), ("months", 365.25 / 12), ("years", 365.25)])
@pytest.mark.parametrize("form", ["dates", "iso", "zones", "two zones", "python"])
def test_events_between_dates_are_measured_in_the_unit(unit, days, form):
    data = people()
    length = np.arange(1, len(data) + 1)
    start = pd.Series(pd.Timestamp("2020-03-01 12:00") + pd.to_timedelta(np.arange(len(data)), unit="D"))
    end = start + pd.to_timedelta(length, unit="D")
    if form == "iso":
        start, end = start.dt.strftime("%Y-%m-%dT%H:%M"), end.dt.strftime("%Y-%m-%d %H:%M:%S")
    elif form == "zones":
        start, end = start.dt.tz_localize("Europe/Helsinki"), end.dt.tz_localize("Europe/Helsinki")
    elif form == "two zones":
        start, end = start.dt.tz_localize("UTC"), end.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    elif form == "python":
        start, end = start.dt.date, end.dt.date
    event = Event("end", "exit", {1: "job", 2: "education", 3: "other"}, since="start", unit=unit)
    sample = sampled(TRIAL.revise(outcomes=event), data.assign(start=start, end=end))
    np.testing.assert_allclose(sample.outcome().time, length / days, rtol=1e-12)


def test_text_with_an_offset_keeps_the_day_on_the_wall():
    data = regions(20)
    stamp = {k: f"2020-{k:02d}-01T00:00:00+0{2 + (4 <= k <= 10)}:00" for k in range(1, 7)}
    sample = sampled(PANEL, data.assign(quarter=data["quarter"].map(stamp), start=data["start"].map(stamp)))
    np.testing.assert_array_equal(sample.adoption, sampled(PANEL, data).adoption)


def test_exits_are_numbered_in_the_order_of_the_study():
    data = people()
    words = data["exit"].map({0: "still", 1: "job", 2: "education", 3: "other"})
    event = Event("months", "exit", {"other": "other", "job": "job", "education": "education"}, censored="still")
    sample = sampled(TRIAL.revise(outcomes=event), data.assign(exit=words))
    np.testing.assert_array_equal(sample.outcome().status, data["exit"].map({0: 0, 3: 1, 1: 2, 2: 3}))


def test_late_entry_is_kept():
    data = people().assign(late=0.5)
    event = Event("months", "exit", {1: "job", 2: "education", 3: "other"}, entry="late")
    assert (sampled(TRIAL.revise(outcomes=event), data).outcome().entry == 0.5).all()


# ---- weights and clusters ------------------------------------------------------------------------------------------


def test_weights_and_clusters_are_taken_as_they_are():
    data = people()
    sample = sampled(TRIAL.revise(weights="weight", cluster="office"), data)
    np.testing.assert_array_equal(sample.sampling, data["weight"])
    np.testing.assert_array_equal(sample.weights, sample.sampling)
    together = pd.Series(sample.cluster).groupby(data["office"]).nunique()
    assert (together == 1).all() and len(np.unique(sample.cluster)) == data["office"].nunique()
    assert len(np.unique(sampled(TRIAL, data).cluster)) == len(data)


def test_units_that_only_look_alike_are_two():
    data = people().astype({"id": object})
    data.loc[0, "id"] = "1"  # beside the number 1
    sample = sampled(TRIAL, data)
    assert len(np.unique(sample.cluster)) == len(data)


def test_a_weight_of_zero_leaves_a_unit_without_a_say_and_is_noted():
    data = people()
    data.loc[:5, "weight"] = 0
    with pytest.warns(ImpactWarning, match="`weight` are zero for 6 units"):
        emulate(TRIAL.revise(weights="weight"), data)
