"""From columns to numbers and factors: what a covariate is, and the levels it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from impact import columns as col
from impact.terms import CURVES, WIDEST, Factor, Term

Array = np.ndarray
NONE: Mapping[str, Any] = {}
Coded = tuple[Array, list[Any]]
CONTEXT = {"sqrt": np.sqrt, "log1p": np.log1p}
_NUMBERS = 4e8  # entries of a design: 3 GB


@dataclass(frozen=True)
class Recipe:
    """How the covariates were made: with the levels it saw and, where functions or products of columns are among
    them, formulaic's specification with the knots it saw.

    In it columns go by stand-ins (``x0`` a number, ``f1`` a factor) and levels by their place.
    """

    numeric: dict[str, str]
    factors: dict[str, str]
    levels: dict[str, tuple[str, ...]]
    plain: tuple[str, ...] = ()
    kept: tuple[int, ...] = ()
    spec: Any = None

    def values(self, rows: pd.DataFrame, coded: Mapping[str, Coded] = NONE) -> dict[str, Array]:
        """The columns in use by their stand-ins: numbers as they are, factors as places in their levels."""
        made: dict[str, Array] = {s: col.numbers(rows[c], c, "covariate") for c, s in self.numeric.items()}
        for column, stand_in in self.factors.items():
            places, said = coded[column] if column in coded else col.coded(rows[column])
            levels = pd.Index(self.levels[column]).get_indexer([col.text(v) for v in said])
            codes = np.append(levels, -1)[places]
            unseen = int((codes < 0).sum())
            if unseen:
                raise ValueError(
                    f"The covariate `{column}` has levels that the sample it was made on lacks in {unseen} of "
                    f"{len(rows)} rows: leave these rows out, or group the levels before."
                )
            made[stand_in] = codes
        return made

    def table(self, values: Mapping[str, Array]) -> pd.DataFrame:
        """The same as a table for formulaic: numbers and factors, and nothing in between."""
        made: dict[str, Any] = dict(values)
        for column, stand_in in self.factors.items():
            levels = [f"l{k}" for k in range(len(self.levels[column]))]
            made[stand_in] = pd.Categorical.from_codes(values[stand_in], levels)
        return pd.DataFrame(made)

    def columns(self, values: Mapping[str, Array], *, full_rank: bool) -> Array:
        """(n, q) the ``plain`` columns, one after the other: a factor with every level or, for full rank, without
        its first."""
        many = {s: len(self.levels[c]) for c, s in self.factors.items()}
        places = [(s, k) for s in self.plain for k in (range(int(full_rank), many[s]) if s in many else (-1,))]
        out = np.empty((len(next(iter(values.values()))), len(places)), order="F")
        for j, (stand_in, level) in enumerate(places):
            out[:, j] = values[stand_in] if level < 0 else values[stand_in] == level
        return out

    def design(self, rows: pd.DataFrame) -> Array:
        """The same design columns for other rows."""
        values = self.values(rows)
        if self.plain:
            return self.columns(values, full_rank=True)[:, list(self.kept)]
        with np.errstate(all="ignore"):
            matrix = np.asarray(self.spec.get_model_matrix(self.table(values), context=CONTEXT), float)[:, 1:]
        return np.asfortranarray(matrix[:, list(self.kept)])


def _is_factor(factor: Factor, rows: pd.DataFrame) -> bool:
    """Whether a factor of a term stands for levels: ``C(…)``, text, or a type that declares categories."""
    if factor.kind != "plain":
        return factor.kind == "coded"
    column = rows[factor.columns[0]]
    if isinstance(column.dtype, pd.CategoricalDtype) and not col.is_text(column):
        return not pd.api.types.is_bool_dtype(column.cat.categories.dtype)
    return col.is_text(column)


def recipe(chosen: Sequence[Term], rows: pd.DataFrame) -> tuple[Recipe, dict[str, Coded]]:
    """The recipe of these terms and rows: which columns are numbers, which are factors, and their levels; with the
    factors, coded."""
    numeric: dict[str, str] = {}
    factors: dict[str, str] = {}
    levels: dict[str, tuple[str, ...]] = {}
    coded: dict[str, Coded] = {}
    for factor in (f for t in chosen for f in t.factors):
        if not _is_factor(factor, rows):
            for column in factor.columns:
                numeric.setdefault(column, f"x{len(numeric)}")
            continue
        column = factor.columns[0]
        if column not in coded:
            coded[column] = col.coded(rows[column])
        if factor.kind == "plain":
            _refuse_text_numbers(*coded[column], column)
        factors.setdefault(column, f"f{len(factors)}")
        levels[column] = _levels(rows[column], coded[column][1], column)
    n = len(rows)
    width = sum(prod(_width(f, levels) for f in p) for t in chosen for p in t.products)
    if width * n > _NUMBERS:
        raise ValueError(
            f"The covariates would make {width:,} columns for {n:,} units, more than can be held: leave out "
            "interactions of factors with many levels, or group the levels."
        )
    simple = all(len(t.factors) == 1 and t.factors[0].kind != "computed" for t in chosen)
    stand_ins = [
        factors[c] if f.kind == "coded" or c not in numeric else numeric[c]
        for f in (t.factors[0] for t in chosen)
        for c in f.columns
    ] if simple else []  # fmt: skip
    return Recipe(numeric, factors, levels, tuple(dict.fromkeys(stand_ins))), coded


def _width(factor: Factor, levels: dict[str, tuple[str, ...]]) -> int:
    if factor.kind == "computed":
        return WIDEST if any(factor.shown.startswith(f"{c}(") for c in CURVES) else 1
    return len(levels.get(factor.columns[0], "1"))


def _refuse_text_numbers(places: Array, values: Sequence[Any], name: str) -> None:
    """Text that mostly reads as numbers is more likely a fault of reading the file than a factor."""
    among = [k for k, value in enumerate(values) if isinstance(value, str)]
    if not among:
        return
    counts = np.bincount(places[places >= 0], minlength=len(values))[among]
    text = pd.Series([values[k] for k in among])
    like = int(counts[col.read_as_numbers(text)].sum())
    if 2 * like > counts.sum():
        comma = text.str.contains(",", regex=False).any()
        raise ValueError(
            f"The covariate `{name}` holds numbers stored as text in {like} of {len(places)} "
            f"rows{', with decimal commas' if comma else ''}: convert them to numbers, or write `C({name})` if they "
            "are codes."
        )


def _levels(column: pd.Series, values: Sequence[Any], name: str) -> tuple[str, ...]:
    """Levels that occur, as text, in the order the data declare or else sorted."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        seen = list(column.cat.remove_unused_categories().cat.categories)
    else:
        seen = list(values)
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
