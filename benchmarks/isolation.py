"""Time what grows with the registry: one more publish, `list`, `verify` and loading, beside 5, 50 and 200 languages.

    python benchmarks/isolation.py --registry DIR [--languages 5 50 200] [--write]

The registry that is filled holds copies of the languages of another one (of the demo, say), each published under a tag
of its own. Every figure comes from a process of its own, and memory is what that process holds at most above the open
base. `unseen` is a publish that finds files that this machine has not hashed before.
"""

import argparse
import gc
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from common import ROOT, machine, markdown, put, save
from many import routed

from mla_extend.registry.layout import CARD, README, files_in
from mla_extend.registry.load import load_model
from mla_extend.registry.prove import prove
from mla_extend.registry.recorded import native_probe
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import verify
from mla_extend.registry.verify_deep import verify_deep

PAGE = ROOT / "docs" / "performance.md"
HEAD = {
    "publish_seconds": "publish, s",
    "unseen_seconds": "unseen, s",
    "lock_seconds": "lock held, s",
    "publish_mib": "publish, MiB",
    "list_seconds": "`list`, s",
    "verify_seconds": "`verify`, s",
    "deep_seconds": "`verify --deep`, s",
    "load_seconds": "all loaded, s",
    "load_mib": "all loaded, MiB",
    "router_seconds": "router opened, s",
    "route_ms": "query detected, ms",
}


def main() -> None:
    """Fill registries and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", type=Path, required=True, help="languages to copy")
    parser.add_argument("--languages", type=int, nargs="+", default=[5, 50, 200])
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/isolation.json and the table")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(PARTS[arguments.part](arguments.registry)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in arguments.languages:
            fill(arguments.registry, Path(folder), count)
            row: dict[str, Any] = {"languages": count}
            unseen = asked(folder, "publish")["publish_seconds"]
            row |= asked(folder, "publish") | {"unseen_seconds": unseen}
            for part in ("list", "verify", "deep", "load", "route"):
                row |= asked(folder, part)
            rows.append(row)
            print(row, flush=True)
    if arguments.write:
        save("isolation", {"rows": rows, "machine": machine()})
        lines = [[f"{row[key]:,}" for key in ("languages", *HEAD)] for row in rows]
        put("isolation", f"{markdown(['languages', *HEAD.values()], lines)}\n\nMeasured on {machine()}.", PAGE)


def fill(source: Path, target: Path, count: int) -> None:
    """Copy languages until there are so many."""
    models = [entry for entry in Registry(source).open().languages() if entry.version and entry.card]
    home = Registry(target).create(Registry(source).open().base)
    for number in range(len(home.tags()), count):
        tag, entry = f"x{chr(97 + number // 26)}{chr(97 + number % 26)}", models[number % len(models)]
        assert entry.version is not None
        assert entry.card is not None
        home.publish(
            tag, staged(home, tag, entry.version.folder), replace(entry.card, language=tag), prove=lambda _: {}
        )


def staged(home: Any, tag: str, source: Path) -> Path:
    """Return a working folder with the files of a version."""
    folder: Path = home.work_folder(tag) / "version"
    folder.mkdir()
    for name, path in files_in(source).items():
        if name not in {CARD, README}:
            shutil.copyfile(path, folder / name)
    return folder


def asked(folder: str, part: str) -> dict[str, Any]:
    """Measure one part in a process of its own."""
    program = [sys.executable, __file__, "--registry", folder, "--part", part]
    found: dict[str, Any] = json.loads(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
    return found


def publish(root: Path) -> dict[str, Any]:
    """Publish one language more, and remove it."""
    model = load_model(registry=root)
    home = model.registry
    assert home is not None
    source = home.current(home.tags()[0])
    folder, card = staged(home, "qtz", source.folder), replace(home.card(source.language), language="qtz")
    bare = native_probe(model)
    held: list[float] = []
    result = peak(
        lambda: home.publish("qtz", folder, card, prove=lambda path: prove(model, home, "qtz", path, bare)),
        lambda: held.append(time.monotonic()) if is_held(home.folder) else None,
    )
    home.remove("qtz")
    return {
        "publish_seconds": result[0],
        "publish_mib": result[1],
        "lock_seconds": round(held[-1] - held[0], 2) if held else 0.0,
    }


def is_held(folder: Path) -> bool:
    """Tell whether a process is writing in a registry."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True


def peak(work: Callable[[], object], each: Callable[[], object] = lambda: None) -> tuple[float, int]:
    """Return the seconds of some work and the MiB that the process grew by at most, looking every few milliseconds."""
    gc.collect()
    process, ended = psutil.Process(), threading.Event()
    before = most = process.memory_info().rss

    def look() -> None:
        nonlocal most
        while not ended.wait(0.005):
            most = max(most, process.memory_info().rss)
            each()

    watcher = threading.Thread(target=look)
    watcher.start()
    started = time.monotonic()
    work()
    seconds = time.monotonic() - started
    ended.set()
    watcher.join()
    return round(seconds, 2), (most - before) >> 20


def listed(root: Path) -> dict[str, Any]:
    """Time `mla-extend list`."""
    program = [sys.executable, "-m", "mla_extend", "list", "--registry", str(root), "--json"]
    return {
        "list_seconds": peak(lambda: subprocess.run(program, check=True, stdout=subprocess.DEVNULL))[0],
    }


def verified(root: Path) -> dict[str, Any]:
    """Time `verify`."""
    return {"verify_seconds": peak(lambda: verify(root))[0]}


def deep(root: Path) -> dict[str, Any]:
    """Time `verify --deep`."""
    return {"deep_seconds": peak(lambda: verify_deep(root))[0]}


def load(root: Path) -> dict[str, Any]:
    """Load every language into one model."""
    model = load_model(registry=root)
    native_probe(model)
    seconds, more = peak(lambda: [model.require(tag) for tag in model.languages])
    return {"load_seconds": seconds, "load_mib": more, "files_open": psutil.Process().num_fds()}


def route(root: Path) -> dict[str, Any]:
    """Open a router over all languages, and find out the language of a query."""
    found = routed(root, ["mbwa mweusi", "ein schwarzer Hund auf der Straße", "a black dog", "kofia"] * 20)
    return {"router_seconds": found["open_seconds"], "route_ms": found["query_ms"]}


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "publish": publish,
    "list": listed,
    "verify": verified,
    "deep": deep,
    "load": load,
    "route": route,
}

if __name__ == "__main__":
    main()
