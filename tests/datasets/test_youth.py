"""The simulated services for the young: that a seed means one thing, that the truth is true, what the tables hold.

The published figures are those of the generator's specification: means over seeds 1 to 8.
"""

from __future__ import annotations

import doctest
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate
from impact.datasets import youth
from impact.datasets.youth import CONTRACTS, EXITS, FOLLOWED, LONGEST, PANEL, REGIONS, Youth

SPECIFICATION = Path(__file__).resolve().parents[3] / "shared" / "simulators" / "youth.py"
FEW = 3_000


@pytest.fixture(scope="module")
def pilot() -> Youth:
    return youth(seed=1)


@pytest.fixture(scope="module")
def waves() -> Youth:
    return youth(seed=1, clients=FEW, in_waves=True)


@pytest.mark.parametrize(("seed", "hidden"), [(1, 0.0), (7, 0.25)])
def test_same_seed_same_numbers_as_the_specification(seed, hidden):
    if not SPECIFICATION.exists():
        pytest.skip("the specification's own program is not here")
    loaded = importlib.util.spec_from_file_location("specification", SPECIFICATION)
    program = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(program)
    theirs = program.sim(seed, N=FEW, kappa=hidden)
    joined, exit, left = theirs["path"]("obs")
    ours = youth(seed, clients=FEW, hidden=hidden)
    table = ours.clients
    np.testing.assert_array_equal(table["exit"], exit)
    np.testing.assert_array_equal(table["months"], np.where(left < 99, left + 1, LONGEST))
    month = (table["joined"].dt.year - 2018) * 12 + table["joined"].dt.month - 1
    np.testing.assert_array_equal((month - theirs["entry"]).fillna(99), joined)
    np.testing.assert_array_equal(table["contract"].dropna(), theirs["prov"][joined < 99] + 1)
    np.testing.assert_allclose(table["months_employed"], theirs["pe"], rtol=1e-15)
    j = joined < 99
    wait = np.where(j, theirs["entry"] + joined, 999)
    for against, path in (("never", theirs["path"]("never")), ("waiting", theirs["path"]("wait", wait))):
        _, other_exit, other_left = path

        def results(e, x):
            return ((e > 0) & (e < 4) & (x - joined < 12))[j].mean()

        effect = results(exit, left) - results(other_exit, other_left)
        assert ours.effect(against=against) == pytest.approx(effect, abs=1e-12)


@pytest.mark.slow
def test_the_truth_is_as_published():
    """9,008 joined, 56.1 per cent with a result, 52.1 without; +3.97 points against never, +3.47 against waiting."""
    pilots = [youth(seed) for seed in range(1, 9)]
    rows = [p.truth.query("outcome == 'result' and time == 12 and against == 'never'") for p in pilots]
    assert np.mean([p.clients["joined"].notna().sum() for p in pilots]) == pytest.approx(9008, abs=1)
    assert np.mean([r["with_service"] for r in rows]) == pytest.approx(0.561, abs=0.0006)
    assert np.mean([r["without_service"] for r in rows]) == pytest.approx(0.521, abs=0.0006)
    assert 100 * np.mean([p.effect() for p in pilots]) == pytest.approx(3.97, abs=0.006)
    assert 100 * np.mean([p.effect(against="waiting") for p in pilots]) == pytest.approx(3.47, abs=0.006)


def test_comparing_those_who_ever_joined_with_those_who_never_did_is_badly_wrong(pilot):
    """Published: -17.8 points of results within a year of becoming unemployed; the truth is about +4."""
    table = pilot.clients
    result = table["exit"].between(1, 3) & (table["months"] <= 12)
    joined = table["joined"].notna()
    assert result[joined].mean() - result[~joined].mean() == pytest.approx(-0.178, abs=0.02)
    assert 0.03 < pilot.effect() < 0.05


