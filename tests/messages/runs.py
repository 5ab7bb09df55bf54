"""What the package makes of each kind of bad input, at every entry, as lines that can be kept and compared.

``python -m tests.messages`` writes them anew: ``messages.toml`` beside this file, and docs/bad-input.md.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from impact import Check, Sample, toml
from impact.cli import main
from tests.contracts import walk
from tests.messages.entries import answer, asking, functions, notes, sample_of, values
from tests.messages.forms import FORMS, Form
from tests.messages.kinds import KINDS, Case, Kind
from tests.registers.broken import BROKEN, sentence

HERE = Path(__file__).parent
KEPT = HERE / "messages.toml"
PAGE = HERE.parents[1] / "docs" / "bad-input.md"
CLOSE = 1e-8


@cache
def _clean_sample(clean: Callable[[Form], Case], form: Form) -> Sample:
    found = sample_of(clean(form))
    assert isinstance(found, Sample), found
    return found


@cache
def _clean_answers(clean: Callable[[Form], Case], form: Form) -> dict[str, object]:
    sample = _clean_sample(clean, form)
    return {walk.name(f): answer(f, sample) for f in functions(form.staggered)}


def clean_sample(kind: Kind, form: Form) -> Sample:
    return _clean_sample(kind.clean, form)


def clean_answers(kind: Kind, form: Form) -> dict[str, object]:
    return _clean_answers(kind.clean, form)


def identical(a: Sample, b: Sample) -> bool:
    """Whether two samples are the same in every number and name that a method sees."""
    if a.study != b.study or a.covariate_names != b.covariate_names or len(a) != len(b):
        return False
    one, other = fields_of(a), fields_of(b)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def fields_of(sample: Sample) -> dict[str, np.ndarray]:
    """The arrays of a sample by name."""
    found: dict[str, Any] = {f.name: getattr(sample, f.name) for f in fields(sample) if f.name != "unit"}
    found |= {f"outcome {name}": value for name, value in sample.outcomes.items()}
    parts = [(name, value) for name, value in found.items() if isinstance(value, tuple)]
    found |= {f"{name} {k}": part for name, value in parts for k, part in enumerate(value)}
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


def at_the_door(kind: Kind, form: Form) -> Sample | str:
    return sample_of(kind.spoil(form))


def lines(kind: Kind, form: Form) -> list[str]:
    """What happens to one kind in one form, and a failure where that is not what the table says."""
    found = at_the_door(kind, form)
    if isinstance(found, str):
        assert kind.does == "refused", f"refused, and should be {kind.does}: {found}"
        return [found]
    said = [f"note: {note}" for note in found.notes]
    clean = clean_sample(kind, form)
    if kind.does == "same" and not kind.asks and identical(found, clean):  # then so is every answer
        return said
    expected = clean_answers(kind, form)
    refusals: dict[str, list[str]] = defaultdict(list)
    notices: dict[str, list[str]] = defaultdict(list)
    for f in functions(form.staggered):
        name = walk.name(f)
        if isinstance(expected[name], str):  # this form has nothing for it, clean or not
            continue
        result = answer(asking(f, kind.asks), found)
        if isinstance(result, str):
            assert kind.does != "same", f"{name} refuses what has an answer: {result}"
            refusals[result].append(name)
            continue
        for note in notes(result):
            if kind.does == "noted" and note not in (*found.notes, *notes(expected[name])):
                notices[note].append(name)
        if kind.does != "noted" or not _noted(result, found):
            gap = difference(result, found, expected[name], clean)
            assert gap < CLOSE, f"{name} is {gap:.1e} from the clean answer, and says nothing"
    assert kind.does != "refused" or refusals, "nobody refuses it"
    said += [f"{', '.join(names)} note: {text}" for text, names in notices.items()]
    return said + [f"{', '.join(names)}: {text}" for text, names in refusals.items()]


def _noted(result: object, sample: Sample) -> bool:
    return bool(notes(result) or sample.notes or getattr(result, "reason", ""))


def difference(result: object, sample: Sample, expected: object, clean: Sample) -> float:
    """The largest gap between two results, relative to the largest number; units are found by their labels."""
    if isinstance(result, Check):
        assert isinstance(expected, Check)
        assert result.passed == expected.passed
        return _table_gap(result.table, expected.table)
    gap = 0.0
    for name, mine in values(result).items():
        other = values(expected)[name]
        if isinstance(result, Sample):
            mine = mine[pd.Index(sample.unit.astype(str)).get_indexer(clean.unit.astype(str))]
        if mine.shape != other.shape:
            return np.inf
        gap = max(gap, float(np.nanmax(np.abs(mine - other)) / max(np.nanmax(np.abs(other)), 1e-300)))
    return gap


def _table_gap(mine: pd.DataFrame, other: pd.DataFrame) -> float:
    """Of evidence on balance, only what has no unit is compared, and of terms only those in both."""
    if "term" in mine:
        columns = [c for c in ("before", "after", "ks_before", "ks_after") if c in mine]
        mine, other = (t.assign(term=t["term"].str.split(" ").str[0]).drop_duplicates("term") for t in (mine, other))
        both = [t for t in mine["term"] if t in set(other["term"])]
        mine, other = (t.set_index("term").loc[both, columns] for t in (mine, other))
    a, b = mine.select_dtypes("number").to_numpy(float), other.select_dtypes("number").to_numpy(float)
    return float(np.nanmax(np.abs(a - b), initial=0.0)) if a.shape == b.shape else np.inf


def on_the_command_line(kind: Kind, form: Form, folder: Path) -> tuple[int, str]:
    """The exit code and the last line of ``impact run`` on the data as CSV."""
    study, data = kind.spoil(form)
    data.to_csv(folder / "clients.csv", index=data.index.name is not None)
    text = 'data = "clients.csv"\n' + study.to_toml()
    (folder / "study.toml").write_text(text, "utf-8")
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = main(["run", str(folder / "study.toml"), "--out", str(folder / "report")])
    return code, errors.getvalue().strip().splitlines()[-1] if errors.getvalue().strip() else ""


def file_sentences() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        return {broken: sentence(broken, Path(folder)) for broken in BROKEN}


def kept() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(KEPT.read_text("utf-8"))


def write() -> None:
    """Write the messages and the page of the documentation anew."""
    content: dict[str, Any] = {k.name: {name: lines(k, FORMS[name]) for name in k.forms} for k in KINDS}
    content["files"] = file_sentences()
    head = "# What impact says to each kind of bad input, by form of the data. Written by python -m tests.messages.\n\n"
    body = toml.dumps(content).replace('", "', '",\n  "')
    KEPT.write_text(head + body, "utf-8")
    PAGE.write_text(page(content), "utf-8")


# ---- the page -----------------------------------------------------------------------------------

PAGE_HEAD = """# What happens to bad input

