"""The effect on a total and on its parts: what adds up, errors, Fieller's interval, and what is refused."""

from __future__ import annotations

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.core import fieller
from impact.did import callaway_santanna, extended, imputation, stacked, sun_abraham, synthetic, two_by_two, two_way
from impact.did.decomposition import EFFECT, OF_ITSELF, OF_TOTAL, decompose
from tests.contracts import promises

PARTS = ["open", "services"]
pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def areas(n=120, seed=0, moved=0.6, periods=6):
    """Open unemployment falls by ten in areas that adopt, and services take ``moved`` of it."""
    rng = np.random.default_rng(seed)
    start = rng.choice([3.0, 5.0, np.nan], n, p=[0.3, 0.3, 0.4])
    t = np.arange(1, periods + 1)
    on = t >= start[:, None]
    base = rng.gamma(20, 5, (n, 1))
    open_ = base + t + rng.normal(0, 4, (n, periods)) - 10 * on
    services = 0.3 * base + rng.normal(0, 3, (n, periods)) + 10 * moved * on
    table = pd.DataFrame({"area": np.repeat(np.arange(n), periods), "year": np.tile(t, n)})
    table["start"] = np.repeat(start, periods)
    table["size"] = np.repeat(rng.gamma(3, 1, n), periods)
    return table.assign(open=open_.ravel(), services=services.ravel(), broad=(open_ + services).ravel())


def study(**about):
    outcomes = [Outcome("broad", "broad unemployment", "persons"), Outcome("open", "open unemployment", "persons"),
                Outcome("services", "in services", "persons")]  # fmt: skip
    return Study(title="Trial", unit="area", period="year", adoption="start", outcomes=outcomes, **about)


def sample_of(table=None, **about):
    return emulate(study(**about), areas() if table is None else table)


def test_parts_add_up_and_are_the_estimators_own_values():
    sample = sample_of(weights="size")
    found = decompose(sample, total="broad", parts=PARTS)
    alone = callaway_santanna.att(sample, outcome=[*PARTS, "broad"])
    effects = found.part(EFFECT)
    np.testing.assert_allclose(effects.value, alone.value, rtol=1e-12)
    np.testing.assert_allclose(effects.vcov, alone.vcov, rtol=1e-9)
    for term in (EFFECT, OF_TOTAL):
        *parts, total = found.part(term).value
        assert sum(parts) == pytest.approx(total, rel=1e-12)
    assert list(effects.index["outcome"]) == ["open unemployment", "in services", "broad unemployment"]
    assert found.part(EFFECT).index["term"].iloc[0] == "effect (persons)"


@pytest.mark.parametrize("average", ["group", "simple", "event", "period"])
def test_the_level_without_the_programme_is_the_observed_one_less_the_effect(average):
    """One adoption group: the mean of the treated after adoption, less the effect, whatever the average."""
    table = areas().assign(start=lambda t: t["start"].replace(5.0, 3.0))
    sample = sample_of(table, weights="size")
    estimator = partial(callaway_santanna.att, average=average)
    found = decompose(sample, total="broad", parts=PARTS, estimator=estimator)
    after = table[(table["start"] == 3) & (table["year"] >= 3)]
    seen = np.array([np.average(after[name], weights=after["size"]) for name in (*PARTS, "broad")])
    effects = found.part(EFFECT).value
    np.testing.assert_allclose(found.part(OF_ITSELF).value, 100 * effects / (seen - effects), rtol=1e-8)
    np.testing.assert_allclose(found.part(OF_TOTAL).value, 100 * effects / (seen - effects)[-1], rtol=1e-8)


@pytest.mark.parametrize("module", [two_way, imputation, extended, sun_abraham, stacked, two_by_two])
def test_every_linear_estimator_decomposes(module):
    """One adoption group without covariates: the level without the programme is the mean seen, less the effect."""
    table = areas().assign(start=lambda t: t["start"].replace(5.0, 3.0))
    found = decompose(sample_of(table), total="broad", parts=PARTS, estimator=module.att)
    alone = module.att(sample_of(table), outcome=[*PARTS, "broad"])
    effects = found.part(EFFECT).value
    np.testing.assert_allclose(effects, alone.value, rtol=1e-8)
    assert effects[0] + effects[1] == pytest.approx(effects[2], rel=1e-8)
    after = table[(table["start"] == 3) & (table["year"] >= 3)]
    seen = np.array([after[name].mean() for name in (*PARTS, "broad")])
    np.testing.assert_allclose(found.part(OF_ITSELF).value, 100 * effects / (seen - effects), rtol=1e-6)


def test_synthetic_control_weighs_each_outcome_differently_and_is_refused():
    estimator = partial(synthetic.att, draws=20)
    with pytest.raises(ValueError, match="it weighs units or periods differently for each outcome"):
        decompose(sample_of(), total="broad", parts=PARTS, estimator=estimator)


def test_units_with_gaps_are_kept_where_the_study_keeps_them():
    table = areas()
    table = table[np.random.default_rng(0).random(len(table)) > 0.05]
    found = decompose(sample_of(table, missing="keep"), total="broad", parts=PARTS)
    *parts, total = found.part(OF_TOTAL).value
    assert sum(parts) == pytest.approx(total, rel=1e-10) and np.isfinite(found.estimate.std_error).all()


