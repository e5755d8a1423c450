"""Let every call that changes files go wrong in turn, and look at what is left on the disk.

    python tests/faults/sweep.py [--list] [OPERATION ...]

For each operation and each way of going wrong (killed before or after a call, a write cut in half, an error of the disk
once or from then on, Ctrl-C), the operation is run once for each call that it makes, in a process of its own, over a
copy of the same folder. Afterwards the old state or the new must be there, `verify` must be clean, what was said must
be true, and the same command must succeed and take away what was left. Needs a C compiler; `make faults` runs it all.
"""

import argparse
import ctypes
import errno
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent)]

SHIM = "MLA_EXTEND_FAULTS"
COUNT, KILL, AFTER, TORN, FAIL, ALL, STOP = range(1, 8)
WAYS = {
    "kill": (KILL, 0),
    "kill after": (AFTER, 0),
    "torn": (TORN, 0),
    "EIO": (FAIL, errno.EIO),
    "ENOSPC": (ALL, errno.ENOSPC),
    "Ctrl-C": (STOP, 0),
}
SPOKEN = 70
"""Exit code of a process that ends with an error of this package."""


@dataclass(frozen=True)
class Operation:
    """Hold what is tried.

    Attributes:
        prepare: fills an empty folder with what there is before.
        run: makes the change, with what `ready` has made.
        state: returns what a reader sees in the folder; raises where something is wrong with it.
        claims: returns what is wrong with a message, given the state before and after; the empty text if nothing is.
        left: patterns of what must not be there after the same command has succeeded.
        ready: makes in the folder, before anything goes wrong, what the change takes.
    """

    prepare: Callable[[Path], None]
    run: Callable[..., object]
    state: Callable[[Path], object]
    claims: Callable[[str, Any, Any], str] = lambda message, before, after: ""
    left: tuple[str, ...] = ("*.part", "removed.*", "sw/*/.pending")
    ready: Callable[[Path], tuple[Any, ...]] = lambda folder: ()

    def __call__(self, folder: Path) -> None:
        """Make the change."""
        self.run(folder, *self.ready(folder))


@dataclass
class Found:
    """Count the moments of one operation, and hold the faults found."""

    moments: int = 0
    faults: list[str] = field(default_factory=list)


def build(folder: Path) -> Path | None:
    """Compile the shim; `None` where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    shim = folder / "faults.so"
    command = [compiler, "-O1", "-shared", "-fPIC", str(HERE / "faults.c"), "-o", str(shim), "-ldl"]
    subprocess.run(command, check=True)
    return shim


def preload(folder: Path) -> None:
    """Go on in a process that has the shim; this one ends as that does."""
    if SHIM in os.environ:
        return
    shim = build(folder)
    if shim is None:
        raise SystemExit("This needs Linux and a C compiler (cc).")
    # Processes are forked, which threads of the libraries would not outlive.
    alone = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    preloaded = {**os.environ, **alone, "LD_PRELOAD": str(shim), SHIM: str(shim)}
    raise SystemExit(subprocess.run([sys.executable, *sys.argv], env=preloaded, check=False).returncode)


def attempt(operation: Operation, folder: Path, way: tuple[int, int], nth: int, said: Path) -> tuple[int, int]:
    """Run an operation in a process in which the nth call goes wrong; return how it ended, and the calls it made."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 0
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            shim = ctypes.CDLL(os.environ[SHIM])
            shim.faults_count.restype = ctypes.c_long
            made = operation.ready(folder)
            shim.faults_arm(str(folder).encode(), way[0], ctypes.c_long(nth), way[1])
            try:
                operation.run(folder, *made)
            finally:
                shim.faults_disarm()
                os.write(writing, str(shim.faults_count()).encode())
        except BaseException as error:  # noqa: BLE001 - it is told
            from mla_extend.errors import MlaExtendError

            known = isinstance(
                error, MlaExtendError | KeyboardInterrupt
            )  # the command line says "Stopped" of the latter
            said.write_text(str(error) or "Stopped." if known else "".join(traceback.format_exception(error)))
            code = SPOKEN if known else 1
        os._exit(code)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        calls = int(pipe.read() or 0)
    return os.waitstatus_to_exitcode(status), calls


