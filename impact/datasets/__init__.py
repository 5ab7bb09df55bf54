"""Simulated registers with a known truth, to learn on and to test with. No person in them exists."""

from __future__ import annotations

from impact.datasets.helsinki import Helsinki, helsinki
from impact.datasets.regions import Regions, regions

__all__ = ["Helsinki", "Regions", "helsinki", "regions"]
