"""Stacked difference in differences against the weighted regressions on stacks that it is named after."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact.did import callaway_santanna, stacked
from tests.did.test_callaway_santanna import T, offices, sample_of
from tests.did.test_imputation import long_of, panel_of, with_gaps

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def stacks(table, pre, post):
    """One row for each unit and period of each stack, treated or clean, with time since adoption."""
    long, parts = long_of(table), []
    for g in (3, 4, 6):
        if g - pre < 1 or g + post > T:
            continue
        inside = long["t"].between(g - pre, g + post)
        clean = (long["start"] == g) | (long["start"] > g + post) | long["start"].isna()
        part = long[inside & clean]
        parts.append(part.assign(stack=g, e=part["t"] - g, d=(part["start"] == g).astype(float)))
    return pd.concat(parts, ignore_index=True)


def test_the_regression_with_corrective_weights():
    """Wing, Freedman and Hollingsworth's: times since adoption, treated, and their products."""
    pre, post = 2, 2
    data = stacks(offices(), pre, post)
    units = data.drop_duplicates(["stack", "office"]).groupby("stack")["d"].agg(["sum", "size"])
    n, m = units["sum"], units["size"] - units["sum"]
    q = ((n / n.sum()) / (m / m.sum())).reindex(data["stack"]).to_numpy()
    w = np.where(data["d"] == 1, 1.0, q)
    ages = [e for e in range(-pre, post + 1) if e != -1]
    on = [(data["e"] == e).to_numpy(float) for e in ages]
    d = data["d"].to_numpy()
    x = np.column_stack([np.ones(len(d)), d, *on, *(d * o for o in on)])
    root = np.sqrt(w)[:, None]
    b = np.linalg.lstsq(x * root, data["placed"].to_numpy() * root[:, 0], rcond=None)[0][-len(ages) :]
    sample = sample_of(offices())
    found = stacked.event_study(sample, pre=pre, post=post)
    assert list(found.index["time"]) == ages
    np.testing.assert_allclose(found.value, b, atol=1e-9)
    np.testing.assert_allclose(stacked.att(sample, pre=pre, post=post).value, b[1:].mean(), atol=1e-9)


def test_the_regression_with_effects_of_each_stack():
    """Cengiz and others': effects of unit and of period within stacks, without weights."""
    pre, post = 2, 1
    data = stacks(offices(), pre, post)
    ages = [e for e in range(-pre, post + 1) if e != -1]
    parts = [
        pd.get_dummies(data["stack"].astype(str) + "," + data["office"].astype(str)),
        pd.get_dummies(data["stack"].astype(str) + "," + data["t"].astype(str)),
        *((data["d"] * (data["e"] == e)).to_frame() for e in ages),
    ]
    x = np.hstack([p.to_numpy(float) for p in parts])
    b = np.linalg.lstsq(x, data["placed"].to_numpy(), rcond=None)[0][-len(ages) :]
    found = stacked.event_study(sample_of(offices()), pre=pre, post=post, stacking="regression")
    np.testing.assert_allclose(found.value, b, atol=1e-9)


def test_one_adoption_group_is_callaway_and_santannas():
    table = offices(starts=(4, np.nan), shares=(0.4, 0.6))
    sample = sample_of(table, covariates="need", weights="size")
    one = stacked.event_study(sample, pre=3, post=2)
    other = callaway_santanna.event_study(sample, base="universal", comparison="never")
    assert one.index.equals(other.index)
    np.testing.assert_allclose(one.value, other.value, rtol=1e-10)
    np.testing.assert_allclose(one.std_error, other.std_error, rtol=1e-10)


@pytest.mark.parametrize("stacking", stacked.STACKINGS)
@pytest.mark.parametrize("make", [lambda: sample_of(offices(), covariates="need", weights="size"),
                                  lambda: panel_of(with_gaps(offices(300), 0.05), covariates="need")])  # fmt: skip
def test_scores_are_derivatives(make, stacking):
    from tests.contracts import promises

    sample = make()
    for f in (stacked.event_study, stacked.att):
        assert promises.derivative_gap(lambda s, f=f: f(s, stacking=stacking, method="reg"), sample, units=3) < 1e-7


def test_what_is_left_out_is_said():
    found = stacked.event_study(sample_of(offices()), pre=3, post=2)
    notes = " ".join(found.notes)
    assert (
        "1 of 3 adoption groups (6," not in notes.split("have nobody")[0].split("4")[0] or "not observed over" in notes
    )
    assert (
        "2 of 3 adoption groups (3 and 6" in notes and "the window from 3 periods before adoption to 2 after" in notes
    )
    assert "Each stack has the window from 2 periods before adoption to 0 after" in " ".join(
        stacked.event_study(sample_of(offices())).notes
    )
    with pytest.raises(ValueError, match="None of the 3 adoption groups .* makes a stack: 3 are not observed"):
        stacked.event_study(sample_of(offices()), pre=5, post=5)
    gaps = stacked.event_study(panel_of(with_gaps(offices(300), 0.05)))
    assert any("units are left out of stacks in whose window they are not always seen" in n for n in gaps.notes)


def test_without_never_treated_the_last_to_adopt_are_the_comparison():
    found = stacked.event_study(sample_of(offices(starts=(3, 4, 6, 6), shares=(0.3, 0.3, 0.2, 0.2))))
    assert list(found.index["time"]) == [-2, 0, 1]
    assert any("1 of 3 adoption groups (6, " in n for n in found.notes)


def test_it_finds_the_truth():
    path = stacked.event_study(sample_of(offices(n=6000, seed=3), covariates="need"), pre=2, post=2)
    truth = np.array([0, 1, 1.5, 2])
    assert (np.abs(path.value - truth) < 4 * path.std_error).all()
