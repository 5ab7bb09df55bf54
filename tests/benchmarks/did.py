"""How long differences in differences take: python tests/benchmarks/did.py

Units by ten periods, five groups that adopt and one that never does, three covariates, doubly robust, against units
not yet treated. "door" is from a table to a sample, with one row a unit, and "long" with one row a unit and period. The
others are whole, the door and what follows: "effects" by group and period with their errors, "event" the event study,
"band" the effects with a band that covers all of them, "never" against units never treated, "plain" without covariates,
"gaps" with a twentieth of the observations missing and "levels" the same following nobody. CPU seconds of the first
call of a process, with what it imports, and the best of those after it; megabytes at the peak above what the table and
the libraries take, and in all. Each call at each size has a process of its own. diff-diff takes part where it is
installed. Nothing here is a test: times are those of the machine and of what else runs on it. One thread of BLAS.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse  # noqa: E402 (BLAS reads its threads when it is loaded)
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

warnings.simplefilter("ignore")

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
LARGEST = {"levels": 100_000, "diff-diff": 100_000, "diff-diff band": 100_000}
STARTS = np.array([3.0, 4.0, 6.0, 7.0, 8.0, np.inf])
T = 10


def wide(n: int, seed: int = 0) -> pd.DataFrame:
    """One row a unit; need makes adoption earlier and trends steeper."""
    r = np.random.default_rng(seed)
    x, t = r.normal(size=(n, 3)), np.arange(1, T + 1)
    slopes = np.array([[0.6, 0.4, 0.2, 0, -0.2, -0.5], [0.3, 0, 0, 0.2, 0, -0.3], [0, 0.2, -0.2, 0, 0.1, 0]])
    pull = 0.3 * x @ slopes + np.log([0.12] * 5 + [0.4]) + r.gumbel(size=(n, 6))
    g = STARTS[pull.argmax(axis=1)]
    since = np.where(np.isfinite(g), 1.0, 0.0)[:, None] * (t - np.where(np.isfinite(g), g, 99)[:, None])
    y = r.normal(size=(n, 1)) + 0.3 * t + 0.1 * x.sum(axis=1)[:, None] * t + r.normal(size=(n, T))
    y += np.where((t >= g[:, None]), 1 + 0.1 * since, 0.0)
    made = pd.DataFrame(x, columns=["x0", "x1", "x2"])
    return made.assign(id=np.arange(n), g=np.where(np.isfinite(g), g, np.nan), **{f"y_{k}": y[:, k - 1] for k in t})


def table(call: str, n: int) -> pd.DataFrame:
    rows = wide(n)
    values = [f"y_{k}" for k in range(1, T + 1)]
    if call in ("gaps", "levels"):
        rows[values] = rows[values].mask(np.random.default_rng(1).random((n, T)) < 0.05)
    if call != "long" and not call.startswith("diff-diff"):
        return rows
    flat = {c: np.repeat(rows[c].to_numpy(), T) for c in ("x0", "x1", "x2", "id", "g")}
    return pd.DataFrame(flat).assign(t=np.tile(np.arange(1, T + 1), n), y=rows[values].to_numpy().ravel())


def sample(rows: pd.DataFrame, **about: Any) -> Any:
    from impact import Outcome, Study, emulate

    outcome = Outcome("y") if "t" in rows else Outcome("y_{}", periods=range(1, T + 1))
    about = {"covariates": ("x0", "x1", "x2"), "period": "t" if "t" in rows else None, **about}
    return emulate(Study(title="Benchmark", unit="id", adoption="g", outcomes=outcome, **about), rows)


def door(rows: pd.DataFrame) -> Any:
    return len(sample(rows))


def effects(rows: pd.DataFrame, **options: Any) -> Any:
    from impact.did import callaway_santanna

    keeps = {"missing": "keep"} if rows["y_1"].isna().any() else {}
    found = callaway_santanna.att_gt(sample(rows, **keeps), **options)
    return f"{len(found.std_error)} effects"


def plain(rows: pd.DataFrame) -> Any:
    from impact.did import callaway_santanna

    return f"{len(callaway_santanna.att_gt(sample(rows, covariates=())).std_error)} effects"


def event(rows: pd.DataFrame) -> Any:
    from impact.did import callaway_santanna

    return f"{len(callaway_santanna.event_study(sample(rows)).std_error)} effects"


def band(rows: pd.DataFrame) -> Any:
    """Effects by group and period, their errors, and a band that covers all of them."""
    from impact.did import callaway_santanna

    found = callaway_santanna.att_gt(sample(rows))
    return f"{len(found.interval(simultaneous=True)[0])} effects"


def levels(rows: pd.DataFrame) -> Any:
    return effects(rows, unbalanced="levels")


def never(rows: pd.DataFrame) -> Any:
    return effects(rows, comparison="never")


def diff_diff(rows: pd.DataFrame, draws: int = 0) -> Any:
    from diff_diff import CallawaySantAnna

    model = CallawaySantAnna(control_group="not_yet_treated", estimation_method="dr", n_bootstrap=draws)
    about = {"outcome": "y", "unit": "id", "time": "t", "first_treat": "g", "covariates": ["x0", "x1", "x2"]}
    return f"{len(model.fit(rows.fillna({'g': 0}), **about).group_time_effects)} effects"


def diff_diff_band(rows: pd.DataFrame) -> Any:
    return diff_diff(rows, draws=999)


CALLS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "door": door, "long": door, "effects": effects, "event": event, "band": band, "never": never, "plain": plain,
    "gaps": effects, "levels": levels, "diff-diff": diff_diff, "diff-diff band": diff_diff_band,
}  # fmt: skip


def measure(call: str, n: int) -> None:
    """One line: CPU seconds, and megabytes at the peak, above what the table and the libraries take and in all."""
    rows = table(call, n)
    before, took = peak(), []
    for _ in range(4 if n < 100_000 else 2):
        start = time.process_time()
        done = CALLS[call](rows)
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
    said.add_argument("--one", nargs=2, metavar=("CALL", "UNITS"), help="measure one call, as others do")
    said.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="units, of ten periods each")
    said.add_argument("--calls", nargs="+", choices=CALLS, default=list(CALLS), help="what to measure")
    asked = said.parse_args()
    if asked.one:
        measure(asked.one[0], int(asked.one[1]))
        return
    print(f"{'units':>9} {'call':<14} {'first':>7} {'CPU s':>7} {'us a unit':>9} {'MB more':>8} {'MB peak':>8}   done")
    for n in asked.sizes:
        for call in asked.calls:
            if n > LARGEST.get(call, n):
                continue
            command = [sys.executable, __file__, "--one", call, str(n)]
            told = subprocess.run(command, capture_output=True, text=True, check=False)
            head = f"{n:>9,} {call:<14}"
            if told.returncode:
                print(f"{head} {(told.stderr.strip().splitlines() or ['failed'])[-1]}")
                continue
            first, took, more, most, *done = told.stdout.split()
            each = 1e6 * float(took) / n
            print(f"{head} {first:>7} {took:>7} {each:>9.1f} {more:>8} {most:>8}   {' '.join(done)}", flush=True)


if __name__ == "__main__":
    main()