def test_with_covariates_and_staggered_starts_the_level_is_that_of_an_outcome_without_effect():
    """A programme that takes a tenth of what would have been: every part falls by ten per cent of itself."""
    table = areas(seed=2, moved=0.0)
    lost = 0.9 ** (table["year"] >= table["start"])
    untouched = table["open"] + 10 * (table["year"] >= table["start"])
    table = table.assign(open=untouched * lost, services=table["services"] * lost)
    table["broad"] = table["open"] + table["services"]
    found = decompose(sample_of(table, covariates=("size",)), total="broad", parts=PARTS)
    own = found.part(OF_ITSELF)
    assert (np.abs(own.value + 10) < 3 * own.std_error).all() and (own.std_error < 2.0).all()


def test_scores_are_derivatives_and_keep_the_promises():
    sample = sample_of(weights="size", covariates=("size",))

    def values(s):
        return decompose(s, total="broad", parts=PARTS).estimate

    assert promises.derivative_gap(values, sample) < 1e-6
    mixed = sample.take(np.random.default_rng(1).permutation(len(sample)))
    assert promises.same(values(sample), values(mixed))
    values(promises.frozen(sample))
    big = areas().assign(**{name: areas()[name] * 1e-6 for name in (*PARTS, "broad")})
    small, plain = values(sample_of(big)), values(sample_of())
    np.testing.assert_allclose(small.value[3:], plain.value[3:], rtol=1e-8)
    np.testing.assert_allclose(small.std_error[3:], plain.std_error[3:], rtol=1e-6)
    np.testing.assert_allclose(small.std_error[:3], 1e-6 * plain.std_error[:3], rtol=1e-6)


def test_fieller_by_brute_force_and_near_zero():
    value, vcov = np.array([3.0, 4.0]), np.array([[1.0, 0.3], [0.3, 0.8]])
    low, high = fieller.limits(value, vcov, 30.0, 0.95)
    ratio = np.linspace(-1, 4, 500_001)
    c = 2.0422724563012373  # the 97.5 per cent point of Student's t with 30 degrees of freedom
    inside = (value[0] - ratio * value[1]) ** 2 <= c**2 * (vcov[0, 0] - 2 * ratio * vcov[0, 1] + ratio**2 * vcov[1, 1])
    assert (low, high) == (pytest.approx(ratio[inside].min(), abs=2e-5), pytest.approx(ratio[inside].max(), abs=2e-5))
    assert fieller.limits(value, 9 * vcov, 30.0, 0.95) == (-np.inf, np.inf)


def test_fieller_covers_where_the_delta_method_does_not_know():
    """A true ratio of one half over a denominator of two standard errors: 95 per cent, by 4,000 draws."""
    rng = np.random.default_rng(0)
    vcov = np.array([[1.0, -0.5], [-0.5, 1.0]])
    draws = rng.multivariate_normal([1.0, 2.0], vcov, 4000)
    inside = []
    for value in draws:
        low, high = fieller.limits(value, vcov, np.inf, 0.95)
        inside.append(low <= 0.5 <= high)
    assert 0.94 < np.mean(inside) < 0.99  # unbounded sets are reported as the whole line, which covers


def test_the_share_that_is_relabelling():
    found = decompose(sample_of(), total="broad", parts=PARTS)
    check = found.share("in services", of="open unemployment")
    row = check.table.iloc[0]
    effects = found.part(EFFECT).value
    assert row["estimate"] == pytest.approx(-100 * effects[1] / effects[0])
    assert row["conf_low"] < 60 < row["conf_high"] < 100
    assert check.passed is True and "At most" in check.reason
    all_moved = decompose(sample_of(areas(moved=1.5)), total="broad", parts=PARTS)
    assert all_moved.share("in services", of="open unemployment").passed is False
    unclear = decompose(sample_of(areas(moved=1.0, seed=1)), total="broad", parts=PARTS)
    assert unclear.share("in services", of="open unemployment").passed is None
    with pytest.raises(ValueError, match="`part` is 'prison': choose 'open unemployment'"):
        found.share("prison", of="open unemployment")
    with pytest.raises(ValueError, match="`level` is 95"):
        found.share("in services", of="open unemployment", level=95)


def test_a_share_of_what_is_not_told_from_zero_may_be_anything():
    table = areas(n=30)
    table["open"] += 10 * (table["year"] >= table["start"])
    table["broad"] = table["open"] + table["services"]
    check = decompose(sample_of(table), total="broad", parts=PARTS).share("in services", of="open unemployment")
    assert check.passed is None and "may be any share of it" in check.reason
    assert np.isinf(check.table[["conf_low", "conf_high"]].to_numpy()).all()
    assert "cannot be told from zero" in repr(check) and "<table" in check.to_html()
    assert check.plot() is not None
    plt.close("all")


