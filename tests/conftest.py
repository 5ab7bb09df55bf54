"""What every test shares: one thread a process, figures drawn to no screen, and reproducible examples."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import settings

# Before numpy loads: tests run in parallel processes, and threads of threads only slow each other down.
for library in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(library, "1")
os.environ["MPLBACKEND"] = "Agg"

settings.register_profile("impact", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("impact")


@pytest.fixture(autouse=True)
def _figures_are_closed():
    """A figure that a test leaves open is closed after it, so that none runs into the next."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
