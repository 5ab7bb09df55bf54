"""Numbers read well: decimals from the standard error, true minus signs, p values never zero."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impact.show import digits


@pytest.mark.parametrize(
    ("value", "places", "word"),
    [
        (-0.04, 1, "0.0"),
        (-0.05001, 1, "−0.1"),
        (-8497.5, 1, "−8,497.5"),
        (1234567.0, 0, "1,234,567"),
        (math.nan, 2, "–"),
        (math.inf, 2, "∞"),
        (-math.inf, 0, "−∞"),
    ],
)
def test_fixed(value, places, word):
    assert digits.fixed(value, places) == word


@pytest.mark.parametrize(
    ("value", "word"),
    [(0.0, "0"), (44.544, "44.5"), (0.4607, "0.461"), (883.6, "884"), (23456.7, "23,457"), (1.2e-9, "1.2e−9")],
)
def test_a_number_alone_keeps_three_digits(value, word):
    assert digits.plain(value) == word


@pytest.mark.parametrize(
    ("errors", "values", "places"),
    [
        ([0.0153], [], 3),  # 0.015
        ([1.53], [], 1),  # in percentage points
        ([0.0996], [], 2),  # rounds to 0.10
        ([632.0], [], 0),
        ([9.96], [], 0),  # rounds to 10
        ([math.nan], [0.4567], 3),  # no error: three digits of the value
        ([0.0], [1794.0], 0),
        ([], [], 3),
        ([1e-12], [], 6),  # never a wall of decimals
    ],
)
def test_decimals_carry_two_digits_of_the_error(errors, values, places):
    assert digits.decimals(errors, values) == places


def test_p_values_are_never_zero_or_one():
    assert [digits.p_value(p) for p in (0.0, 0.0004, 0.0416, 0.99999, math.nan)] == [
        "< 0.001", "< 0.001", "0.042", "> 0.999", "–",
    ]  # fmt: skip


def test_intervals():
    assert digits.interval(-0.9, 5.1, 1) == "−0.9 to 5.1"
    assert digits.interval(math.nan, math.nan, 1) == "–"
    assert digits.interval(-math.inf, 2.0, 1) == "−∞ to 2.0"


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12), st.integers(0, 6))
def test_a_fixed_number_reads_back(value, places):
    back = float(digits.fixed(value, places).replace(",", "").replace("−", "-"))
    assert abs(back - value) <= 0.5000001 * 10.0**-places + 1e-9 * abs(value)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_number_has_a_word(value):
    for word in (digits.fixed(value, 2), digits.plain(value), digits.label(value), digits.p_value(abs(value))):
        assert word and "nan" not in word and "-" not in word
