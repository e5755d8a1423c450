"""Kill the commands at random moments, as `kill -9` does, or let the disk fail, and look at what is left.

    python tests/faults/kills.py [--seed N] [--kills N] [--disk] [COMMAND ...]

A command runs as a user runs it, in a process of its own that was forked from one which has imported everything. It is
killed at a random moment, or before, after or in the midst of a random call that changes files; with --disk, that call
fails instead, and what the command then says must be one sentence. Afterwards the old
state or the new must be there, `verify` must be clean, and the same command must succeed, lead to the new state, and
leave nothing behind. Needs a C compiler; `make faults` runs it after the sweep.
"""

import argparse
import contextlib
import ctypes
import errno
import importlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep import AFTER, ALL, COUNT, FAIL, KILL, SHIM, TORN, preload, tree_of_weights

SPARE = 1.1
"""Random moments lie within so many times as long as the command takes."""
FAILURES = ((ALL, errno.ENOSPC), (ALL, errno.EROFS), (FAIL, errno.EIO))
REMEDY = re.compile("ree some space|writable|give another|see to it|run the same command again|Run .* again")
LEFT = ("*.part", "removed.*", ".pending", "*-journal", ".work/*-*")
"""What must not lie anywhere after the command has succeeded."""


@dataclass(frozen=True)
class Command:
    """Hold what is killed.

    Attributes:
        arguments: of the command line, run in a folder.
        prepare: commands that make in an empty folder what there is before.
        state: returns what a user finds in the folder; raises where something is wrong with it.
        again: what is added to the arguments after a kill, where there is something to go on with.
        goes_on: what was done before a kill counts, so that states between the old and the new are right too.
    """

    arguments: tuple[str, ...]
    prepare: tuple[tuple[str, ...], ...]
    state: Callable[[Path], object]
    again: tuple[str, ...] = ()
    goes_on: bool = False


def run(
    folder: Path, arguments: tuple[str, ...], *, way: int = COUNT, nth: int = 0, error: int = 0, after: float = 0.0
) -> Any:
    """Run the command line in a folder; something befalls it at the nth call or after some seconds if that is said.

    Returns:
        How it ended, the calls that it made, and what it printed.
    """
    said = folder.with_name(f"said.{folder.name}")
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
            os.dup2(1, 2)
            os.chdir(folder)
            os.environ["MLA_EXTEND_CACHE"] = str(folder / "cache")
            sys.argv = ["mla-extend", *arguments]
            shim = ctypes.CDLL(os.environ[SHIM])
            shim.faults_count.restype = ctypes.c_long
            shim.faults_arm(str(folder).encode(), way, ctypes.c_long(nth), error)
            from mla_extend.cli.app import main

            try:
                main()
                code = 0
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            shim.faults_disarm()
            os.write(writing, "\n".join([str(shim.faults_count()), *sys.modules]).encode())
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:  # noqa: BLE001 - it is told
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        os._exit(code)
    os.close(writing)
    if after:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        calls, *modules = pipe.read().split("\n")
    _, status = os.waitpid(child, 0)
    for module in modules:
        with contextlib.suppress(Exception):  # the next child need not import it
            importlib.import_module(module)
    return os.waitstatus_to_exitcode(status), int(calls or 0), said.read_text(errors="replace")


def must(folder: Path, arguments: tuple[str, ...]) -> int:
    """Run a command that must succeed; return the calls that it made."""
    code, calls, said = run(folder, arguments)
    if code:
        raise SystemExit(f"{' '.join(arguments)} ended with {code}:\n{said}")
    return int(calls)


def registry_state(folder: Path) -> object:
    """Return a registry's languages, each with its versions' weights and the one in use; raise if it is damaged."""
    from mla_extend.registry.store import Registry
    from mla_extend.registry.verify import verify

    found: dict[str, object] = {}
    registry = Registry(folder / "adapters")
    problems = verify(registry.root) if registry.bases() else []
    if problems:
        raise ValueError(f"verify: {[str(problem) for problem in problems]}")
    for name in registry.bases():
        home = registry.open(name)
        for entry in home.languages():
            if entry.version is None or entry.problem:
                raise ValueError(f"{entry.language} cannot be used: {entry.problem}")
            versions = home.versions(entry.language)
            weights = [tree_of_weights(version.folder) for version in versions]
            found[entry.language] = (weights, versions.index(entry.version))
    return found


