"""Arithmetic of inference with few treated groups, against plain loops over regressions."""

from __future__ import annotations

import numpy as np
import pytest

from impact.core import areas, few, leverage, permutation, synthetic_placebo, wild_bootstrap


def data(seed, n=60, groups=12, p=2):
    rng = np.random.default_rng(seed)
    cluster = np.unique(rng.integers(0, groups, n), return_inverse=True)[1]
    treated = (cluster < 4) | ((cluster == 6) & (np.arange(n) % 2 == 0))
    return rng.normal(size=n) + treated, treated, rng.uniform(0.5, 2, n), rng.normal(size=(n, p)), cluster


def regressed(y, treated, weights, covariates):
    design = np.column_stack([np.ones(len(y)), covariates, treated])
    root = np.sqrt(weights)
    return np.linalg.lstsq(root[:, None] * design, root * y, rcond=None)[0][-1]


# ---- permutation ----------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0, 2])
def test_every_draw_is_a_regression_with_treatment_elsewhere(p):
    y, treated, weights, covariates, _ = data(1, p=p)
    rng = np.random.default_rng(0)
    elsewhere = np.array([rng.permutation(treated) for _ in range(20)])
    found = permutation.placed(y, treated, weights, covariates, elsewhere)
    assert found.value == pytest.approx(regressed(y, treated, weights, covariates))
    for at, pull, draw in zip(found.at, found.pull, elsewhere, strict=True):
        assert at == pytest.approx(regressed(y, draw, weights, covariates))
        assert pull == pytest.approx(regressed(treated.astype(float), draw, weights, covariates))


@pytest.mark.parametrize("seed", range(6))
def test_the_interval_holds_exactly_what_is_not_rejected(seed):
    y, treated, weights, covariates, _ = data(seed)
    rng = np.random.default_rng(seed)
    elsewhere = np.array([rng.permutation(treated) for _ in range(199)])
    found = permutation.placed(y, treated, weights, covariates, elsewhere)
    low, high = found.interval(0.9)
    assert low < found.value < high
    for limit, out in ((low, -1e-6), (high, 1e-6)):
        assert found.p_value(limit + out) <= 0.1 < found.p_value(limit - out)
    for null in np.linspace(low - 2, high + 2, 60):
        assert (found.p_value(null) > 0.1) == (low <= null <= high)


def test_a_lot_that_falls_where_it_fell_is_as_extreme_for_every_effect():
    y, treated, weights, covariates, _ = data(2)
    found = permutation.placed(y, treated, weights, covariates, np.array([treated] * 30))
    assert found.p_value(100.0) == 1 and found.interval(0.95) == (-np.inf, np.inf)


def test_too_few_draws_reject_nothing():
    y, treated, weights, covariates, _ = data(2)
    elsewhere = np.array([np.roll(treated, k) for k in range(1, 10)])
    assert permutation.placed(y, treated, weights, covariates, elsewhere).interval(0.95) == (-np.inf, np.inf)


# ---- areas ----------------------------------------------------------------------------------

SIZES = np.array([1, 1, 3, 9, 6])


def grid(side):
    number = np.arange(side * side).reshape(side, side)
    one = np.r_[number[:, :-1].ravel(), number[:-1].ravel()]
    other = np.r_[number[:, 1:].ravel(), number[1:].ravel()]
    return one, other, np.argwhere(number >= 0).astype(float)


def pieces(mask, touching):
    """Sizes of the connected parts of a set of units."""
    left, sizes = set(np.flatnonzero(mask)), []
    while left:
        front, found = [left.pop()], 1
        while front:
            near = set(touching[front.pop()]) & left
            left -= near
            found += len(near)
            front += near
        sizes.append(found)
    return sorted(sizes)


