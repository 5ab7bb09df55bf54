"""The record: one page that asks nothing of anyone, files for a paper, and no person in any of them."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
import shutil
import subprocess
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from impact import Check, Estimate, Event, Outcome, Study, emulate
from impact.checks.balance import balance
from impact.checks.overlap import overlap
from impact.matching import means, nearest
from impact.report import Report
from impact.survival import aalen_johansen

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "input": r"\input{/etc/passwd}",
    "formula": '=HYPERLINK("x")',
    "signs": "100 % & $x_1$ äö",
}


def register(n=160):
    """A register whose every name is an attack."""
    rng = np.random.default_rng(5)
    private = rng.random(n) < 0.5
    frame = pd.DataFrame(
        {
            "client": [f"person-{i:05d}" for i in range(n)],
            "<b>provider</b> & $x_1$": np.where(private, HOSTILE["script"], HOSTILE["input"]),
            "age": 20 + 40 * rng.random(n),
            "education": rng.choice([HOSTILE["script"], HOSTILE["formula"], HOSTILE["signs"]], n),
            HOSTILE["formula"]: (rng.random(n) < 0.4).astype(int),
            "months": rng.integers(1, 19, n),
            "exit": rng.integers(0, 3, n),
        }
    )
    return frame.sample(frac=1, random_state=1)


STUDY = Study(
    title="Evaluation " + " ".join(HOSTILE.values()),
    unit="client",
    treatment="<b>provider</b> & $x_1$",
    treated=HOSTILE["script"],
    comparison=HOSTILE["input"],
    outcomes=(
        Outcome(HOSTILE["formula"], label=HOSTILE["signs"], unit="100 %"),
        Event("months", "exit", {1: HOSTILE["script"], 2: HOSTILE["input"]}, label=HOSTILE["formula"]),
    ),
    covariates=("age", "C(education)"),
    eligibility={HOSTILE["input"]: "age >= 18"},
    time_zero=HOSTILE["script"],
)


@pytest.fixture(scope="module")
def report():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sample = emulate(STUDY, register())
        matched = nearest.match(sample)
        exhibits = [balance(matched), overlap(sample), means.difference(matched, outcome=HOSTILE["formula"]),
                    aalen_johansen.cumulative_incidence(matched), *HOSTILE.values()]  # fmt: skip
        own = Check(HOSTILE["input"], pd.DataFrame({"term": list(HOSTILE.values()), "mine_%": [1, 2, 3, 4]}),
                    None, "reason", references=("unknown2024",), notes=tuple(HOSTILE.values()))  # fmt: skip
        first = Report.of(matched, *exhibits, own, summary=tuple(HOSTILE.values()), seeds={HOSTILE["script"]: 7})
        other = Report.of(sample, means.difference(sample, outcome=HOSTILE["formula"]), title=HOSTILE["script"])
    return (first + other).preface(*HOSTILE.values())


@pytest.fixture(scope="module")
def folder(report, tmp_path_factory):
    place = tmp_path_factory.mktemp("report")
    assert report.write(place) == place / "report.html"
    return place


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


class Page(HTMLParser):
    """What a browser makes of the page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.style = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.style = tag == "style"

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        if not self.style:
            self.words.append(data)


# ---- the same run, the same bytes ---------------------------------------------------------


def test_the_same_report_is_the_same_bytes(report, folder, tmp_path):
    report.write(tmp_path / "again")
    one, two = contents(folder), contents(tmp_path / "again")
    assert list(one) == list(two)
    assert [name for name in one if one[name] != two[name]] == []
    kinds = {re.sub(r".*\.", "", name) for name in one}
    assert kinds == {"html", "tex", "csv", "pdf", "bib", "toml", "json"}


def test_the_page_and_the_latex_files_can_be_written_alone(report, folder, tmp_path):
    assert report.to_html(tmp_path / "page.html").read_bytes() == (folder / "report.html").read_bytes()
    assert report.to_latex(tmp_path / "tex").read_bytes() == (folder / "report.tex").read_bytes()
    names = set(contents(tmp_path / "tex"))
    assert names == {n for n in contents(folder) if n.endswith((".tex", ".pdf", ".bib"))}


