"""Sentences say what was found, and no more."""

from __future__ import annotations

import math

import pytest

from impact.show import words

JOB = {"treated": "private providers", "comparison": "the public service", "percent": True}


def test_an_interval_without_zero_says_which_group_is_higher():
    assert words.finding("share in a job at 12 months", 0.041, 0.015, 0.012, 0.070, **JOB) == (
        "The share in a job at 12 months was 4.1 percentage points higher with private providers than with the public "
        "service (95% interval 1.2 to 7.0)."
    )
    assert words.finding("earnings in 1978", -8497.5, 712, -9893, -7102, unit="dollars", verb="were") == (
        "The earnings in 1978 were 8,498 dollars lower with the treated than with the comparison "
        "(95% interval 7,102 to 9,893 lower)."
    )


def test_an_interval_with_zero_gives_no_direction_and_the_smallest_effect_that_would_have_been_seen():
    said = words.finding("share in a job at 12 months", 0.021, 0.0153, -0.009, 0.051, **JOB)
    assert said == (
        "The difference in the share in a job at 12 months between private providers and the public service was "
        "2.1 percentage points (95% interval −0.9 to 5.1), which cannot be told from no effect; the smallest effect "
        "this sample could have detected with 80% power is 4.3 points."
    )
    assert "higher" not in said and "lower" not in said


@pytest.mark.parametrize("flipped", [-1, 1])
def test_claims_follow_the_interval_and_nothing_else(flipped):
    low, high = sorted((flipped * 0.0, flipped * 0.05))
    assert "cannot be told" in words.finding("x", flipped * 0.02, 0.01, low, high)


def test_other_levels_and_what_could_not_be_computed():
    assert "(90% interval 1.050 to 1.300)" in words.finding("rate", 1.17, 0.06, 1.05, 1.30, level=0.9)
    assert words.finding("x", math.nan, 1, math.nan, math.nan).endswith("could not be computed.")


def test_the_smallest_detectable_effect_is_two_point_eight_errors():
    # z(0.975) + z(0.8) = 1.959964 + 0.841621
    assert words.detectable(1.0) == pytest.approx(2.801585, abs=1e-6)
    assert words.detectable(1.0, level=0.9) == pytest.approx(1.644854 + 0.841621, abs=1e-6)


def test_small_words():
    assert words.listing(["a", "b", "c"]) == "a, b and c" and words.listing([]) == "" and words.listing("a") == "a"
    assert words.listing(["a", "b"], last="or") == "a or b"
    assert words.counted(1, "client") == "1 client" and words.counted(2750, "client") == "2,750 clients"
    assert words.counted(2, "person", "people") == "2 people"
    assert words.tested(0.0416) == "p = 0.042" and words.tested(1e-9) == "p < 0.001"
    assert words.measured(1.0, 0, percent=True) == "1 percentage point"
