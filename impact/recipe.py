"""From columns to numbers and factors: what a covariate is, and the levels it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from impact import columns as col
from impact.terms import CURVES, WIDEST, Factor, Term

CONTEXT = {"sqrt": np.sqrt, "log1p": np.log1p}
_NUMBERS = 4e8  # entries of a design: 3 GB


@dataclass(frozen=True)
class Recipe:
    """How the covariates were made: formulaic's specification, with the levels and knots it saw.

    In it columns go by stand-ins (``x0`` a number, ``f1`` a factor) and levels by their place.
    """

    numeric: dict[str, str]
    factors: dict[str, str]
    levels: dict[str, tuple[str, ...]]
    kept: tuple[int, ...] = ()
    spec: Any = None

    def table(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The columns in use as numbers or as factors, and nothing in between."""
        made: dict[str, Any] = {s: col.numbers(rows[c], c, "covariate") for c, s in self.numeric.items()}
        for column, stand_in in self.factors.items():
            levels = self.levels[column]
            places, said = col.texts(rows[column])
            codes = np.append(pd.Index(levels).get_indexer(said), -1)[places]
            unseen = int((codes < 0).sum())
            if unseen:
                raise ValueError(
                    f"The covariate `{column}` has levels that the sample it was made on lacks in {unseen} of "
                    f"{len(rows)} rows: leave these rows out, or group the levels before."
                )
            made[stand_in] = pd.Categorical.from_codes(codes, [f"l{k}" for k in range(len(levels))])
        return pd.DataFrame(made, index=range(len(rows)))

    def design(self, rows: pd.DataFrame) -> np.ndarray:
        """The same design columns for other rows."""
        with np.errstate(all="ignore"):
            matrix = np.asarray(self.spec.get_model_matrix(self.table(rows), context=CONTEXT), float)[:, 1:]
        return np.ascontiguousarray(matrix[:, list(self.kept)])


def _is_factor(factor: Factor, rows: pd.DataFrame) -> bool:
    """Whether a factor of a term stands for levels: ``C(…)``, text, or a type that declares categories."""
    if factor.kind != "plain":
        return factor.kind == "coded"
    column = rows[factor.columns[0]]
    if isinstance(column.dtype, pd.CategoricalDtype) and not col.is_text(column):
        return not pd.api.types.is_bool_dtype(column.cat.categories.dtype)
    return col.is_text(column)


def recipe(chosen: Sequence[Term], rows: pd.DataFrame) -> Recipe:
    """The recipe of these terms and rows: which columns are numbers, which are factors, and their levels."""
    numeric: dict[str, str] = {}
    factors: dict[str, str] = {}
    levels: dict[str, tuple[str, ...]] = {}
    for factor in (f for t in chosen for f in t.factors):
        if not _is_factor(factor, rows):
            for column in factor.columns:
                numeric.setdefault(column, f"x{len(numeric)}")
            continue
        column = factor.columns[0]
        if factor.kind == "plain":
            _refuse_text_numbers(rows[column], column)
        factors.setdefault(column, f"f{len(factors)}")
        levels[column] = _levels(rows[column], column)
    n = len(rows)
    width = sum(prod(_width(f, levels) for f in p) for t in chosen for p in t.products)
    if width * n > _NUMBERS:
        raise ValueError(
            f"The covariates would make {width:,} columns for {n:,} units, more than can be held: leave out "
            "interactions of factors with many levels, or group the levels."
        )
    return Recipe(numeric, factors, levels)


def _width(factor: Factor, levels: dict[str, tuple[str, ...]]) -> int:
    if factor.kind == "computed":
        return WIDEST if any(factor.shown.startswith(f"{c}(") for c in CURVES) else 1
    return len(levels.get(factor.columns[0], "1"))


def _refuse_text_numbers(column: pd.Series, name: str) -> None:
    """Text that mostly reads as numbers is more likely a fault of reading the file than a factor."""
    counts = column.value_counts(sort=False)  # each text once: registers repeat a few
    counts = counts[[isinstance(v, str) for v in counts.index]]
    if not counts.sum():
        return
    text = pd.Series(list(counts.index))
    like = int(counts[col.read_as_numbers(text)].sum())
    if 2 * like > counts.sum():
        comma = text[(counts > 0).to_numpy()].str.contains(",", regex=False).any()
        raise ValueError(
            f"The covariate `{name}` holds numbers stored as text in {like} of {len(column)} "
            f"rows{', with decimal commas' if comma else ''}: convert them to numbers, or write `C({name})` if they "
            "are codes."
        )


def _levels(column: pd.Series, name: str) -> tuple[str, ...]:
    """Levels that occur, as text, in the order the data declare or else sorted."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        seen = list(column.cat.remove_unused_categories().cat.categories)
    else:
        seen = list(pd.unique(column.dropna()))
        try:
            seen.sort()
        except TypeError:  # of more than one type
            seen.sort(key=lambda v: (type(v).__name__, str(v)))
    levels, n = len(seen), len(column)
    if levels > max(20, n // 10) or levels * n > _NUMBERS:
        raise ValueError(
            f"The covariate `{name}` has {levels} levels for {n} units, too many to compare within: group its "
            "levels, or use a number that describes them."
        )
    named = tuple(col.text(level) for level in seen)
    if len(set(named)) < levels:
        raise ValueError(
            f"The covariate `{name}` has {levels - len(set(named))} levels that differ in type but read alike, such "
            "as a number and the same number as text: convert the column to one type."
        )
    return named
