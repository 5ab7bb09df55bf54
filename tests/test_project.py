"""The project's own papers agree with each other: versions, dependencies, locks, licence, commands."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import impact

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = ["requirements.lock", "requirements-lowest.lock", "uv.lock"]
DIRECT = [Requirement(r) for r in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"])]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pins(name: str) -> dict[str, set[Version]]:
    """Package to the versions that a lock file pins, which may differ between Pythons."""
    found: dict[str, set[Version]] = {}
    for package, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", text(name), flags=re.MULTILINE):
        found.setdefault(canonicalize_name(package), set()).add(Version(version))
    return found


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git repository")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_versions_agree():
    citation = yaml.safe_load(text("CITATION.cff"))
    assert impact.__version__ == PROJECT["version"] == str(citation["version"])
    assert f"## {impact.__version__}" in text("CHANGELOG.md")


def test_citation_has_what_its_format_asks():
    """The schema itself (1.2.0) is checked with cffconvert; these are its required keys and their kinds."""
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software" and citation["license"] == "BSD-3-Clause"
    assert all(isinstance(citation[key], str) and citation[key] for key in ("title", "message", "abstract"))
    assert [author["name"] for author in citation["authors"]] == ["The impact developers"]
    allowed = {"cff-version", "message", "type", "title", "abstract", "authors", "version", "license", "keywords"}
    optional = {"date-released", "doi", "identifiers", "references", "repository-code", "url", "preferred-citation"}
    assert set(citation) <= allowed | optional
    assert len(set(citation["keywords"])) == len(citation["keywords"])


def test_licence_is_the_one_declared():
    assert text("LICENSE").startswith("BSD 3-Clause License") and "The impact developers" in text("LICENSE")


def test_dependencies_have_lower_bounds_and_no_upper_caps():
    every = [Requirement(r) for r in PROJECT["dependencies"]]
    every += [Requirement(r) for extra in PROJECT["optional-dependencies"].values() for r in extra]
    for requirement in every:
        assert {s.operator for s in requirement.specifier} == {">="}, requirement.name


def test_every_dependency_has_its_reason():
    reasons = text("docs/decisions/0001-dependencies.md").lower()
    extras = {Requirement(r).name for extra in ("registers", "report", "test") for r in
              PROJECT["optional-dependencies"][extra]}  # fmt: skip
    for name in {Requirement(r).name for r in PROJECT["dependencies"]} | extras:
        assert name.lower() in reasons, name


def test_lock_holds_every_dependency_within_its_bounds():
    pinned = pins("requirements.lock")
    for requirement in DIRECT:
        versions = pinned[canonicalize_name(requirement.name)]
        assert all(version in requirement.specifier for version in versions), requirement.name


def test_lowest_lock_holds_the_lower_bounds_themselves():
    pinned = pins("requirements-lowest.lock")
    for requirement in DIRECT:
        (bound,) = [Version(s.version) for s in requirement.specifier]
        assert pinned[canonicalize_name(requirement.name)] == {bound}, requirement.name


def test_uv_lock_is_of_this_project():
    packages = {p["name"]: p for p in tomllib.loads(text("uv.lock"))["package"]}
    mine = packages["impact"]["metadata"]["requires-dist"]
    locked = {(canonicalize_name(r["name"]), r.get("specifier", "")) for r in mine}
    declared = [Requirement(r) for r in PROJECT["dependencies"]]
    declared += [Requirement(r) for extra in PROJECT["optional-dependencies"].values() for r in extra]
    assert locked == {(canonicalize_name(r.name), str(r.specifier)) for r in declared}


@pytest.mark.parametrize("name", LOCKS)
def test_locks_name_no_machine_and_no_registry_but_pypi(name):
    hosts = set(re.findall(r"[a-z+]+://[^/\s\"']*", text(name)))
    assert hosts <= {"https://pypi.org", "https://files.pythonhosted.org"}
    assert not re.search(r"file:|--(extra-)?index-url|--find-links|[\"' ]/[a-z]+/", text(name))


@pytest.mark.parametrize("name", LOCKS[:2])
def test_every_pin_has_a_hash(name):
    blocks = re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", text(name), flags=re.MULTILINE).strip())
    assert len(blocks) > 30
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_readme_has_the_commands_that_ci_runs():
    readme = text("README.md")
    for pattern in (r"python3 -m venv [^`\n]*impact demo helsinki", r"python3 -m venv [^`\n]*-m pytest"):
        assert len(set(re.findall(pattern, readme))) == 1, pattern
    assert PROJECT["readme"] == "README.md"


def test_nothing_tracked_names_a_machine():
    """Paths of a home, a temporary folder or a workplace do not belong in files that others get."""
    path = re.compile(r"(?<![\w.])/(root|home|Users|opt|tmp|work)/[\w.]+")
    for file in tracked():
        if file.suffix in {".py", ".toml", ".md", ".cff", ".lock", ".bib", ".html", ".tex", ".json", ".yml"}:
            found = path.findall(file.read_text(encoding="utf-8"))
            assert not found, f"{file.relative_to(ROOT)} names a path of a machine"


def test_nobody_is_sent_to_another_package_of_the_same_name():
    """`impact` on PyPI is not this package, and a resolver would prefer its higher version."""
    sent = re.compile(r"pip install (?!--no-index)[^`\n&;]*\bimpact\b")
    for file in tracked():
        if file.suffix in {".py", ".toml", ".md", ".ipynb", ".html"} and file != Path(__file__):
            lines = [n for n, line in enumerate(file.read_text("utf-8").splitlines(), 1) if sent.search(line)]
            allowed = file.name == "0001-dependencies.md"
            assert allowed or not lines, f"{file.relative_to(ROOT)}:{lines} would install a stranger's package"


def test_the_package_is_marked_as_typed_and_ships_its_data():
    package = Path(impact.__file__).parent
    for name in ("py.typed", "references.bib", "datasets/helsinki.toml"):
        assert (package / name).is_file(), name
