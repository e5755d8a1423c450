"""The page about a registry: how good its languages are, what they cost, what they were made from, and examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mla_extend import __version__
from mla_extend.errors import RegistryError
from mla_extend.files import atomic_path
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.store import Registry
from mla_extend.report.examples import KINDS, Key, example_json, find_examples, within
from mla_extend.report.gather import find_parts, gather
from mla_extend.report.plots import Plot, file_name, pairs_plot, ratio_plot
from mla_extend.report.render import page_path, png_uri, render


@dataclass(frozen=True)
class Report:
    """Say what was written: the page, its plots as files of their own, and the data behind it as JSON values."""

    path: Path
    plots: list[Path]
    data: dict[str, Any]


def make_report(
    registry: str | Path | None = None,
    base: str | None = None,
    out: str | Path = "report.html",
    examples: bool = True,
    device: str = "auto",
    seed: int = 0,
    progress: Progress = SILENT,
    languages: Sequence[str] = (),
) -> Report:
    """Write one HTML page about a registry's languages, that needs no other file; return what was written.

    Args:
        registry: the registry's folder; `None` takes the one that is set, else `adapters/` in the current folder.
        base: a base's name or source; `None` takes all bases.
        out: the page. Its plots are also written as PNG files, into the folder `NAME_plots` beside it.
        examples: encode the test sets that can be read here, and show queries with their images.
        device: `cpu`, `cuda`, `mps` or `auto`, for the examples.
        seed: draws the captions that are looked at for examples where a test set has very many.
        progress: told of long work.
        languages: only these, `sw` or `sw@v1` for one of its versions; none named are all.

    Raises:
        RegistryError: there is no language, no such base, or no card that can be read.
        DataError: `out` is a folder, or has another suffix than `.html`.
    """
    path = page_path(Path(out))
    root = Registry(registry).root
    parts = find_parts(root, base, languages)
    bases, problems = gather(parts)
    if not any(one["languages"] for one in bases):
        if problems:
            raise RegistryError(f"No language of {root} can be read. The first problem: {problems[0]}")
        raise RegistryError(f"{root} holds no language yet. Add one: mla-extend add-language LANG --parallel-data FILE")
    found, pictures = within(
        {
            (home.base.name, tag): one
            for home, entries in (parts if examples else ())
            for tag, one in find_examples(home, entries, device, seed, progress).items()
        }
    )
    progress.start("Drawing")
    plots = _plots(bases)
    progress.finish()
    data = {
        "registry": str(root),
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "package": __version__,
        "bases": bases,
        "problems": problems,
    }
    page = render(
        "report.html",
        **data,
        plots={key: [(plot, png_uri(plot.light), png_uri(plot.dark)) for plot in some] for key, some in plots.items()},
        examples=found if examples else None,
        pictures=pictures,
        kinds=KINDS,
    )
    saved = _save_plots(path, [plot for some in plots.values() for plot in some])
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    shown = [{"base": name, "language": tag, **example_json(one)} for (name, tag), one in found.items()]
    return Report(path, saved, {**data, "examples": shown})


def _plots(bases: list[dict[str, Any]]) -> dict[Key, list[Plot]]:
    """Return the plots by base and split, each with a name of its own."""
    plots: dict[Key, list[Plot]] = {}
    taken: set[str] = set()
    for base in bases:
        for split, rows in base["retrieval"].items():
            name = file_name(base["name"], split)
            if name in taken:
                name = file_name(name, str(len(taken)))
            taken.add(name)
            drawn = [
                ratio_plot(f"ratio-{name}", rows, base["native_name"]),
                pairs_plot(f"recall-and-pairs-{name}", rows),
            ]
            plots[base["name"], split] = [plot for plot in drawn if plot is not None]
    return plots


def _save_plots(page: Path, plots: list[Plot]) -> list[Path]:
    folder = page.with_name(f"{page.stem}_plots")
    paths = []
    for plot in plots:
        path = folder / f"{plot.name}.png"
        with atomic_path(path) as temporary:
            temporary.write_bytes(plot.light)
        paths.append(path)
    return paths
