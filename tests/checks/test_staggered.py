"""Checks of staggered adoption find what is planted, let alone what is not, and say what they cannot decide."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact import Estimate, Outcome, Sample, places
from impact.checks import over_time, placebo, verdicts
from impact.checks.anticipation import anticipation
from impact.checks.composition import composition
from impact.checks.leave_one_area_out import leave_one_area_out
from impact.checks.placebo_dates import placebo_dates
from impact.checks.spillover import spillover
from impact.did import callaway_santanna
from impact.matching import propensity
from tests.checks.staggered import panel, sample_of

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")

CHECKS = (anticipation, placebo_dates, leave_one_area_out, composition)


def without_scores(sample: Sample, **options) -> Estimate:
    return callaway_santanna.att(sample, **options).released()


# ---- what they share --------------------------------------------------------------------------


@pytest.mark.parametrize("about", [{}, {"cluster": "group"}, {"weights": "size"}], ids=str)
@pytest.mark.parametrize("early", [0, 1])
def test_the_plain_difference_is_that_of_callaway_and_santanna_without_covariates(about, early):
    table = panel(effect=1.0, clusters=20).assign(size=np.random.default_rng(1).uniform(0.5, 2, 60))
    sample = sample_of(table, **about)
    ours = over_time.runner(None)(sample, anticipation=early)
    theirs = callaway_santanna.att(sample, anticipation=early)
    np.testing.assert_allclose(ours.value, theirs.value)
    np.testing.assert_allclose(ours.std_error, theirs.std_error)
    np.testing.assert_allclose(ours.df, theirs.df)


@pytest.mark.parametrize("check", CHECKS, ids=lambda f: f.__name__)
def test_rows_may_stand_in_any_order(check):
    table = panel(effect=1.0, clusters=12)
    first = check(sample_of(table, cluster="group"))
    mixed = check(sample_of(table.sample(frac=1, random_state=1), cluster="group"))
    pd.testing.assert_frame_equal(first.table, mixed.table, rtol=1e-9)
    assert (first.passed, first.reason) == (mixed.passed, mixed.reason)


@pytest.mark.parametrize("check", CHECKS, ids=lambda f: f.__name__)
def test_weights_twice_as_large_change_nothing(check):
    table = panel(effect=1.0).assign(size=np.random.default_rng(1).uniform(0.5, 2, 60))
    one, two = (check(sample_of(table.assign(size=k * table["size"]), weights="size")) for k in (1, 2))
    pd.testing.assert_frame_equal(one.table, two.table)


@pytest.mark.parametrize("check", CHECKS, ids=lambda f: f.__name__)
def test_nobody_needs_to_be_left_out_of_the_sample_to_be_left_out(check):
    """Units without weight in a design are as good as absent."""
    table = panel(effect=1.0, n=60)
    sample = sample_of(table)
    absent = sample_of(table.iloc[:45])
    weightless = sample.reweight(np.where(np.arange(60) < 45, 1.0, 0.0), step="three quarters were chosen")
    pd.testing.assert_frame_equal(check(absent).table, check(weightless).table, rtol=1e-9)


def test_a_design_on_the_sample_or_in_the_estimator():
    table = panel(effect=1.0, n=36).assign(need=np.random.default_rng(3).normal(size=36))
    sample = sample_of(table, covariates="need")

    def whole(s, **options):
        return callaway_santanna.att(propensity.weight(s), method="reg", **options)

    inside = leave_one_area_out(sample, estimator=whole)
    designed = leave_one_area_out(propensity.weight(sample), estimator=callaway_santanna.att)
    assert inside.table["estimate"].notna().all() and designed.table["estimate"].notna().all()
    assert np.isfinite(placebo_dates(sample, estimator=whole).table["std_error"]).all()


def test_what_the_package_warns_of_is_a_note_and_not_said_again(recwarn):
    table = panel().assign(start=lambda t: t["start"].where(t.index > 2, 1.0))
    found = placebo_dates(sample_of(table), estimator=callaway_santanna.att)
    assert any("left out" in n for n in found.notes)
    assert not [w for w in recwarn if "group" in str(w.message)]


# ---- anticipation -----------------------------------------------------------------------------


def test_shifts_by_hand():
    table = panel(effect=1.0)
    sample = sample_of(table)
    found = anticipation(sample, earlier=[1, 2])
    effects = [callaway_santanna.att(sample, anticipation=k) for k in (0, 1, 2)]
    np.testing.assert_allclose(found.table["estimate"], [e.value[0] for e in effects])
    np.testing.assert_allclose(found.table["shift"][1:], [e.value[0] - effects[0].value[0] for e in effects[1:]])
    from impact import stack

    gap = stack(effects[2], effects[0]).combine([[1, -1]])
    np.testing.assert_allclose(found.table["shift_error"][2], gap.std_error[0])
    test = stack(*effects).combine([[-1, 1, 0], [-1, 0, 1]]).test()
    assert f"F({test['df']:.0f}, {test['df_residual']:.0f}) = {test['statistic']:.2f}" in found.reason


def test_a_dip_before_adoption_is_found_and_goes_down():
    found = anticipation(sample_of(panel(effect=1.0, dip=-2.0)), estimator=callaway_santanna.att)
    assert found.passed is False and found.table["shift"][1] < -1
    assert "differ from zero by more than chance" in found.reason


def test_no_dip_is_never_shown_by_a_test_alone_but_by_a_margin():
    sample = sample_of(panel(effect=1.0, n=300))
    assert anticipation(sample).passed is None and "80% power" in anticipation(sample).reason
    assert anticipation(sample, margin=0.5).passed is True
    assert anticipation(sample, margin=0.01).passed is None


def test_the_same_units_at_every_start():
    table = panel(starts=(3.0, 6.0, np.nan))
    found = anticipation(sample_of(table), earlier=3)
    assert "20 units are left out throughout, for want of earlier periods." in found.notes
    late = anticipation(sample_of(table[table["start"] != 3.0]), earlier=3)
    pd.testing.assert_frame_equal(found.table, late.table)


def test_starts_go_as_far_as_half_of_the_treated_and_in_the_unit_of_the_periods():
    assert list(anticipation(sample_of(panel(starts=(3.0, 6.0, np.nan)))).table["term"])[-1] == "from 3 earlier"
    assert list(anticipation(sample_of(panel(starts=(3.0, np.nan)))).table["term"])[-1] == "from 1 earlier"
    assert anticipation(sample_of(panel(starts=(2.0, np.nan)))).passed is None
    years = panel(starts=(5.0, np.nan), periods=6)
    years = years.rename(columns={f"y_{k}": f"y_{2000 + 5 * k}" for k in range(1, 7)})
    outcome = Outcome("y_{}", periods=[2000 + 5 * k for k in range(1, 7)])
    found = anticipation(sample_of(years.assign(start=2000 + 5 * years["start"]), outcomes=outcome))
    assert list(found.table["term"])[1:] == ["from 5 earlier", "from 10 earlier", "from 15 earlier"]


def test_an_estimator_without_scores_gives_shifts_without_error():
    found = anticipation(sample_of(panel(dip=-2.0)), estimator=without_scores)
    assert found.passed is None and "no scores" in found.reason
    assert found.table["shift_error"].isna().all() and found.table["shift"][1:].notna().all()


# ---- placebo dates ----------------------------------------------------------------------------


def test_nothing_after_adoption_is_looked_at():
    table = panel(effect=1.0)
    spoilt = table.copy()
    for k in range(1, 9):
        spoilt.loc[spoilt["start"] <= k, f"y_{k}"] = 1e6
    first, second = (placebo_dates(sample_of(t), estimator=callaway_santanna.att) for t in (table, spoilt))
    pd.testing.assert_frame_equal(first.table, second.table)


def test_placebo_dates_by_hand():
    table = panel(effect=1.0)
    found = placebo_dates(sample_of(table), earlier=2)
    by_group = []
    for g in (5, 7):
        change = table[[f"y_{g - 2}", f"y_{g - 1}"]].mean(axis=1) - table[f"y_{g - 3}"]
        mine, others = table["start"] == g, ~(table["start"] <= g)
        by_group.append(change[mine].mean() - change[others].mean())
    np.testing.assert_allclose(found.table["estimate"], np.mean(by_group))


def test_a_drift_is_found_and_its_absence_is_not_claimed():
    assert placebo_dates(sample_of(panel(drift=0.5))).passed is False
    found = placebo_dates(sample_of(panel()))
    assert found.passed is None and len(found.table) == 3
    assert (found.table["smallest_detectable"] > found.table["std_error"]).all()
    assert placebo_dates(sample_of(panel(n=300)), margin=1.0).passed is True


def test_an_estimator_without_scores_is_judged_at_worst():
    sample = sample_of(panel(drift=0.5))
    found = placebo_dates(sample, estimator=without_scores, earlier=[1, 2])
    known = placebo_dates(sample, estimator=callaway_santanna.att, earlier=[1, 2])
    np.testing.assert_allclose(found.table["estimate"], known.table["estimate"])
    assert (found.table["std_error"] >= known.table["std_error"]).all()
    assert any("errors are at most" in n for n in found.notes)


# ---- areas ------------------------------------------------------------------------------------


def lucky(by=0.0):
    """Twelve clusters of five areas, four of them treated; one of those had luck of its own."""
    table = panel(seed=3, clusters=12, starts=(5.0, np.nan, np.nan))
    mine = table["group"] == 0
    for k in range(5, 9):
        table.loc[mine, f"y_{k}"] += by
    return table


def test_an_effect_that_one_area_makes():
    sample = sample_of(lucky(12.0), cluster="group")

    def sure(s):  # an estimator that believes in independent areas
        e = callaway_santanna.att(s)
        return Estimate.of_covariance({"term": "a"}, e.value, e.vcov / 9)

    found = leave_one_area_out(sample, estimator=sure)
    assert found.passed is False and "with all it is above zero" in found.reason
    assert found.table["term"][1] == "without area 1, of 5 units"
    assert found.table["shift"][1:5].is_monotonic_increasing


def test_each_row_is_the_estimate_without_the_area_or_the_group():
    table = panel(effect=3.0, clusters=12)
    found = leave_one_area_out(sample_of(table, cluster="group")).table.set_index("term")
    for g in (5.0, 7.0):
        rest = callaway_santanna.att(sample_of(table[table["start"] != g], cluster="group"))
        np.testing.assert_allclose(found.loc[f"without those who adopted in {g:g}", "estimate"], rest.value[0])
    treated = table.loc[table["start"].notna(), "group"].unique()
    want = [callaway_santanna.att(sample_of(table[table["group"] != c], cluster="group")).value[0] for c in treated]
    np.testing.assert_allclose(found["estimate"][1:9], np.sort(want))
    assert len(found) == 1 + 8 + 2


def test_areas_go_by_number_unless_the_study_names_them():
    table = panel(effect=1.0, n=24)
    said = repr(leave_one_area_out(sample_of(table)))
    assert "area 1, of 1 unit" in said and "area 0" not in said
    named = leave_one_area_out(sample_of(table, labels={"area 0": "the capital"})).table["term"]
    assert "without the capital" in list(named) and sum("of 1 unit" in t for t in named) == 15


def test_too_many_areas_or_too_few():
    many = leave_one_area_out(sample_of(panel(effect=1.0, n=360)))
    assert list(many.table["term"])[1:] == [f"without those who adopted in {g}" for g in (5, 7)]
    assert any("240 treated areas" in n for n in many.notes)
    one = leave_one_area_out(sample_of(panel(effect=1.0, n=360, starts=(5.0, np.nan))))
    assert one.passed is None and "areas are too many" in one.reason
    table = panel(effect=1.0, clusters=12).assign(start=lambda t: t["start"].where(t["group"] == 0))
    with pytest.raises(ValueError, match="1 treated area"):
        leave_one_area_out(sample_of(table, cluster="group"))


def test_rows_without_an_answer_are_counted():
    def needs_fifty(s):
        if len(s) < 60:
            raise ValueError("Too few units are left: add some.")
        return callaway_santanna.att(s)

    found = leave_one_area_out(sample_of(panel(effect=1.0)), estimator=needs_fifty)
    assert any("In 42 of 42 rows there is no answer" in n for n in found.notes)
    assert found.passed is None and "too little is left" in found.reason


# ---- spillover --------------------------------------------------------------------------------


def line(n=61, spill=0.0, effect=1.0, seed=0):
    """Areas on a line; every sixth is treated, and its two neighbours feel it."""
    table = panel(seed=seed, n=n, starts=(np.nan,))
    at = np.arange(n)
    treated = at % 6 == 0
    near = (at % 6 == 1) | (at % 6 == 5)
    table["start"] = np.where(treated, 5.0, np.nan)
    for k in range(5, 9):
        table[f"y_{k}"] += effect * treated + spill * near
    pairs = pd.DataFrame({"one": table["area"][:-1].to_numpy(), "other": table["area"][1:].to_numpy()})
    return table, pairs, pd.DataFrame({"area": table["area"], "x": at.astype(float), "y": 0.0})


def test_neighbours_by_hand():
    table, pairs, _ = line(spill=0.7)
    found = spillover(sample_of(table), neighbours=pairs).table.set_index("term")
    change = table[[f"y_{k}" for k in range(5, 9)]].mean(axis=1) - table["y_4"]
    at = np.arange(61)
    treated, near = at % 6 == 0, np.isin(at % 6, (1, 5))
    others = ~treated & ~near
    np.testing.assert_allclose(found.loc["on neighbours", "estimate"], change[near].mean() - change[others].mean())
    with_all = change[treated].mean() - change[~treated].mean()
    np.testing.assert_allclose(found.loc["on the treated", "estimate"], with_all)
    clean = change[treated].mean() - change[others].mean()
    np.testing.assert_allclose(found.loc["on the treated, without neighbours", "estimate"], clean)
    np.testing.assert_allclose(found["shift"].iloc[2], clean - with_all)
    assert found["shift_error"].iloc[2] > 0


def test_tables_of_pairs_and_of_places_say_the_same():
    table, pairs, place = line(spill=0.7)
    sample = sample_of(table)
    beside = spillover(sample, neighbours=pairs, estimator=callaway_santanna.att)
    for how in ({"nearest": 2}, {"distance": 1.0}):
        found = spillover(sample, coordinates=place, estimator=callaway_santanna.att, **how)
        if "distance" in how:
            pd.testing.assert_frame_equal(found.table, beside.table)
        assert found.passed is False and found.claim == beside.claim
    few = sample_of(table.assign(start=table["start"].where(table.index % 12 == 0)))
    assert any("5 units nearest" in n for n in spillover(few, coordinates=place).notes)


def test_neighbours_adopt_with_the_first_of_theirs():
    table, pairs, _ = line()
    table.loc[6, "start"], table.loc[4, "start"], table.loc[12, "start"] = 7.0, 5.0, 99.0
    sample = sample_of(table)
    from impact.checks.spillover import _reached

    when = _reached(over_time.Subject.of(sample, None), places.neighbours(sample, pairs))
    np.testing.assert_array_equal(when[[1, 5, 7, 11, 2, 0, 13]], [5, 5, 7, np.inf, np.inf, np.inf, np.inf])


def test_no_spillover_is_for_the_reader_to_judge_unless_it_is_small():
    table, pairs, _ = line(n=300)
    assert spillover(sample_of(table), neighbours=pairs).passed is None
    assert spillover(sample_of(table), neighbours=pairs, margin=0.5).passed is True
    assert spillover(sample_of(table)).passed is None


REFUSED = [
    ({"neighbours": 1, "coordinates": 1}, "give one of them"),
    ({"neighbours": "pairs", "nearest": 2}, "leave them out"),
    ({"coordinates": "place", "nearest": 2, "distance": 1.0}, "give one of them"),
    ({"coordinates": "place", "distance": 1e-9}, "none are neighbours"),
    ({"coordinates": "place", "distance": 1e9}, "all are neighbours"),
]


@pytest.mark.parametrize(("given", "words"), REFUSED, ids=[w for _, w in REFUSED])
def test_tables_that_do_not_fit(given, words):
    table, pairs, place = line()
    given = {k: {"pairs": pairs, "place": place}.get(v, v) if isinstance(v, str) else v for k, v in given.items()}
    with pytest.raises(ValueError, match=words):
        spillover(sample_of(table), **given)


# ---- composition ------------------------------------------------------------------------------


def leavers(share=0.4, n=300, seed=0):
    """Treated units leave the panel after adoption, more than others do."""
    table = panel(seed=seed, n=n)
    r = np.random.default_rng(seed)
    for k in range(2, 9):
        gone = r.random(n) < np.where(table["start"] <= k, 0.05 + share, 0.05)
        table.loc[gone, f"y_{k}"] = np.nan
    return sample_of(table, missing="keep")


def test_those_who_leave_more_often_are_found():
    found = composition(leavers(), estimator=callaway_santanna.att)
    assert found.passed is False and -0.5 < found.table["estimate"][0] < -0.3
    assert any("of those of units never treated" in n for n in found.notes)


def test_few_who_leave_alike_do_not_matter():
    table = panel(n=1200)
    table.loc[np.random.default_rng(0).random(1200) < 0.03, "y_6"] = np.nan
    assert composition(sample_of(table, missing="keep")).passed is True
    assert composition(sample_of(table, missing="keep"), margin=None).passed is None
    assert composition(sample_of(panel())).passed is True


# ---- placebo outcomes -------------------------------------------------------------------------


def test_an_outcome_that_the_programme_cannot_touch():
    table = panel(effect=1.0)
    r = np.random.default_rng(9)
    for k in range(1, 9):
        table[f"teeth_{k}"] = r.normal(size=60) + np.where(table["start"] <= k, 0.0, 0.0)
        table[f"rent_{k}"] = r.normal(size=60) + np.where(table["start"] <= k, 2.0, 0.0)
    outcomes = [Outcome(f"{c}_{{}}", periods=range(1, 9)) for c in ("y", "teeth", "rent")]
    sample = sample_of(table, outcomes=outcomes)
    untouched = placebo.negative_control(sample, outcome="teeth")
    assert untouched.passed is not False and list(untouched.table["outcome"]) == ["teeth"]
    one = callaway_santanna.att(sample, outcome="teeth")
    np.testing.assert_allclose(untouched.table["estimate"], one.value)
    touched = placebo.negative_control(sample, outcome=["teeth", "rent"], estimator=callaway_santanna.att)
    assert touched.passed is False


# ---- verdicts ---------------------------------------------------------------------------------


def test_where_the_covariance_is_not_known_bonferroni_is_used():
    one, two = (Estimate.of_covariance({"term": "a"}, v, 1.0) for v in (2.3, 0.1))
    assert verdicts.together([one, two]) is None
    p = verdicts.joint([one, two])[0]
    np.testing.assert_allclose(p, 2 * one.test()["p_value"])
    assert verdicts.shift(one, two)[0] == pytest.approx(2.2) and np.isnan(verdicts.shift(one, two)[1])


@pytest.mark.parametrize("check", [*CHECKS, spillover], ids=lambda f: f.__name__)
def test_several_values_for_one_outcome_are_refused(check):
    sample = sample_of(panel())
    if check is composition:
        sample = leavers(n=60)
    given = {"neighbours": line()[1]} if check is spillover else {}
    if check is spillover:
        sample = sample_of(line()[0])

    def several(s, anticipation=0):
        return callaway_santanna.att_gt(s, anticipation=anticipation)

    with pytest.raises(ValueError, match=r"gave \d+ values for one outcome"):
        check(sample, estimator=several, **given)


@pytest.mark.parametrize("check", [anticipation, placebo_dates, composition, spillover], ids=lambda f: f.__name__)
def test_one_treated_cluster_gives_values_without_errors_and_no_verdict(check):
    table = panel(clusters=12).assign(start=lambda t: t["start"].where(t["group"] == 0))
    if check is composition:
        table.loc[np.random.default_rng(0).random(60) < 0.2, "y_6"] = np.nan
    pairs = pd.DataFrame({"one": table["area"][:-1].to_numpy(), "other": table["area"][1:].to_numpy()})
    given = {"neighbours": pairs} if check is spillover else {}
    found = check(sample_of(table, cluster="group", missing="keep"), **given)
    assert found.passed is None and found.table["estimate"].notna().all()
    assert "cannot be" in found.reason and repr(found)
