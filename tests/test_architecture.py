"""The floors of the house, kept by reading the imports of every module, those inside functions too.

Each rule is a function from a module to its faults. One test runs it over the package, another plants
a fault and sees that it is found.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "impact"
TOP = "impact"  # the name under which impact/__init__.py is imported

ROOMS = {  # every module or folder directly under impact/, by the floor it stands on
    0: {"core", "show", "registers", "datasets"},
    1: {
        *("study", "sample", "estimate", "check"),
        # the doors of the nouns: from a file or a table to arrays
        *("toml", "expressions", "rules", "terms", "columns", "frames", "recipe", "covariates"),
        *("panels", "events", "emulation", "scales", "stacking", "places"),
    },
    2: {"matching", "did", "survival", "programmes", "checks"},
    3: {"report", "evaluation", "disclosure"},
    4: {"cli", "__main__", TOP},
}
FLOOR = {room: floor for floor, rooms in ROOMS.items() for room in rooms}
APART = [ROOMS[0], ROOMS[2]]  # rooms of these floors do not import each other

NOUNS = {"Study", "Outcome", "Event", "Sample", "Estimate", "Check", "Report"}
TABLES = {"pandas", "polars", "pyarrow", "narwhals", "duckdb", "ibis"}
HEAVY = {
    *("statsmodels", "scipy.stats", "matplotlib", "sklearn", "formulaic", "jinja2", "linearmodels"),
    *("duckdb", "ibis", "polars", "pyarrow"),
}
NETWORK = {
    *("socket", "ssl", "http", "urllib.request", "urllib3", "ftplib", "smtplib", "socketserver", "xmlrpc"),
    *("requests", "httpx", "aiohttp", "websockets", "asyncio"),
}


@dataclass(frozen=True)
class Import:
    """One imported module, with the line, and whether it is paid for when the file is imported."""

    name: str
    line: int
    at_once: bool


@dataclass(frozen=True)
class Module:
    """A file of the package: its path under impact/ and its syntax tree."""

    path: Path
    tree: ast.Module

    @classmethod
    def of(cls, path: str | Path, source: str) -> Module:
        return cls(Path(path), ast.parse(source))

    @property
    def room(self) -> str:
        first = self.path.parts[0].removesuffix(".py")
        return TOP if first == "__init__" else first

    @property
    def imports(self) -> list[Import]:
        package = (TOP, *self.path.parts[:-1])
        return [found for node in self.tree.body for found in _imports(node, package, at_once=True)]


def _imports(node: ast.AST, package: tuple[str, ...], *, at_once: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, at_once) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else ()
        source = ".".join([*above, *([node.module] if node.module else [])])
        # `from impact import study` imports a module, `from scipy import stats` too: name what was asked for
        yield from (Import(f"{source}.{alias.name}", node.lineno, at_once) for alias in node.names)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        at_once = False
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        at_once = False
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, package, at_once=at_once)


def _of(name: str, libraries: set[str]) -> bool:
    return any(name == library or name.startswith(library + ".") for library in libraries)


def _rooms_imported(module: Module) -> Iterator[tuple[str, int]]:
    for found in module.imports:
        if _of(found.name, {TOP}):
            parts = found.name.split(".")
            room = parts[1] if len(parts) > 1 else TOP
            # `from impact import Study` asks the top of the house for a name
            yield (room if room in FLOOR or _exists(room) else TOP), found.line


def _exists(room: str) -> bool:
    return (ROOT / room).is_dir() or (ROOT / f"{room}.py").is_file()


def stands_on_a_floor(module: Module) -> list[str]:
    return [] if module.room in FLOOR else [f"{module.path} stands on no floor: add it to ROOMS"]


def looks_down(module: Module) -> list[str]:
    """A module imports from its own floor or below, and floors 0 to 3 never from the top of the house."""
    mine = FLOOR.get(module.room, 0)
    return [
        f"{module.path}:{line} (floor {mine}) imports {room} (floor {FLOOR.get(room)})"
        for room, line in _rooms_imported(module)
        if FLOOR.get(room, 9) > mine
    ]


def leaves_neighbours_alone(module: Module) -> list[str]:
    """Topics do not import each other, nor do core, show, registers and datasets."""
    neighbours = {room for rooms in APART if module.room in rooms for room in rooms} - {module.room}
    return [
        f"{module.path}:{line} imports its neighbour {room}"
        for room, line in _rooms_imported(module)
        if room in neighbours
    ]


def knows_no_noun(module: Module) -> list[str]:
    """core, show, registers and datasets take and return arrays, tables and words, and name no noun."""
    if module.room not in ROOMS[0]:
        return []
    named = [node for node in ast.walk(module.tree) if isinstance(node, ast.Name) and node.id in NOUNS]
    return [f"{module.path}:{node.lineno} names {node.id}" for node in named]


def leaves_tables_at_the_door(module: Module) -> list[str]:
    """Methods see arrays: data frames are for the nouns' doors, the shows, the registers and the data.

    A check builds its evidence, which is a pandas table by definition; it sees the sample as arrays too.
    """
    if module.room != "core" and module.room not in ROOMS[2]:
        return []
    tables = TABLES - ({"pandas"} if module.room == "checks" else set())
    return [f"{module.path}:{i.line} imports {i.name}" for i in module.imports if _of(i.name, tables)]


def prints_nothing(module: Module) -> list[str]:
    """Only the command line writes to the screen."""
    if module.room in {"cli", "__main__"}:
        return []
    faults = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            faults.append(f"{module.path}:{node.lineno} prints")
        if isinstance(node, ast.Attribute) and node.attr in {"stdout", "stderr"}:
            faults.append(f"{module.path}:{node.lineno} uses {node.attr}")
    return faults


def calls_nobody(module: Module) -> list[str]:
    """Nothing here can reach a network."""
    return [f"{module.path}:{i.line} imports {i.name}" for i in module.imports if _of(i.name, NETWORK)]


def runs_no_text(module: Module) -> list[str]:
    """No text is run as code, and no pickle is read or written by name."""
    calls = [n for n in ast.walk(module.tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    return [f"{module.path}:{n.lineno} calls {n.func.id}" for n in calls if n.func.id in {"eval", "exec"}] + [
        f"{module.path}:{i.line} imports {i.name}"
        for i in module.imports
        if _of(i.name, {"pickle", "dill", "cloudpickle", "marshal", "shelve"})
    ]


def imports_late(module: Module) -> list[str]:
    """Heavy libraries are imported in the functions that use them."""
    return [
        f"{module.path}:{i.line} imports {i.name} at the top"
        for i in module.imports
        if i.at_once and _of(i.name, HEAVY)
    ]


def swallows_nothing(module: Module) -> list[str]:
    """No exception is caught whole, unless only to be raised again in words, and no warning silenced."""
    faults = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler) and (
            node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})
        ) and not (node.type is not None and len(node.body) == 1 and isinstance(node.body[0], ast.Raise)):
            faults.append(f"{module.path}:{node.lineno} catches everything")
        if isinstance(node, ast.Call) and re.match(
            r"(\w+\.)*(simplefilter|filterwarnings)\('ignore'", ast.unparse(node)
        ):
            faults.append(f"{module.path}:{node.lineno} silences warnings")
    return faults


RULES: list[Callable[[Module], list[str]]] = [
    stands_on_a_floor,
    looks_down,
    leaves_neighbours_alone,
    knows_no_noun,
    leaves_tables_at_the_door,
    prints_nothing,
    calls_nobody,
    runs_no_text,
    imports_late,
    swallows_nothing,
]

PLANTED = [
    (stands_on_a_floor, "attic/trunk.py", "x = 1"),
    (looks_down, "core/moments.py", "def f():\n    from impact.sample import Sample"),
    (looks_down, "study.py", "from impact.report import Report"),
    (looks_down, "matching/means.py", "from impact import Sample"),
    (looks_down, "estimate.py", "from . import report"),
    (looks_down, "did/two_way.py", "if TYPE_CHECKING:\n    from impact import cli"),
    (leaves_neighbours_alone, "checks/balance.py", "def f():\n    import impact.matching.nearest"),
    (leaves_neighbours_alone, "did/two_way.py", "from ..survival import cox"),
    (leaves_neighbours_alone, "core/moments.py", "from impact.show import words"),
    (knows_no_noun, "show/tables.py", "def table(estimate: Estimate) -> str: ..."),
    (leaves_tables_at_the_door, "core/moments.py", "import pandas as pd"),
    (leaves_tables_at_the_door, "survival/cox.py", "def f():\n    from polars import DataFrame"),
    (leaves_tables_at_the_door, "checks/balance.py", "import narwhals"),
    (prints_nothing, "survival/cox.py", "def f():\n    print(1)"),
    (prints_nothing, "report.py", "import sys\nsys.stdout.write('')"),
    (calls_nobody, "report.py", "def f():\n    import urllib.request"),
    (calls_nobody, "cli.py", "from urllib import request"),
    (runs_no_text, "study.py", "eval('1')"),
    (runs_no_text, "estimate.py", "def f():\n    import pickle"),
    (imports_late, "survival/cox.py", "from scipy import stats"),
    (imports_late, "show/figures.py", "import matplotlib.pyplot as plt"),
    (imports_late, "show/figures.py", "class A:\n    import sklearn"),
    (swallows_nothing, "study.py", "try:\n    f()\nexcept Exception:\n    pass"),
    (swallows_nothing, "study.py", "try:\n    f()\nexcept Exception:\n    x = 1\n    raise"),
    (swallows_nothing, "study.py", "try:\n    f()\nexcept:\n    raise"),
    (swallows_nothing, "study.py", "import warnings\nwarnings.simplefilter('ignore')"),
]
ALLOWED = [
    ("survival/cox.py", "def f():\n    from scipy import stats\n    from impact.core import moments"),
    ("checks/balance.py", "from impact.check import Check\nif TYPE_CHECKING:\n    import matplotlib"),
    ("cli.py", "from impact import Study\nfrom impact.report import Report\nprint(1)"),
    ("registers/files.py", "try:\n    f()\nexcept Exception as e:\n    raise ValueError('in words') from None"),
    ("cli.py", "import warnings\nwarnings.simplefilter('always')"),
    ("estimate.py", "import pandas as pd\nfrom impact.show import tables\nfrom urllib.parse import quote"),
    ("matching/nearest.py", "from impact.matching import means\nfrom . import propensity\nimport scipy.special"),
]


def modules() -> list[Module]:
    found = [Module.of(p.relative_to(ROOT), p.read_text(encoding="utf-8")) for p in sorted(ROOT.rglob("*.py"))]
    assert found, f"no modules under {ROOT}"
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps(rule):
    assert [fault for module in modules() for fault in rule(module)] == []


@pytest.mark.parametrize(
    ("rule", "path", "source"), PLANTED, ids=[f"{r.__name__}-{i}" for i, (r, *_) in enumerate(PLANTED)]
)
def test_a_planted_fault_is_found(rule, path, source):
    assert rule(Module.of(path, source))


@pytest.mark.parametrize(("path", "source"), ALLOWED, ids=range(len(ALLOWED)))
def test_what_is_allowed_is_let_be(path, source):
    assert [fault for rule in RULES for fault in rule(Module.of(path, source))] == []


def test_every_rule_has_a_planted_fault():
    assert {rule for rule, *_ in PLANTED} == set(RULES)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT.parent, capture_output=True, text=True, check=True)


def test_importing_the_package_loads_no_heavy_library():
    run = _run("-c", "import sys, impact; print(*sorted(sys.modules))")
    loaded = set(run.stdout.split())
    before = set(_run("-c", "import sys, numpy, pandas; print(*sorted(sys.modules))").stdout.split())
    assert "impact.study" in loaded
    ours = loaded - before  # pandas itself loads pyarrow when it is there
    assert sorted(name for name in ours if _of(name, HEAVY | NETWORK)) == []


def test_import_time_is_reported():
    """The figure is for the eye (`pytest -rP`): a machine under load must not fail the build."""
    run = _run("-X", "importtime", "-c", "import numpy, pandas; import impact")
    figures = re.findall(r"^import time:\s+\d+ \|\s+(\d+) \| (\S+)$", run.stderr, flags=re.MULTILINE)
    cost = {name: int(microseconds) / 1e6 for microseconds, name in figures}
    print(f"import impact: {cost['impact']:.3f} s beyond numpy and pandas")
    assert cost["impact"] > 0
