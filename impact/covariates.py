"""Covariate terms as numbers: materialised by formulaic, with the levels and knots it saw."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from impact.core.linear import triangle
from impact.expressions import split
from impact.recipe import CONTEXT, Recipe, recipe
from impact.study import Event, Study
from impact.terms import Factor, Term, term

_LEVEL = re.compile(r"l(\d+)")


def terms(study: Study, names: Collection[str]) -> tuple[Term, ...]:
    """The study's covariates, read against the columns of the table; what follows treatment is refused."""
    after = {c: "the treatment" for c in (study.treatment, study.adoption) if c is not None}
    for outcome in study.outcomes:
        if isinstance(outcome, Event):
            after |= dict.fromkeys((outcome.duration, outcome.status), "an outcome")
        elif outcome.periods is None and study.period is None:  # over time, the first value may be from before
            after[outcome.column] = "an outcome"
    read = tuple(_in_words(term(text, names), study) for text in study.covariates)
    for one in read:
        for column in one.columns:
            if column in after:
                raise ValueError(
                    f"The covariate `{one.text}` uses `{column}`, which is {after[column]} of the study: covariates "
                    "are known before treatment; leave it out."
                )
    return read


def _in_words(one: Term, study: Study) -> Term:
    """The term with the study's words for its columns."""
    factors = (f if f.kind == "computed" else f._replace(shown=study.say(f.columns[0])) for f in one.factors)
    return one._replace(factors=tuple(factors))


def materialise(chosen: Sequence[Term], rows: pd.DataFrame, treated: np.ndarray, notes: list[str]) -> dict[str, Any]:
    """The covariate fields of a Sample.

    Columns that are constant or follow from the others are left out of the design, with a note;
    balance is still judged on them. A column that tells the arms apart is noted.
    """
    if not chosen:
        empty = np.empty((len(rows), 0))
        return {"covariates": empty, "covariate_names": (), "characteristics": empty, "characteristic_names": (),
                "terms": {}, "formula": None}  # fmt: skip
    made = recipe(chosen, rows)
    written = _Written(chosen, made)
    table = made.table(rows)
    matrix, numbers = _model_matrix("1 + " + written.formula, table, written, full_rank=True)
    every, characteristics = _model_matrix("0 + " + written.formula, table, written, full_rank=False)
    design = numbers[:, 1:]
    owners = [written.term_of(f) for f in written.columns(matrix)[1:]]
    kept = _independent(design, owners, notes)
    _note_separation(design, treated, owners, notes)
    names = [written.readable(c, made) for c in matrix.columns][1:]
    return {
        "covariates": np.ascontiguousarray(design[:, kept]),
        "covariate_names": tuple(names[j] for j in kept),
        "characteristics": np.ascontiguousarray(characteristics),
        "characteristic_names": tuple(written.readable(c, made) for c in every.columns),
        "terms": written.positions(every),
        "formula": replace(made, kept=tuple(kept), spec=matrix.model_spec),
    }


# ---- formulaic --------------------------------------------------------------------------------


class _Written:
    """The terms as one formula with stand-ins, and the way back from formulaic's columns."""

    def __init__(self, chosen: Sequence[Term], recipe: Recipe) -> None:
        self.chosen = chosen
        self.shown: dict[str, str] = {}
        self.products: dict[str, list[frozenset[str]]] = {}
        formula: list[str] = []
        for t in chosen:
            for product in t.products:
                texts = [self._write(f, recipe) for f in product]
                formula.append(":".join(texts))
                self.products.setdefault(t.text, []).append(frozenset(map(_tight, texts)))
        self.formula = " + ".join(dict.fromkeys(formula))

    def _write(self, factor: Factor, recipe: Recipe) -> str:
        coded = factor.kind != "computed" and factor.columns[0] in recipe.factors
        coded = coded and (factor.kind == "coded" or factor.columns[0] not in recipe.numeric)
        text = f"C({recipe.factors[factor.columns[0]]})" if coded else factor.write(recipe.numeric)
        text = _as_formulaic_writes(text)
        self.shown[_tight(text)] = factor.shown
        return text

    def columns(self, matrix: Any) -> list[frozenset[str]]:
        """For each column of a model matrix, the factors that made it."""
        made: list[frozenset[str]] = [frozenset()] * len(matrix.columns)
        for t, span in matrix.model_spec.term_slices.items():
            for j in range(*span.indices(len(matrix.columns))):
                made[j] = frozenset(_tight(str(f)) for f in t.factors) - {"1"}
        return made

    def term_of(self, factors: frozenset[str]) -> str:
        return next(text for text, products in self.products.items() if factors in products)

    def positions(self, matrix: Any) -> dict[str, tuple[int, ...]]:
        """Which columns each of the study's terms made."""
        made = self.columns(matrix)
        return {text: tuple(j for j, f in enumerate(made) if f in products) for text, products in self.products.items()}

    def readable(self, name: str, recipe: Recipe) -> str:
        """``C(f0)[T.l1]`` as ``education: secondary``."""
        levels = {f"C({s})": recipe.levels[c] for c, s in recipe.factors.items()}
        words = []
        for piece in _pieces(_tight(name)):
            factor = max((f for f in self.shown if piece.startswith(f)), key=len, default="")
            place = re.sub(r"^\[(?:T\.)?|\]$", "", piece.removeprefix(factor))
            level = _LEVEL.fullmatch(place)
            if level and factor in levels:
                words.append(f"{self.shown[factor]}: {levels[factor][int(level.group(1))]}")
            else:
                words.append(f"{self.shown.get(factor, factor)} {place}".strip())
        return " × ".join(words)


