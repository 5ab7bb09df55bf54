"""Tables of neighbours and coordinates: what is read, in whose order, and what is refused or said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from impact import Outcome, Study, emulate, places
from tests.messages.entries import TABLES

STUDY = Study(title="Pilots", unit="area", adoption="start", outcomes=Outcome("y_{}", periods=(1, 2)))


def areas(names):
    n = len(names)
    return pd.DataFrame({"area": names, "start": [2.0] + [np.nan] * (n - 1), "y_1": range(n), "y_2": range(n)})


def sample_of(names=("A", "B", "C", "D")):
    return emulate(STUDY, areas(list(names)))


def dense(matrix):
    return np.asarray(matrix.todense()).astype(int)


PAIRS = pd.DataFrame({"one": ["A", "B", "C", "C"], "other": ["B", "A", "A", "Z"]})
GRID = pd.DataFrame({"area": list("ABCD"), "x": [0.0, 0.1, 0.3, 0.3], "y": [0.0, 0.0, 0.0, 0.4]})


def test_pairs_are_read_in_the_order_of_the_sample_whichever_way_round():
    notes = []
    found = places.neighbours(sample_of(), PAIRS, notes)
    np.testing.assert_array_equal(dense(found), [[0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    assert "1 of 4 pairs of neighbours name a unit that is not in the sample." in notes
    assert "1 of 4 units have no neighbour in the table of neighbours." in notes
    turned = dense(places.neighbours(sample_of("DCBA"), PAIRS))
    np.testing.assert_array_equal(turned, dense(found)[::-1, ::-1])


def test_units_that_stand_twice_in_a_sample_have_the_same_neighbours():
    sample = sample_of().take(np.array([0, 0, 1]))
    np.testing.assert_array_equal(dense(places.neighbours(sample, PAIRS)), [[0, 0, 1], [0, 0, 1], [1, 1, 0]])


@pytest.mark.parametrize("made", TABLES.values(), ids=TABLES)
def test_any_kind_of_table(made):
    want = places.neighbours(sample_of(), PAIRS)
    np.testing.assert_array_equal(dense(places.neighbours(sample_of(), made(PAIRS))), dense(want))
    np.testing.assert_array_equal(places.nearest(sample_of(), made(GRID), 2), places.nearest(sample_of(), GRID, 2))


def test_numbers_are_numbers_whether_whole_or_not():
    sample = sample_of((1, 2, 3))
    found = places.neighbours(sample, pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, np.nan]}).dropna())
    assert dense(found)[0, 1] == 1
    with pytest.raises(ValueError, match=r"None of the 1 pairs .* as in the study's table"):
        places.neighbours(sample, pd.DataFrame({"a": ["001"], "b": ["002"]}))


def test_the_nearest_come_first_and_rows_may_stand_in_any_order():
    np.testing.assert_array_equal(places.nearest(sample_of(), GRID, 3), [[1, 2, 3], [0, 2, 3], [1, 0, 3], [2, 1, 0]])
    rng = np.random.default_rng(0)
    names = [f"m{i}" for i in range(60)]
    grid = pd.DataFrame({"area": names, "x": np.arange(60) % 8 * 0.1, "y": np.arange(60) // 8 * 0.1})
    straight = places.nearest(sample_of(names), grid, 5)
    mixed = rng.permutation(60)
    turned = places.nearest(sample_of([names[i] for i in mixed]), grid.sample(frac=1, random_state=1), 5)
    np.testing.assert_array_equal(mixed[turned], straight[mixed])


def test_blocks_change_nothing(monkeypatch):
    names = [f"m{i}" for i in range(50)]
    grid = pd.DataFrame({"area": names, "x": np.random.default_rng(0).normal(size=50), "y": np.arange(50)})
    whole, near = places.nearest(sample_of(names), grid, 4), dense(places.within(sample_of(names), grid, 3.0))
    monkeypatch.setattr(places, "BLOCK", 7)
    np.testing.assert_array_equal(places.nearest(sample_of(names), grid, 4), whole)
    np.testing.assert_array_equal(dense(places.within(sample_of(names), grid, 3.0)), near)
    np.testing.assert_array_equal(near, near.T)


def test_within_a_distance_its_end_included():
    want = [[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(dense(places.within(sample_of(), GRID, 0.3)), want)


REFUSED = [
    (places.neighbours, (PAIRS.assign(third=1),), "two columns, a unit in each, and this one has 3"),
    (places.neighbours, (PAIRS.assign(one=[None, "A", "B", "C"]),), "missing in 1 of 4 rows of `neighbours`"),
    (places.neighbours, (PAIRS.iloc[3:],), "None of the 1 pairs"),
    (places.neighbours, ("map.csv",), "must be a dataframe"),
    (places.nearest, (GRID.assign(z=1), 2), "has 4 columns"),
    (places.nearest, (GRID.iloc[1:], 2), "1 of 4 units of the sample (`area`) are not in `coordinates`"),
    (places.nearest, (pd.concat([GRID, GRID.iloc[:1]]), 2), "1 of 5 rows of `coordinates` repeat a unit"),
    (places.nearest, (GRID.assign(x=[np.nan, 1, 2, 3]), 2), "1 of 4 units have no place"),
    (places.nearest, (GRID.assign(x="north"), 2), "holds words in 4 of 4 rows"),
    (places.nearest, (GRID.rename(columns={"area": "name"}), 2), "`area`"),
    (places.nearest, (GRID, 4), "of at most 3"),
    (places.nearest, (GRID, 1.5), "whole number"),
    (places.within, (GRID, 0), "above 0"),
]


@pytest.mark.parametrize(("read", "given", "words"), REFUSED, ids=[f"{r.__name__}-{w[:30]}" for r, _, w in REFUSED])
def test_what_is_refused(read, given, words):
    with pytest.raises((ValueError, KeyError, TypeError)) as problem:
        read(sample_of(), *given)
    assert words in str(problem.value)
    assert not any(f"'{v}'" in str(problem.value) or f" {v} " in str(problem.value) for v in "BCDZ")
