"""Impact evaluation: from a target trial, through a sample, to an estimate."""

from impact.check import Check
from impact.emulation import emulate
from impact.estimate import Estimate
from impact.sample import Durations, FlowStep, ImpactWarning, Nuisance, Sample
from impact.stacking import stack
from impact.study import Event, Outcome, Study

__version__ = "0.1.0"

__all__ = [
    "Check",
    "Durations",
    "Estimate",
    "Event",
    "FlowStep",
    "ImpactWarning",
    "Nuisance",
    "Outcome",
    "Sample",
    "Study",
    "emulate",
    "stack",
]