def sweep(name: str, operation: Operation, place: Path, every: int = 1) -> Found:
    """Try an operation in every way at every moment (or each so-many-th)."""
    found = Found()
    before_folder, after_folder = place / "before", place / "after"
    before_folder.mkdir(parents=True)
    operation.prepare(before_folder)
    before = operation.state(before_folder)
    shutil.copytree(before_folder, after_folder, symlinks=True)
    operation(after_folder)
    after = operation.state(after_folder)
    for way, how in WAYS.items():
        for nth in itertools.count(1, every):
            folder, said = place / "try", place / "said"
            shutil.copytree(before_folder, folder, symlinks=True)
            said.write_text("")
            code, calls = attempt(operation, folder, how, nth, said)
            for fault in faults(operation, folder, code, said.read_text(), before, after):
                found.faults.append(f"{name}, {way} at call {nth}: {fault}")
            shutil.rmtree(folder)
            if code != -signal.SIGKILL and calls < nth:
                break  # it came to its end before that call
            found.moments += 1
    return found


def faults(operation: Operation, folder: Path, code: int, message: str, before: object, after: object) -> Iterator[str]:
    """Give what is wrong after an attempt."""
    if code not in (0, SPOKEN, -signal.SIGKILL):
        yield f"it ended with {code}:\n{message}"
    try:
        state = operation.state(folder)
    except Exception as error:  # noqa: BLE001 - it is told
        yield f"what is left is damaged: {error!r}"
        return
    if state not in (before, after):
        yield f"it is neither the old state nor the new: {state}"
    if code == 0 and state != after:
        yield "it succeeded, and the state is not the new one"
    if code == SPOKEN and (wrong := operation.claims(message, before, state)):
        yield f"{wrong}: {message}"
    if state != after:
        try:
            operation(folder)
        except Exception as error:  # noqa: BLE001 - it is told
            yield f"the same command fails: {error!r}"
            return
        if operation.state(folder) != after:
            yield "the same command leads elsewhere"
        left = [str(path.relative_to(folder)) for pattern in operation.left for path in folder.rglob(pattern)]
        if left:
            yield f"left over: {left}"


def tree(folder: Path) -> str:
    """Return a hash of everything in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


# What is tried --------------------------------------------------------------------------------------------------------


def registry_state(folder: Path) -> object:
    """Return which versions the changed language has and which is in use, and a hash of all of the other language."""
    from mla_extend.registry.check import check_version
    from mla_extend.registry.store import Registry
    from mla_extend.registry.verify import verify

    problems = verify(folder)
    if problems:
        raise ValueError(f"verify: {[str(problem) for problem in problems]}")
    base = Registry(folder).open()
    for entry in base.languages():
        if entry.version is None or entry.card is None:
            raise ValueError(f"{entry.language} cannot be used: {entry.problem}")
        check_version(entry.version)
    sw = base.versions("sw")
    used = sw.index(base.current("sw")) if sw else None
    # The seed of each says which it is: the names of two runs differ.
    return used, [tree_of_weights(version.folder) for version in sw], tree(base.folder / "yo")


def tree_of_weights(folder: Path) -> str:
    """Return the hash of a version's weights."""
    return hashlib.sha256((folder / "adapter_model.safetensors").read_bytes()).hexdigest()[:8]


def registry_claims(message: str, before: object, after: object) -> str:
    """Return what is wrong with a message about the registry."""
    if "The registry is as it was" in message and after != before:
        return "it is not as it was"
    if any(word in message for word in (" now", "was removed", "Deleted: ")) and after == before:
        return "nothing has changed"
    if "Free some space" not in message and "Stopped" not in message and "The disk itself fails" not in message:
        return "it does not say what happened"
    return ""


