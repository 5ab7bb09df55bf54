"""The record: a study's question, sample, answers and doubts, as a page to read and files for a paper."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from impact.check import Check
from impact.estimate import Estimate
from impact.sample import FlowStep, Sample
from impact.show import bibliography, escape, figures, pages, tables
from impact.study import Study

Exhibit = Estimate | Check | str
PACKAGES = ("numpy", "scipy", "pandas", "statsmodels", "linearmodels", "scikit-learn", "matplotlib", "formulaic",
            "joblib", "narwhals", "jinja2")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Chapter:
    """What may be told of one sample, and the exhibits that speak of it; no unit is in it."""

    title: str
    study: Study
    flow: tuple[FlowStep, ...]
    steps: tuple[str, ...]
    notes: tuple[str, ...]
    fingerprint: str
    exhibits: tuple[Exhibit, ...]

    @classmethod
    def of(cls, sample: Sample, exhibits: Sequence[Exhibit], title: str) -> Chapter:
        free = tuple(e.released() if isinstance(e, Estimate) else e for e in exhibits)
        return cls(title, sample.study, sample.flow, sample.steps, sample.notes, sample.fingerprint, free)


@dataclass(frozen=True, eq=False)
class Report:
    """Chapters in reading order: a sample, then the estimates, checks and paragraphs that speak of it.

    Reports are added: ``Report.of(matched, balance(matched), effect) + Report.of(weighted, other)``. Nothing of
    a unit is in a report: what it holds are released values, tables and words. The same report is written as the
    same bytes.

    Attributes
    ----------
    chapters : the chapters
    summary : findings in sentences, which open the report
    opening : paragraphs before them
    seeds : name to seed, of whatever was drawn at random on the way
    """

    chapters: tuple[Chapter, ...]
    summary: tuple[str, ...] = ()
    opening: tuple[str, ...] = ()
    seeds: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        sample: Sample,
        *exhibits: Exhibit,
        title: str | None = None,
        summary: Sequence[str] = (),
        seeds: Mapping[str, int] | None = None,
    ) -> Report:
        """A report of one chapter.

        Parameters
        ----------
        sample : the sample; its target trial and its flow of exclusions open the chapter.
        exhibits : estimates, checks and paragraphs of text, in reading order.
        title : of the chapter; the study's title, if none.
        summary : findings in sentences, for the opening of the report.
        seeds : name to seed, for the manifest.

        Raises
        ------
        TypeError
            An exhibit is none of these.
        """
        for exhibit in exhibits:
            if not isinstance(exhibit, Estimate | Check | str):
                raise TypeError(
                    f"A report was given an exhibit of type {type(exhibit).__name__}, which it cannot show: give "
                    "estimates, checks or text."
                )
        chapter = Chapter.of(sample, exhibits, sample.study.title if title is None else title)
        return cls((chapter,), tuple(summary), (), dict(seeds or {}))

    def __add__(self, other: Report) -> Report:
        return Report(
            self.chapters + other.chapters,
            self.summary + other.summary,
            self.opening + other.opening,
            {**self.seeds, **other.seeds},
        )

    def preface(
        self, *paragraphs: str, findings: Sequence[str] | None = None, seeds: Mapping[str, int] | None = None
    ) -> Report:
        """The same report with paragraphs before everything, and with other findings if they are given."""
        return replace(
            self,
            opening=(*self.opening, *paragraphs),
            summary=self.summary if findings is None else tuple(findings),
            seeds={**self.seeds, **(seeds or {})},
        )

    def __repr__(self) -> str:
        lines = [f"Report “{self.title}”", *(f"  {finding}" for finding in self.summary)]
        return "\n".join([*lines, *(f"  {c.title}: {len(c.exhibits)} exhibits" for c in self.chapters)])

    @property
    def title(self) -> str:
        """The title of the first chapter's study."""
        return self.chapters[0].study.title

    @property
    def references(self) -> tuple[str, ...]:
        """The keys of everything that is cited, in alphabetical order."""
        return tuple(sorted({key for chapter in self.chapters for key in _cited(chapter)}))

    # ---- writing --------------------------------------------------------------------------

    def write(self, folder: str | Path) -> Path:
        """Write everything into a folder, and return the path of the page.

        ``report.html`` to read; ``report.tex`` with ``chapters/``, ``tables/``, ``figures/`` and
        ``references.bib`` for a paper; ``tables/*.csv`` as data; ``study.toml`` and ``manifest.json`` as the
        record. Files of an earlier report in the folder that this one does not write are removed, unless they
        were changed since.
        """
        document = self._document()
        files = {"report.html": pages.html(document).encode(), **pages.latex(document), **pages.tables(document)}
        files |= {"references.bib": self._bibliography(), **self._studies()}
        files["manifest.json"] = self._manifest(files)
        _clear(Path(folder), set(files))
        _write(Path(folder), files)
        return Path(folder) / "report.html"

    def to_html(self, path: str | Path) -> Path:
        """Write the page alone: one file that needs no other and asks nothing of any server."""
        Path(path).write_bytes(pages.html(self._document()).encode())
        return Path(path)

    def to_latex(self, folder: str | Path) -> Path:
        """Write the LaTeX files alone, and return the path of ``report.tex``."""
        document = self._document()
        _write(Path(folder), {**pages.latex(document), "references.bib": self._bibliography()})
        return Path(folder) / "report.tex"

    # ---- what is written ------------------------------------------------------------------

    def _document(self) -> pages.Document:
        known = _known_works()
        return pages.Document(
            title=self.title,
            chapters=[_chapter(chapter, self.title) for chapter in self.chapters],
            record=_table(_versions(), "What computed it"),
            preface=self.opening,
            findings=self.summary,
            columns=[column for chapter in self.chapters for column in _columns(chapter)],
            references={key: known.get(key) for key in self.references},
            generator=f"impact {_version()}",
            closing="Nothing in this file is a record of a person: it holds estimates, counts and words.",
        )

    def _bibliography(self) -> bytes:
        return bibliography.written(_known_works(), list(self.references)).encode()

    def _studies(self) -> dict[str, bytes]:
        """The studies of the chapters as TOML, each once."""
        texts = list(dict.fromkeys(chapter.study.to_toml() for chapter in self.chapters))
        return {"study.toml" if i == 1 else f"study-{i}.toml": text.encode() for i, text in enumerate(texts, 1)}

    def _manifest(self, files: Mapping[str, bytes]) -> bytes:
        studies = {text.decode(): name for name, text in self._studies().items()}
        content = {
            "written by": "impact",
            "title": self.title,
            "versions": dict(zip(_versions()["package"], _versions()["version"], strict=True)),
            "seeds": dict(self.seeds),
            "preface": list(self.opening),
            "findings": list(self.summary),
            "chapters": [
                {
                    "title": chapter.title,
                    "study": studies[chapter.study.to_toml()],
                    "fingerprint": chapter.fingerprint,
                    "flow": _records(_flow(chapter.flow)),
                    "steps": list(chapter.steps),
                    "notes": list(chapter.notes),
                    "exhibits": [_released(exhibit) for exhibit in chapter.exhibits],
                }
                for chapter in self.chapters
            ],
            "references": list(self.references),
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
        }
        return (json.dumps(_json(content), ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


# ---- a chapter ----------------------------------------------------------------------------


def _chapter(chapter: Chapter, title: str) -> pages.Chapter:
    sections = [*_front(chapter), *(_section(exhibit) for exhibit in chapter.exhibits)]
    return pages.Chapter("The analysis" if chapter.title == title else chapter.title, sections, _cited(chapter))


def _front(chapter: Chapter) -> Iterator[pages.Section]:
    """The question, who can answer it, and what was done with them."""
    yield pages.Section("The target trial", table=_table(_protocol(chapter.study), "The target trial"))
    print_ = f"Fingerprint of the study and its data: {chapter.fingerprint}." if chapter.fingerprint else ""
    flow = _table(_flow(chapter.flow), "Who is compared", notes=[print_])
    yield pages.Section("Who is compared", table=flow)
    if chapter.steps:
        yield pages.Section("What was done", points=[_sentence(step) for step in chapter.steps])
    if chapter.notes:
        yield pages.Section("What to keep in mind", points=[_sentence(note) for note in chapter.notes])


def _section(exhibit: Exhibit) -> pages.Section:
    if isinstance(exhibit, str):
        return pages.Section(paragraphs=[part for part in exhibit.split("\n\n") if part.strip()])
    frame = exhibit.tidy()
    table = pages.Table(exhibit.to_html(), exhibit.to_latex(), tables.csv(frame), len(frame))
    verdict = f"Verdict: {exhibit.verdict}." if isinstance(exhibit, Check) else ""
    return pages.Section(_heading(exhibit), verdict=verdict, picture=_picture(exhibit, frame), table=table)


def _heading(exhibit: Estimate | Check) -> str:
    """What the exhibit is about; an estimate of one outcome names it."""
    if isinstance(exhibit, Check):
        return exhibit.claim
    said = exhibit.estimand or "Estimates"
    outcomes = exhibit.index["outcome"].astype(str).unique() if "outcome" in exhibit.index else []
    if len(outcomes) == 1 and outcomes[0].lower() not in said.lower():
        said = f"{said}: {outcomes[0]}"
    times = exhibit.index["time"].unique() if exhibit.kind == "path" and "time" in exhibit.index else []
    # One time out of a path would else have the name of the whole path.
    return f"{said}, at {times[0]:g} {exhibit.axes.get('time', '')}".strip() if len(times) == 1 else said


def _picture(exhibit: Estimate | Check, frame: pd.DataFrame) -> pages.Picture | None:
    """The exhibit drawn, where a picture says more than one number would."""
    from matplotlib.figure import Figure

    if len(frame) < 2 or not set(figures.KINDS[exhibit.kind][1]) <= set(frame):
        return None
    ax: Any = Figure()
    figure: Any = exhibit.plot(ax=ax).figure
    label = f"{_heading(exhibit)}: {figures.described(figure)}"
    svg = figures.svg(figure, label=label)
    figure.set_layout_engine("none")  # both files get the layout that the first has found
    return pages.Picture(svg, figures.pdf_bytes(figure), _heading(exhibit))


def _table(frame: pd.DataFrame, caption: str, notes: Iterable[str] = ()) -> pages.Table:
    said = [note for note in notes if note]
    return pages.Table(
        tables.html(frame, caption, said), tables.latex(frame, caption, said), tables.csv(frame), len(frame)
    )


def _protocol(study: Study) -> pd.DataFrame:
    return pd.DataFrame(list(study.protocol().items()), columns=["element", "protocol"])


def _flow(flow: Sequence[FlowStep]) -> pd.DataFrame:
    """Who is left after each step, by arm, and how many it left out."""
    frame = pd.DataFrame(
        [(step.step, step.treated, step.comparison, step.other, step.total) for step in flow],
        columns=["step", "treated", "comparison", "other", "total"],
    )
    frame["excluded"] = (-frame["total"].diff().fillna(0)).astype(int)
    return frame if frame["other"].any() else frame.drop(columns="other")


def _columns(chapter: Chapter) -> Iterator[str]:
    """The columns of the chapter's tables, for the list of what they mean."""
    yield from map(str, _flow(chapter.flow))
    for exhibit in chapter.exhibits:
        if isinstance(exhibit, Estimate):
            yield from map(str, exhibit.tidy())
        elif isinstance(exhibit, Check):
            yield from map(str, exhibit.table)


def _cited(chapter: Chapter) -> list[str]:
    keys = {key for exhibit in chapter.exhibits if not isinstance(exhibit, str) for key in exhibit.references}
    return sorted(keys | {"hernan2016"} & set(_known_works()))


def _sentence(words: str) -> str:
    """Words as a sentence: a capital to begin with and a point at the end."""
    said = escape.plain(words)
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "!", "?")) else ".")


