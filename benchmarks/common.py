"""What the benchmark scripts share: where results go, the machine, and tables between markers in the docs."""

import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mla_extend.cache import FEATURES, cache_folder

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README, PAGE = ROOT / "README.md", ROOT / "docs" / "results.md"
LANGUAGES = ("sw", "de", "am", "ja", "cy")
SPLITS = ("seen", "all", "unseen")


def machine() -> str:
    """Return what a timing depends on, without the machine's name."""
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


@contextmanager
def cold_features() -> Iterator[None]:
    """Let no vector be known in the context, where the base and the demo's data are there as ever."""
    there = cache_folder()
    before = os.environ.get("MLA_EXTEND_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        for path in there.iterdir():
            if path.name != FEATURES:
                (Path(folder) / path.name).symlink_to(path)
        os.environ["MLA_EXTEND_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["MLA_EXTEND_CACHE"]
            else:
                os.environ["MLA_EXTEND_CACHE"] = before


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