def test_the_register_holds_together(pilot):
    table = pilot.clients
    assert table["client"].is_unique and len(table) == 42_000
    assert table["joined"].dropna().between(pd.Timestamp("2018-04-01"), pd.Timestamp("2019-07-01")).all()
    assert (table["contract"].notna() == table["joined"].notna()).all()
    assert set(table["contract"].dropna()) == set(range(1, CONTRACTS + 1))
    assert table.groupby("contract")["region"].nunique().eq(1).all()
    assert (table["left"].isna() == (table["exit"] == 0)).all()
    assert (table["left"].dropna() >= pd.Timestamp("2018-01-01")).all(), "the stock of January was still there"
    both = table.dropna(subset=["joined", "left"])
    assert (both["joined"] <= both["left"]).all()
    assert not table[(table["exit"] == 2) & table["education"].isin(["vocational", "tertiary"])].size
    assert set(table["exit"]) == set(range(len(EXITS) + 1))


def test_the_truth_holds_together(pilot):
    truth = pilot.truth
    assert (truth.groupby(["outcome", "against"])["time"].nunique() == FOLLOWED).all()
    wide = truth[truth["against"] == "never"].pivot(index="time", columns="outcome", values="difference")
    np.testing.assert_allclose(wide["result"], wide[["job", "degree", "self-employment"]].sum(axis=1), atol=1e-12)
    joined = pilot.clients.dropna(subset=["joined"])
    since = (
        (joined["left"].dt.year - joined["joined"].dt.year) * 12 + joined["left"].dt.month - joined["joined"].dt.month
    )
    got = (joined["exit"].between(1, 3) & (since < 12)).mean()
    row = truth.query("outcome == 'result' and time == 12 and against == 'never'")
    assert row["with_service"].iloc[0] == pytest.approx(got)
    assert pilot.effect("job", time=2) < 0 < pilot.effect("job", time=12), "a lock-in, then jobs"


def test_the_regional_table_is_made_from_the_register(waves):
    table, people = waves.regions, waves.clients
    assert len(table) == REGIONS * PANEL and table["region"].nunique() == REGIONS
    row = table[(table["region"] == "region 2") & (table["month"] == pd.Timestamp("2019-05-01"))].iloc[0]
    mine = people[(people["region"] == "region 2") & (people["unemployed_from"] <= row["month"])]
    gone = mine["left"] <= row["month"]
    assert row["known"] == len(mine) and row["unemployed"] == (~gone).sum()
    assert row["joined"] == (mine["joined"] <= row["month"]).sum()
    assert row["in_job"] == pytest.approx(100 * (gone & (mine["exit"] == 1)).mean())
    assert row["results"] == pytest.approx(100 * (gone & mine["exit"].between(1, 3)).mean())


def test_waves_are_staggered_and_their_truth_starts_with_them(waves):
    table = waves.regions.drop_duplicates("region")
    assert table["adoption"].isna().sum() == 3
    assert table["adoption"].dropna().nunique() == 3
    started = waves.regions.set_index(["region", "month"])["adoption"]
    truth = waves.regional_truth.set_index(["region", "month"])
    adopted = started.loc[truth.index.unique()].reindex(truth.index)
    before = ~np.asarray(truth.index.get_level_values("month") >= adopted)
    assert (truth["difference"][before] == 0).all() and (truth["difference"][~before] != 0).any()
    never = waves.regions[waves.regions["adoption"].isna()]
    assert (never["joined"] == 0).all()


@pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
def test_the_regional_table_answers_a_study(waves):
    study = Study(title="Youth", unit="region", period="month", adoption="adoption",
                  outcomes=[Outcome("in_job"), Outcome("results")])  # fmt: skip
    sample = emulate(study, waves.regions)
    assert len(sample) == REGIONS and np.isinf(sample.adoption).sum() == 3
    assert sample.outcome("results").shape == (REGIONS, PANEL)
    everywhere = youth(seed=1, clients=FEW).regions
    assert everywhere["adoption"].nunique() == 1 and everywhere["adoption"].notna().all()


def test_what_is_refused_and_said(pilot):
    with pytest.raises(ValueError, match="Asked for 50 clients"):
        youth(clients=50)
    with pytest.raises(ValueError, match="0 rows for outcome 'prison'"):
        pilot.effect("prison")
    assert "SIMULATED" in pilot.describe() and repr(pilot) == "Youth(seed=1)"
    assert youth(2, clients=FEW).clients.to_csv() != youth(3, clients=FEW).clients.to_csv()


def test_examples_in_docstrings():
    result = doctest.testmod(sys.modules["impact.datasets.youth"])
    assert result.attempted > 0 and result.failed == 0