def test_nothing_tells_of_the_place_or_of_a_person(folder):
    for name, content in contents(folder).items():
        text = content.decode("utf-8", errors="replace")
        assert str(folder) not in text and "/work/" not in text and "person-0" not in text, name


# ---- the page -----------------------------------------------------------------------------


def test_the_page_runs_nothing_and_fetches_nothing(folder):
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert not {"script", "iframe", "object", "embed", "img", "b", "form", "base", "foreignobject"} & set(page.tags)
    assert page.tags.count("svg") == 3
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("href", "src", "xlink:href", "action", "data", "srcset"):
            assert value.startswith("#") or value == "data:,", (tag, name, value)
    whole = (folder / "report.html").read_text(encoding="utf-8")
    assert "@import" not in whole and not re.search(r"url\((?!#)", whole)
    policy = next(value for tag, _, value in page.attributes if tag == "meta" and "default-src" in value)
    assert "default-src 'none'" in policy and "script" not in policy


def test_the_page_shows_names_as_they_are(folder):
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    shown = " ".join(page.words)
    assert all(text in shown for text in HOSTILE.values())


def test_the_page_can_be_found_one_s_way_in(folder):
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    found = page.attributes
    ids = [value for _, name, value in found if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for _, name, value in found if name == "href" and value.startswith("#")}
    assert targets <= set(ids) and {"content", "references", "record", "columns"} <= targets
    labelled = {v for _, name, value in found if name == "aria-labelledby" for v in value.split()}
    assert labelled <= set(ids)
    assert ("html", "lang", "en") in found and page.tags.count("h1") == 1 and page.tags.count("main") == 1
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert page.tags.count("table") == page.tags.count("caption")
    assert all(value for tag, name, value in found if tag == "svg" and name == "aria-label")


def test_every_chapter_opens_with_the_trial_and_the_flow(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    headings = re.findall(r"<h([23]) id=\"(?:chapter|section)[^>]*>([^<]*)", text)
    chapters = [i for i, (level, _) in enumerate(headings) if level == "2"]
    assert len(chapters) == 2
    for i in chapters:
        assert [title for _, title in headings[i + 1 : i + 3]] == ["The target trial", "Who is compared"]


# ---- LaTeX --------------------------------------------------------------------------------


def test_no_command_comes_from_a_name(folder):
    for name, content in contents(folder).items():
        if name.endswith(".tex"):
            text = content.decode()
            inputs = re.findall(r"\\input\{([^}]*)\}", text)
            assert all(place.startswith(r"\impactfolder/") for place in inputs), name
    cited = re.findall(
        r"\\label\{([^}]*)\}", "".join(c.decode() for n, c in contents(folder).items() if n.endswith("tex"))
    )
    assert len(cited) == len(set(cited)) and all(re.fullmatch(r"[a-z]+:[a-z0-9-]+", label) for label in cited)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("paper", ["the report itself", "a paper in another folder"])
def test_latex_compiles_and_sets_names_as_they_are(folder, tmp_path, paper):
    shutil.copytree(folder, tmp_path / "report")
    if paper == "the report itself":
        place, name = tmp_path / "report", "report.tex"
    else:
        place, name = tmp_path, "paper.tex"
        chapter = next(n for n in contents(folder) if n.startswith("chapters/01"))
        (tmp_path / name).write_text(
            r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx,longtable}"
            r"\newcommand{\impactfolder}{report}\begin{document}"
            rf"\input{{report/{chapter}}}\bibliographystyle{{plain}}\end{{document}}"
        )
    command = ["pdflatex", "-no-shell-escape", "-halt-on-error", "-interaction=nonstopmode", name]
    for _ in range(2):
        done = subprocess.run(command, cwd=place, capture_output=True, timeout=120)
        log = done.stdout.decode(errors="replace")
        assert done.returncode == 0, log[-3000:]
    assert "multiply defined" not in log and "Missing character" not in log
    if shutil.which("pdftotext"):
        made = (place / name).with_suffix(".pdf").name
        text = subprocess.run(["pdftotext", "-layout", made, "-"], cwd=place, capture_output=True).stdout.decode()
        said = re.sub(r"\s+", "", text)
        for hostile in HOSTILE.values():
            assert re.sub(r"\s+", "", hostile) in said, hostile