def registry_operations() -> dict[str, Operation]:
    """Return the changes of a registry, with weights of a few bytes and without a model to prove anything."""
    from test_registry_store import make_base, make_card, publish, stage

    from mla_extend.registry.store import Registry
    from mla_extend.share.pack import pack

    def prepared(versions: int) -> Callable[[Path], None]:
        def prepare(folder: Path) -> None:
            base = make_base(folder)
            publish(base, "yo", 9)
            for seed in range(versions):
                publish(base, "sw", seed, replace=True)

        return prepare

    def staged(folder: Path) -> tuple[Path]:
        return (stage(Registry(folder).open(), "sw", 5),)

    def add(folder: Path, staged: Path) -> None:
        base = Registry(folder).open()
        base.publish("sw", staged, make_card("sw"), replace=True, prove=lambda _: {"ok": True})

    def remove(folder: Path) -> None:
        Registry(folder).open().remove("sw", prove=lambda: {"ok": True})

    def in_registry(run: Callable[..., object], versions: int, **more: Any) -> Operation:
        return Operation(prepared(versions), run, registry_state, registry_claims, **more)

    def packed(folder: Path) -> object:
        archive = folder / "out" / "sw.zip"
        return registry_state(folder), archive.read_bytes() if archive.exists() else None

    def prepare_pack(folder: Path) -> None:
        prepared(1)(folder)
        (folder / "out").mkdir()

    return {
        "publish a first version": in_registry(add, 0, ready=staged),
        "publish another": in_registry(add, 1, ready=staged),
        "roll back": in_registry(lambda folder: Registry(folder).open().use("sw", "v1"), 2),
        "prune": in_registry(lambda folder: Registry(folder).open().prune("sw", 1), 2),
        "remove": in_registry(remove, 2),
        "make a base's folder": Operation(
            lambda folder: None,
            lambda folder: make_base(folder / "new"),
            lambda folder: Registry(folder / "new").bases() and not Registry(folder / "new").open().tags(),
        ),
        "pack": Operation(
            prepare_pack,
            lambda folder: pack("sw", out=folder / "out" / "sw.zip", registry=folder),
            packed,
        ),
    }


def store_operations() -> dict[str, Operation]:
    """Return the writing of the store of vectors."""
    import numpy as np

    from mla_extend.vector_store import VectorStore, text_key

    def vectors(folder: Path, texts: list[str]) -> Any:
        def encode(some: list[str]) -> Any:
            return np.array([[len(text), hash_of(text)] for text in some], np.float32)

        store = VectorStore(folder, "text", {"base": "tiny"}, "tiny")
        try:
            return store.vectors(texts, lambda some: [text_key(text) for text in some], encode, step=4, keep=4)
        finally:
            store.close()

    def hash_of(text: str) -> int:
        return hashlib.sha256(text.encode()).digest()[0]

    texts = [f"sentence {number}" for number in range(12)]

    def state(folder: Path) -> object:
        return vectors(folder, texts).tolist()  # whatever is held, the vectors are right

    return {
        "store vectors": Operation(lambda folder: None, lambda folder: vectors(folder, texts), state, left=("*.part",))
    }