# ---- the record ---------------------------------------------------------------------------


def _released(exhibit: Exhibit) -> dict[str, Any]:
    """What may leave the process: values, covariance, counts and words."""
    if isinstance(exhibit, str):
        return {"text": exhibit}
    about = {"references": list(exhibit.references), "notes": list(exhibit.notes)}
    if isinstance(exhibit, Check):
        verdict = {"claim": exhibit.claim, "verdict": exhibit.verdict, "reason": exhibit.reason}
        return {"check": verdict, **about, "table": _records(exhibit.tidy())}
    words = {"estimand": exhibit.estimand, "method": exhibit.method, "scale": exhibit.scale, "df": exhibit.df}
    return {"estimate": words, "counts": dict(exhibit.counts), **about, "values": _records(exhibit.tidy()),
            "covariance": exhibit.vcov.tolist()}  # fmt: skip


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(map(str, frame), row, strict=True)) for row in frame.itertuples(index=False, name=None)]


def _json(value: Any) -> Any:
    """Plain values for JSON: full precision, null for what is missing, words for infinity."""
    if isinstance(value, Mapping):
        return {str(k): _json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_json(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        return None if np.isnan(number) else number if np.isfinite(number) else "inf" if number > 0 else "-inf"
    return None if value is None or value is pd.NA or value is pd.NaT else str(value)


def _versions() -> pd.DataFrame:
    """What computed the report: this package, Python, and the libraries underneath."""
    rows = [("impact", _version()), ("python", platform.python_version())]
    rows += [(name, metadata.version(name)) for name in PACKAGES]
    return pd.DataFrame(rows, columns=["package", "version"])


def _version() -> str:
    # The package that runs, which need not be the one that is installed.
    return str(sys.modules[__name__.partition(".")[0]].__version__)


def _known_works() -> dict[str, bibliography.Entry]:
    return bibliography.read((resources.files("impact") / "references.bib").read_text(encoding="utf-8"))


# ---- files --------------------------------------------------------------------------------


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _clear(folder: Path, kept: set[str]) -> None:
    """Remove what an earlier report left in the folder and this one does not write, unless it was changed since."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        return
    try:
        earlier = json.loads(manifest.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError):
        return  # another program's file: nothing here is known to be ours
    if not isinstance(earlier, dict) or earlier.get("written by") != "impact":
        return
    for name, digest in dict(earlier.get("files", {})).items():
        path = folder / name
        inside = folder.resolve() in path.resolve().parents
        if name not in kept and inside and path.is_file() and _digest(path) == digest:
            path.unlink()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