# ---- data and record ----------------------------------------------------------------------


def test_no_cell_of_a_table_is_a_formula(folder):
    files = {n: c for n, c in contents(folder).items() if n.endswith(".csv")}
    assert len(files) >= 9
    for name, content in files.items():
        for row in csv.reader(io.StringIO(content.decode())):
            for cell in row:
                number = re.fullmatch(r"-?(\d+(\.\d+)?(e[+-]\d+)?|inf)", cell)
                assert number or cell[:1] not in tuple("=+-@\t\r"), (name, cell)


def test_the_manifest_holds_the_released_values_in_full(report, folder):
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    estimate = next(e for e in report.chapters[0].exhibits if isinstance(e, Estimate))
    kept = next(e for e in manifest["chapters"][0]["exhibits"] if "estimate" in e)
    assert [row["estimate"] for row in kept["values"]] == estimate.value.tolist()
    assert kept["covariance"] == estimate.vcov.tolist() and kept["counts"] == dict(estimate.counts)
    assert manifest["seeds"] == {HOSTILE["script"]: 7} and manifest["findings"] == list(HOSTILE.values())
    assert {"impact", "python", "numpy", "pandas", "matplotlib"} <= set(manifest["versions"])
    assert manifest["chapters"][0]["fingerprint"] == report.chapters[0].fingerprint
    assert manifest["chapters"][0]["flow"][0]["total"] == 160
    assert set(manifest["files"]) == set(contents(folder)) - {"manifest.json"}
    assert not {"scores", "unit", "cluster"} & {key for e in manifest["chapters"][0]["exhibits"] for key in e}


def test_the_study_reads_back_and_only_what_is_cited_is_listed(folder):
    assert Study.from_toml((folder / "study.toml").read_text(encoding="utf-8")) == STUDY
    assert not (folder / "study-2.toml").exists()
    listed = re.findall(r"@\w+\{(\w+),", (folder / "references.bib").read_text(encoding="utf-8"))
    assert "austin2009" in listed and "callaway2021" not in listed and listed == sorted(listed)
    assert "unknown2024" in (folder / "report.html").read_text(encoding="utf-8")


def test_what_an_earlier_report_left_is_removed_unless_it_was_changed(report, tmp_path):
    report.write(tmp_path)
    before = set(contents(tmp_path))
    changed = next(n for n in before if n.startswith("tables/02") and n.endswith(".csv"))
    (tmp_path / changed).write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    one = Report((report.chapters[0],))
    one.write(tmp_path)
    left = set(contents(tmp_path))
    assert changed in left and "notes.txt" in left
    assert not [n for n in left if n.startswith(("chapters/02", "tables/02")) and n != changed]


def test_a_manifest_that_is_not_ours_removes_nothing(report, tmp_path):
    (tmp_path / "keep.txt").write_text("x")
    outside = tmp_path.parent / "outside.txt"
    outside.write_text("x")
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    for text in ("not json", json.dumps({"files": {"keep.txt": digest}}),
                 json.dumps({"written by": "impact", "files": {"../outside.txt": digest}})):  # fmt: skip
        (tmp_path / "manifest.json").write_text(text)
        Report((report.chapters[1],)).write(tmp_path)
        assert (tmp_path / "keep.txt").exists() and outside.exists()


def test_a_report_holds_no_unit(report):
    text = pickle.dumps(report) + repr(report).encode()
    assert b"person-0" not in text
    assert all(e.scores is None for c in report.chapters for e in c.exhibits if isinstance(e, Estimate))


def test_a_report_is_made_of_exhibits(report):
    with pytest.raises(TypeError, match="exhibit of type int.*give estimates, checks or text"):
        Report.of(emulate(STUDY, register()), 3)
    with pytest.raises(AttributeError):
        report.summary = ()
