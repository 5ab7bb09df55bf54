"""How long an event study by two-way effects takes, beside pyfixest: python tests/benchmarks/two_way.py

Whole calls from a long table (ten periods, five dates of adoption and units never treated, nine leads and lags),
in CPU seconds: the first call of a process, with what it imports or compiles, and the best of those after it; and
peak memory. Each call at each size has a process of its own. "event" is from the table to the estimate, "given" the
estimate alone, given the sample, and "gaps" from a table of which a twentieth is lost. pyfixest estimates the same
regression (feols with i(), clustered by unit) with the interpreter named by --peer, which need not be this one; the
values of both are compared. Nothing here is a test: times are those of the machine and of what else runs on it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")

SIZES = (1_000, 10_000, 100_000)  # units; ten rows each
PERIODS = 10


def table(units: int, seed: int = 0) -> pd.DataFrame:
    r = np.random.default_rng(seed)
    g = r.choice([4.0, 5.0, 6.0, 7.0, 8.0, np.nan], units)
    t = np.arange(1, PERIODS + 1)
    age = np.where(np.isnan(g)[:, None], -1, t - g[:, None])
    y = r.normal(size=(units, 1)) + 0.2 * t + r.normal(size=(units, PERIODS)) + np.where(age >= 0, 1 + 0.2 * age, 0)
    return pd.DataFrame({"unit": np.repeat(np.arange(units), PERIODS), "time": np.tile(t, units), "y": y.ravel(),
                         "start": np.repeat(g, PERIODS)})  # fmt: skip


def sample_of(rows: pd.DataFrame) -> Any:
    from impact import Outcome, Study, emulate

    study = Study(
        title="Benchmark", unit="unit", period="time", adoption="start", outcomes=Outcome("y"), missing="keep"
    )
    return emulate(study, rows)


def event(rows: pd.DataFrame) -> Callable[[], Any]:
    def call() -> Any:
        from impact.did import two_way

        found = two_way.event_study(sample_of(rows))
        return found.value, found.std_error

    return call


def given(rows: pd.DataFrame) -> Callable[[], Any]:
    from impact.did import two_way

    sample = sample_of(rows)

    def call() -> Any:
        found = two_way.event_study(sample)
        return found.value, found.std_error

    return call


def feols(rows: pd.DataFrame) -> Callable[[], Any]:
    """The time since adoption, -1 for units never treated, is made beforehand."""
    rows = rows.assign(age=(rows["time"] - rows["start"]).fillna(-1).astype(int))

    def call() -> Any:
        import pyfixest

        found = pyfixest.feols("y ~ i(age, ref=-1) | unit + time", rows, vcov={"CRV1": "unit"})
        order = np.argsort([float(str(name).rstrip("]").rsplit("::", 1)[-1]) for name in found.coef().index])
        return found.coef().to_numpy()[order], found.se().to_numpy()[order]

    return call


def lost(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[np.random.default_rng(1).random(len(rows)) > 0.05].reset_index(drop=True)


CALLS: dict[str, Callable[[pd.DataFrame], Callable[[], Any]]] = {
    "event": event, "given": given, "feols": feols,
    "event, gaps": lambda rows: event(lost(rows)), "feols, gaps": lambda rows: feols(lost(rows)),
}  # fmt: skip


def measure(name: str, units: int) -> None:
    """One line: CPU seconds, megabytes at the peak, and the values with their errors."""
    call, took = CALLS[name](table(units)), []
    for _ in range(4):
        start = time.process_time()
        value, error = call()
        took.append(time.process_time() - start)
    numbers = ",".join(f"{v:.12g}" for v in (*value, *error))
    print(f"{took[0]:.3f} {min(took[1:]):.3f} {peak():.0f} {numbers}")


def peak() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    said = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    said.add_argument("--one", nargs=2, metavar=("CALL", "UNITS"), help="measure one call, as others do")
    said.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="units")
    said.add_argument("--calls", nargs="+", choices=CALLS, default=list(CALLS), help="what to measure")
    said.add_argument("--peer", default=sys.executable, help="the interpreter that has pyfixest")
    asked = said.parse_args()
    if asked.one:
        measure(asked.one[0], int(asked.one[1]))
        return
    print(f"{'units':>8} {'rows':>10} {'call':<12} {'first':>8} {'CPU s':>8} {'MB peak':>8}")
    for units in asked.sizes:
        values: dict[str, np.ndarray] = {}
        for name in asked.calls:
            python = asked.peer if name.startswith("feols") else sys.executable
            told = subprocess.run(
                [python, __file__, "--one", name, str(units)], capture_output=True, text=True, check=False
            )
            head = f"{units:>8,} {units * PERIODS:>10,} {name:<12}"
            if told.returncode:
                print(f"{head} {(told.stderr.strip().splitlines() or ['failed'])[-1]}")
                continue
            first, best, most, numbers = told.stdout.split()
            values[name] = np.array(numbers.split(","), float)
            print(f"{head} {first:>8} {best:>8} {most:>8}", flush=True)
        for ours, theirs in (("event", "feols"), ("event, gaps", "feols, gaps")):
            if ours in values and theirs in values:
                gap = np.abs(values[ours] / values[theirs] - 1)
                k = len(gap) // 2
                agree = f"values agree to {gap[:k].max():.1e}, errors to {gap[k:].max():.1e}"
                print(f"{'':>20}{ours} beside {theirs}: {agree}")


if __name__ == "__main__":
    main()
