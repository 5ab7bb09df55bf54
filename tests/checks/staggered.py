"""Panels in which units adopt at different times, with what is planted in them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from impact import Outcome, Study, emulate

T = 8
STARTS = (5.0, 7.0, np.nan)


def panel(seed=0, n=60, effect=0.0, dip=0.0, drift=0.0, starts=STARTS, periods=T, clusters=0):
    """Areas with their own levels: an effect since adoption, a dip just before, or a drift of those who adopt.

    With ``clusters``, areas of one cluster adopt together and share luck in each period.
    """
    r = np.random.default_rng(seed)
    start = np.array(starts)[np.arange(n) % len(starts)]
    group = np.arange(n)
    if clusters:
        group = np.arange(n) * clusters // n
        start = np.array(starts)[group % len(starts)]
    t = np.arange(1, periods + 1)
    y = r.normal(size=(n, 1)) + 0.2 * t + 0.5 * r.normal(size=(n, periods))
    if clusters:
        y += r.normal(size=(clusters, periods))[group]
    y += effect * (t >= start[:, None]) + dip * (t == start[:, None] - 1) + drift * np.isfinite(start)[:, None] * t
    return pd.DataFrame({"area": [f"area {k}" for k in range(n)], "start": start, "group": group}
                        | {f"y_{k}": y[:, k - 1] for k in t})  # fmt: skip


def sample_of(table, **about):
    periods = range(1, sum(c.startswith("y_") for c in table) + 1)
    about = {"title": "Pilots", "unit": "area", "adoption": "start", **about}
    about.setdefault("outcomes", Outcome("y_{}", "unemployment", periods=periods, per="quarter"))
    return emulate(Study(**about), table)