@pytest.mark.parametrize("by", ["distance", "contact"])
def test_areas_have_their_sizes_and_hang_together(by):
    one, other, place = grid(12)
    touching = areas.contacts(one, other, len(place))
    rng = np.random.default_rng(3)

    def drawn(sizes):
        if by == "contact":
            return areas.by_contact(touching, sizes, 300, rng)
        return areas.by_distance(areas.nearest_first(place, int(sizes.sum())), sizes, 300, rng)

    assert (drawn(SIZES).sum(axis=1) == SIZES.sum()).all()
    for mask in drawn(np.array([9])):
        assert by == "distance" or pieces(mask, touching) == [9]
        assert np.ptp(place[mask], axis=0).max() <= 4  # nine units of a grid lie close together
    share = drawn(np.array([1])).mean(axis=0)
    assert share.max() < 8 / 144  # no unit is favoured as a seat


def test_an_area_of_nearest_units_is_its_seat_and_the_nearest_free_ones():
    place = np.arange(10.0)[:, None] ** 1.1
    nearest = areas.nearest_first(place, 4)
    for mask in areas.by_distance(nearest, np.array([3, 1]), 200, np.random.default_rng(0)):
        at = np.flatnonzero(mask)
        assert len(at) == 4 and np.ptp(at) <= 9
    assert (areas.nearest_first(place, 1)[:, 0] == np.arange(10)).all()


def test_neighbours_are_the_same_in_one_order_or_both():
    one, other, _ = grid(5)
    once, both = areas.contacts(one, other, 25), areas.contacts(np.r_[one, other], np.r_[other, one], 25)
    assert (once == both).all() and sorted((once < 25).sum(axis=1))[:4] == [2] * 4
    assert (areas.contacts(np.array([0, 0]), np.array([0, 1]), 3) == [[1], [0], [3]]).all()


def test_no_room_is_said_in_words():
    one, other = np.array([0, 2, 4]), np.array([1, 3, 5])
    with pytest.raises(ValueError, match=r"Areas of 1, 3 units that touch find no room in 50 of 50 draws"):
        areas.by_contact(areas.contacts(one, other, 6), np.array([3, 1]), 50, np.random.default_rng(0))


def test_clusters_are_drawn_whole():
    cluster = np.repeat(np.arange(8), 3)
    drawn = areas.whole_clusters(cluster, 2, 50, np.random.default_rng(1))
    assert (drawn.sum(axis=1) == 6).all() and (drawn.reshape(50, 8, 3).std(axis=2) == 0).all()


def test_areas_around_each_unit_that_has_room():
    one, other = np.array([0, 1, 3]), np.array([1, 2, 4])
    found = areas.around_by_contact(areas.contacts(one, other, 6), 3, np.random.default_rng(0))
    assert sorted(map(sorted, found.tolist())) == [[0, 1, 2]] * 3


# ---- Bell and McCaffrey -----------------------------------------------------------------------


@pytest.mark.parametrize("p", [0, 2])
def test_leverage_is_the_textbooks(p):
    """CR2 and its degrees of freedom with matrices of every cluster written out."""
    y, treated, weights, covariates, cluster = data(4, p=p)
    root = np.sqrt(weights)
    design = root[:, None] * np.column_stack([np.ones(len(y)), covariates, treated])
    bread = np.linalg.inv(design.T @ design)
    hat = design @ bread @ design.T
    rest = (np.eye(len(y)) - hat) @ (root * y)
    vectors, variance = [], 0.0
    for g in range(cluster.max() + 1):
        m = cluster == g
        size, turn = np.linalg.eigh(np.eye(m.sum()) - hat[np.ix_(m, m)])
        q = turn @ np.diag(size**-0.5) @ turn.T @ design[m] @ bread[:, -1]
        variance += (q @ rest[m]) ** 2
        vectors.append((np.eye(len(y)) - hat)[m].T @ q)
    gram = np.array(vectors) @ np.array(vectors).T
    found = leverage.coefficient(y, treated, weights, covariates, cluster)
    assert found.value == pytest.approx(regressed(y, treated, weights, covariates))
    assert found.std_error == pytest.approx(np.sqrt(variance))
    assert found.df == pytest.approx(np.trace(gram) ** 2 / (gram**2).sum())


