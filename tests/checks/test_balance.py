"""Balance by subgroup, effective sizes, and who was left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.checks.balance import balance, sizes
from impact.checks.overlap import lost
from impact.core.balance import ecdf_gaps
from impact.matching import means, nearest

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def table(n=400, seed=0):
    r = np.random.default_rng(seed)
    age, school = r.normal(45, 9, n).round(), r.choice(["basic", "secondary"], n)
    p = 1 / (1 + np.exp(-(-0.5 + 0.08 * (age - 45) + 0.8 * (school == "basic"))))
    d = (r.random(n) < p).astype(int)
    return pd.DataFrame({"id": range(n), "d": d, "age": age, "school": school, "y": r.normal(size=n) + d})


def sample(**changes):
    study = Study(title="t", unit="id", treatment="d", covariates=("age", "school"), outcomes=Outcome("y"))
    return emulate(study.revise(**changes), table())


def test_the_gaps_between_distributions_by_hand():
    x, d = np.array([[1.0], [2], [2], [4], [1], [2], [3]]), np.array([1, 1, 1, 1, 0, 0, 0], bool)
    mean, largest = ecdf_gaps(x, d, np.ones(7))
    gaps = [abs(1 / 4 - 1 / 3), abs(3 / 4 - 2 / 3), abs(3 / 4 - 1), 0.0]  # at 1, 2, 3 and 4
    assert mean[0] == pytest.approx(np.mean(gaps)) and largest[0] == pytest.approx(max(gaps))


def test_balance_within_the_levels_of_a_factor():
    whole, found = sample(), balance(sample(), by="school", detail=True).tidy()
    assert list(found["subgroup"].unique()) == ["all", "school: basic", "school: secondary"]
    one = found.set_index(["subgroup", "term"]).loc[("school: basic", "age")]
    rows = table().query("school == 'basic'")
    everyone = table()
    ages = rows.groupby("d")["age"].mean()
    assert one["mean_treated"] == pytest.approx(ages[1]) and one["mean_comparison_before"] == pytest.approx(ages[0])
    scale = everyone.loc[everyone["d"] == 1, "age"].std()
    assert one["before"] == pytest.approx((ages[1] - ages[0]) / scale)
    assert not found.query("subgroup != 'all'")["term"].str.startswith("school").any()
    plain = balance(whole).tidy()
    pd.testing.assert_frame_equal(found.query("subgroup == 'all'")[plain.columns], plain)


def test_a_subgroup_with_one_arm_cannot_be_decided():
    rows = table()
    rows.loc[rows["school"] == "basic", "d"] = 1
    study = Study(title="t", unit="id", treatment="d", covariates=("age", "school"), outcomes=Outcome("y"))
    check = balance(emulate(study, rows), by="school")
    assert check.passed is None and "cannot be decided for 1 of the subgroups" in check.reason


def test_by_refuses_what_it_cannot_do():
    with pytest.raises(KeyError, match="`region` is not among the covariates"):
        balance(sample(), by="region")
    rows = table().assign(age=np.arange(400))
    study = Study(title="t", unit="id", treatment="d", covariates=("age",), outcomes=Outcome("y"))
    with pytest.raises(ValueError, match="400 different values"):
        balance(emulate(study, rows), by="age")


def test_sizes_say_whom_the_design_kept():
    before, after = sizes(sample()), sizes(nearest.match(sample(), caliper=0.05))
    assert before.passed and (before.tidy()["estimate"] == 1).all()
    kept = after.tidy()
    assert not after.passed and (kept["kept"] + kept["excluded"] == kept["total"]).all()
    assert f"{kept['kept'][0]} are kept" in after.reason


def test_who_was_left_out():
    matched = nearest.match(sample(), caliper=0.05)
    d, w = matched.treated, matched.weights
    age = matched.characteristics[:, 0]
    row = lost(matched).tidy().set_index("term").loc["age"]
    assert row["mean_lost"] == pytest.approx(age[d & (w == 0)].mean())
    assert row["mean_kept"] == pytest.approx(age[d & (w > 0)].mean())
    assert row["estimate"] == pytest.approx((row["mean_lost"] - row["mean_kept"]) / age[d].std(ddof=1))
    assert lost(matched).passed is False and lost(sample()).passed is True
    assert means.difference(matched).counts["treated"] < d.sum()