def _as_formulaic_writes(factor: str) -> str:
    from formulaic import Formula

    (term,) = Formula("0 + " + factor)
    return str(term.factors[0])


def _tight(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _pieces(name: str) -> list[str]:
    """The factors in formulaic's name of a column: cut at ``:`` outside brackets."""
    return split(name, ":")


def _model_matrix(formula: str, table: pd.DataFrame, written: _Written, *, full_rank: bool) -> tuple[Any, np.ndarray]:
    """The matrix of a formula with what formulaic knows of it, and its numbers."""
    from formulaic import model_matrix
    from formulaic.errors import FormulaicError

    shown = ", ".join(f"`{t.text}`" for t in written.chosen)
    try:
        with np.errstate(all="ignore"):  # what is infinite or undefined is counted below
            matrix = model_matrix(formula, table, context=CONTEXT, ensure_full_rank=full_rank, na_action="ignore")
    except (FormulaicError, ArithmeticError, TypeError, ValueError) as problem:
        kind = type(problem.__cause__ or problem).__name__
        raise ValueError(
            f"The covariates {shown} cannot be computed ({kind}): check the arguments of the functions, and that "
            "curves have fewer pieces than the column has values."
        ) from None
    numbers = np.asarray(matrix, float)
    wrong = (~np.isfinite(numbers)).sum(axis=0)
    for factors, count in zip(written.columns(matrix), wrong, strict=True):
        if count:
            raise ValueError(
                f"The covariate `{written.term_of(factors)}` is infinite or undefined for {count} of {len(table)} "
                "units: take logarithms and roots of positive numbers only."
            )
    return matrix, numbers


# ---- rank -------------------------------------------------------------------------------------


def _independent(design: np.ndarray, owners: Sequence[str], notes: list[str]) -> list[int]:
    """Columns that are neither constant nor follow from earlier ones, as R keeps them."""
    spread = design.std(axis=0)
    size = np.abs(design).max(axis=0, initial=0.0)
    constant = [j for j in range(len(owners)) if spread[j] <= 1e-13 * max(size[j], 1e-300)]
    left = [j for j in range(len(owners)) if j not in constant]
    scaled = (design - design.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    shape = triangle(scaled / np.sqrt(max(len(design), 1)))
    redundant: list[int] = []
    while len(left) <= len(shape):  # more columns than rows: the door says so
        diagonal = np.abs(np.diag(np.linalg.qr(shape[:, left], mode="r")))
        short = np.flatnonzero(diagonal < 1e-7)
        if not len(short):
            break
        redundant.append(left.pop(int(short[0])))
    if constant:
        notes.append(f"Left out of the adjustment, the same for every unit: {_counted(constant, owners)}.")
    if redundant:
        notes.append(f"Left out of the adjustment, determined by other covariates: {_counted(redundant, owners)}.")
    return left


def _note_separation(design: np.ndarray, treated: np.ndarray, owners: Sequence[str], notes: list[str]) -> None:
    """Say which columns alone tell the arms apart: nobody can be compared on them."""
    if not 0 < treated.sum() < len(treated):
        return
    a, b = design[treated], design[~treated]
    apart = np.flatnonzero((a.min(axis=0) > b.max(axis=0)) | (a.max(axis=0) < b.min(axis=0)))
    if len(apart):
        notes.append(
            f"Without error the treated and the comparison units are told apart by {_counted(apart.tolist(), owners)}: "
            "what adjusts for it goes beyond the data, so leave it out, or choose a comparison group that overlaps."
        )


def _counted(columns: Sequence[int], owners: Sequence[str]) -> str:
    """Columns by the term that made them: names of levels are values of rows, and stay out of messages."""
    total = {t: owners.count(t) for t in dict.fromkeys(owners[j] for j in columns)}
    gone = {t: sum(owners[j] == t for j in columns) for t in total}
    return ", ".join(f"`{t}`" if gone[t] == n else f"{gone[t]} of the {n} columns of `{t}`" for t, n in total.items())