def index_state(folder: Path) -> object:
    """Return how many pictures are found in an index."""
    import numpy as np

    from mla_extend.errors import DataError
    from mla_extend.search.index import ImageIndex

    try:
        opened = ImageIndex.open(folder / "index")
    except DataError as error:
        if "There is no image index" in str(error):
            return 0
        raise
    try:
        return len(opened.nearest(np.eye(16, dtype=np.float32)[:1], 99)[0])
    finally:
        opened.close()


def files_state(*names: str) -> Callable[[Path], object]:
    """Return a state that is what lies at some paths, but for names and times of the day."""

    def state(folder: Path) -> object:
        found = []
        for name in names:
            path = folder / name
            files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
            found.append([(str(one.relative_to(folder)), one.stat().st_size) for one in files if one.is_file()])
        return found

    return state


def both(one: Callable[[Path], object], other: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return the state that consists of two."""
    return lambda folder: (one(folder), other(folder))


def commands(place: Path) -> dict[str, Command]:
    """Return the commands, with what they take in a folder that none of them writes to."""
    from conftest import NATIVE_WORDS, save_dual_encoder, sentences
    from PIL import Image
    from test_pack import AMHARIC

    base = save_dual_encoder(place / "tiny")
    (place / "pictures").mkdir()
    draw = random.Random(0)
    for number in range(60):
        image = Image.new("RGB", (16, 16))
        image.putdata([tuple(draw.randrange(256) for _ in range(3)) for _ in range(256)])
        image.save(place / "pictures" / f"{number:02}.png")
    native, target = sentences(300)
    to_amharic = dict(zip(NATIVE_WORDS, AMHARIC, strict=False))
    amharic = [" ".join(to_amharic.get(word, word) for word in text.split()) for text in native]
    for name, texts in (("sw", target), ("am", amharic)):
        lines = "".join(f"{a}\t{b}\n" for a, b in zip(native, texts, strict=True))
        (place / f"en-{name}.tsv").write_text(lines, encoding="utf-8")
    rows = [f'{{"image": "pictures/{i % 40:02}.png", "caption": "{target[i]}"}}\n' for i in range(120)]
    (place / "sw.jsonl").write_text("".join(rows), encoding="utf-8")
    rows = [f'{{"image": "pictures/{40 + i:02}.png", "caption": "{target[200 + i]}"}}\n' for i in range(20)]
    (place / "test.jsonl").write_text("".join(rows), encoding="utf-8")

    def add(tag: str, *more: str) -> tuple[str, ...]:
        return ("add-language", tag, "--parallel-data", str(place / f"en-{tag}.tsv"), "--base", str(base), *more)

    def instant(tag: str, *more: str) -> tuple[str, ...]:
        return add(tag, "--recipe", "instant", "--set", "acquirer.bottleneck=4", *more)

    trained = (
        *("--image-text", str(place / "sw.jsonl"), "--test-set", str(place / "test.jsonl"), "--recipe", "quick"),
        *("--set", "transfer.max_steps=8", "--set", "exposure.max_steps=4", "--set", "acquirer.bottleneck=4"),
        *("--set", "transfer.batch=16", "--set", "exposure.batch=8", "--set", "precision=fp32"),
    )
    am, sw, newer = instant("am"), instant("sw"), instant("sw", "--seed", "1", "--replace")
    archive = place / "sw.zip"
    with tempfile.TemporaryDirectory(dir=place) as temporary:
        must(Path(temporary), sw)
        must(Path(temporary), ("pack", "sw", "--out", str(archive)))
    index = ("index", str(place / "pictures"), "--index", "index", "--base", str(base))
    few = ("index", str(place / "pictures" / "00.png"), "--index", "index", "--base", str(base))
    exported = ("export", "sw", "--to", "sentence-transformers", "--out", "exported")
    return {
        "add-language": Command(add("sw", *trained), (am,), registry_state),
        "add-language --resume": Command(add("sw", *trained), (am,), registry_state, again=("--resume",)),
        "add-language --replace": Command(newer, (am, sw), registry_state),
        "add-language, a first one": Command(sw, (), registry_state),
        "remove": Command(("remove", "sw", "--yes"), (am, sw, newer), registry_state),
        "rollback": Command(("rollback", "sw", "v1", "--yes"), (am, sw, newer), registry_state),
        "prune": Command(("prune", "--keep", "1", "--yes"), (am, sw, newer), registry_state),
        "pack": Command(("pack", "sw", "--out", "sw.zip"), (am, sw), both(registry_state, files_state("sw.zip"))),
        "unpack": Command(("unpack", str(archive)), (am,), registry_state),
        "index": Command(index, (), index_state, goes_on=True),
        "index more": Command(index, (few,), index_state, goes_on=True),
        "export": Command(exported, (am, sw), both(registry_state, files_state("exported"))),
        "export --replace": Command((*exported, "--replace"), (am, sw, exported), files_state("exported")),
        "cache --clean": Command(("cache", "--clean", "--unused-for", "0"), (am, sw), registry_state),
        "report": Command(("report", "--out", "report.html"), (am, sw), files_state("report.html")),
    }


def kill(
    command: Command, place: Path, calls: int, seconds: float, draw: random.Random, disk: bool
) -> tuple[str, list[str]]:
    """Kill a command once, or let the disk fail; return the moment, and what is wrong afterwards."""
    folder = place / "try"
    shutil.copytree(place / "before", folder, symlinks=True)
    try:
        nth = draw.randint(1, calls)
        if disk:
            way, error = draw.choice(FAILURES)
            moment = f"{os.strerror(error)} {'once ' if way == FAIL else ''}at call {nth}"
            code, _, said = run(folder, command.arguments, way=way, nth=nth, error=error)
            whole = code == 0 or (code == 1 and said.count("Error") == 1 and REMEDY.search(said))
            found = [] if whole else [f"it ended with {code}:\n{said}"]
            return moment, [*found, *wrong(command, place, folder)]
        if draw.random() < 0.5:
            after = draw.uniform(0.001, seconds * SPARE)
            moment = f"killed after {after:.4f} s"
            code, _, said = run(folder, command.arguments, after=after)
        else:
            way = draw.choice((KILL, AFTER, TORN))
            moment = f"killed { {KILL: 'before', AFTER: 'after', TORN: 'in'}[way] } call {nth}"
            code, _, said = run(folder, command.arguments, way=way, nth=nth)
        found = [f"it ended with {code}:\n{said}"] if code not in (0, -signal.SIGKILL) else []
        return moment, [*found, *wrong(command, place, folder)]
    finally:
        shutil.rmtree(folder)


def wrong(command: Command, place: Path, folder: Path) -> Iterator[str]:
    """Give what is wrong after a kill."""
    before, after = command.state(place / "before"), command.state(place / "after")
    try:
        state = command.state(folder)
    except Exception as error:  # noqa: BLE001 - it is told
        yield f"what is left is damaged: {error!r}"
        return
    if state not in (before, after) and not command.goes_on:
        yield f"it is neither the old state nor the new: {state}"
    if state != after or command.goes_on:
        code, _, said = run(folder, (*command.arguments, *command.again))
        if command.again and "no interrupted run" in said:
            code, _, said = run(folder, command.arguments)
        if code:
            yield f"the same command ends with {code}:\n{said}"
            return
        if (state := command.state(folder)) != after:
            yield f"the same command leads elsewhere: {state}, not {after}"
        left = [str(path.relative_to(folder)) for pattern in LEFT for path in folder.rglob(pattern)]
        if left:
            yield f"left over: {left}"


def main() -> None:
    """Kill; end with 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="COMMAND")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="in all")
    parser.add_argument("--disk", action="store_true", help="let the disk fail instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mla-extend-kills-") as temporary:
        place = Path(temporary).resolve()
        preload(place)
        shared = place / "shared"
        shared.mkdir()
        known = commands(shared)
        measured: dict[str, tuple[int, float]] = {}
        names = arguments.commands or list(known)
        draw = random.Random(arguments.seed)
        counts = dict.fromkeys(names, 0)
        faulty = 0
        for number in range(arguments.kills):
            name = names[number % len(names)]
            command, own = known[name], place / name
            if name not in measured:
                (own / "before").mkdir(parents=True)
                for one in command.prepare:
                    must(own / "before", one)
                shutil.copytree(own / "before", own / "after", symlinks=True)
                began = time.monotonic()
                calls = must(own / "after", command.arguments)
                measured[name] = calls, time.monotonic() - began
                print(f"{name}: {calls} calls, {measured[name][1]:.2f} s", flush=True)
            moment, found = kill(command, own, *measured[name], draw, arguments.disk)
            counts[name] += 1
            if number % 50 == 49:
                print(f"{number + 1} of {arguments.kills}", flush=True)
            for fault in found:
                faulty += 1
                print(f"  {name}, {moment} (kill {number}): {fault}", flush=True)
        for name, count in counts.items():
            print(f"{name}: {count} kills", flush=True)
        print(f"{sum(counts.values())} kills, {faulty} faults", flush=True)
    raise SystemExit(1 if faulty else 0)


if __name__ == "__main__":
    main()