Registers hold what they hold. For each kind of bad input this page says what `impact` does: it gives **the right
answer**, equal to the one on clean data; or **an answer with a note**, which is a warning, stands on every result and
reaches the report; or it **refuses** with a sentence that names the column or the count and says what to do. Nothing
is dropped without being counted in the flow of exclusions, and no message holds a value of a row or the name of a
unit (but codes of arms and exits that at least ten rows share).

Each kind is tried in every form in which it can occur ({forms}), and on every design, estimator and check; where
tables of polars, Arrow or DuckDB can hold it, on those, and with `impact run`. The sentences are those of the first
form. This page is written by `python -m tests.messages` from the table that the tests run.

| kind | what impact does | the sentence |
|---|---|---|
"""
PAGE_FILES = """
## Files

`impact.read` and `impact run` take CSV, Parquet, Stata, SAS and SPSS. In a CSV file a column is numbers only if every
value is a number; codes with leading zeros, long identifiers and dates stay text; text that is not UTF-8 is read as
Windows-1252, with a note.

| file | the sentence |
|---|---|"""
DOES = {"same": "the right answer", "noted": "an answer with a note, or a sentence", "refused": "refuses"}


def page(content: dict[str, dict[str, list[str]]]) -> str:
    forms = "; ".join(form.words for form in FORMS.values())
    rows = [f"| {_cell(k.name)} | {DOES[k.does]} | {_cell(_sentence(content[k.name]))} |" for k in KINDS]
    files = [f"| {_cell(broken)} | {_cell(said)} |" for broken, said in content["files"].items()]
    return "\n".join([PAGE_HEAD.format(forms=forms) + "\n".join(rows), PAGE_FILES, *files, ""])


def _sentence(found: dict[str, list[str]]) -> str:
    said = next((said for said in found.values() if said), [""])
    error = next((line for line in said if "Error: " in line), None)
    return said[0].split("note: ", 1)[-1] if error is None else error.split("Error: ", 1)[1]


def _cell(text: str) -> str:
    return text.replace("\\\\", "\\\\\\\\").replace("|", "\\\\|").replace("<", "&lt;").replace("$", "\\\\$")
