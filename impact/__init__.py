"""Impact evaluation: from a target trial, through a sample, to an estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from impact.check import Check
from impact.emulation import emulate
from impact.estimate import Estimate
from impact.sample import Durations, FlowStep, ImpactWarning, Nuisance, Sample
from impact.stacking import stack
from impact.study import Event, Outcome, Study

if TYPE_CHECKING:
    from impact.evaluation import Evaluation, Plan, evaluate
    from impact.registers.files import read
    from impact.report import Report

__version__ = "0.1.0"

__all__ = [
    "Check",
    "Durations",
    "Estimate",
    "Evaluation",
    "Event",
    "FlowStep",
    "ImpactWarning",
    "Nuisance",
    "Outcome",
    "Plan",
    "Report",
    "Sample",
    "Study",
    "emulate",
    "evaluate",
    "read",
    "stack",
]

# Loaded when first asked for: these need every method, or files.
_LATER = {
    "Evaluation": "impact.evaluation",
    "Plan": "impact.evaluation",
    "Report": "impact.report",
    "evaluate": "impact.evaluation",
    "read": "impact.registers.files",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'impact' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
