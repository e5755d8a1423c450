"""What is written about the program is true of it."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer
import yaml

from mla_extend import __version__
from mla_extend.cli.app import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
MAKER = ROOT / "docs" / "make_cli.py"


def cli_maker() -> ModuleType:
    """Import docs/make_cli.py."""
    spec = importlib.util.spec_from_file_location("make_cli", MAKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands() -> list[str]:
    group = typer.main.get_command(app)
    return sorted(getattr(group, "commands", {}))


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings get: lower case, no punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_command_reference_is_that_of_the_commands() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == cli_maker().reference(), "run make docs"


def test_the_command_reference_depends_on_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = cli_maker().reference()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert cli_maker().reference() == wide


def test_making_the_command_reference_loads_no_torch() -> None:
    code = f"import runpy, sys; runpy.run_path({str(MAKER)!r}); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_reference_and_told_of_elsewhere(command: str) -> None:
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    assert f"## {command}\n" in texts.pop("cli.md")
    assert any(re.search(rf"mla-extend {command}\b|`{command}\b", text) for text in texts.values())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_of_the_project_are_there(page: Path) -> None:
    pattern = r"`((?:mla_extend|tests|recipes|benchmarks|docs)/[\w./-]*)`"
    missing = [name for name in re.findall(pattern, page.read_text(encoding="utf-8")) if not (ROOT / name).exists()]
    assert missing == []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_value_of_a_recipe_is_explained(recipe: Path) -> None:
    lines = recipe.read_text(encoding="utf-8").splitlines()
    values = [line for line in lines if re.match(r"\s*\w+:\s*[^\s#]", line)]
    assert values
    assert [line for line in values if not re.search(r"\s# \S", line)] == []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_named_in_the_changelog(recipe: Path) -> None:
    assert f"`{recipe.stem}`" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_citation_names_this_version_and_the_licence_that_is_here() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
