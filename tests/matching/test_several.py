"""Several arms: the contracts on three, the two-arm functions as a special case, the words, and the limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from impact import ImpactWarning, Outcome, emulate, stack
from impact.checks import balance as two_arms
from impact.checks import several as checks
from impact.core.multinomial import multinomial
from impact.evaluation import evaluate
from impact.matching import doubly_robust, means, propensity, several, several_doubly_robust
from tests.contracts import promises, walk

quiet = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
ESTIMANDS = ("ATE", "ATT", "ATC", "ATO", "ATM")
STUDY = walk.TRIAL.revise(treated=("A", "B"))


def people(n=180, seed=0):
    """The people of the contracts, those with a private provider split by age between A and B."""
    rows, r = walk.people(n, seed), np.random.default_rng(seed + 100)
    older = r.random(n) < 1 / (1 + np.exp(-(rows["age"] - 45) / 12))
    rows["provider"] = np.where(rows["provider"] == "private", np.where(older, "A", "B"), "public")
    return rows


SAMPLES = {
    "plain": emulate(STUDY, people()),
    "sampling weights": emulate(STUDY.revise(weights="weight"), people(seed=1)),
    "clustered": emulate(STUDY.revise(cluster="office", covariates=("age", "woman"), estimand="ATE"), people(seed=2)),
}
ESTIMATORS = (several.means, several.differences, several_doubly_robust.means, several_doubly_robust.differences)
every_sample = pytest.mark.parametrize("label", SAMPLES)
every_estimator = pytest.mark.parametrize("f", ESTIMATORS, ids=walk.name)


# ---- contracts on three arms ------------------------------------------------------------------


@quiet
@every_sample
@every_estimator
def test_a_units_score_is_the_derivative(f, label):
    assert promises.derivative_gap(f, SAMPLES[label]) < 1e-6


@quiet
@every_sample
@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_the_derivative_holds_through_the_weights(estimand, label):
    def of(f):
        return lambda s: f(several.weight(s, estimand=estimand))

    assert promises.derivative_gap(of(several.differences), SAMPLES[label], units=6) < 1e-6
    assert promises.derivative_gap(of(several_doubly_robust.means), SAMPLES[label], units=4) < 1e-6


@quiet
@pytest.mark.parametrize("focal", ["A", "B", "public"])
def test_the_derivative_holds_for_each_focal_arm(focal):
    sample = SAMPLES["sampling weights"]
    assert promises.derivative_gap(lambda s: several.means(several.weight(s, focal=focal)), sample, units=6) < 1e-6
    assert promises.derivative_gap(lambda s: several_doubly_robust.means(s, focal=focal), sample, units=6) < 1e-6


@quiet
@every_sample
@every_estimator
def test_rows_labels_and_the_scale_of_weights_change_nothing(f, label):
    sample = SAMPLES[label]

    def run(s):
        return f(several.weight(s, estimand="ATO"))

    e, n = run(sample), len(sample)
    assert np.all(np.abs(e.scores.sum(axis=0)) <= 1e-8 * np.abs(e.scores).sum(axis=0))
    assert promises.same(e, run(promises.frozen(sample)))
    assert promises.same(e, run(sample.take(np.random.default_rng(1).permutation(n))))
    assert promises.same(e, run(replace(sample, weights=2 * sample.weights, sampling=2 * sample.sampling)))
    chosen, factor = np.arange(0, n, 3), np.ones(n)
    factor[chosen] = 2
    heavy = replace(sample, weights=sample.weights * factor, sampling=sample.sampling * factor)
    twice = sample.take(np.concatenate([np.arange(n), chosen]))
    assert promises.same(run(heavy), run(replace(twice, unit=np.arange(len(twice)))))


@quiet
def test_the_order_of_the_arms_changes_nothing():
    turned = emulate(STUDY.revise(treated=("B", "A"), estimand="ATE"), people())
    plain = emulate(STUDY.revise(estimand="ATE"), people())
    for f in (lambda s: several.differences(several.weight(s)), several_doubly_robust.differences):
        a, b = f(plain), f(turned)
        rows = [list(b.index["term"]).index(t) for t in ("A less public", "B less public", "B less A")]
        assert np.allclose(a.value[[0, 5, 10]], b.value[rows] * [1, 1, -1], rtol=1e-9)
        assert np.allclose(a.std_error[[0, 5, 10]], b.std_error[rows], rtol=1e-9)


# ---- two arms ---------------------------------------------------------------------------------


@quiet
@pytest.mark.parametrize("estimand", ESTIMANDS)
def test_with_two_arms_weights_are_those_of_the_propensity_score(estimand):
    sample = walk.samples()["people, sampling weights"]
    mine, theirs = several.weight(sample, estimand=estimand), propensity.weight(sample, estimand=estimand)
    assert np.allclose(mine.weights, theirs.weights, rtol=1e-9) and np.allclose(mine.score, theirs.score, rtol=1e-9)
    assert mine.study == theirs.study and mine.flow == theirs.flow
    assert promises.same(several.differences(mine), means.difference(theirs))
    assert promises.same(several.means(mine), means.means(theirs))


@quiet
@pytest.mark.parametrize("estimand", ["ATE", "ATT", "ATC"])
def test_with_two_arms_the_doubly_robust_is_the_same(estimand):
    sample = walk.samples()["people, sampling weights"]
    sample = replace(sample, study=sample.study.revise(estimand=estimand))
    assert promises.same(several_doubly_robust.differences(sample), doubly_robust.difference(sample))
    assert promises.same(several_doubly_robust.means(sample), doubly_robust.means(sample))


@quiet
def test_with_two_arms_a_level_that_one_never_has_is_the_same_too():
    rows = walk.people()
    rows.loc[rows.index[rows["provider"] == "public"][:6], "school"] = "abroad"
    sample = emulate(walk.TRIAL, rows)
    for estimand in ESTIMANDS:
        mine, theirs = several.weight(sample, estimand=estimand), propensity.weight(sample, estimand=estimand)
        assert np.allclose(mine.weights, theirs.weights, rtol=1e-9)
        assert promises.same(several.differences(mine), means.difference(theirs))
    assert promises.same(several_doubly_robust.differences(sample), doubly_robust.difference(sample))


@quiet
@pytest.mark.parametrize("estimand", ["ATE", "ATT", "ATC"])
def test_with_two_arms_balance_is_the_same(estimand):
    sample = propensity.weight(walk.samples()["people, sampling weights"], estimand=estimand)
    mine, theirs = checks.balance(sample).table, two_arms.balance(sample).table.iloc[1:]  # the first is the score
    assert list(mine["term"]) == list(theirs["term"])
    for column in ("before", "after", "ks_before", "ks_after"):
        assert np.allclose(mine[column], theirs[column].abs(), rtol=1e-12)


# ---- weights and words ------------------------------------------------------------------------


@quiet
def test_the_weights_are_those_of_the_docstring():
    sample = SAMPLES["sampling weights"]
    arm, s = sample.arm, sample.sampling
    e = multinomial(arm, sample.covariates, s).probability
    own = e[np.arange(len(arm)), arm]
    h = {"ATE": 1, "ATT": e[:, 1], "ATC": e[:, 0], "ATO": 1 / (1 / e).sum(axis=1), "ATM": e.min(axis=1)}
    for estimand in ESTIMANDS:
        weighted = several.weight(sample, estimand=estimand)
        assert np.allclose(weighted.weights, s * h[estimand] / own, rtol=1e-10)
        assert weighted.study.estimand == estimand and (weighted.arm == arm).all()
    assert (several.weight(sample, estimand="ATO").weights <= s).all()


@quiet
def test_a_focal_arm_is_put_first_and_the_comparison_makes_it_the_atc():
    sample = SAMPLES["plain"]
    weighted = several.weight(sample, focal="B")
    assert weighted.study.treated == ("B", "A") and weighted.study.estimand == "ATT"
    assert (weighted.weights[weighted.every_arm["B"]] == 1).all()
    assert all((weighted.every_arm[name] == sample.every_arm[name]).all() for name in sample.every_arm)
    assert several.differences(weighted).estimand == "Average effects on those with B (ATT)"
    assert several.weight(sample, focal="public").study.estimand == "ATC"
    words = replace(sample, study=sample.study.revise(labels={"B": "Beta"}))
    assert np.array_equal(several.weight(words, focal="Beta").weights, weighted.weights)
    same = several_doubly_robust.means(replace(sample, study=sample.study.revise(estimand="ATC")))
    assert promises.same(several_doubly_robust.means(sample, focal="public"), same)
    for wrong in ("nobody", 3, ""):
        with pytest.raises(ValueError, match=r"`focal` is .* one of the study's arms: A, B, public"):
            several.weight(sample, focal=wrong)
    with pytest.raises(ValueError, match="makes it the ATT, and the estimand asked for is 'ATE'"):
        several.weight(sample, focal="A", estimand="ATE")


@quiet
def test_all_pairs_are_one_estimate():
    weighted = several.weight(SAMPLES["plain"], estimand="ATE")
    e, m = several.differences(weighted, outcome="score"), several.means(weighted, outcome="score")
    assert list(e.index["term"]) == ["A less public", "B less public", "A less B"]
    assert list(m.index["group"]) == ["A", "B", "public"]
    pairs = np.array([[1, 0, -1], [0, 1, -1], [1, -1, 0]])
    assert np.allclose(e.value, pairs @ m.value) and np.allclose(e.vcov, pairs @ m.vcov @ pairs.T)
    test, two = e.test(), m.combine(pairs[:2], term=["a", "b"]).test()
    assert test["df"] == 2 and all(test[k] == pytest.approx(two[k], rel=1e-9) for k in test)
    low, high = e.interval(simultaneous=True)
    alone = e.interval()
    assert (low < alone[0]).all() and (high > alone[1]).all()
    assert "all pairs of arms" in e.method and "nothing adjusted for" in several.differences(SAMPLES["plain"]).method
    assert stack(e, several_doubly_robust.differences(SAMPLES["plain"], outcome="score")).value.shape == (6,)


def test_joint_tests_know_which_values_follow_from_each_other():
    """All pairs of K arms have rank K - 1, however the scores round."""
    from itertools import combinations

    from impact.core import inference

    r = np.random.default_rng(0)
    for _ in range(300):
        n, arms, outcomes = r.integers(40, 3000), r.integers(3, 6), r.integers(1, 7)
        levels = [r.normal(size=(n, outcomes)) * 10 ** r.uniform(-3, 3, outcomes) / n for _ in range(arms)]
        pairs = np.column_stack([levels[a] - levels[b] for a, b in combinations(range(arms), 2)])
        found = inference.hotelling(pairs[0], inference.covariance(pairs - pairs.mean(axis=0)), n - 1)
        assert found["df"] == (arms - 1) * outcomes and found["wald"] < 1e4


def test_the_sample_and_the_flow_tell_of_the_arms():
    sample = SAMPLES["plain"]
    counts = people()["provider"].value_counts()
    assert f"arms: A {counts['A']}, B {counts['B']}, public {counts['public']}" in repr(sample)
    assert sample.flow[-1].treated == counts["A"] + counts["B"] and (sample.treated == (sample.arm > 0)).all()
    half = sample.take(np.arange(0, len(sample), 2))
    assert np.array_equal(half.arm, sample.arm[::2])
    assert emulate(STUDY.revise(treated="A", comparison="B"), people()).arm is None
    others = emulate(STUDY.revise(treated=("A", "B"), comparison="public"), people().replace("public", "none").assign(
        provider=lambda d: d["provider"].where(d.index >= 60, d["provider"].replace("none", "public"))))  # fmt: skip
    assert others.flow[-1].step == "in one of the arms" and others.flow[0].other > 0
    assert emulate(STUDY, people()).fingerprint != emulate(STUDY, people().replace({"A": "B", "B": "A"})).fingerprint


@quiet
def test_what_is_the_same_whatever_the_arms_is_said_of_each():
    rows = people()
    rows.loc[rows["provider"] == "A", "provider"] = np.where(np.arange((rows["provider"] == "A").sum()) < 3, "A", "B")
    assert any("Only 3 units are in the arm “A”" in note for note in emulate(STUDY, rows).notes)
    with pytest.raises(ValueError, match=r"`treated` is 'C' \(text\).* to two of them or more"):
        emulate(STUDY.revise(treated=("A", "C")), people())
    empty = people()
    empty.loc[empty["provider"] == "B", "score"] = np.nan
    with pytest.raises(ValueError, match="leaves nobody in one of the 3 arms"):
        emulate(STUDY.revise(missing="drop"), empty)
    none = people().assign(weight=lambda d: d["weight"].where(d["provider"] != "B", 0.0))
    with pytest.raises(ValueError, match="zero for a whole arm"):
        emulate(STUDY.revise(weights="weight"), none)


# ---- limits -----------------------------------------------------------------------------------


def without(level, arm, count=12):
    """People of whom those with a rare level are never in one arm."""
    rows = people(seed=5)
    chosen = rows.index[rows["provider"] != arm][:count]
    return rows.assign(school=rows["school"].mask(rows.index.isin(chosen), level))


@quiet
def test_those_whom_an_arm_never_has_are_told_of():
    sample = emulate(STUDY.revise(estimand="ATE", outcomes=Outcome("score")), without("abroad", "B"))
    rare = sample.characteristics[:, sample.characteristic_names.index("school: abroad")] == 1
    with pytest.warns(ImpactWarning, match=r"12 units have covariates that another arm never has .*not identified"):
        weighted = several.weight(sample)
    with pytest.warns(ImpactWarning, match="12 units have .* they get no weight"):
        overlap = several.weight(sample, estimand="ATO")
    assert (overlap.weights[rare] == 0).all() and (weighted.weights[rare] > 0).all()
    assert overlap.flow[-1].step == "with a weight"
    with pytest.warns(ImpactWarning, match="12 units have .* no weight, being unlike"):
        focal = several.weight(sample, focal="B")
    assert (focal.weights[rare] == 0).all() and not any("not identified" in note for note in focal.notes)
    away, mine = several.weight(sample, focal="A"), int((rare & sample.every_arm["A"]).sum())
    assert (away.weights[rare] > 0).all() and any(note.startswith(f"{mine} unit") for note in away.notes)
    with pytest.warns(ImpactWarning, match="rests on the outcome regression alone"):
        several_doubly_robust.differences(sample)
    for estimand in ("ATE", "ATT", "ATO"):
        with pytest.warns(ImpactWarning):
            gap = promises.derivative_gap(
                lambda s, e=estimand: several.differences(several.weight(s, estimand=e)), sample, units=8
            )
        assert gap < 1e-6


@quiet
def test_arms_that_nobody_can_be_compared_across_are_refused():
    rows = people(seed=6).assign(own=lambda d: (d["provider"] == "B").astype(int))
    with pytest.raises(ValueError, match="`own` tells the .* units of “B” from all others without error"):
        several.weight(emulate(STUDY.revise(covariates=("age", "own")), rows))
    # A meets only the public service, and so does B
    r = np.random.default_rng(0)
    apart = pd.DataFrame({"id": np.arange(400), "site": np.repeat(["north", "south"], 200), "age": r.normal(size=400)})
    apart["provider"] = np.where(r.random(400) < 0.5, "public", np.where(apart["site"] == "north", "A", "B"))
    apart["score"] = r.normal(size=400)
    sample = emulate(STUDY.revise(covariates=("age", "site"), outcomes=Outcome("score")), apart)
    with pytest.raises(ValueError, match="nobody in “public”, “A”, “B” resembles the group of interest"):
        several.weight(sample, estimand="ATO")
    with pytest.raises(ValueError, match="nobody in “B” resembles"):
        several.weight(sample, estimand="ATT")
    with pytest.raises(ValueError, match="nobody in “B” resembles"):
        several_doubly_robust.differences(sample, focal="A")
    with pytest.raises(ValueError, match="has no covariates that vary"):
        several.weight(emulate(STUDY.revise(covariates=()), people()))


ELSEWHERE = [
    f
    for kind in ("Sample", "Estimate", "Check")
    for f in walk.functions(kind)
    if walk.subject(f) == "Sample" and "several" not in f.__module__ and not walk.staggered(f)
    and "synthetic_fit" not in f.__module__
]  # fmt: skip


@quiet
@pytest.mark.parametrize("f", ELSEWHERE, ids=walk.name)
def test_what_compares_two_arms_refuses_three_in_a_sentence(f):
    """Placebos are judged on what was settled before, if there is any: here, an outcome that is named."""
    options = {"outcome": "score"} if f.__module__.endswith("placebo") and f.__name__ != "start" else {}
    sample = SAMPLES["plain"]
    if f.__module__.endswith("placebo") and f.__name__ == "start":
        sample = replace(sample, periods={"pay": np.array([-2.0, -1.0, 0.0])})
    with pytest.raises(ValueError, match=r"compares two arms, and the study .* has 3: use impact.matching.several"):
        f(sample, **options)


@quiet
def test_the_main_job_refuses_three_arms_too():
    with pytest.raises(ValueError, match="compares two arms"):
        evaluate(STUDY, people())


@quiet
def test_balance_names_the_worst_pair():
    sample = several.weight(SAMPLES["plain"], estimand="ATE")
    check, every = checks.balance(sample), checks.balance(sample, detail=True).table
    assert len(every) == 3 * len(check.table) and set(every["subgroup"]) == {"A and B", "A and public", "B and public"}
    largest = every.assign(after=every["after"].abs()).groupby("term", sort=False)["after"].max()
    assert np.allclose(largest.to_numpy(), check.table["after"])
    worst = every.loc[every["after"].abs().idxmax()]
    a, b = worst["subgroup"].split(" and ")
    assert f"between “{a}” and “{b}”" in check.reason and f"{abs(worst['after']):.3f}" in check.reason
    assert check.passed == bool((check.table["after"] < 0.1).all())
    assert checks.balance(SAMPLES["plain"]).passed is False
    assert checks.balance(sample, detail=True).plot().get_figure() is not None
