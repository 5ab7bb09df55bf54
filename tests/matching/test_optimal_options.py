"""Optimal pairs and full matching under calipers and limits: what dense solvers and linear programmes find."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment, linprog

from impact.core import candidates, limited
from impact.core.logit import logit
from impact.matching import assigned, kernel, nearest, optimal
from impact.matching.distance import points
from tests.contracts import walk
from tests.matching.test_options import people

pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
on_pairs = pytest.mark.parametrize("design", [optimal.match, optimal.full], ids=["pairs", "full"])

CONDITIONS = {
    "a caliper on a covariate": {"caliper": None, "calipers": {"age": 3.0}},
    "one in standard deviations, and on the score": {"caliper": 0.5, "calipers_sd": {"age": 0.5}},
    "another woman or man": {"caliper": 0.5, "antiexact": "woman"},
    "the same school": {"caliper": 0.4, "exact": "school", "calipers": {"age": 5.0}},
    "discarded": {"caliper": 0.5, "discard": "both", "calipers": {"age": 6.0}},
}
on_conditions = pytest.mark.parametrize("options", list(CONDITIONS.values()), ids=list(CONDITIONS))
on_metrics = pytest.mark.parametrize("distance", ["score", "mahalanobis"])


def table(start, distance, options):
    """The distances of every treated to every comparison unit, infinite where they may not be partners."""
    fit = logit(start.treated, start.covariates, start.weights)
    s, d, live = fit.logit, start.treated, np.ones(len(start), bool)
    if options.get("discard") == "both":
        live = np.where(d, (s >= s[~d].min()) & (s <= s[~d].max()), (s >= s[d].min()) & (s <= s[d].max()))
    x = s[:, None] if distance == "score" else points(start, distance, (), live)
    apart = np.sqrt(((x[d][:, None] - x[~d]) ** 2).sum(axis=2))

    def gap(column):
        return np.abs(column[d][:, None] - column[~d])

    def column(name):
        return start.characteristics[:, start.columns_of(name)[0]]

    reach = np.inf if options["caliper"] is None else options["caliper"] * s[live].std(ddof=1)
    fits = (gap(s) <= reach) & live[d][:, None] & live[~d]
    for name, most in options.get("calipers", {}).items():
        fits &= gap(column(name)) <= most
    for name, most in options.get("calipers_sd", {}).items():
        fits &= gap(column(name)) <= most * column(name)[live].std(ddof=1)
    if "antiexact" in options:
        fits &= gap(column("woman")) > 0
    if "exact" in options:
        for j in start.columns_of("school"):
            fits &= gap(start.characteristics[:, j]) == 0
    return np.where(fits, apart, np.inf), reach


def made(sample, costs):
    """(pairs, total) of the sets of a sample, every treated with every comparison unit of its set."""
    t, c = sample.strata[sample.treated], sample.strata[~sample.treated]
    i, j = np.nonzero((t[:, None] == c) & (t >= 0)[:, None])
    return len(i), costs[i, j].sum()


@on_metrics
@on_conditions
@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("estimand", ["ATT", "ATC"])
def test_pairs_are_the_dense_solvers_under_any_condition(distance, options, ratio, estimand):
    start = people(estimand=estimand)
    costs, reach = table(start, distance, options)
    price = reach if distance == "score" and np.isfinite(reach) else 1e5
    asks = np.minimum(costs, price) if estimand == "ATT" else np.minimum(costs, price).T
    apart = np.repeat(asks, ratio, axis=0)
    alone = np.full((len(apart), len(apart)), price)
    least = (wide := np.hstack([apart, alone]))[linear_sum_assignment(wide)].sum()
    count, total = made(optimal.match(start, distance=distance, ratio=ratio, **options), costs)
    assert total + price * (len(apart) - count) == pytest.approx(least, rel=1e-9)
    assert np.isfinite(total)


@on_metrics
@on_conditions
def test_full_matching_is_the_linear_programmes_under_any_condition(distance, options, monkeypatch):
    start = people()
    costs, _ = table(start, distance, options)
    i, j = np.nonzero(np.isfinite(costs))
    cells = np.arange(len(i))
    cover = np.zeros((sum(costs.shape), len(i)))
    cover[i, cells] = cover[costs.shape[0] + j, cells] = 1.0
    cover = cover[cover.any(axis=1)]
    least = linprog(costs[i, j], A_ub=-cover, b_ub=-np.ones(len(cover))).fun
    monkeypatch.setattr(candidates, "CHUNK", 300)
    after = optimal.full(start, distance=distance, **options)
    assert made(after, costs)[1] == pytest.approx(least, rel=1e-7)
    found = np.isfinite(costs).any(axis=1), np.isfinite(costs).any(axis=0)
    assert ((after.weights > 0)[start.treated] == found[0]).all()
    assert ((after.weights > 0)[~start.treated] == found[1]).all()
    left, other = (int((~side).sum()) for side in found)
    assert bool(left) == any(f"{left} of 45 treated units found no partner" in note for note in after.notes)
    if "discard" not in options:  # who is discarded has another note
        assert bool(other) == any(f"{other} comparison units found no place" in note for note in after.notes)


@on_metrics
@on_conditions
@pytest.mark.parametrize("limits", [(1, 3), (2, 1), (2, 2), (3, None)])
def test_full_matching_within_limits_is_the_linear_programmes(distance, options, limits, monkeypatch):
    """As many as can be are in sets, at the least distance: the programme of all pairs at once, at a high price."""
    start = people()
    costs, _ = table(start, distance, options)
    i, j = np.nonzero(np.isfinite(costs))
    rows, n, cells = costs.shape[0], sum(costs.shape), np.arange(len(i))
    at = np.zeros((n, len(i)))
    at[i, cells] = at[rows + j, cells] = 1.0
    cap = np.repeat([float(n if m is None else m) for m in limits[::-1]], costs.shape)
    price = 100.0 * costs[i, j].max()
    least = linprog(
        np.r_[costs[i, j], np.full(n, price)],
        A_ub=np.vstack([np.hstack([-at, -np.eye(n)]), np.hstack([at, np.zeros((n, n))])]),
        b_ub=np.r_[-np.ones(n), cap], bounds=(0, 1),
    ).fun  # fmt: skip
    monkeypatch.setattr(limited, "BEST", 2)
    monkeypatch.setattr(limited, "HELD", 3_000)  # so that both ways are taken
    after = optimal.full(start, distance=distance, most_treated=limits[0], most_comparison=limits[1], **options)
    count, total = made(after, costs)
    used = after.weights > 0
    assert total + price * (n - used.sum()) == pytest.approx(least, rel=1e-6) and np.isfinite(total) and count
    for s in range(after.strata.max() + 1):
        mine = after.strata == s
        sides = (mine & after.treated).sum(), (mine & ~after.treated).sum()
        assert min(sides) == 1 and all(m is None or side <= m for side, m in zip(sides, limits, strict=True))
    if "discard" not in options:  # who is discarded has another note
        told = " ".join(after.notes)
        treated, comparison = (int((~used & arm).sum()) for arm in (after.treated, ~after.treated))
        assert not treated or f"{treated} of 45 treated units found no partner" in told
        assert not comparison or f"{comparison} comparison units found no place in the sets" in told


@pytest.mark.parametrize("limits", [(1, 3), (2, 2)])
def test_ties_within_limits_are_broken_by_label_and_not_by_row(limits):
    start = people(covariates=("school", "woman"))
    options = {"most_treated": limits[0], "most_comparison": limits[1]}
    after, mix = optimal.full(start, **options), np.random.default_rng(1).permutation(len(start))
    assert (optimal.full(start.take(mix), **options).weights == after.weights[mix]).all()


@pytest.mark.parametrize("limits", [{"most_treated": 0}, {"most_comparison": 1.5}, {"most_treated": True}])
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(ValueError, match=f"`{next(iter(limits))}` is .* whole number of at least 1"):
        optimal.full(people(), **limits)


@on_pairs
def test_distances_are_on_the_covariates_named(design):
    on_age = design(people(), distance="euclidean", on="age", caliper=None)
    age = on_age.characteristics[:, on_age.columns_of("age")[0]]
    by_hand = design(people(), score="age", caliper=None)
    costs = np.abs(age[on_age.treated][:, None] - age[~on_age.treated])
    assert made(on_age, costs)[1] == pytest.approx(made(by_hand, costs)[1], rel=1e-12)
    assert "Euclidean distance of `age`" in on_age.steps[-1] and on_age.score is None


@pytest.mark.parametrize("design", [optimal.match, optimal.full, kernel.match], ids=walk.name)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"calipers": 3}, "`calipers` is 3, and gives covariates"),
        ({"calipers_sd": {"age": -1}}, "a number from 0 on"),
        ({"on": "age"}, "`on` names `age`, and the distance is that of the score"),
        ({"distance": "miles"}, "`distance` is 'miles': choose 'score', 'mahalanobis'"),
        ({"discard": "all"}, "`discard` is 'all': choose 'none'"),
        ({"caliper_in": "metres"}, "`caliper_in` is 'metres'"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_words(design, options, words):
    if set(options) <= set(inspect.signature(design).parameters):
        with pytest.raises(ValueError, match=words):
            design(people(), **options)


@on_pairs
def test_the_caliper_in_units_of_the_score(design):
    start = people()
    fit = logit(start.treated, start.covariates, start.weights)
    wide = 0.1 * float(fit.logit.std(ddof=1))
    a, b = design(start, caliper=0.1), design(start, caliper=wide, caliper_in="score")
    assert (a.weights == b.weights).all()
    assert f"within {wide:g} on the logit scale" in b.steps[-1]


@on_pairs
def test_who_is_discarded_is_said(design):
    after = design(people(), discard="both", caliper=None)
    assert any("were discarded before matching" in note for note in after.notes)
    assert not (after.weights > 0).all() and after.flow[-1].step == "matched"


def test_mahalanobis_pairs_within_a_score_caliper_are_matchits_mahvars():
    """Nearest by covariates, with a caliper on the propensity score: each takes the nearest free in its turn."""
    start = people()
    after = nearest.match(start, distance="mahalanobis", on=("age", "woman"), caliper=0.3, order="largest")
    s = logit(start.treated, start.covariates, start.weights).logit
    x = points(start, "mahalanobis", ("age", "woman"), np.ones(len(start), bool))
    free, partner = ~start.treated, {}
    for i in np.flatnonzero(start.treated)[np.argsort(-s[start.treated])]:
        fits = np.flatnonzero(free & (np.abs(s - s[i]) <= 0.3 * s.std(ddof=1)))
        if len(fits):
            partner[i] = fits[np.argmin(((x[fits] - x[i]) ** 2).sum(axis=1))]
            free[partner[i]] = False
    code = {int(after.strata[j]): j for j in np.flatnonzero(~start.treated)}
    assert {i: code[int(after.strata[i])] for i in partner} == partner
    assert ((after.weights > 0)[start.treated]).sum() == len(partner)


def test_a_cover_with_a_caliper_holds_few_pairs_of_many():
    """Two hundred thousand pairs may be made, looked at in parts; the answer holds one for each unit."""
    r = np.random.default_rng(0)
    x, y = r.normal(size=(200, 2)), r.normal(size=(1000, 2))

    def parts():
        for i, j in candidates.within(x[:, 0], y[:, 0], np.inf):
            yield i, j, np.sqrt(((x[i] - y[j]) ** 2).sum(axis=1))

    i, j, d = candidates.paying(parts, (200, 1000))
    apart = np.sqrt(((x[:, None] - y) ** 2).sum(axis=2))
    near_x, near_y = apart.min(axis=1), apart.min(axis=0)
    pays = apart < near_x[:, None] + near_y
    assert set(zip(*np.nonzero(pays), strict=True)) <= set(zip(i.tolist(), j.tolist(), strict=True))
    assert len(i) < 0.05 * apart.size and d == pytest.approx(apart[i, j])
    assert len(np.unique(i)) == 200 and len(np.unique(j)) == 1000


def test_pairs_beyond_memory_are_refused_in_words(monkeypatch):
    monkeypatch.setattr(assigned, "MOST", 50)
    for options in ({"calipers": {"age": 5.0}}, {"distance": "mahalanobis", "caliper": None}):
        with pytest.raises(ValueError, match="more than 50 pairs to choose from: narrow the calipers"):
            optimal.match(people(), **options)
