"""How long matching takes, beside the time to sort as many rows: python tests/benchmarks/matching.py

Whole calls, from a table to a matched sample, in CPU seconds (best of three), with peak memory, each
size in a process of its own. Ten covariates, one of them a factor to match on exactly. pymatchit-causal
takes part where it is installed, up to 10,000 treated. Nothing here is a test: times are those of the
machine.
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

SIZES = (1_000, 10_000, 50_000, 100_000)  # treated; ten times as many to choose from
LARGEST = {"mahalanobis": 10_000, "pymatchit": 1_000}


def table(treated: int, seed: int = 0) -> pd.DataFrame:
    """Nine numbers, half of them whole, and a region; treatment depends on all."""
    r = np.random.default_rng(seed)
    n = 11 * treated
    x = r.normal(size=(n, 9))
    x[:, 5:] = np.round(x[:, 5:])
    region = r.integers(0, 5, n)
    pull = 0.2 * x.sum(axis=1) + 0.1 * region + r.gumbel(size=n)
    arm = np.zeros(n, int)
    arm[np.argsort(-pull)[:treated]] = 1
    made = pd.DataFrame(x, columns=[f"x{j}" for j in range(9)])
    y = x.sum(axis=1) + r.normal(size=n)
    return made.assign(region=np.array(list("abcde"))[region], id=np.arange(n), arm=arm, y=y)


def study() -> Any:
    from impact import Outcome, Study

    return Study(
        title="Benchmark",
        unit="id",
        treatment="arm",
        covariates=(*(f"x{j}" for j in range(9)), "region"),
        outcomes=Outcome("y", "outcome"),
    )


def score(rows: pd.DataFrame) -> Any:
    from impact import emulate
    from impact.matching import nearest

    return nearest.match(emulate(study(), rows), exact="region").flow[-1].treated


def mahalanobis(rows: pd.DataFrame) -> Any:
    from impact import emulate
    from impact.matching import nearest

    sample = emulate(study(), rows)
    return nearest.match(sample, distance="mahalanobis", ratio=3, replace=True, caliper=None).flow[-1].treated


def door(rows: pd.DataFrame) -> Any:
    from impact import emulate

    return len(emulate(study(), rows))


def logit(rows: pd.DataFrame) -> Any:
    from impact.core.logit import logit as fit

    x = np.column_stack([rows[[f"x{j}" for j in range(9)]], pd.get_dummies(rows["region"], drop_first=True)])
    return len(fit(rows["arm"].to_numpy(bool), x.astype(float), np.ones(len(rows))).coefficients)


def pymatchit(rows: pd.DataFrame) -> Any:
    from pymatchit import MatchIt

    model = MatchIt(data=rows, method="nearest", distance="glm", exact=["region"], caliper=0.2)
    model.fit(formula="arm ~ " + " + ".join([*(f"x{j}" for j in range(9)), "region"]))
    return int((model.weights > 0).sum())


def sort(rows: pd.DataFrame) -> Any:
    return len(np.argsort(rows["x0"].to_numpy(), kind="stable"))


CALLS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "sort": sort, "door": door, "logit": logit, "score": score, "mahalanobis": mahalanobis, "pymatchit": pymatchit
}  # fmt: skip


def measure(call: str, treated: int) -> None:
    """One line: CPU seconds, and megabytes at the peak above what the table and the libraries take."""
    rows = table(treated)
    CALLS[call](table(200))
    before, took = peak(), []
    for _ in range(3 if treated < 50_000 else 2):
        start = time.process_time()
        done = CALLS[call](rows)
        took.append(time.process_time() - start)
    print(f"{min(took):.3f} {peak() - before:.0f} {peak():.0f} {done}")


def peak() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    said = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    said.add_argument("--one", nargs=2, metavar=("CALL", "TREATED"), help="measure one call, as the others do")
    said.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="treated units")
    asked = said.parse_args()
    if asked.one:
        measure(asked.one[0], int(asked.one[1]))
        return
    print(f"{'rows':>10} {'call':<12} {'CPU s':>8} {'x sort':>8} {'MB more':>8} {'MB peak':>8}   done")
    for treated in asked.sizes:
        sorting = 0.0
        for call in CALLS:
            if treated > LARGEST.get(call, treated):
                continue
            command = [sys.executable, __file__, "--one", call, str(treated)]
            told = subprocess.run(command, capture_output=True, text=True, check=False)
            if told.returncode:
                print(f"{11 * treated:>10,} {call:<12} {(told.stderr.strip().splitlines() or ['failed'])[-1]}")
                continue
            took, more, most, done = told.stdout.split()
            sorting = sorting or float(took)
            ratio = float(took) / max(sorting, 1e-4)
            print(f"{11 * treated:>10,} {call:<12} {took:>8} {ratio:>8.1f} {more:>8} {most:>8}   {done}", flush=True)


if __name__ == "__main__":
    main()
