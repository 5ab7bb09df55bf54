"""Simulated registers with a known truth, to learn on and to test with. No person in them exists."""

from __future__ import annotations

from impact.datasets.helsinki import Helsinki, helsinki
from impact.datasets.regions import Regions, regions
from impact.datasets.youth import Youth, youth

__all__ = ["Helsinki", "Regions", "Youth", "helsinki", "regions", "youth"]
