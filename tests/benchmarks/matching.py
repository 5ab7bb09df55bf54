"""How long matching takes, beside the time to sort as many rows: python tests/benchmarks/matching.py

Whole calls, from a table to a sample with its weights, in CPU seconds: the first call of a process, with what it
imports, and the best of those after it; and peak memory. Each call at each size has a process of its own. Ten
covariates, one of them a factor to match on exactly. "entropy" is the weighting alone, given the sample, "door" the
sample alone, and "logit" the fit alone. pymatchit-causal takes part where it is installed. Nothing here is a test:
times are those of the machine and of what else runs on it. BLAS has the threads that OPENBLAS_NUM_THREADS allows.
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
LARGEST = {"mahalanobis": 10_000, "full": 10_000, "pymatchit": 1_000}
SMALL = 6_000  # rows of which 1,000 are treated: what issue 3 asks of optimal matching


def table(treated: int, others: int = 10, seed: int = 0) -> pd.DataFrame:
    """Nine numbers, half of them whole, and a region; treatment depends on all."""
    r = np.random.default_rng(seed)
    n = (1 + others) * treated
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


def entropy(rows: pd.DataFrame) -> Any:
    """The weighting alone: what is called is given the sample."""
    from impact import emulate
    from impact.matching import entropy

    sample = emulate(study(), rows)
    return lambda: len(entropy.weight(sample).weights)


def pairs(rows: pd.DataFrame) -> Any:
    from impact import emulate
    from impact.matching import optimal

    return optimal.match(emulate(study(), rows)).flow[-1].treated


def full(rows: pd.DataFrame) -> Any:
    from impact import emulate
    from impact.matching import optimal

    caliper = None if len(rows) == SMALL else 0.2
    return optimal.full(emulate(study(), rows), caliper=caliper).flow[-1].treated


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
    "sort": sort, "door": door, "logit": logit, "score": score, "mahalanobis": mahalanobis, "entropy": entropy,
    "pairs": pairs, "full": full, "pymatchit": pymatchit,
}  # fmt: skip


def measure(call: str, treated: int, others: int) -> None:
    """One line: CPU seconds, and megabytes at the peak, above what the table and the libraries take and in all."""
    rows = table(treated, others)
    before, took = peak(), []
    given = entropy(rows) if call == "entropy" else lambda: CALLS[call](rows)
    for _ in range(4 if treated < 50_000 else 3):
        start = time.process_time()
        done = given()
        took.append(time.process_time() - start)
    print(f"{took[0]:.3f} {min(took[1:]):.3f} {peak() - before:.0f} {peak():.0f} {done}")


def peak() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def main() -> None:
    said = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    said.add_argument("--one", nargs=3, metavar=("CALL", "TREATED", "OTHERS"), help="measure one call, as others do")
    said.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="treated units")
    said.add_argument("--calls", nargs="+", choices=CALLS, default=list(CALLS), help="what to measure")
    asked = said.parse_args()
    if asked.one:
        measure(asked.one[0], int(asked.one[1]), int(asked.one[2]))
        return
    columns = f"{'first':>7} {'CPU s':>7} {'x sort':>7} {'MB more':>8} {'MB peak':>8}   done"
    print(f"{'treated':>8} {'others':>9} {'call':<12} {columns}")
    small = [(call, 1_000, 5) for call in ("sort", "pairs", "full", "pymatchit") if call in ("sort", *asked.calls)]
    large = [
        (call, treated, 10)
        for treated in asked.sizes
        for call in CALLS
        if call in ("sort", *asked.calls) and treated <= LARGEST.get(call, treated)
    ]
    sorting = 0.0
    for call, treated, others in small + large:
        command = [sys.executable, __file__, "--one", call, str(treated), str(others)]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        head = f"{treated:>8,} {others * treated:>9,} {call:<12}"
        if told.returncode:
            print(f"{head} {(told.stderr.strip().splitlines() or ['failed'])[-1]}")
            continue
        first, took, more, most, done = told.stdout.split()
        sorting = float(took) if call == "sort" else sorting
        ratio = float(took) / max(sorting, 1e-4)
        print(f"{head} {first:>7} {took:>7} {ratio:>7.0f} {more:>8} {most:>8}   {done}", flush=True)


if __name__ == "__main__":
    main()
