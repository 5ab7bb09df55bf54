"""The documentation says what the code does, and leads where it says."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import impact

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MODULES = sorted(m.name for m in pkgutil.walk_packages(impact.__path__, "impact.") if m.name != "impact.__main__")
pytestmark = pytest.mark.filterwarnings("ignore::impact.ImpactWarning")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8").replace("\n", " ")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("module", MODULES)
def test_examples_in_docstrings_run(module):
    found = importlib.import_module(module)
    result = doctest.testmod(found, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0


def test_the_page_of_methods_is_what_the_docstrings_say():
    spec = importlib.util.spec_from_file_location("make_methods", ROOT / "docs" / "make_methods.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    written = (ROOT / "docs" / "methods.md").read_text("utf-8")
    assert written == maker.page(), "run: python docs/make_methods.py"


def test_the_readmes_python_runs_and_every_name_it_promises_exists():
    text = (ROOT / "README.md").read_text("utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.S):
        exec(compile(block, "README.md", "exec"), {})  # noqa: S102  our own file
    for name in set(re.findall(r"`((?:matching|survival|did|checks)\.[\w.]+)`", text)):
        module, _, last = name.rpartition(".")
        try:
            importlib.import_module(f"impact.{name}")
        except ModuleNotFoundError:
            assert hasattr(importlib.import_module(f"impact.{module}"), last), name


def test_every_public_name_has_a_docstring():
    bare = []
    for module in MODULES:
        found = importlib.import_module(module)
        if not found.__doc__:
            bare.append(module)
        bare += [
            f"{module}.{name}"
            for name, thing in vars(found).items()
            if not name.startswith("_")
            and getattr(thing, "__module__", None) == module
            and (inspect.isfunction(thing) or inspect.isclass(thing))
            and not thing.__doc__
        ]
    assert not bare
