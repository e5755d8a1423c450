"""The proof of isolation lets pass what moved nothing, and names what did."""

import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from test_registry_store import make_base, make_card, publish, stage

from mla_extend.errors import IsolationError, RegistryError
from mla_extend.files import open_plain, write_json
from mla_extend.images import pipeline
from mla_extend.registry.isolation import PROBES, compare, prove_isolation, take_snapshot
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.untouched import hash_others
from mla_extend.registry.verify import verify

Array = npt.NDArray[np.float32]


def encode(texts: list[str], languages: list[str]) -> Array:
    seeds = [
        int.from_bytes(hashlib.sha256(f"{tag} {text}".encode()).digest()[:4])
        for text, tag in zip(texts, languages, strict=True)
    ]
    return np.stack([np.random.default_rng(seed).normal(size=5) for seed in seeds]).astype(np.float32)


def moved(language: str, row: int = 3) -> object:
    def encoder(texts: list[str], languages: list[str]) -> Array:
        vectors = encode(texts, languages)
        index = languages.index(language) + row
        vectors[index, 2] = np.nextafter(vectors[index, 2], np.float32(9))
        return vectors

    return encoder


@pytest.fixture
def base(tmp_path: Path) -> BaseRegistry:
    base = make_base(tmp_path)
    publish(base, "sw")
    publish(base, "yo")
    return base


def test_the_proof_covers_every_language_and_the_bases_own(base: BaseRegistry) -> None:
    staged = stage(base, "am")
    proof = prove_isolation(base, "am", staged, encode, encode)
    assert proof.ok
    assert list(proof.languages) == ["en", "sw", "yo"]
    assert proof.languages["en"]["files"] == ""
    assert all(
        line["files_equal"] and line["vectors_equal"] and line["as_recorded"] for line in proof.languages.values()
    )
    assert len(proof.staged) == 64
    write_json(staged / "proof.json", proof.to_json())


def test_the_proof_is_part_of_publishing(base: BaseRegistry) -> None:
    staged = stage(base, "am")
    base.publish(
        "am",
        staged,
        make_card("am"),
        prove=lambda folder: prove_isolation(base, "am", folder, encode, encode).to_json(),
    )
    assert base.card("am").isolation["ok"] is True


@pytest.mark.parametrize("change", ["another publishes", "another writes", "nothing"])
def test_what_moves_between_the_proof_and_the_lock_is_proven_again(base: BaseRegistry, change: str) -> None:
    made: list[dict[str, object]] = []

    def prove(folder: Path) -> dict[str, object]:
        made.append(prove_isolation(base, "am", folder, encode, encode).to_json())
        if change == "another publishes" and len(made) == 1:
            publish(base, "zu")
        elif change == "another writes" and len(made) == 1:
            (base.current("sw").folder / "notes.json").write_text("{}")
        return made[-1]

    base.publish("am", stage(base, "am"), make_card("am"), prove=prove)
    assert len(made) == (1 if change == "nothing" else 2)
    assert base.card("am").isolation == made[-1]
    assert ("zu" in base.card("am").isolation["languages"]) == (change == "another publishes")
    assert verify(base.folder.parent) == [] or change == "another writes"


def test_a_file_is_read_once_and_again_where_anything_wrote_it(
    base: BaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(pipeline, "open_plain", lambda path: read.append(path.name) or open_plain(path))
    monkeypatch.setattr(pipeline, "TOO_YOUNG", 0.0)
    path = base.current("sw").folder / "adapter_model.safetensors"
    before = hash_others(base, None)
    assert len(read) == sum(map(len, before.values()))
    read.clear()
    assert hash_others(base, None) == before
    assert read == []
    times, content = path.stat(), path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + b"!")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a careful hand would
    assert hash_others(base, None) != before
    assert read == [path.name]


def test_the_language_that_is_replaced_is_not_looked_at(base: BaseRegistry) -> None:
    proof = prove_isolation(base, "sw", stage(base, "sw"), encode, encode)
    assert list(proof.languages) == ["en", "yo"]


