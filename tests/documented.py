"""The code in the pages: their fenced blocks, which are run and which are fragments, and how to run a page."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mla_extend.cli.app import app

ROOT = Path(__file__).parents[1]
FRAGMENT = "<!-- fragment -->"
"""Stands on the line before a block that no test runs; that its commands and names are there is tested all the same."""
CODE = ("sh", "python", "json", "yaml", "toml")
RUN = {
    "README.md": "test_tutorials.py",
    "docs/tutorials/photo-archive.md": "test_tutorials.py",
    "docs/tutorials/own-clip.md": "test_tutorials.py",
    "docs/tutorials/text-store.md": "test_tutorials.py",
    "docs/tutorials/paper.md": "test_paper_commands.py",
    "docs/paper.md": "test_paper_commands.py",
    "docs/many-languages.md": "test_jobs.py",
    "docs/settings.md": "test_settings.py",
}
"""Pages whose code is run as it stands, and the test that does it."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: what it is written in, its text, and whether it is a fragment."""

    kind: str
    text: str
    fragment: bool


def blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks."""
    pattern = r"^(?P<before>[^\n]*)\n(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^ *```$"
    return [
        Block(found["kind"], re.sub(rf"^{found['indent']}", "", found["text"], flags=re.M), FRAGMENT in found["before"])
        for found in re.finditer(pattern, page.read_text(encoding="utf-8"), flags=re.M | re.S)
    ]


def commands(script: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of `mla-extend` in a shell script."""
    for line in script.replace("\\\n", " ").splitlines():
        if found := re.match(r"\s*(?:do |\| )?mla-extend (.*)", line):
            yield shlex.split(found[1], comments=True)


def run_page(page: Path) -> None:
    """Run a page's code from top to bottom in the current folder, Python in one namespace."""
    names: dict[str, Any] = {}
    for block in blocks(page):
        if block.fragment:
            continue
        if block.kind == "python":
            exec(compile(block.text, page.name, "exec"), names)
        elif block.kind == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                run_line(line)


def run_line(line: str) -> None:
    """Run one line of a shell script; `mla-extend` in this process, which has its libraries imported."""
    called = [*commands(line)]
    if not called:
        subprocess.run(["sh", "-c", line], check=True)
        return
    result = CliRunner().invoke(app, called[0], input="y\n", env={"COLUMNS": "120"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code != 0:
        pytest.fail(f"{line}\n{result.output}")