def test_leverage_of_single_units_is_the_two_sample_formula():
    rng = np.random.default_rng(5)
    y, treated = rng.normal(size=20), np.arange(20) < 5
    found = leverage.coefficient(y, treated, np.ones(20), np.zeros((20, 0)), np.arange(20))
    parts = y[treated].var(ddof=1) / 5, y[~treated].var(ddof=1) / 15
    assert found.std_error == pytest.approx(np.sqrt(sum(parts)))
    assert found.df == pytest.approx((1 / 5 + 1 / 15) ** 2 / ((1 / 5) ** 2 / 4 + (1 / 15) ** 2 / 14))


def test_one_treated_cluster_has_no_error():
    y, _, weights, covariates, cluster = data(6)
    found = leverage.coefficient(y, cluster == 3, weights, covariates, cluster)
    assert np.isnan(found.std_error) and np.isnan(found.df) and np.isfinite(found.value)


# ---- wild bootstrap ---------------------------------------------------------------------------


@pytest.mark.parametrize("finer", [False, True])
@pytest.mark.parametrize("null", [0.0, 0.7])
def test_a_draw_is_a_regression_on_a_sample_made_under_the_hypothesis(finer, null):
    y, treated, weights, covariates, cluster = data(7, groups=16)
    codes = np.arange(len(y)) if finer else None
    drawn = codes if finer else cluster
    found = wild_bootstrap.wild(y, treated, weights, covariates, cluster, 25, np.random.default_rng(8), finer=codes)
    signs = wild_bootstrap._signs(25, int(drawn.max()) + 1, np.random.default_rng(8))
    root = np.sqrt(weights)
    small = root[:, None] * np.column_stack([np.ones(len(y)), covariates])
    target = root * (y - null * treated)
    fitted = small @ np.linalg.lstsq(small, target, rcond=None)[0]
    design = np.column_stack([small, root * treated])
    bread = np.linalg.inv(design.T @ design)
    groups = cluster.max() + 1
    for sign, statistic in zip(signs, found.statistics(null), strict=True):
        made = fitted + null * root * treated + sign[drawn] * (target - fitted)
        coefficients = bread @ design.T @ made
        rest = made - design @ coefficients
        sums = np.array([design[cluster == g].T @ rest[cluster == g] for g in range(groups)])
        error = np.sqrt(groups / (groups - 1) * (bread @ sums.T @ sums @ bread)[-1, -1])
        assert statistic == pytest.approx((coefficients[-1] - null) / error)


def test_the_wild_interval_is_an_inversion():
    y, treated, weights, covariates, cluster = data(9, groups=16)
    found = wild_bootstrap.wild(y, treated, weights, covariates, cluster, 399, np.random.default_rng(1))
    low, high = found.interval(0.95)
    assert found.p_value(low) > 0.05 >= found.p_value(low - 1e-6)
    assert found.p_value(high) > 0.05 >= found.p_value(high + 1e-6)
    assert found.p_value(found.value) > 0.9


def test_few_clusters_draw_webbs_points():
    few_signs = wild_bootstrap._signs(1000, 8, np.random.default_rng(0))
    assert len(np.unique(few_signs)) == 6 and abs(few_signs.var() - 1) < 0.05
    assert set(np.unique(wild_bootstrap._signs(50, 20, np.random.default_rng(0)))) == {-1.0, 1.0}


# ---- errors of untreated groups ---------------------------------------------------------------


def test_the_variance_of_groups_is_found_again():
    rng = np.random.default_rng(2)
    size = rng.uniform(1, 50, 20_000)
    errors = rng.normal(size=20_000) * np.sqrt(0.5 + 4 / size)
    base, per = few.fitted_variance([few.Donors(errors[:9000], size[:9000]), few.Donors(errors[9000:], size[9000:])])
    assert base == pytest.approx(0.5, abs=0.05) and per == pytest.approx(4, abs=0.3)
    flat = few.fitted_variance([few.Donors(rng.normal(size=50) * size[:50], size[:50])])
    assert flat.per == 0 and flat.base > 0, "larger groups are noisier here: size is left alone"


