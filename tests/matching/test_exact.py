"""Exact and coarsened exact matching: cuts, groups, weights, the error of estimated shares, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from impact import emulate
from impact.matching import exact, means, regression, subclass
from tests.contracts import promises, walk

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


def people(n=150, **changes):
    return emulate(walk.TRIAL.revise(**changes), walk.people(n))


def age(sample):
    return sample.characteristics[:, sample.columns_of("age")[0]]


@pytest.mark.parametrize(
    ("rule", "cuts"),
    [
        (3, lambda a: np.linspace(a.min(), a.max(), 4)[1:-1]),
        ("q4", lambda a: np.quantile(a, [0.25, 0.5, 0.75])),
        ("sturges", lambda a: np.linspace(a.min(), a.max(), 10)[1:-1]),  # ceil(log2(150) + 1) = 9 ranges
        ([40, 55], lambda a: [40, 55]),
        (np.array([55.0, 40.0]), lambda a: [40, 55]),
        (1, lambda a: []),
    ],
)
def test_numbers_are_cut_as_asked(rule, cuts):
    start = people()
    after = exact.match(start, covariates="age", cutpoints=rule)
    ranges = pd.cut(age(start), [-np.inf, *cuts(age(start)), np.inf], right=False).codes
    used = after.strata >= 0
    assert len(np.unique(ranges[used])) == after.strata.max() + 1
    assert (pd.Series(ranges[used]).groupby(after.strata[used]).nunique() == 1).all()
    for r in np.unique(ranges[~used]):
        assert start.treated[ranges == r].all() or not start.treated[ranges == r].any()


def test_a_range_holds_its_lower_end():
    rows = walk.people().assign(age=lambda t: np.where(np.arange(len(t)) % 2, 40.0, 39.0))
    after = exact.match(emulate(walk.TRIAL, rows), covariates="age", cutpoints=[40.0])
    assert after.strata.max() == 1


def test_levels_that_count_as_one():
    start = people()
    after = exact.match(start, covariates="school", grouping={"school": [["basic", "secondary"]]})
    tertiary = start.characteristics[:, list(start.characteristic_names).index("school: tertiary")]
    assert after.strata.max() == 1
    assert (after.strata == after.strata[np.flatnonzero(tertiary)[0]]).tolist() == (tertiary == 1).tolist()
    apart = exact.match(start, covariates="school")
    assert apart.strata.max() == 2


def test_nothing_cut_means_the_same_value():
    start = people()
    after = exact.match(start, covariates=("school", "woman"), cutpoints=None)
    assert (after.weights > 0).all() and after.strata.max() == 5
    assert (after.weights == exact.match(start, covariates=("school", "woman")).weights).all()
    with pytest.raises(ValueError, match="no set holds units of both arms"):
        exact.match(start, cutpoints=None)


def test_rules_by_covariate_leave_the_others_to_sturges():
    start = people()
    both = exact.match(start, cutpoints={"age": 4})
    assert (both.weights == exact.match(start, cutpoints={"age": 4, "woman": "sturges"}).weights).all()


@pytest.mark.parametrize("estimand", ["ATT", "ATC", "ATE"])
def test_weights_by_hand_with_sampling_weights(estimand):
    start = people(estimand=estimand, weights="weight")
    after = exact.match(start, covariates="school")
    w, d = start.weights, start.treated
    for s in np.unique(after.strata):
        mine = after.strata == s
        goal = w[mine & {"ATT": d, "ATC": ~d, "ATE": np.ones(len(d), bool)}[estimand]].sum()
        for arm in (d, ~d):
            assert after.weights[mine & arm] == pytest.approx(w[mine & arm] * goal / w[mine & arm].sum(), rel=1e-12)


def test_the_effect_is_the_post_stratified_one_with_its_textbook_error():
    """Exact strata: the ATT is sum over strata of T_s / T (mean difference); its error by the influence function."""
    start = people()
    after = exact.match(start, covariates=("school", "woman"))
    e = means.difference(after, outcome="score")
    y, d, s = start.outcome("score"), start.treated, after.strata
    count = np.bincount(s[d])
    gap = np.array([y[d & (s == k)].mean() - y[~d & (s == k)].mean() for k in range(len(count))])
    theta = gap @ count / count.sum()
    assert e.value[0] == pytest.approx(theta, rel=1e-12)
    level = np.array([y[~d & (s == k)].mean() for k in range(len(count))])[s]
    odds = (np.bincount(s[d]) / np.bincount(s[~d]))[s]
    influence = np.where(d, y - level - theta, -odds * (y - level)) / d.sum()
    n = len(y)
    assert e.std_error[0] == pytest.approx(np.sqrt(n / (n - 1) * influence @ influence), rel=1e-10)


@pytest.mark.parametrize("design", [exact.match, subclass.stratify])
@pytest.mark.parametrize("estimand", ["ATT", "ATC", "ATE"])
def test_the_error_of_estimated_shares_is_the_derivative_through_the_design(design, estimand):
    start = people(estimand=estimand, weights="weight")
    assert design(start).nuisance is not None
    for estimator in (means.difference, regression.difference):
        assert promises.derivative_gap(lambda s, f=estimator: f(design(s)), start, units=12) < 1e-6


def test_few_strata_are_not_clusters_and_many_are():
    few = exact.match(people(), covariates="school")
    assert few.nuisance is not None and len(np.unique(few.cluster)) == len(few)
    many = exact.match(people(3000), cutpoints={"age": 40})
    assert many.strata.max() >= 64 and many.nuisance is None
    used = many.weights > 0
    assert (pd.Series(many.cluster[used]).groupby(many.strata[used]).nunique() == 1).all()
    clustered = exact.match(people(3000, cluster="office"), cutpoints={"age": 40})
    assert len(np.unique(clustered.cluster)) == 25


def test_who_is_left_out_is_said():
    after = exact.match(people(), cutpoints=30)
    assert any("have nobody of the other arm in their stratum" in note for note in after.notes)
    assert after.flow[-1].step == "in a stratum with both arms"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"cutpoints": "deciles"}, ValueError, "'sturges', or None"),
        ({"cutpoints": 0}, ValueError, "give a number of ranges"),
        ({"cutpoints": 2.5}, ValueError, "give a number of ranges"),
        ({"cutpoints": [np.nan]}, ValueError, "give a number of ranges"),
        ({"cutpoints": {"income": 4}}, KeyError, "income"),
        ({"covariates": "income"}, KeyError, "income"),
        ({"grouping": {"school": [["basic", "none"]]}}, ValueError, "write its 3 levels as they are in the data"),
        ({"grouping": {"school": [["basic"], ["basic"]]}}, ValueError, "more than once"),
        ({"grouping": {"age": [["1"]]}}, ValueError, "which it has not"),
        ({"grouping": {"income": [["1"]]}}, KeyError, "income"),
    ],
)
def test_refusals(options, error, words):
    with pytest.raises(error, match=words):
        exact.match(people(), **options)


def test_a_spline_cannot_be_cut():
    start = emulate(walk.TRIAL.revise(covariates=("bs(age, 4)", "school")), walk.people())
    with pytest.raises(ValueError, match="numeric columns"):
        exact.match(start)
    assert exact.match(start, covariates="school").strata.max() == 2


def test_no_covariates_are_refused_in_words():
    with pytest.raises(ValueError, match="has no covariates"):
        exact.match(replace(people(), terms={}))
