"""Documents: chapters of words, tables and pictures, as one HTML page and as LaTeX files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from impact.show import cells, escape, templates
from impact.show.bibliography import Entry
from impact.show.glossary import GLOSSARY
from impact.show.tables import LONG
from impact.show.templates import Tex


class Table(NamedTuple):
    """One table in its three forms."""

    html: str
    latex: str
    csv: str
    rows: int


class Picture(NamedTuple):
    """One figure in its two forms, with its caption."""

    svg: str
    pdf: bytes
    caption: str


class Section(NamedTuple):
    """A part of a chapter, in the order in which it is read."""

    title: str = ""
    paragraphs: Sequence[str] = ()
    verdict: str = ""
    points: Sequence[str] = ()
    picture: Picture | None = None
    table: Table | None = None


class Chapter(NamedTuple):
    title: str
    sections: Sequence[Section]
    keys: Sequence[str] = ()


class Document(NamedTuple):
    """A document: what it found, its chapters, and what a reader needs to check it."""

    title: str
    chapters: Sequence[Chapter]
    record: Table
    preface: Sequence[str] = ()
    findings: Sequence[str] = ()
    columns: Sequence[str] = ()
    references: Mapping[str, Entry | None] = {}
    generator: str = "impact"
    closing: str = ""
    language: str = "en"


def html(document: Document) -> str:
    """The document as one HTML page that asks nothing of anyone: no script, no font, no picture from elsewhere."""
    from markupsafe import Markup

    chapters = [
        {
            "title": escape.plain(chapter.title),
            "anchor": f"chapter-{i}",
            "sections": [
                {
                    **section._asdict(),
                    "title": escape.plain(section.title),
                    "anchor": f"section-{i}-{j}",
                    "paragraphs": _paragraphs(section),
                    # Both were escaped where they were made, from the numbers and words themselves.
                    "picture": Markup(section.picture.svg) if section.picture else "",  # noqa: S704
                    "table": Markup(section.table.html) if section.table else "",  # noqa: S704
                }
                for j, section in enumerate(chapter.sections, 1)
            ],
        }
        for i, chapter in enumerate(document.chapters, 1)
    ]
    return templates.html(
        "page.html",
        language=document.language,
        generator=document.generator,
        title=escape.plain(document.title),
        preface=document.preface,
        findings=document.findings,
        chapters=chapters,
        columns=_meanings(document.columns),
        references=[str(entry or key) for key, entry in document.references.items()],
        record=Markup(document.record.html),  # noqa: S704
        closing=document.closing,
    )


def latex(document: Document) -> dict[str, bytes]:
    """The document as files by path: ``report.tex``, and chapters, tables and figures that a paper can take in."""
    files: dict[str, bytes] = {}
    chapters = []
    for i, chapter in enumerate(document.chapters, 1):
        path = f"chapters/{_name(chapter.title, i)}.tex"
        chapters.append(Tex(path))
        files |= _chapter_files(path, chapter, i, document.generator)
    files["tables/record.tex"] = document.record.latex.encode()
    files["report.tex"] = templates.tex(
        "page.tex",
        generator=document.generator,
        title=document.title,
        preface=document.preface,
        findings=document.findings,
        chapters=chapters,
        columns=_meanings(document.columns),
        record=Tex("tables/record.tex"),
        references=[{"key": Tex(_key(k)), "words": str(e or k)} for k, e in document.references.items()],
    ).encode()
    return files


def tables(document: Document) -> dict[str, bytes]:
    """The document's tables as CSV files by path."""
    return {
        f"tables/{_name(section.title, i, j)}.csv": section.table.csv.encode()
        for i, chapter in enumerate(document.chapters, 1)
        for j, section in enumerate(chapter.sections, 1)
        if section.table
    }


def _chapter_files(path: str, chapter: Chapter, i: int, generator: str) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    sections = []
    for j, section in enumerate(chapter.sections, 1):
        name = _name(section.title, i, j)
        said = _paragraphs(section)
        set_: dict[str, Any] = {"title": section.title, "label": Tex(f"sec:{name}"), "points": section.points}
        if section.table:
            files[f"tables/{name}.tex"] = _labelled(section.table.latex, name).encode()
        if section.picture:
            files[f"figures/{name}.pdf"] = section.picture.pdf
            set_ |= {"picture_file": Tex(f"figures/{name}.pdf"), "picture_label": Tex(f"fig:{name}")}
            set_["caption"] = section.picture.caption
        # A picture stands for a long table; the values remain beside it for who needs them.
        shown = section.table is not None and not (section.picture and section.table.rows > LONG)
        after = f"The values behind the figure are in tables/{name}.csv." if section.table and not shown else ""
        set_ |= {"table_file": Tex(f"tables/{name}.tex") if shown else "", "paragraphs": said, "after": after}
        # LaTeX holds only so many floats that wait for a page.
        sections.append({"picture_file": "", "picture_label": "", "caption": "", "pause": j % 8 == 0, **set_})
    files[path] = templates.tex(
        "chapter.tex",
        generator=generator,
        name=Tex(path.removeprefix("chapters/").removesuffix(".tex")),
        title=chapter.title,
        label=Tex(f"sec:{_name(chapter.title, i)}"),
        sections=sections,
        keys=Tex(",".join(_key(k) for k in chapter.keys)),
    ).encode()
    return files


def _name(title: str, *places: int) -> str:
    return "-".join([*(f"{place:02d}" for place in places), escape.slug(title, 40)])


def _labelled(table: str, name: str) -> str:
    """The table under the one label that no other table of the document has."""
    return re.sub(r"\\label\{tab:[a-z0-9-]*\}", rf"\\label{{tab:{name}}}", table, count=1)


def _key(key: str) -> str:
    """A citation key with nothing in it that LaTeX would act on."""
    return re.sub(r"[^A-Za-z0-9:._-]", "", key)


def _paragraphs(section: Section) -> list[dict[str, str]]:
    judged = [{"words": section.verdict, "role": "verdict"}] if section.verdict else []
    return [*judged, *({"words": words, "role": ""} for words in section.paragraphs)]


def _meanings(columns: Sequence[str]) -> list[dict[str, str]]:
    """The headings of the columns that were used, each with its sentence, in the glossary's order."""
    used = set(columns) - {"conf_high", "band_high"}
    span = {"heading": "95% interval", "meaning": cells.INTERVAL_MEANING}
    return [
        span if name == "conf_low" else {"heading": entry.heading, "meaning": entry.meaning}
        for name, entry in GLOSSARY.items()
        if name in used
    ]
