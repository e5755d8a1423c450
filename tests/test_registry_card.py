"""Cards are read back as written, tell of edits and of later schemas, and are written for people."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_registry_store import make_base, make_card, publish

from mla_extend.errors import BaseMismatchError, RegistryError
from mla_extend.registry.card import card_text, check_base, read_card
from mla_extend.registry.model_card import model_card


def write(folder: Path, values: dict[str, Any]) -> None:
    (folder / "card.json").write_text(card_text(values), encoding="utf-8")


def test_a_card_is_read_back_as_written(tmp_path: Path) -> None:
    card = make_card("sw", recipe={"a": [1, 2.5, None], "ñ": "两"}, version="v", files={"a/b.json": "0"})
    write(tmp_path, card.to_json())
    assert read_card(tmp_path) == card


def test_keys_that_json_makes_texts_keep_the_digest(tmp_path: Path) -> None:
    card = make_card("sw", metrics={10: 1, 9: (1, 2)}, cost={"digest": ""})
    write(tmp_path, card.to_json())
    assert read_card(tmp_path).metrics == {"10": 1, "9": [1, 2]}


def test_an_edited_card_is_refused(tmp_path: Path) -> None:
    text = card_text(make_card("sw").to_json())
    digest = json.loads(text)["digest"]
    for edited in (text.replace("0.5", "0.9"), text.replace(digest, "0" * 64), text.replace(digest, ""), "{}"):
        (tmp_path / "card.json").write_text(edited.replace("{}", '{"schema": 1}'))
        with pytest.raises(RegistryError, match="changed after it was published"):
            read_card(tmp_path)


def test_a_later_schema_says_which_package_it_needs(tmp_path: Path) -> None:
    write(tmp_path, {**make_card("sw").to_json(), "schema": 2, "versions": {"mla-extend": "9.9"}})
    with pytest.raises(RegistryError, match=r"schema 2.*up to 1.*mla-extend 9\.9 or later.*pip install"):
        read_card(tmp_path)


def test_a_key_of_a_later_package_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path, {**make_card("sw").to_json(), "mood": "good"})
    assert read_card(tmp_path) == make_card("sw")


def test_all_that_a_card_lacks_is_said_at_once(tmp_path: Path) -> None:
    values = make_card("sw").to_json()
    del values["recipe"], values["seed"]
    write(tmp_path, values)
    with pytest.raises(RegistryError, match=r"is not a card: missing 2 .*: 'recipe' and 'seed'\. Take"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"schema": "1"}',
        '{"schema": 0}',
        '{"schema": true}',
        "\xff",
        "[" * 100_000,
        '"\\ud800"',
        '{"schema": 1, "digest": "\\ud800"}',
    ],
)
def test_a_damaged_card_is_a_registry_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "card.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(RegistryError, match=r"card\.json .*backup") as caught:
        read_card(tmp_path)
    assert str(caught.value).isprintable()


def test_an_adapter_of_another_base_is_refused() -> None:
    check_base(make_card("sw"), "renamed", "f" * 64)
    with pytest.raises(BaseMismatchError, match=r"'demo' .*ffff.*'other' .*eeee"):
        check_base(make_card("sw"), "other", "e" * 64)


def test_the_model_card_has_what_a_hub_reads(tmp_path: Path) -> None:
    version = publish(make_base(tmp_path), "sw")
    text = (version.folder / "README.md").read_text(encoding="utf-8")
    assert text == model_card(read_card(version.folder))
    _, front, body = text.split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["language"] == ["sw"]
    assert about["base_model"] == "owner/demo"
    assert about["license"] == "other"
    assert about["license_name"] == "see-the-table-below"
    assert about["library_name"] == "mla-extend"  # PEFT alone cannot open it
    assert {"mla-extend", "peft"} <= set(about["tags"])
    for part in (
        "Swahili",
        "| mean_recall | 0.5 |",
        "0.4 to 0.6",
        "| train | a.tsv | 12,000 | unknown |",
        "12.5",
        "f" * 64,
    ):
        assert part in body


def test_one_licence_throughout_is_the_model_cards() -> None:
    card = make_card("sw", data=[{"role": "train", "licence": "CC0-1.0"}], metrics={"cosine": 0.9})
    card.base["licence"] = "CC0-1.0"
    text = model_card(card)
    assert "license: cc0-1.0" in text
    assert "| cosine | 0.9 |" in text
    assert "## Evaluation" not in model_card(make_card("sw", metrics={}))


LICENCES = {
    ("CC BY 4.0", "cc-by-4.0 (captions)"): {"license": "cc-by-4.0"},
    ("Apache-2.0 (texts); Apache 2.0 (images)", "apache-2.0"): {"license": "apache-2.0"},
    ("MIT",): {"license": "other", "license_name": "see-the-table-below"},  # the base's is unknown
    ("MIT", "CC0-1.0"): {"license": "other", "license_name": "see-the-table-below"},
    ("Karibu Corp. EULA v2", "Karibu Corp. EULA v2"): {"license": "other", "license_name": "karibu-corp.-eula-v2"},
    ("Лицензия: своя", "Лицензия: своя"): {"license": "other", "license_name": "see-the-table-below"},
}


@pytest.mark.parametrize(("licences", "expected"), LICENCES.items())
def test_a_licence_that_no_hub_knows_has_a_name(licences: tuple[str, ...], expected: dict[str, str]) -> None:
    first, *rest = licences
    card = make_card("sw", data=[{"role": "train", "licence": first}])
    card.base["licence"] = rest[0] if rest else None
    front = yaml.safe_load(model_card(card).split("---\n")[1])
    assert {key: value for key, value in front.items() if key.startswith("license")} == expected