def test_it_is_read_as_an_estimate_is():
    found = decompose(sample_of(), total="broad", parts=PARTS)
    assert len(found.tidy()) == 9 and "per cent of itself" in repr(found)
    assert "<table" in found.to_html() and found._repr_html_() == found.to_html()
    assert r"\toprule" in found.to_latex() and "|" in found.to_markdown()
    assert found.plot() is not None and found.plot(term=EFFECT) is not None
    plt.close("all")
    units = decompose(sample_of(), total="broad", parts=PARTS, relative=False)
    assert len(units.tidy()) == 3 and units.plot() is not None
    plt.close("all")
    with pytest.raises(ValueError, match="has no 'per cent of itself'"):
        units.part(OF_ITSELF)


def test_yes_or_no_outcomes_are_in_percentage_points():
    table = areas()
    rng = np.random.default_rng(3)
    table["open"] = (rng.random(len(table)) < 0.3).astype(int)
    table["services"] = ((rng.random(len(table)) < 0.2) & (table["open"] == 0)).astype(int)
    table["broad"] = table["open"] + table["services"]
    found = decompose(sample_of(table), total="broad", parts=PARTS)
    alone = callaway_santanna.att(sample_of(table), outcome="open")
    assert found.part(EFFECT).index["term"].iloc[0] == "effect (percentage points)"
    assert found.part(EFFECT).value[0] == pytest.approx(100 * alone.value[0])


def test_a_level_that_is_not_told_from_zero_has_no_per_cent():
    table = areas()
    table["services"] = np.random.default_rng(0).normal(0, 3, len(table))
    table["broad"] = table["open"] + table["services"]
    found = decompose(sample_of(table), total="broad", parts=PARTS)
    assert list(found.part(OF_ITSELF).index["outcome"]) == ["open unemployment", "broad unemployment"]
    assert "The level of in services without the programme cannot be told from zero" in repr(found)


def test_a_part_that_is_seen_less_often_than_the_total_is_refused():
    table = areas()
    table = table.assign(services=table["services"].where(table["year"] != 4))
    with pytest.raises(ValueError, match=r"In 120 of 720 unit-periods `broad` is seen and some of its parts"):
        decompose(sample_of(table, missing="keep"), total="broad", parts=PARTS)


def test_what_does_not_add_up_is_refused_with_the_count():
    table = areas()
    table.loc[[3, 11], "broad"] += 5
    with pytest.raises(
        ValueError, match=r"`open` and `services` do not add up to `broad` in 2 of 720 unit-periods \(by"
    ):
        decompose(sample_of(table), total="broad", parts=PARTS)
    rounded = areas().round(0)
    decompose(sample_of(rounded.assign(broad=rounded["open"] + rounded["services"])), total="broad", parts=PARTS)
    rough = rounded.assign(broad=areas()["broad"].round(0))
    with pytest.raises(ValueError, match="allow for rounding by `tolerance`"):
        decompose(sample_of(rough), total="broad", parts=PARTS)
    decompose(sample_of(rough), total="broad", parts=PARTS, tolerance=0.02)
    logs = areas()
    logs[[*PARTS, "broad"]] = np.log(logs[[*PARTS, "broad"]].clip(lower=1))
    with pytest.raises(ValueError, match="not as logarithms"):
        decompose(sample_of(logs), total="broad", parts=PARTS)


def test_arguments_are_refused_in_words():
    sample = sample_of()
    with pytest.raises(ValueError, match="at least two parts"):
        decompose(sample, total="broad", parts="open")
    with pytest.raises(ValueError, match="each named once"):
        decompose(sample, total="broad", parts=["open", "open"])
    with pytest.raises(KeyError, match="no outcome 'idle'"):
        decompose(sample, total="broad", parts=["open", "idle"])
    with pytest.raises(ValueError, match="`estimator` is 'att', and is a function"):
        decompose(sample, total="broad", parts=PARTS, estimator="att")
    with pytest.raises(ValueError, match="gives .* values for 6 outcomes"):
        decompose(sample, total="broad", parts=PARTS, estimator=callaway_santanna.event_study)
    with pytest.raises(ValueError, match="no Estimate for 6 outcomes"):
        decompose(sample, total="broad", parts=PARTS, estimator=lambda s, outcome: None)
    with pytest.raises(ValueError, match="`relative` is 'yes'"):
        decompose(sample, total="broad", parts=PARTS, relative="yes")
    for wrong in (-1, np.nan, "low", None, 1.5):
        with pytest.raises(ValueError, match="`tolerance` is"):
            decompose(sample, total="broad", parts=PARTS, tolerance=wrong)
    for wrong in (3, None, [3]):
        with pytest.raises(ValueError, match="`parts` is"):
            decompose(sample, total="broad", parts=wrong)


def test_an_estimator_that_weighs_each_outcome_differently_is_refused():
    def fickle(sample, outcome):
        found = callaway_santanna.att(sample, outcome=outcome)
        return found.combine(np.diag(np.arange(1.0, len(outcome) + 1)), outcome=found.index["outcome"].to_numpy())

    with pytest.raises(ValueError, match="because it weighs units or periods differently for each outcome"):
        decompose(sample_of(), total="broad", parts=PARTS, estimator=fickle)
