"""Settings: which of several places counts, what a file may say, and that the commands follow it."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mla_extend.bases.open import pick_device
from mla_extend.cli.app import app
from mla_extend.errors import BaseError, DataError, RegistryError
from mla_extend.jobs.plan import read_plan
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.store import Registry
from mla_extend.settings import FILE, KNOWN, index_folder, setting, user_file
from tests.test_compare import publisher

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder where one works."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_nearest_word_counts(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option, the environment, the project's file, the user's file, and what holds without any."""
    monkeypatch.setattr("mla_extend.settings.user_file", lambda: here.parent / "user" / FILE)
    assert Registry().root == Path("adapters")
    user = here.parent / "user"
    user.mkdir()
    (user / FILE).write_text("registry = 'mine'\nindex = 'pictures'\n")
    assert Registry().root == user / "mine"
    Path(FILE).write_text("registry = 'ours'\n")
    assert Registry().root == here / "ours"
    assert index_folder() == user / "pictures"
    monkeypatch.setenv("MLA_EXTEND_REGISTRY", "theirs")
    assert Registry().root == Path("theirs")
    assert Registry("given").root == Path("given")


def test_the_users_file_is_in_the_folder_for_it(here: Path) -> None:
    """The tests' own folder stands for the user's, where the system lets them say so."""
    path = user_file()
    assert path.name == FILE
    if str(here.parent) not in str(path):
        pytest.skip("this system's configuration folder is a fixed one")
    path.parent.mkdir(parents=True)
    path.write_text("registry = '~/adapters'\n")
    assert Registry().root == Path("~/adapters").expanduser()


def test_a_base_is_a_folder_beside_the_file_or_a_name(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(FILE).write_text("base = 'openai/clip'\n")
    assert setting("base") == "openai/clip"
    (here / "openai" / "clip").mkdir(parents=True)
    assert setting("base") == str(here / "openai" / "clip")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "registri = 'a'",
            r"mla-extend\.toml sets 'registri', which there is not\. It may set base, registry, index, device",
        ),
        ("registry = 5", r"sets registry to 5, which is no text"),
        ("registry = ' '", r"sets registry to ' ', which is no text"),
        ("[registry]\nfolder = 'a'", r"sets registry to \{'folder': 'a'\}, which is no text"),
        ("registry", r"are not TOML \(.*Write lines"),
        ("index = '\xff'", r"are not TOML"),
    ],
)
def test_what_a_file_may_not_say_is_refused(text: str, told: str) -> None:
    Path(FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=told):
        Registry()
    assert Registry("given").root == Path("given")  # nothing is asked of the file


def test_a_file_that_cannot_be_read_is_told_of() -> None:
    Path(FILE).mkdir()
    with pytest.raises(DataError, match=r"mla-extend\.toml cannot be read"):
        Registry()


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200"})
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_the_commands_follow_the_project(dual_folder: Path, pictures: list[Path], here: Path) -> None:
    """Nothing but the file says which base, registry, index and device."""
    _, publish = publisher(dual_folder, here / "languages")
    name = publish("sw", 1)
    Path(FILE).write_text(f"base = {str(dual_folder)!r}\nregistry = 'languages'\nindex = 'pictures'\ndevice = 'cpu'\n")
    assert [row["version"] for row in json.loads(run("list", "--json"))] == [name]
    assert json.loads(run("index", str(pictures[0].parent), "--json"))["index"] == str(here / "pictures")
    assert json.loads(run("search", "paka", "juu", "--language", "sw", "--json"))["hits"]
    Path(FILE).write_text(
        f"base = {str(dual_folder)!r}\nregistry = 'languages'\nindex = 'pictures'\ndevice = 'abacus'\n"
    )
    with pytest.raises(BaseError, match="'abacus'"):
        run("search", "paka", "--language", "sw")
    run("search", "paka", "--language", "sw", "--device", "cpu")
    plan = here / "plan.yaml"
    plan.write_text("languages: {de: {parallel_data: demo}}")
    read = read_plan(str(plan))
    assert (read.registry, read.base) == (here / "languages", str(dual_folder.resolve()))


def test_a_base_that_is_set_tells_which_of_several(
    dual_folder: Path, clip_folder: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes: list[BaseRegistry] = []
    for folder in (dual_folder, clip_folder):
        home, publish = publisher(folder, here / "adapters")
        publish("sw", 1)
        homes.append(home)
    with pytest.raises(RegistryError, match="several bases"):
        run("show", "sw", "--json")
    for home, said in ((homes[1], "tiny-clip"), (homes[0], os.path.relpath(dual_folder, here))):
        monkeypatch.setenv("MLA_EXTEND_BASE", said)
        assert json.loads(run("show", "sw", "--json"))["base"]["name"] == home.base.name
        page = json.loads(run("report", "--no-examples", "--json"))["data"]["bases"]
        assert [base["name"] for base in page] == [home.base.name]
    assert json.loads(run("show", "sw", "--base", "tiny-clip", "--json"))["base"]["name"] == "tiny-clip"


def test_auto_is_the_device_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLA_EXTEND_DEVICE", "meta")
    assert str(pick_device("auto")) == "meta"
    assert str(pick_device("cpu")) == "cpu"


def test_the_page_names_every_setting() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for name in KNOWN:
        assert f"| `{name}` | `--{name}` | `MLA_EXTEND_{name.upper()}` |" in page
