"""The main job in one call: what it composes, what it says, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from impact import Outcome, Plan, evaluate
from tests.contracts import walk

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def test_two_arms_are_matched_weighted_and_set_side_by_side():
    told: list[str] = []
    answer = evaluate(walk.TRIAL, walk.people(300), plan=Plan(times=(6, 9)), tell=told.append)
    assert told[0] == "reading the sample" and told[-1] == "setting up the report"
    score, better, exits = answer.headline
    assert [e.index["outcome"].tolist() for e in (score, better)] == [["test score"], ["better than most"]]
    assert exits.index["cause"].tolist() == ["job", "job", "education", "education", "other", "other"]
    assert exits.index["time"].tolist() == [6, 9] * 3
    assert len(answer.findings) == 8 and all("95% interval" in f for f in answer.findings)
    side = [e for c in answer.report.chapters for e in c.exhibits if "method" in getattr(e, "index", ())]
    assert side[0].index["method"].tolist() == [
        "no adjustment", "matched", "matched, with regression", "weighted by the odds", "doubly robust"
    ]  # fmt: skip
    # Rows of one quantity stand together, each by every method.
    assert side[2].index["cause"].tolist()[:3] == ["job"] * 3


def test_the_rows_set_side_by_side_are_those_of_the_methods_alone():
    from impact import emulate
    from impact.matching import doubly_robust, means

    people = walk.people(300)
    answer = evaluate(walk.TRIAL, people)
    side = next(e for c in answer.report.chapters for e in c.exhibits if "method" in getattr(e, "index", ()))
    sample = emulate(walk.TRIAL, people)
    by = side.tidy().set_index("method")
    for name, alone in (
        ("no adjustment", means.difference(sample, outcome="score")),
        ("doubly robust", doubly_robust.difference(sample, outcome="score")),
    ):
        assert np.isclose(by.loc[name, "estimate"], alone.value[0])
        assert np.isclose(by.loc[name, "std_error"], alone.std_error[0], rtol=0.1)
    assert any("matched sets are clusters for all" in n for n in side.notes)


def test_staggered_adoption_gets_its_event_study_and_its_doubt():
    # A second outcome, measured once, has no before and after: it is left to other methods.
    answer = evaluate(walk.PANEL, walk.regions(120))
    (overall,) = answer.headline
    assert len(overall.value) == 1 and "the programme" in answer.findings[0]
    kinds = [getattr(e, "kind", "") for e in answer.report.chapters[0].exhibits]
    assert "path" in kinds
    assert any(hasattr(e, "verdict") for e in answer.report.chapters[0].exhibits)
    honest, by_method, compared = answer.report.chapters[0].exhibits[-3:]
    assert "even if trends diverged" in honest.claim and "already treated" in compared.claim
    methods = by_method.tidy()["method"].tolist()
    assert methods == ["Callaway and Sant'Anna", "Sun and Abraham", "imputation", "two-way effects"]
    assert np.ptp(by_method.value) < 1.0


def test_what_could_not_be_answered_is_in_the_report_in_words():
    once = walk.regions(150)
    answer = evaluate(walk.PANEL.revise(missing="keep"), once[np.random.default_rng(1).random(len(once)) < 0.8])
    said = [e for e in answer.report.chapters[0].exhibits if isinstance(e, str)]
    assert any(e.startswith("Not answered for unemployment rate, what two-way effects compare") for e in said)


def test_without_covariates_there_is_no_comparison_group_to_build():
    with pytest.raises(ValueError, match="no covariates that vary"):
        evaluate(walk.TRIAL.revise(covariates=()), walk.people(100))


def test_a_plan_is_refused_if_misspelt_and_read_as_a_file_writes_it():
    with pytest.raises(KeyError, match="`ratios`"):
        Plan.from_mapping({"ratios": 2})
    plan = Plan.from_mapping({"ratio": 2, "caliper": False, "exact": "woman", "times": 12})
    assert (plan.ratio, plan.caliper, plan.exact, plan.times) == (2, None, ("woman",), (12,))


def test_an_outcome_over_time_is_a_path_and_not_a_headline():
    study = walk.TRIAL.revise(outcomes=Outcome("pay_{}", "pay", unit="euro", periods=(1, 2, 3), per="month"))
    answer = evaluate(study, walk.people(200))
    assert answer.headline == ()
    assert "path" in [getattr(e, "kind", "") for e in answer.report.chapters[0].exhibits]
