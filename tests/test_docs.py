"""What is written about the program is true of it."""

import ast
import importlib
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer
import yaml

import mla_extend
from mla_extend import __version__
from mla_extend.cli.app import app
from tests.documented import CODE, ROOT, RUN, blocks
from tests.documented import commands as commands_of

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_code_is_run_or_marked_as_a_fragment(page: Path) -> None:
    unmarked = [block.text for block in blocks(page) if block.kind in CODE and not block.fragment]
    test = RUN.get(page.relative_to(ROOT).as_posix())
    assert test or unmarked == [], f"run it in a test that {RUN=} names, or put <!-- fragment --> before it"
    assert test is None or (unmarked and (ROOT / "tests" / test).exists())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_can_be_parsed_also_those_that_no_test_runs(page: Path) -> None:
    group = typer.main.get_command(app)
    text = page.read_text(encoding="utf-8")
    shown = [words for block in blocks(page) if block.kind == "sh" for words in commands_of(block.text)]
    said = [words for line in re.findall(r"`(mla-extend [a-z][^`\n]*)`", text) for words in commands_of(line)]
    for words in [*shown, *said]:
        assert words[0] in group.commands, words
        if words in shown or len(words) > 1:
            group.commands[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_fragments_are_of_the_language_that_they_say_and_import_what_there_is(page: Path) -> None:
    for block in blocks(page):
        if block.kind == "json":
            assert [json.loads(line) for line in block.text.splitlines()]
        elif block.kind == "python":
            for node in ast.walk(ast.parse(block.text)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mla_extend"):
                    module = importlib.import_module(str(node.module))
                    assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 600


def test_the_python_page_has_every_public_name() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^::: mla_extend\.(\w+)$", page, flags=re.MULTILINE))
    assert named == set(mla_extend.__all__) - {"__version__"}


def test_what_the_contributors_table_names_is_in_the_files_that_it_names() -> None:
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| an? .*\|$", page, flags=re.MULTILINE)
    assert len(rows) > 10
    for row in rows:
        names = re.findall(r"`([^`]+)`", row)
        paths = [ROOT / name for name in names if "/" in name]
        files = [file for path in paths for file in ([path] if path.is_file() else path.glob("*.py"))]
        text = "".join(file.read_text(encoding="utf-8") for file in files)
        identifiers = [name for name in names if re.fullmatch(r"[A-Za-z_.]+", name) and "." not in name]
        assert [name for name in identifiers if name.split(".")[-1] not in text] == [], row