def test_errors_are_scaled_to_the_treated_groups_size():
    rng = np.random.default_rng(3)
    size = np.repeat([1.0, 100.0], 4000)
    donors = [few.Donors(rng.normal(size=8000) * np.sqrt(1 / size), size)]
    for own in (1.0, 100.0):
        errors = few.drawn_errors(donors, np.ones(1), 40_000, rng, own=np.array([own]))
        assert errors.std() == pytest.approx(own**-0.5, rel=0.05)


def test_the_interval_of_equal_tails_is_an_inversion():
    errors = np.random.default_rng(4).exponential(size=1999) - 1
    low, high = few.inverted(2.0, errors, 0.95)
    assert few.equal_tails(2.0, errors, low + 1e-9) > 0.05 >= few.equal_tails(2.0, errors, low - 1e-9)
    assert few.equal_tails(2.0, errors, high - 1e-9) > 0.05 >= few.equal_tails(2.0, errors, high + 1e-9)
    assert few.inverted(2.0, errors[:30], 0.95) == (-np.inf, np.inf)


def test_errors_known_from_few_donors_have_students_tails():
    """With donors exactly normal, quantiles are those of a t with one degree of freedom less than donors."""
    from scipy import stats

    rng = np.random.default_rng(5)
    normal = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)
    pool = few.Donors(normal, np.ones(4000), apart=10)
    errors = few.drawn_errors([pool, pool], np.array([0.5, 0.5]), 200_000, rng) * np.sqrt(2)
    for p in (0.9, 0.975):
        assert np.quantile(errors, p) == pytest.approx(stats.t.ppf(p, 9), rel=0.02)


# ---- synthetic control --------------------------------------------------------------------------


def paths(seed=0, n=30, periods=12):
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(size=(n, periods)), axis=1) + rng.normal(size=(n, 1)) * np.linspace(0, 3, periods)


def test_synthetic_weights_are_the_optimum():
    """Where a unit has a weight the gradient is least, and the same; elsewhere it is no less."""
    early = paths()
    early = early - early.mean(axis=1, keepdims=True)
    rng = np.random.default_rng(1)
    treated = np.array([rng.permutation(30) < 4 for _ in range(20)])
    share = treated / treated.sum(axis=1, keepdims=True)
    ridge = synthetic_placebo.penalty(early, 4, 6)
    found = synthetic_placebo.comparison(early, share, treated, ridge)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found >= 0).all() and (found[treated] == 0).all()
    for weights, target, closed in zip(found, share @ early, treated, strict=True):
        slope = early @ (weights @ early - target) + ridge * weights
        used = weights > 1e-6
        assert np.ptp(slope[used]) < 1e-3 * np.abs(slope).max()
        assert (slope[~closed & ~used] > slope[used].min() - 1e-3 * np.abs(slope).max()).all()


def test_a_synthetic_control_is_linear_in_an_effect_on_the_treated():
    y, rng = paths(2, periods=18), np.random.default_rng(3)
    every = np.array([np.arange(30) < 5, *(rng.permutation(30) < 5 for _ in range(9))])
    raised = y[:, 12:].mean(axis=1) + 2.5 * every[0]
    weights = rng.uniform(0.5, 2, 30)
    value, pull = synthetic_placebo.placements(y[:, :12], y[:, 12:].mean(axis=1), weights, every, 6)
    moved, same = synthetic_placebo.placements(y[:, :12], raised, weights, every, 6)
    np.testing.assert_allclose(moved, value + 2.5 * pull)
    np.testing.assert_allclose(same, pull)
    assert pull[0] == pytest.approx(1)


def test_with_one_period_before_or_none_that_moves_the_comparison_is_the_plain_mean():
    y, treated = paths(4), np.arange(30) < 5
    for early in (y[:, :1], np.tile(y[:, :1], (1, 4))):
        value, _ = synthetic_placebo.placements(early, y[:, 5], np.ones(30), treated[None], 1)
        change = y[:, 5] - early.mean(axis=1)
        assert value[0] == pytest.approx(change[:5].mean() - change[5:].mean())
