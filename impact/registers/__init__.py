"""Registers: from files to tables."""

from __future__ import annotations

from impact.registers.files import read

__all__ = ["read"]
