"""What the contracts run on, found by walking the package: what a function is follows from its return annotation."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import impact
from impact import Event, ImpactWarning, Outcome, Sample, Study, emulate

TOPICS = ("matching", "survival", "did", "programmes", "checks")


def functions(kind: str) -> list[Callable[..., Any]]:
    """Every public function of the topics whose return annotation is ``kind``."""
    return list(_functions(kind))


def _functions(kind: str) -> Iterator[Callable[..., Any]]:
    for topic in TOPICS:
        root = f"{impact.__path__[0]}/{topic}"
        for module in pkgutil.iter_modules([root], f"impact.{topic}."):
            for f in vars(importlib.import_module(module.name)).values():
                if (
                    inspect.isfunction(f)
                    and f.__module__ == module.name
                    and not f.__name__.startswith("_")
                    and inspect.signature(f).return_annotation == kind
                ):
                    yield f


def name(f: Callable[..., Any]) -> str:
    return f"{f.__module__.removeprefix('impact.')}.{f.__name__}"


def takes(f: Callable[..., Any], parameter: str) -> bool:
    return parameter in inspect.signature(f).parameters


def subject(f: Callable[..., Any]) -> str:
    """The annotation of the first parameter: Sample, Estimate, or both."""
    return str(next(iter(inspect.signature(f).parameters.values())).annotation)


# ---- samples ------------------------------------------------------------------------------


def people(n: int = 150, seed: int = 0) -> pd.DataFrame:
    """A two-arm cross-section: covariates that matter, an outcome, monthly outcomes, exits with ties."""
    r = np.random.default_rng(seed)
    age, school = r.normal(45, 9, n), r.choice(["basic", "secondary", "tertiary"], n)
    woman = r.integers(0, 2, n)
    p = 1 / (1 + np.exp(-(-0.6 + 0.04 * (age - 45) + 0.5 * woman - 0.4 * (school == "tertiary"))))
    d = r.random(n) < p
    y = 20 + 0.1 * (age - 45) + woman + 1.5 * d + r.normal(0, 3, n)
    months = {f"pay_{m}": y + 0.3 * m * d + r.normal(0, 1, n) for m in (1, 2, 3)}
    first = np.column_stack([r.exponential(9 * np.exp(0.3 * d)), r.exponential(20, n), r.exponential(25, n)])
    end = r.uniform(4, 18, n)
    time = np.minimum(first.min(axis=1), end)
    status = np.where(first.min(axis=1) <= end, 1 + first.argmin(axis=1), 0)
    return pd.DataFrame(
        {"id": np.arange(n), "provider": np.where(d, "private", "public"), "age": age, "school": school,
         "woman": woman, "score": y, "better": (y > np.median(y)).astype(int), **months,
         "months": np.ceil(time), "exit": status,
         "weight": r.uniform(0.5, 2.0, n), "office": r.integers(0, 25, n)}
    )  # fmt: skip


def regions(n: int = 80, periods: int = 5, seed: int = 0) -> pd.DataFrame:
    """A balanced panel with staggered adoption, and a mark of whom the programme may reach."""
    r = np.random.default_rng(seed)
    x = r.normal(0, 1, n)
    g = r.choice([3.0, 4.0, np.nan], n, p=[0.3, 0.3, 0.4])
    t = np.arange(1, periods + 1)
    since = t[None, :] - g[:, None]
    y = r.normal(0, 1, (n, 1)) + 0.2 * t + 0.1 * t * x[:, None] + np.where(since >= 0, 1 + 0.5 * since, 0)
    y += r.normal(0, 1, (n, periods))
    urban = np.repeat(np.arange(n) % 2, periods)
    return pd.DataFrame(
        {"region": np.repeat(np.arange(n), periods), "quarter": np.tile(t, n), "start": np.repeat(g, periods),
         "urban": urban, "deprivation": np.repeat(x, periods),
         "rate": y.ravel(), "weight": np.repeat(r.uniform(0.5, 2, n), periods)}
    )  # fmt: skip


TRIAL = Study(
    title="Employment services",
    unit="id",
    treatment="provider",
    treated="private",
    comparison="public",
    covariates=("age", "school", "woman"),
    outcomes=(
        Outcome("score", "test score"),
        Outcome("better", "better than most"),
        Outcome("pay_{}", "pay", unit="euro", periods=(1, 2, 3), per="month"),
        Event("months", "exit", {1: "job", 2: "education", 3: "other"}, "months to exit"),
    ),
)
PANEL = Study(
    title="Regional pilots",
    unit="region",
    period="quarter",
    adoption="start",
    covariates=("deprivation",),
    outcomes=Outcome("rate", "unemployment rate"),
)
PARTLY = PANEL.revise(covariates=("urban", "deprivation"))


@cache
def samples() -> dict[str, Sample]:
    """The samples every estimator is tried on, before any design."""
    return {
        "people": emulate(TRIAL, people()),
        "people, sampling weights": emulate(TRIAL.revise(weights="weight"), people(seed=1)),
        "people, clustered": emulate(TRIAL.revise(cluster="office", covariates=("age", "woman")), people(seed=2)),
        "people, whole population": emulate(TRIAL.revise(estimand="ATE"), people(seed=3)),
        "people, comparison group": emulate(TRIAL.revise(estimand="ATC"), people(seed=4)),
        "regions": emulate(PANEL, regions()),
        "regions, sampling weights": emulate(PANEL.revise(weights="weight"), regions(seed=1)),
        "affected regions": emulate(PARTLY, regions(160)),
        "affected regions, sampling weights": emulate(PARTLY.revise(weights="weight"), regions(160, seed=1)),
        **with_gaps(),
    }


@cache
def with_gaps() -> dict[str, Sample]:
    """Panels in which not every unit is seen in every period; an estimator may refuse them, in a sentence."""
    kept, clerks = PANEL.revise(missing="keep"), regions(400, seed=3)
    whole, one = regions(seed=2), clerks["quarter"] == 1 + clerks["region"] % 5
    lost = np.random.default_rng(4).random(len(whole)) < 0.1
    lost_partly = np.random.default_rng(5).random(2 * len(whole)) < 0.05
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImpactWarning)  # that units are not always seen is what they are for
        return {
            "regions, with gaps": emulate(kept, whole[~lost]),
            "regions, each seen once": emulate(kept, clerks[one]),
            "affected regions, with gaps": emulate(PARTLY.revise(missing="keep"), regions(160, seed=2)[~lost_partly]),
        }


def staggered(f: Callable[..., Any]) -> bool:
    """Whether units adopt at different times: in all of did, and in checks that say so of the sample they take."""
    return f.__module__.split(".")[1] == "did" or "With ``adoption``" in (f.__doc__ or "")


def samples_for(f: Callable[..., Any]) -> dict[str, Sample]:
    """Estimators of differences over time, and checks of them, ask for regions, the others for people."""
    stem = "affected regions" if takes(f, "affected") else "regions" if staggered(f) else "people"
    return {k: s for k, s in samples().items() if k.startswith(stem)}
