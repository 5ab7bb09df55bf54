"""Impact evaluation: from a target trial, through a sample, to an estimate."""

from impact.emulation import emulate
from impact.sample import Durations, ImpactWarning, Nuisance, Sample
from impact.study import Event, Outcome, Study
__version__ = "0.1.0"
