"""What the benchmark scripts share: where results go, the machine, and tables between markers in the docs."""

import json
import os
import platform
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README, PAGE = ROOT / "README.md", ROOT / "docs" / "results.md"
LANGUAGES = ("sw", "de", "am", "ja", "cy")
SPLITS = ("seen", "all", "unseen")


def machine() -> str:
    """Return what a timing depends on, without the machine's name."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def save(name: str, value: Any) -> None:
    """Write a result file."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load(name: str) -> Any:
    """Read a result file."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def put(marker: str, text: str, page: Path = PAGE) -> None:
    """Replace what stands between `<!-- MARKER -->` and `<!-- /MARKER -->` in a page."""
    content = page.read_text(encoding="utf-8")
    start, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    before, _, rest = content.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{page.name} has no {start} ... {end}.")
    page.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")
