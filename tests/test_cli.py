"""The command line as a new user meets it: the demo, one's own data in three formats, and what goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from impact.cli import main

NSW = """
data = "{data}"
title = "National Supported Work against a survey"
unit = "person"
treatment = "treat"
covariates = ["age", "educ", "black", "hisp", "marr", "nodegree", "re74", "re75"]
[[outcomes]]
column = "re78"
label = "earnings in 1978"
unit = "dollars"
"""


@pytest.fixture(scope="module")
def nsw() -> pd.DataFrame:
    """The 185 treated of Dehejia and Wahba (1999) with CPS-1, 15,992 people of a survey."""
    from causaldata import cps_mixtape, nsw_mixtape

    treated = nsw_mixtape.load_pandas().data.query("treat == 1")
    people = pd.concat([treated, cps_mixtape.load_pandas().data], ignore_index=True).drop(columns="data_id")
    return people.astype(dict.fromkeys(("re74", "re75", "re78"), "float64")).assign(person=range(len(people)))


def write(people: pd.DataFrame, path: Path) -> None:
    {".csv": lambda: people.to_csv(path, index=False), ".dta": lambda: people.to_stata(path, write_index=False),
     ".parquet": lambda: people.to_parquet(path)}[path.suffix]()  # fmt: skip


@pytest.fixture(scope="module")
def runs(nsw, tmp_path_factory) -> dict[str, Path]:
    """The same study run on the same people in three formats."""
    folder = tmp_path_factory.mktemp("nsw")
    out = {}
    for ending in ("csv", "dta", "parquet"):
        write(nsw, folder / f"nsw.{ending}")
        (folder / f"{ending}.toml").write_text(NSW.format(data=f"nsw.{ending}"), "utf-8")
        assert main(["run", str(folder / f"{ending}.toml")]) == 0
        out[ending] = folder / ending
    return out


def exhibits(run: Path) -> list[dict]:
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    return [e for chapter in manifest["chapters"] for e in chapter["exhibits"]]


def by_method(run: Path) -> dict[str, float]:
    rows = next(e["values"] for e in exhibits(run) if "method" in (e.get("values") or [{}])[0])
    return {r["method"]: r["estimate"] for r in rows}


@pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
def test_three_formats_give_the_same_numbers(runs):
    assert exhibits(runs["csv"]) == exhibits(runs["dta"]) == exhibits(runs["parquet"])
    prints = {json.loads((r / "manifest.json").read_text("utf-8"))["chapters"][0]["fingerprint"] for r in runs.values()}
    assert len(prints) == 1


@pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
def test_the_comparison_group_moves_the_answer_towards_the_experiment(runs):
    """LaLonde's problem: the naive difference is -8,497.5 dollars, the experiment says +1,794."""
    answers = by_method(runs["csv"])
    assert round(answers["no adjustment"], 1) == -8497.5
    for method in ("matched", "matched, with regression", "weighted by the odds", "doubly robust"):
        assert abs(answers[method] - 1794) < 1000, method


@pytest.mark.filterwarnings("ignore::impact.ImpactWarning")
def test_the_report_says_where_the_groups_still_differ(runs):
    checks = [e["check"] for e in exhibits(runs["csv"]) if "check" in e]
    assert any(c["verdict"] == "does not hold" for c in checks)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, str]:
    """The demo's folder and what it said."""
    folder = tmp_path_factory.mktemp("demo")
    return folder / "out", run_demo(folder, "out")


def run_demo(folder: Path, out: str, **environment: str) -> str:
    """The demo in a process of its own; what it said."""
    command = [sys.executable, "-m", "impact", "demo", "helsinki", "--out", out]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    run = subprocess.run(command, cwd=folder, check=True, capture_output=True, encoding="utf-8", env=environment)
    return run.stdout


def test_the_demo_tells_the_truth_beside_what_it_found(demo, tmp_path):
    out, said = demo
    assert "SIMULATED" in said and "95% interval" in said.splitlines()[-2]
    assert said.splitlines()[-1].strip().startswith("The true effect in this simulation is +")
    assert {"report.html", "report.tex", "manifest.json", "helsinki.csv", "helsinki.toml"} <= {
        p.name for p in out.iterdir()
    }
    # … and what it wrote can be run: the same command on the written file finds the same.
    assert main(["run", str(out / "helsinki.toml"), "--out", str(tmp_path / "again")]) == 0
    assert exhibits(tmp_path / "again") == exhibits(out)


def test_the_same_run_gives_the_same_bytes(demo, tmp_path):
    """In another process, another folder, and another order of Python's own hashes."""
    first, _ = demo
    run_demo(tmp_path, "again", PYTHONHASHSEED="7")
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert len(files) > 20
    for f in files:
        assert (first / f).read_bytes() == (tmp_path / "again" / f).read_bytes(), f


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("treat\"", "trial\""), "`trial`"),
        (("\"age\", ", "\"years\", "), "`years`"),
        (("data = \"nsw.csv\"", ""), "names no data"),
        (("nsw.csv", "absent.csv"), "absent.csv"),
        (("title =", "title"), "not valid TOML"),
        (("unit = \"person\"", "unit = \"person\"\nestimand = \"LATE\""), "`estimand`"),
        (("unit = \"person\"", "unit = \"person\"\ncolour = \"red\""), "`colour`"),
        (("[[outcomes]]", "[plan]\nratios = 2\n[[outcomes]]"), "`ratios`"),
        (("[[outcomes]]", "[eligibility]\n\"old\" = \"age > 99\"\n[[outcomes]]"), "leaves nobody of 16177"),
    ],
)
def test_a_study_that_does_not_fit_is_refused_in_one_sentence(nsw, tmp_path, capsys, change, said):
    write(nsw, tmp_path / "nsw.csv")
    text = NSW.format(data="nsw.csv").replace(*change, 1)
    assert text != NSW.format(data="nsw.csv")
    (tmp_path / "study.toml").write_text(text, "utf-8")
    assert main(["run", str(tmp_path / "study.toml")]) == 2
    err = capsys.readouterr().err
    last = err.strip().splitlines()[-1]
    assert last.startswith("impact: ") and said in last and "Traceback" not in err


def test_a_missing_study_file_is_said(tmp_path, capsys):
    assert main(["run", str(tmp_path / "none.toml")]) == 2
    assert "no study file" in capsys.readouterr().err


def test_a_fault_of_the_package_is_not_hidden(monkeypatch, tmp_path):
    def broken(*_):
        raise KeyError("inside numpy")

    (tmp_path / "study.toml").write_text(NSW.format(data="x.csv"), "utf-8")
    monkeypatch.setattr("impact.cli._read_study", broken)
    with pytest.raises(KeyError):
        main(["run", str(tmp_path / "study.toml")])


def test_help_teaches(capsys):
    for arguments in ([], ["--help"]):
        try:
            main(arguments)
        except SystemExit as end:
            assert end.code == 0
        said = capsys.readouterr().out
        assert "impact demo helsinki" in said and "[[outcomes]]" in said and "impact run study.toml" in said