@pytest.mark.parametrize("language", ["en", "sw"])
def test_one_bit_of_one_vector_refuses_the_publish(base: BaseRegistry, language: str) -> None:
    with pytest.raises(IsolationError, match=f"'{language}' moved: row 3 .*{PROBES[3]}.*largest difference is .*e-0"):
        prove_isolation(base, "am", stage(base, "am"), encode, moved(language))  # type: ignore[arg-type]


def test_negative_zero_is_a_move(base: BaseRegistry) -> None:
    before = take_snapshot(base, lambda texts, languages: np.zeros((len(texts), 2), np.float32))
    after = take_snapshot(base, lambda texts, languages: -np.zeros((len(texts), 2), np.float32))
    with pytest.raises(IsolationError, match="'en' moved: row 0"):
        compare(before, after)


def test_vectors_of_another_width_are_a_move(base: BaseRegistry) -> None:
    with pytest.raises(IsolationError, match=r"shape \[8, 5\] and have \[8, 4\]"):
        prove_isolation(base, "am", stage(base, "am"), encode, lambda *given: encode(*given)[:, :4])


@pytest.mark.parametrize("file", ["current", "adapter_model.safetensors", "new.json"])
def test_one_byte_of_one_file_refuses_the_publish(base: BaseRegistry, file: str) -> None:
    def writing(texts: list[str], languages: list[str]) -> Array:
        folder = base.folder / "sw"
        path = folder / file if file == "current" else base.current("sw").folder / file
        if path.exists():
            path.chmod(0o644)
        with path.open("ab") as opened:
            opened.write(b"\n")
        return encode(texts, languages)

    with pytest.raises(IsolationError, match=f"{file} of 'sw' moved"):
        prove_isolation(base, "am", stage(base, "am"), encode, writing)


def test_languages_that_come_or_go_refuse_the_publish(base: BaseRegistry) -> None:
    before = take_snapshot(base, encode)
    base.remove("yo")
    with pytest.raises(IsolationError, match="the same as before: yo"):
        compare(before, take_snapshot(base, encode))


def test_staged_files_that_change_refuse_the_publish(base: BaseRegistry) -> None:
    staged = stage(base, "am")

    def writing(texts: list[str], languages: list[str]) -> Array:
        (staged / "adapter_config.json").write_text("[]")
        return encode(texts, languages)

    with pytest.raises(IsolationError, match="changed during the isolation proof of 'am'"):
        prove_isolation(base, "am", staged, encode, writing)


def test_earlier_damage_is_recorded_and_stops_nothing(base: BaseRegistry) -> None:
    path = base.current("sw").folder / "README.md"
    path.chmod(0o644)
    path.write_text("edited")
    (base.current("yo").folder / "card.json").unlink()
    snapshot = take_snapshot(base, encode, languages=["sw"])
    assert snapshot.damaged["sw"].endswith("README.md")
    assert snapshot.damaged["yo"].endswith("card.json")
    proof = compare(snapshot, take_snapshot(base, encode, languages=["sw"]))
    assert proof.languages["sw"]["as_recorded"] is False
    assert proof.languages["yo"]["vectors_equal"] is None


def test_an_encoder_must_keep_its_shape(base: BaseRegistry) -> None:
    for wrong in (lambda *given: encode(*given)[1:], lambda *given: encode(*given).astype(np.float64)):
        with pytest.raises(RegistryError, match=r"must give float32 of shape \[24, D\]"):
            take_snapshot(base, wrong)


def test_an_encoder_may_hand_out_one_memory_twice(base: BaseRegistry) -> None:
    memory = np.zeros((len(PROBES) * 3, 2), np.float32)

    def encoder(texts: list[str], languages: list[str]) -> Array:
        memory[:] += 1
        return memory

    with pytest.raises(IsolationError, match="'en' moved"):
        compare(take_snapshot(base, encoder), take_snapshot(base, encoder))
