"""Honest trends as a check: which effect, which period, which words; and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from impact import Estimate, Outcome, Study, emulate
from impact.checks.honest_trends import honest_trends
from impact.checks.missed_trend import missed_trend
from impact.checks.trends import parallel_trends
from impact.did import callaway_santanna as did

T = 7


def path(n=200, seed=0, base="universal", effect=1.0, starts=(5,), estimator=did.event_study, **options):
    rng = np.random.default_rng(seed)
    start = rng.choice([*starts, np.nan], n)
    t = np.arange(1, T + 1)
    y = rng.normal(size=(n, 1)) + rng.normal(size=(n, T)) + effect * (t >= start[:, None])
    table = pd.DataFrame({"area": np.arange(n), "start": start} | {f"y_{k}": y[:, k - 1] for k in t})
    study = Study(title="t", unit="area", adoption="start", outcomes=Outcome("y_{}", periods=t.tolist(), per="quarter"))
    return estimator(emulate(study, table), base=base, **options)


def known(ages, value, vcov=None, **about):
    vcov = 0.01 * (np.eye(len(ages)) + 0.5) if vcov is None else vcov
    return Estimate.of_covariance({"time": ages}, value, vcov, **about)


AGES, VALUES = [-4, -3, -2, 0, 1, 2], [0.05, -0.04, 0.06, 1.0, 1.2, 0.9]


def row(check, term):
    return check.table[check.table["term"].str.startswith(term)].iloc[0]


def test_the_first_row_is_the_estimates_own_interval():
    found = path()
    check = honest_trends(found)
    own = found.where("time == 0").tidy()
    first = check.table.iloc[0]
    assert first["term"] == "parallel trends" and np.isnan(first["divergence"])
    np.testing.assert_allclose(first[["estimate", "conf_low", "conf_high"]].astype(float),
                               own[["estimate", "conf_low", "conf_high"]].iloc[0].astype(float))  # fmt: skip
    assert check.passed is None and "Zero is excluded as long as trends diverge after adoption" in check.reason
    assert list(check.table.columns) == ["outcome", "term", "divergence", "estimate", "conf_low", "conf_high"]


def test_more_divergence_is_a_wider_interval_and_none_is_nearly_the_estimates_own():
    check = honest_trends(path(), divergence=[0, 0.5, 1, 2])
    rows = check.table[check.table["divergence"].isin([0, 0.5, 1, 2])]
    assert (np.diff(rows["conf_low"]) < 0).all() and (np.diff(rows["conf_high"]) > 0).all()
    own = check.table.iloc[0]
    none = row(check, "parallel after")
    np.testing.assert_allclose([none["conf_low"], none["conf_high"]], [own["conf_low"], own["conf_high"]], rtol=0.02)


def test_the_breakdown_value_stands_in_the_table():
    check = honest_trends(path())
    at = row(check, "breakdown")
    assert at["conf_low"] == pytest.approx(0, abs=1e-4)
    assert f"by up to {at['divergence']:.3g} times as much as at most before" in check.reason
    below = check.table[check.table["divergence"] < at["divergence"]]
    above = check.table[check.table["divergence"] > at["divergence"]]
    assert (below["conf_low"] > 0).all() and (above["conf_low"] < 0).all()


def test_what_is_held_plausible_decides():
    found = path()
    at = row(honest_trends(found), "breakdown")["divergence"]
    for most, passed in ((0.9 * at, True), (1.1 * at, False)):
        check = honest_trends(found, plausible=most)
        assert check.passed is passed and "held plausible it is" in check.reason
        assert (
            f"even if trends diverged after adoption, from one period to the next, by up to {most:.3g} times"
            in check.claim
        )
    assert honest_trends(path(effect=0.0)).passed is False
    assert "Zero is not excluded even without divergence" in honest_trends(path(effect=0.0)).reason


def test_which_effect():
    found = known(AGES, VALUES)
    by = {
        "first": (VALUES[3], "in the period of adoption"),
        "last": (VALUES[5], "at 2 periods since adoption"),
        "average": (np.mean(VALUES[3:]), "averaged over the 3 times since adoption"),
    }
    for of, (value, words) in by.items():
        check = honest_trends(found, of=of)
        assert check.table["estimate"].iloc[0] == pytest.approx(value) and f"The effect {words} differs" in check.claim
    assert honest_trends(found, of=1).table["estimate"].iloc[0] == 1.2
    assert "at 1 period since adoption" in honest_trends(found, of=1).claim
    gap = honest_trends(found, of={0: -1, 2: 1})
    assert gap.table["estimate"].iloc[0] == pytest.approx(-0.1) and gap.passed is False


def test_the_order_of_values_and_the_form_released_do_not_matter():
    found = path(starts=(4, 5))
    mixed = found.where("time != 99")
    order = np.random.default_rng(0).permutation(len(found.value))
    mixed = found.combine(np.eye(len(order))[order], **{c: found.index[c].to_numpy()[order] for c in found.index})
    for restriction in ("relative", "smooth"):
        a = honest_trends(found, restriction=restriction).table
        for other in (mixed, found.released()):
            b = honest_trends(other, restriction=restriction).table
            pd.testing.assert_frame_equal(a, b, rtol=1e-5, atol=1e-8)


def test_a_reference_period_of_zero_without_error_is_left_out():
    whole = np.zeros((7, 7))
    kept = [0, 1, 2, 4, 5, 6]
    whole[np.ix_(kept, kept)] = 0.01 * (np.eye(6) + 0.5)
    added = known([-4, -3, -2, -1, 0, 1, 2], [*VALUES[:3], 0.0, *VALUES[3:]], whole)
    pd.testing.assert_frame_equal(honest_trends(added).table, honest_trends(known(AGES, VALUES)).table)


def test_with_anticipation_effects_before_adoption_count_as_effects():
    """The reference period is the one left out, wherever it is; the effect in the period of adoption is still that."""
    found = path(anticipation=1)
    assert list(found.index["time"]) == [-4, -3, -1, 0, 1, 2]
    check = honest_trends(found)
    assert check.table["estimate"].iloc[0] == found.where("time == 0").value[0]
    assert "Before, 2 changes from one period to the next" in check.notes[0]


def test_periods_need_not_be_of_length_one():
    a = honest_trends(known(AGES, VALUES)).table
    b = honest_trends(known([3 * k for k in AGES], VALUES)).table
    pd.testing.assert_frame_equal(a, b)
    assert honest_trends(known([-2, 0], [0.01, 1.0], 0.01 * np.eye(2))).table["conf_low"].notna().all()


def test_few_degrees_of_freedom_widen_the_intervals():
    many = known(AGES, VALUES)
    few = Estimate.of_covariance({"time": AGES}, VALUES, many.vcov, df=8)
    wide, same = honest_trends(few, restriction="smooth"), honest_trends(few, restriction="smooth", reference="normal")
    normal = honest_trends(many, restriction="smooth")

    def length(check):
        at = row(check, "straight")
        return at["conf_high"] - at["conf_low"]

    assert length(wide) / length(normal) == pytest.approx(stats.t.ppf(0.975, 8) / stats.norm.ppf(0.975))
    assert length(same) == pytest.approx(length(normal))
    assert "17.7% larger than in the published method" in wide.notes[-1] and "8.0 degrees of freedom" in wide.notes[-1]
    assert not any("published" in note for note in normal.notes)


def test_shapes_and_methods():
    found = known(AGES, VALUES)
    free = honest_trends(found, restriction="smooth", method="conditional", divergence=0.1)
    up = honest_trends(found, restriction="smooth", shape="positive", divergence=0.1)
    # An upward divergence can only have raised the estimate.
    assert row(up, "slope")["conf_high"] < row(free, "slope")["conf_high"] - 0.05
    assert "taken to be positive" in " ".join(up.notes)
    down = honest_trends(found, shape="negative")
    assert "Zero is excluded at every divergence tried" in down.reason
    bent = honest_trends(found, restriction="relative_smooth")
    assert "the slope of the divergence changes after adoption" in bent.reason


def test_percentage_points():
    share = known(AGES, np.array(VALUES) / 10, 0.0001 * (np.eye(6) + 0.5), percent=True)
    check = honest_trends(share, restriction="smooth", divergence=0.02, plausible=0.02)
    assert "by up to 2 percentage points" in check.claim and "Change of slope (pp)" in repr(check)


def test_without_periods_before_it_cannot_be_decided():
    for found in (path().where("time >= 0"), path(starts=(2,))):
        check = honest_trends(found)
        assert check.passed is None and "It cannot be decided: of the" in check.reason
    assert "two periods before" in honest_trends(path(starts=(3,)), restriction="relative_smooth").reason


@pytest.mark.parametrize(("found", "words"), [
    (lambda: path(base="varying"), "short differences, each from the period before. Give the event study with base="),
    (lambda: path(estimator=did.att_gt, starts=(4, 5)), "share their time since adoption with one of another"),
    (lambda: path().where("time != -3"), "not evenly spaced: between the first and the last, 2 have no value"),
    (lambda: path().where("time != 1"), "not evenly spaced"),
    (lambda: path().where("time < 0"), "lies after adoption"),
    (lambda: path(n=6, seed=3), "no full rank"),
    (lambda: known(AGES, VALUES, np.diag([1, 1, np.nan, 1, 1, 1])), "1 of 6 values have no standard error"),
    (lambda: Estimate.of_covariance({"term": "a"}, 1.0, 1.0), "give the path of an event study"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
def test_paths_that_are_refused(found, words):
    with pytest.raises(ValueError, match=words):
        honest_trends(found())


@pytest.mark.parametrize(("wrong", "words"), [
    ({"restriction": "none"}, "choose 'relative', 'smooth' or 'relative_smooth'"),
    ({"shape": "round"}, "`shape` is 'round'"),
    ({"method": "bayes"}, "`method` is 'bayes'"),
    ({"method": "fixed_length"}, "and restriction='relative' was asked for"),
    ({"method": "fixed_length", "restriction": "smooth", "shape": "positive"}, "and a shape was asked for"),
    ({"divergence": -1}, "`divergence` is -1"),
    ({"divergence": []}, "`divergence`"),
    ({"divergence": "much"}, "`divergence` is 'much'"),
    ({"of": "second"}, "`of` is 'second'"),
    ({"of": 9}, "asks for the effect at 9, and after its reference period the path has effects at 0 to 2"),
    ({"of": -2}, "asks for the effect at -2"),
    ({"of": {0: 0}}, "gives no effect a weight"),
    ({"of": {0: np.nan}}, "`of"),
    ({"of": None}, "`of` is None"),
    ({"plausible": -1}, "`plausible` is -1"),
    ({"level": 0}, "`level` is 0"),
    ({"reference": "chi"}, "`reference` is 'chi'"),
])  # fmt: skip
def test_arguments_that_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        honest_trends(known(AGES, VALUES), **wrong)


# ---- what a test of trends misses ----------------------------------------------------------------------


def test_the_notes_on_trends_are_those_of_the_missed_trend():
    found = path(n=400)
    note = parallel_trends(found).notes[-1]
    check = missed_trend(found)
    last = check.table.iloc[-1]
    assert f"hold the effect {100 * last['coverage']:.0f}% of the time" in check.reason
    assert f"held the true effect {100 * last['coverage']:.0f}% of the time" in note
    assert check.passed is None and "finds a steady divergence of" in check.reason and "50% of the time" in check.reason
    assert missed_trend(found, slope=0.001).passed is True


def test_the_steady_divergence_within_the_band():
    found = path(n=400)
    table = parallel_trends(found).table
    words = parallel_trends(found).notes[1].split("divergence of ")[1].split(" a period")[0].replace("−", "-")
    low, high = (float(w) for w in words.split(" to "))
    line = table["time"].to_numpy() + 1
    for slope in (low, high):
        inside = (0.95 * slope * line >= table["band_low"]) & (0.95 * slope * line <= table["band_high"])
        outside = (1.08 * slope * line < table["band_low"]) | (1.08 * slope * line > table["band_high"])
        assert inside.all() and outside.any()


def test_missed_trend_refuses_and_leaves_open_in_words():
    found = known(AGES, VALUES)
    for wrong in ({"power": 1}, {"power": 0}, {"slope": "up"}, {"pretest": "none"}, {"anticipation": -1}, {"level": 0}):
        with pytest.raises(ValueError, match="set it so|choose"):
            missed_trend(found, **wrong)
    few = Estimate.of_covariance({"time": AGES}, VALUES, found.vcov, df=2)
    with pytest.raises(ValueError, match="3 effects before adoption with 2 degrees of freedom"):
        missed_trend(few)
    assert "It cannot be decided" in missed_trend(found.where("time >= 0")).reason
    assert "It cannot be decided" in missed_trend(found.where("time < 0")).reason
    assert "It cannot be decided" in missed_trend(found, power=0.01).reason
