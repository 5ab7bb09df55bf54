"""The command line: `impact demo helsinki` shows the work, `impact run study.toml` does it."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import impact
from impact import toml
from impact.sample import ImpactWarning

if TYPE_CHECKING:
    from impact.evaluation import Evaluation

EPILOG = """\
the way in:
  impact demo helsinki            a simulated pilot whose true effects are known: report, tables, figures
  impact run study.toml           your own pilot: the study file names the data and the protocol

a study file:
  data = "clients.csv"            # CSV, Parquet, Stata .dta or SAS .sas7bdat, beside the study file
  title = "Private and public employment services"
  unit = "client"
  treatment = "provider"
  treated = "private"
  comparison = "public"
  covariates = ["age", "C(education)", "bs(income, 4)"]
  [eligibility]
  "aged 30 or over" = "age >= 30"
  [[outcomes]]
  column = "employed_12m"
  label = "in a job at 12 months"
  [plan]                          # optional: ratio, caliper, replace, exact, times, horizon
  ratio = 2

The demo writes such a file, with its data, into its folder: change it and run it again.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 2 when a study does not fit its data."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if chosen.command is None:
        parser.print_help()
        return 0
    try:
        with _notes_said():
            chosen.do(chosen)
    except (KeyError, ValueError, TypeError, OSError) as problem:
        if not isinstance(problem, OSError) and not _ours(problem):
            raise
        text = problem.args[0] if isinstance(problem, KeyError) and problem.args else problem
        print(f"impact: {text}", file=sys.stderr)
        return 2
    return 0


def _ours(problem: BaseException) -> bool:
    """Whether this package raised the error on purpose, in words; anything else is a fault and shows its trace."""
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0] == "impact"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="impact",
        description="Tell what a public pilot really did: build a comparison group, estimate effects, write a report.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"impact {impact.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")

    demo = commands.add_parser("demo", help="evaluate a simulated pilot with known true effects")
    demo.add_argument("name", choices=sorted(DEMOS), help="which pilot")
    demo.add_argument("--seed", type=int, default=1, help="the seed of the simulation (default 1)")
    demo.add_argument("--out", type=Path, help="folder for the report (default impact-NAME)")
    demo.set_defaults(do=_demo)

    run = commands.add_parser(
        "run", help="evaluate your own pilot from a study file",
        description="Evaluate the pilot that a study file declares, and write a report: HTML for a browser, "
        "LaTeX tables and PDF figures for a paper, CSV tables, and a manifest.",
    )  # fmt: skip
    run.add_argument("study", type=Path, help="the study file (TOML); `impact --help` shows one")
    run.add_argument("--data", type=Path, help="the data, instead of the file that the study names")
    run.add_argument("--out", type=Path, help="folder for the report (default: the study file's name)")
    run.set_defaults(do=_run)
    return parser


# ---- run ----------------------------------------------------------------------------------


def _run(chosen: argparse.Namespace) -> None:
    study, plan, named = _read_study(chosen.study)
    if chosen.data is None and named is None:
        raise ValueError(
            f"The study file {chosen.study.name} names no data: add a line `data = \"clients.csv\"`, or use --data."
        )
    path = chosen.data or chosen.study.parent / named
    from impact.registers import files

    with _progress() as tell:
        tell(f"reading {path.name}")
        evaluation = _evaluate(study, files.read(path), plan, tell)
        folder = chosen.out or chosen.study.with_suffix("")
        written = evaluation.report.write(folder)
    print("\n".join(evaluation.findings))
    print(f"\nReport: {written}")


def _read_study(path: Path) -> tuple[Any, Any, str | None]:
    from impact.evaluation import Plan
    from impact.study import Study

    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"The study file {path.name} is not UTF-8 text: save it as UTF-8.") from None
    except FileNotFoundError:
        raise ValueError(f"There is no study file {path}: check the path.") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder: name the study file in it.") from None
    content = toml.loads(text)
    named, plan = content.pop("data", None), Plan.from_mapping(content.pop("plan", {}))
    return Study.from_mapping(content), plan, named


def _evaluate(study: Any, data: Any, plan: Any, tell: Callable[[str], None]) -> Evaluation:
    from impact.evaluation import evaluate

    return evaluate(study, data, plan=plan, tell=tell)


# ---- demo ---------------------------------------------------------------------------------


def _demo(chosen: argparse.Namespace) -> None:
    DEMOS[chosen.name](chosen.seed, chosen.out or Path(f"impact-{chosen.name}"))


def _helsinki(seed: int, folder: Path) -> None:
    from impact.datasets import helsinki
    from impact.evaluation import Plan
    from impact.study import Study

    with _progress() as tell:
        tell("simulating the register")
        city = helsinki(seed)
        text = resources.files("impact.datasets").joinpath("helsinki.toml").read_text("utf-8")
        content = toml.loads(text)
        plan = Plan.from_mapping(content.pop("plan", {}))
        content.pop("data", None)
        study = Study.from_mapping(content)
        evaluation = _evaluate(study, city.clients, plan, tell)
        truths = [_truth(city, row) for e in evaluation.headline for row in e.index.to_dict("records")]
        tell("writing the report")
        report = evaluation.report.preface(
            "The data are SIMULATED: no person in them exists, and they say nothing about the real pilot. "
            "Because they are simulated the true effects are known; they stand beside the findings.",
            findings=[f"{said} {true}" for said, true in zip(evaluation.findings, truths, strict=True)],
        )
        written = report.write(folder)
        city.clients.to_csv(folder / "helsinki.csv", index=False)
        (folder / "helsinki.toml").write_text(text, "utf-8")
    print(city.describe(), end="\n\n")
    print(f"Report: {written}\nYour turn: change the study file and run it: impact run {folder / 'helsinki.toml'}\n")
    for said, true in zip(evaluation.findings, truths, strict=True):
        print(f"{said}\n    {true}")


def _truth(city: Any, row: dict[str, Any]) -> str:
    """The simulation's own effect for a value of the headline."""
    if "cause" in row:
        true = city.effect("months", cause=row["cause"], time=int(row["time"]))
    else:
        true = city.effect("employed", time=12)
    return f"The true effect in this simulation is {100 * true:+.1f} percentage points.".replace("-", "−")


DEMOS: dict[str, Callable[[int, Path], None]] = {"helsinki": _helsinki}


# ---- talking ------------------------------------------------------------------------------


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Say what is being done on the error stream: with tqdm if it is there, else a line each."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield lambda said: print(f"… {said}", file=sys.stderr, flush=True)
        return
    with tqdm(bar_format="{desc} [{elapsed}]", leave=False, file=sys.stderr) as bar:
        yield bar.set_description_str


@contextmanager
def _notes_said() -> Iterator[None]:
    """Warnings of this package as plain notes on the error stream; others as they are."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, ImpactWarning):
            print(f"note: {message}", file=sys.stderr)
        else:
            usual(message, category, *rest)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        warnings.simplefilter("always", ImpactWarning)
        yield


if __name__ == "__main__":
    sys.exit(main())
