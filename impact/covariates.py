"""Covariate terms as numbers: materialised by formulaic, with the levels and knots it saw."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from impact import columns as col
from impact.expressions import Term, term

_LEVEL = re.compile(r"\[(?:T\.)?([^\]]*)\]")
_CODED = re.compile(r"\bC\(`?([^,()`]+)`?[^()]*\)")


def terms(covariates: Sequence[str], names: Collection[str]) -> tuple[Term, ...]:
    """The study's covariates, read against the columns of the table."""
    return tuple(term(text, names) for text in covariates)


def materialise(chosen: Sequence[Term], rows: pd.DataFrame, notes: list[str]) -> dict[str, Any]:
    """The covariate fields of a Sample.

    Columns that are constant or follow from the others are left out of the design, with a note;
    balance is still judged on them.
    """
    n = len(rows)
    if not chosen:
        empty = np.empty((n, 0))
        return dict(covariates=empty, covariate_names=(), characteristics=empty, characteristic_names=(), terms={},
                    formula=None)  # fmt: skip
    table = _prepared(chosen, rows)
    matrix = _model_matrix("1 + " + " + ".join(t.formula for t in chosen), table, True)
    every = _model_matrix("0 + " + " + ".join(t.formula for t in chosen), table, False)
    design = np.asarray(matrix, float)[:, 1:]
    names = [readable(c) for c in list(matrix.columns)[1:]]
    keep = _independent(design, names, notes)
    return dict(
        covariates=np.ascontiguousarray(design[:, keep]),
        covariate_names=tuple(names[j] for j in keep),
        characteristics=np.ascontiguousarray(np.asarray(every, float)),
        characteristic_names=tuple(readable(c) for c in every.columns),
        terms=_positions(every, chosen),
        formula=matrix.model_spec,
    )


def readable(name: str) -> str:
    """``C(education)[T.basic]`` as ``education: basic``."""
    plain = _CODED.sub(lambda m: m.group(1).strip(), name)
    return _LEVEL.sub(lambda m: f" {m.group(1)}" if m.group(1).isdigit() and "(" in plain else f": {m.group(1)}",
                      plain).replace("`", "")  # fmt: skip


def _model_matrix(formula: str, table: pd.DataFrame, full_rank: bool) -> Any:
    from formulaic import model_matrix
    from formulaic.errors import FormulaicError

    try:
        matrix = model_matrix(
            formula, table, context={"sqrt": np.sqrt, "log1p": np.log1p}, ensure_full_rank=full_rank, na_action="raise"
        )
    except (FormulaicError, ValueError) as problem:
        kind = type(problem.__cause__ or problem).__name__
        raise ValueError(
            f"The covariates cannot be computed as `{formula[4:]}` ({kind}): check the functions' arguments, and that "
            "logarithms and roots are taken of positive numbers only."
        ) from None
    infinite = ~np.isfinite(np.asarray(matrix, float))
    for name, count in zip(matrix.columns, infinite.sum(axis=0), strict=True):
        if count:
            raise ValueError(
                f"The covariate `{name}` is infinite or undefined for {count} of {len(table)} units: take logarithms and "
                "roots of positive numbers only."
            )
    return matrix


def _prepared(chosen: Sequence[Term], rows: pd.DataFrame) -> pd.DataFrame:
    """The columns in use, as numbers or as factors, and nothing in between."""
    table = {}
    plain = {c for t in chosen for c in t.plain}
    for name in dict.fromkeys(c for t in chosen for c in t.columns):
        column = rows[name]
        coded = all(name not in t.plain and "C(" in t.formula for t in chosen if name in t.columns)
        if col.is_text(column) or coded:
            if name in plain:
                _refuse_text_numbers(column, name)
            table[name] = _factor(column, name)
        else:
            table[name] = col.numbers(column, name, "covariate")
    return pd.DataFrame(table)


def _refuse_text_numbers(column: pd.Series, name: str) -> None:
    text = column.astype("string").dropna()
    if len(text) and col.like_numbers(text) == len(text):
        comma = text.str.contains(",").any()
        raise ValueError(
            f"The covariate `{name}` holds numbers stored as text in {len(text)} of {len(column)} rows"
            f"{', with decimal commas' if comma else ''}: convert them to numbers, or write `C({name})` if they are codes."
        )


def _factor(column: pd.Series, name: str) -> pd.Categorical:
    """Levels that occur, in the order the data declare or else sorted."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        factor = column.cat.remove_unused_categories()
        factor = factor.cat.rename_categories([_text(c) for c in factor.cat.categories]).array
    else:
        levels = sorted(column.unique(), key=lambda v: (isinstance(v, str), v))
        factor = pd.Categorical(column.map(_text), categories=list(dict.fromkeys(map(_text, levels))))
    levels, n = len(factor.categories), len(factor)
    if levels > max(20, n // 10) or levels * n > 4e8:
        raise ValueError(
            f"The covariate `{name}` has {levels} levels for {n} units, too many to compare within: group its levels, or "
            "use a number that describes them."
        )
    return factor


def _text(level: Any) -> str:
    return f"{level:g}" if isinstance(level, float | np.floating) else str(level)


def _independent(design: np.ndarray, names: list[str], notes: list[str]) -> list[int]:
    """Columns that are neither constant nor follow from earlier ones, as R keeps them."""
    spread = design.std(axis=0)
    size = np.abs(design).max(axis=0, initial=0.0)
    constant = [j for j in range(len(names)) if spread[j] <= 1e-13 * max(size[j], 1e-300)]
    left = [j for j in range(len(names)) if j not in constant]
    scaled = (design - design.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    scaled /= np.sqrt(max(len(design), 1))
    redundant: list[int] = []
    while left:
        diagonal = np.abs(np.diag(np.linalg.qr(scaled[:, left], mode="r")))
        short = np.flatnonzero(diagonal < 1e-7)
        if len(left) > len(diagonal):  # more columns than rows: the door says so
            break
        if not len(short):
            break
        redundant.append(left.pop(int(short[0])))
    if constant:
        notes.append(f"Left out of the adjustment, the same for every unit: {col.listed(names[j] for j in constant)}.")
    if redundant:
        notes.append(
            f"Left out of the adjustment, determined by other covariates: {col.listed(names[j] for j in redundant)}."
        )
    return left


def _positions(every: Any, chosen: Sequence[Term]) -> dict[str, tuple[int, ...]]:
    """Which columns each of the study's terms made. A term such as ``a*b`` makes several of formulaic's."""
    places: dict[str, tuple[int, ...]] = {}
    made = [(frozenset(str(f) for f in t.factors), range(*s.indices(len(every.columns))))
            for t, s in every.model_spec.term_slices.items()]  # fmt: skip
    from formulaic import Formula

    for one in chosen:
        factors = {frozenset(str(f) for f in t.factors) for t in Formula("0 + " + one.formula)}
        columns = [j for f, span in made if f in factors for j in span]
        places[one.formula.strip("`") if one.formula.startswith("`") and one.formula.count("`") == 2 else one.formula] = (
            tuple(sorted(set(columns)))
        )
    return places