def index_operations() -> dict[str, Operation]:
    """Return the making of an image index and its growing, with vectors of a picture's own pixels."""
    import numpy as np
    from PIL import Image

    from mla_extend.errors import DataError
    from mla_extend.images.pipeline import read_pictures
    from mla_extend.search.index import ImageIndex, build

    class Pixels:
        """Stand for a base."""

        identity = SimpleNamespace(name="tiny", fingerprint="f" * 64, source="/models/tiny")

        def encoded(self, images: Any, **asked: Any) -> Any:
            return read_pictures(images, lambda frames: np.asarray(frames[0], dtype=np.float32).reshape(-1), **asked)

    def photos(folder: Path, numbers: range) -> None:
        (folder / "photos").mkdir(exist_ok=True)
        for number in numbers:
            Image.new("RGB", (2, 1), (number, 20, 200)).save(folder / "photos" / f"{number}.png")

    def index(folder: Path) -> None:
        with mock.patch.object(build, "preparation_of", return_value="{}"):
            build.index_images(folder / "photos", folder / "index", cast(Any, Pixels()))

    def grown(folder: Path) -> None:
        photos(folder, range(2))
        index(folder)
        photos(folder, range(2, 4))

    def state(folder: Path) -> object:
        try:
            opened = ImageIndex.open(folder / "index")
        except DataError as error:
            if "There is no image index" in str(error):
                return None
            raise
        try:
            hits = opened.nearest(np.eye(6, dtype=np.float32)[:1], 9)[0]
            return [(Path(opened.entry(key).name).name, score) for key, score in hits] or None
        finally:
            opened.close()

    def claims(message: str, before: object, after: object) -> str:
        return "" if "cannot be written" in message or "Stopped" in message else "it does not say what happened"

    left = ("*.part", "*-journal")
    return {
        "index images": Operation(lambda folder: photos(folder, range(4)), index, state, claims, left),
        "index more images": Operation(grown, index, state, claims, left),
    }


def careless() -> Operation:
    """Return what must be found: a file that is written in place."""

    def write(folder: Path) -> None:
        with (folder / "file").open("wb") as file:
            file.write(b"new" * 3)

    return Operation(
        lambda folder: (folder / "file").write_bytes(b"old" * 3) and None,
        write,
        lambda folder: (folder / "file").read_bytes(),
    )


def unpack_operations(place: Path) -> dict[str, Operation]:
    """Return the taking in of an archive, with a tiny base that proves isolation."""
    from conftest import save_dual_encoder
    from test_pack import add

    from mla_extend.share.pack import pack, unpack

    os.environ["MLA_EXTEND_CACHE"] = str(place / "cache")
    base = save_dual_encoder(place / "tiny")
    for registry, tags in (("there", ["am"]), ("sent", ["sw"])):
        for tag in tags:
            add(tag, base, place / registry, place)
    archive = pack("sw", registry=place / "sent", out=place / "sw.zip")["file"]

    def state(folder: Path) -> object:
        from mla_extend.registry.store import Registry
        from mla_extend.registry.verify import verify

        problems = verify(folder / "registry")
        if problems:
            raise ValueError(f"verify: {[str(problem) for problem in problems]}")
        home = Registry(folder / "registry").open()
        return [version.name for version in home.versions("sw")], tree(home.folder / "am")

    return {
        "unpack": Operation(
            lambda folder: shutil.copytree(place / "there", folder / "registry") and None,
            lambda folder: unpack(archive, registry=folder / "registry"),
            state,
            registry_claims,
        )
    }


def operations() -> dict[str, Operation]:
    """Return all that is tried, by name."""
    return {**registry_operations(), **store_operations(), **index_operations()}


def main() -> None:
    """Try what is named, or all; end with 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operations", nargs="*", metavar="OPERATION")
    parser.add_argument("--list", action="store_true", help="print the names of what can be tried")
    parser.add_argument("--careless", action="store_true", help="try what has faults, to see that they are found")
    parser.add_argument("--quick", action="store_true", help="leave out what opens a base")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try each Nth moment only")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mla-extend-faults-") as temporary:
        preload(Path(temporary))
        known = {"careless": careless()} if arguments.careless else operations()
        if not (arguments.careless or arguments.quick):
            known |= unpack_operations(Path(temporary) / "unpack")
        if arguments.list:
            print(*known, sep="\n")
            return
        faulty = 0
        for number, name in enumerate(arguments.operations or known):
            found = sweep(name, known[name], Path(temporary) / str(number), arguments.every)
            print(f"{name}: {found.moments} moments, {len(found.faults)} faults", flush=True)
            for fault in found.faults:
                print(f"  {fault}", flush=True)
            faulty += len(found.faults)
    raise SystemExit(1 if faulty else 0)


if __name__ == "__main__":
    main()
