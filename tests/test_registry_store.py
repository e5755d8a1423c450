"""Bases and languages on disk: names, listing, versions, removal. Other registry tests take their helpers from here."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from mla_extend.errors import BaseMismatchError, LanguageError, RegistryError
from mla_extend.registry import layout
from mla_extend.registry.card import Card
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import Version
from mla_extend.registry.store import BaseIdentity, Registry

RECORD = BaseIdentity("demo", "owner/demo", "clip", "f" * 64, "en", licence="MIT")


def make_base(root: Path) -> BaseRegistry:
    return Registry(root).create(RECORD)


def make_card(language: str, **changes: Any) -> Card:
    card = Card(
        language=language,
        language_name="Swahili",
        base={"name": "demo", "source": "owner/demo", "fingerprint": "f" * 64, "family": "clip", "native": "en"},
        recipe={"steps": 3},
        data=[{"role": "train", "path": "a.tsv", "sha256": "a" * 64, "pairs": 12_000, "licence": None}],
        metrics={"test_set": "xtd", "splits": {"test": {"mean_recall": 0.5, "ci95": [0.4, 0.6], "gallery": 1000}}},
        versions={"mla-extend": "0.1.0", "torch": "2.13.0"},
        seed=7,
        cost={"seconds": 12.5, "peak_memory_bytes": 123456789, "pairs": 12_000},
        parameters=1234,
    )
    return replace(card, **changes)


def stage(base: BaseRegistry, language: str, seed: int = 0) -> Path:
    folder = base.work_folder(language) / "staged"
    folder.mkdir()
    values = np.random.default_rng(seed).normal(size=(4, 3)).astype(np.float32)
    save_file({"weight": values}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    return folder


def publish(base: BaseRegistry, language: str, seed: int = 0, **options: Any) -> Version:
    options.setdefault("prove", lambda staged: {"ok": True})
    return base.publish(language, stage(base, language, seed), make_card(language), **options)


def test_a_registry_without_bases_says_so(tmp_path: Path) -> None:
    assert Registry(tmp_path / "nowhere").bases() == []
    with pytest.raises(RegistryError, match="holds no base: add a language"):
        Registry(tmp_path).open()


def test_a_base_is_made_once_and_opened_by_name(tmp_path: Path) -> None:
    made = make_base(tmp_path)
    assert made.base == replace(RECORD, created=made.base.created)
    assert make_base(tmp_path).base == made.base
    assert Registry(tmp_path).open().base == made.base
    assert json.loads((tmp_path / "demo" / "base.json").read_text())["fingerprint"] == "f" * 64
    with pytest.raises(RegistryError, match="Did you mean 'demo'"):
        Registry(tmp_path).open("demos")
    Registry(tmp_path).create(replace(RECORD, name="other"))
    with pytest.raises(RegistryError, match="several bases"):
        Registry(tmp_path).open()


@pytest.mark.parametrize("change", [{"fingerprint": "e" * 64}, {"native": "de"}])
def test_another_base_of_the_same_name_is_refused(tmp_path: Path, change: dict[str, str]) -> None:
    make_base(tmp_path)
    with pytest.raises(BaseMismatchError, match=r"owner/demo.*elsewhere/demo"):
        Registry(tmp_path).create(replace(RECORD, source="elsewhere/demo", **change))


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 1}', '{"schema": 2}', "\udcff"])
def test_a_damaged_base_record_is_said(tmp_path: Path, content: str) -> None:
    make_base(tmp_path)
    (tmp_path / "demo" / "base.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(RegistryError, match=r"base\.json"):
        Registry(tmp_path).open("demo")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "con", "nul.txt", "a.", ".work", "a:b", "a\n"])
def test_a_base_name_stays_in_the_root(tmp_path: Path, name: str) -> None:
    with pytest.raises(RegistryError, match="cannot name a base"):
        Registry(tmp_path).create(replace(RECORD, name=name))


@pytest.mark.parametrize("name", ["", ".", "..", "../sw", "sw/x", "sw\\x", "/sw", "sw_KE", ".work", "sw\n", "a" * 70])
def test_a_language_name_stays_in_the_base(tmp_path: Path, name: str) -> None:
    base = make_base(tmp_path)
    for action in (base.current, base.remove, base.card, base.work_folder, base.versions, base.check_name):
        with pytest.raises(LanguageError, match="cannot name a language"):
            action(name)


def test_a_language_is_published_listed_and_read(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    assert base.languages() == []
    version = publish(base, "sw")
    assert layout.is_version_name(version.name)
    assert base.current("sw") == version
    assert base.tags() == ["sw"]
    (entry,) = base.languages()
    assert entry.card is not None
    assert entry.problem is None
    assert entry.card == base.card("sw")
    assert entry.card.version == version.name
    assert entry.card.isolation == {"ok": True}
    names = {path.name for path in version.folder.iterdir()}
    assert names == {"README.md", "adapter_config.json", "adapter_model.safetensors", "card.json"}
    assert set(entry.card.files) == names - {"card.json"}
    sizes = (version.folder / "adapter_model.safetensors").stat().st_size + 2
    assert entry.card.bytes == sizes


def test_replacing_keeps_the_old_version(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    old = publish(base, "sw")
    with pytest.raises(RegistryError, match="already"):
        publish(base, "sw")
    new = publish(base, "sw", seed=1, replace=True)
    assert base.current("sw") == new
    assert {version.name for version in base.versions("sw")} == {old.name, new.name}
    assert base.card("sw", old.name).version == old.name
    assert base.use("sw", old.name) == old
    assert base.current("sw") == old
    with pytest.raises(RegistryError, match="has no version 'x'"):
        base.use("sw", "x")


def test_published_files_are_read_only(tmp_path: Path) -> None:
    version = publish(make_base(tmp_path), "sw")
    assert {path.stat().st_mode & 0o777 for path in version.folder.iterdir()} == {0o444}


def test_removal_leaves_nothing(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    publish(base, "sw")
    publish(base, "yo")
    base.remove("sw")
    assert base.tags() == ["yo"]
    assert not list(base.work.glob("removed.*"))
    with pytest.raises(LanguageError, match="not in the registry"):
        base.remove("sw")
    publish(base, "sw")
    assert base.tags() == ["sw", "yo"]


def test_the_bases_own_language_is_refused(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    for name in ("en", "EN"):
        with pytest.raises(LanguageError, match="native language of the base"):
            publish(base, name)


def test_case_tells_no_two_languages_apart(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    publish(base, "zh-Hant")
    with pytest.raises(RegistryError, match="as 'zh-Hant'"):
        publish(base, "zh-hant")
    with pytest.raises(LanguageError, match="Did you mean 'zh-Hant'"):
        base.current("zh-hant")
    with pytest.raises(LanguageError, match="Did you mean 'zh-Hant'"):
        base.remove("ZH-hant")
    assert base.tags() == ["zh-Hant"]


def test_codes_that_windows_reserves_get_a_folder_that_it_takes(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    publish(base, "con")
    assert base.tags() == ["con"]
    assert base.current("con").folder.parent.name == "con_"
    assert layout.language_of("con") is None
    assert layout.language_of("sw_") is None


def test_a_folder_without_current_is_no_language(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    version = publish(base, "sw")
    (version.folder.parent / "current").unlink()
    assert base.languages() == []
    assert base.tags() == []
    with pytest.raises(LanguageError, match="none yet"):
        base.current("sw")
    publish(base, "sw")
    assert [left.name for left in base.versions("sw")] == [base.current("sw").name]


def test_a_strangers_folder_is_not_deleted(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    (base.folder / "notes").mkdir()
    (base.folder / "notes" / "mine.txt").write_text("keep")
    assert base.languages() == []
    with pytest.raises(RegistryError, match="in the way"):
        publish(base, "notes")
    assert (base.folder / "notes" / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("content", ["2026-11-24T10-15-03Z-3f9a\n", "", "../yo", "\0"])
def test_a_bad_current_is_listed_as_a_problem(tmp_path: Path, content: str) -> None:
    base = make_base(tmp_path)
    publish(base, "sw")
    publish(base, "yo")
    (base.folder / "sw" / "current").write_text(content)
    with pytest.raises(RegistryError, match="current"):
        base.current("sw")
    first, second = base.languages()
    assert first.card is None
    assert "current" in str(first.problem)
    assert second.problem is None
    publish(base, "sw", replace=True)
    assert base.languages()[0].problem is None


def test_working_folders_are_found_by_language(tmp_path: Path) -> None:
    base = make_base(tmp_path)
    folders = [base.work_folder("zh"), base.work_folder("zh-Hant"), base.work_folder("zh")]
    assert set(base.work_folders("zh")) == {folders[0], folders[2]}
    assert base.work_folders("zh-Hant") == [folders[1]]
    assert base.languages() == []


def test_listing_loads_nothing_heavy(tmp_path: Path) -> None:
    publish(make_base(tmp_path), "sw")
    script = (
        "import sys; from mla_extend.registry.store import Registry; import mla_extend.registry.verify\n"
        f"assert Registry({str(tmp_path)!r}).open().languages()[0].card\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'langcodes', 'yaml', 'filelock'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
