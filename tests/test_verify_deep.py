"""`verify --deep` encodes again, and tells other bits from other vectors, and both from other machines."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import sentences
from safetensors.numpy import load_file, save_file
from test_registry_card import write
from test_registry_verify import flip
from typer.testing import CliRunner

from mla_extend.bases.open import open_base
from mla_extend.cli.app import app
from mla_extend.errors import RegistryError
from mla_extend.files import read_json, sha256_file, write_json
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.registry.card import Card
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.layout import Version
from mla_extend.registry.load import RegistryModel
from mla_extend.registry.prove import SAMPLE, prove
from mla_extend.registry.recorded import native_probe
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import verify
from mla_extend.registry.verify_deep import TOLERANCE, verify_deep

ADAPTER = "adapter_model.safetensors"
RUNNER = CliRunner()
TOKENIZER = LanguageTokenizer.train(sentences(400)[1], 16)


def publish_real(base_folder: Path, root: Path, language: str, seed: int) -> BaseRegistry:
    """Publish an adapter of random weights for a tiny base, with the proof that training gives it."""
    opened = open_base(str(base_folder))
    home = Registry(root).create(opened.identity)
    model = RegistryModel(opened, home)
    bare = native_probe(model)
    staged = home.work_folder(language) / "version"
    staged.mkdir()
    model.add(language, tokenizer=TOKENIZER, bottleneck=4)
    generator = torch.Generator().manual_seed(seed)
    with model.training(language) as tensors, torch.no_grad():
        for tensor in tensors.values():
            tensor.normal_(generator=generator)
    model.save(language, staged)
    model.remove(language)
    cost = {"seconds": 0, "peak_memory_bytes": 0}
    card = Card(language, language, vars(opened.identity), {}, [], {}, {}, seed, cost, 0)
    home.publish(language, staged, card, replace=True, prove=lambda path: prove(model, home, language, path, bare))
    return home


def test_a_publish_encodes_a_few_others_in_turn_and_looks_at_the_files_of_all(
    dual_folder: Path, tmp_path: Path
) -> None:
    tags = ["am", "de", "fr", "ja", "sw", "yo", "zu"]
    for seed, tag in enumerate(tags):
        home = publish_real(dual_folder, tmp_path / "adapters", tag, seed)
    lines = {tag: home.card(tag).isolation["languages"] for tag in tags}
    compared = {tag: {other for other, line in lines[tag].items() if line["vectors_equal"]} for tag in tags}
    assert compared["sw"] == {"en", "am", "de", "fr", "ja"}
    assert len(compared["yo"]) == len(compared["zu"]) == 1 + SAMPLE
    assert "sw" in compared["yo"]  # what never was compared comes first
    assert {"yo", "ja"} & compared["zu"]
    assert all(line["files"] and line["files_equal"] for tag, line in lines["zu"].items() if tag != "en")
    assert set(lines["zu"]) == {"en", *tags} - {"zu"}


def edit_card(version: Version, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a card and give it a new digest, as whoever can write the folder can."""
    path = version.folder / "card.json"
    values = read_json(path)
    del values["digest"]
    change(values)
    path.chmod(0o644)
    write(version.folder, values)


def outcomes(root: Path) -> list[tuple[str, str]]:
    return [(line.language, line.outcome) for line in verify_deep(root)[1]]


def run(root: Path, *more: str) -> tuple[int, str]:
    result = RUNNER.invoke(app, ["verify", "--registry", str(root), *more], env={"COLUMNS": "160"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


@pytest.fixture
def home(dual_folder: Path, tmp_path: Path) -> BaseRegistry:
    """Give a registry with German, and Swahili after it."""
    publish_real(dual_folder, tmp_path / "adapters", "de", 1)
    return publish_real(dual_folder, tmp_path / "adapters", "sw", 2)


def test_the_same_machine_gives_the_same_bits(base_folder: Path, tmp_path: Path) -> None:
    """Whatever else the registry holds: each version was published beside others than it lies with now."""
    root = tmp_path / "adapters"
    for language, seed in (("sw", 1), ("de", 2), ("sw", 3)):
        home = publish_real(base_folder, root, language, seed)
    problems, encoded = verify_deep(root)
    assert problems == []
    assert [(line.language, line.version) for line in encoded] == [
        (language, version.name) for tag in ("de", "sw") for version in home.versions(tag) for language in ("en", tag)
    ]
    assert {(line.outcome, line.differs, line.difference) for line in encoded} == {("same bits", (), 0.0)}


def test_the_command_keeps_its_shape_and_its_exit_code(home: BaseRegistry) -> None:
    root = home.folder.parent
    assert json.loads(run(root, "--json")[1]) == {"ok": True, "problems": []}
    code, out = run(root, "--deep", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["ok"], found["problems"]) == (True, [])
    assert {line["outcome"] for line in found["encoded"]} == {"same bits"}
    code, out = run(root, "--deep")
    assert code == 0
    assert "4 of 4 sets of vectors: same bits." in out
    assert home.current("sw").name in out
    flip(home.current("sw"))
    (home.folder / "notes.txt").write_text("")
    code, out = run(root, "--deep", "--json")
    found = json.loads(out)
    assert code == 1
    assert not found["ok"]
    assert [problem["file"] for problem in found["problems"]] == ["notes.txt", ADAPTER]
    assert {line["language"] for line in found["encoded"]} == {"en", "de"}  # what is damaged is never loaded
    assert "it was changed" in run(root, "--deep")[1]


def test_an_adapter_swapped_together_with_its_hash_is_found(home: BaseRegistry) -> None:
    """Its files are as its card says, so that only the vectors tell."""
    version = home.current("sw")
    path = version.folder / ADAPTER
    tensors = {name: tensor + np.float32(0.25) for name, tensor in load_file(path).items()}
    path.chmod(0o644)
    save_file(tensors, path, metadata={"format": "pt"})
    edit_card(version, lambda values: values["files"].update({ADAPTER: sha256_file(path)}))
    assert verify(home.folder.parent) == []
    (problem,), encoded = verify_deep(home.folder.parent)
    assert (problem.base, problem.language, problem.version) == (home.base.name, "sw", version.name)
    assert "not the bits recorded (by " in problem.what
    assert "though machine, threads and libraries are as they were" in problem.what
    assert [line.outcome for line in encoded] == ["same bits", "same bits", "same bits", "moved"]
    code, out = run(home.folder.parent, "--deep")
    assert code == 1
    assert "Verify again" in out


def test_other_bits_on_the_same_machine_are_a_problem_however_near(home: BaseRegistry) -> None:
    edit_card(
        home.current("sw"),
        lambda values: values["isolation"]["recorded"]["vectors"]["sw"].update({"sha256": "0" * 64}),
    )
    (problem,), encoded = verify_deep(home.folder.parent)
    assert "are not the bits recorded" in problem.what
    assert encoded[-1].difference == 0


def moved_by(distance: float, values: dict[str, Any]) -> None:
    """Rewrite a card as another machine would have written it, with vectors that far off."""
    recorded = values["isolation"]["recorded"]
    recorded["environment"] |= {"threads": "64", "torch": "2.9.0"}
    for line in recorded["vectors"].values():
        sample = np.frombuffer(base64.b64decode(line["sample"]), dtype="<f4") + np.float32(distance)
        line.update({"sha256": "0" * 64, "sample": base64.b64encode(sample.tobytes()).decode()})


def test_another_machine_may_round_otherwise(home: BaseRegistry) -> None:
    edit_card(home.current("sw"), lambda values: moved_by(TOLERANCE / 4, values))
    problems, encoded = verify_deep(home.folder.parent)
    assert problems == []
    assert [(line.language, line.outcome) for line in encoded] == [
        ("en", "same bits"),
        ("de", "same bits"),
        ("en", "within tolerance"),
        ("sw", "within tolerance"),
    ]
    assert encoded[-1].differs == (
        f"threads {torch.get_num_threads()}, was 64",
        f"torch {torch.__version__}, was 2.9.0",
    )
    assert encoded[-1].difference == pytest.approx(TOLERANCE / 4, rel=1e-2)
    code, out = run(home.folder.parent, "--deep")
    assert code == 0
    assert "2 of 4 sets of vectors: within tolerance." in out


def test_another_machine_does_not_explain_other_vectors(home: BaseRegistry) -> None:
    edit_card(home.current("sw"), lambda values: moved_by(TOLERANCE * 4, values))
    problems, _ = verify_deep(home.folder.parent)
    assert [problem.language for problem in problems] == ["en", "sw"]
    assert "more than rounding explains; not as then: threads" in problems[1].what
    assert "torch 2.9.0" not in problems[1].remedy
    assert "add the language again" in problems[1].remedy


def test_other_machines_with_the_same_bits_are_no_news(home: BaseRegistry) -> None:
    edit_card(
        home.current("sw"),
        lambda values: values["isolation"]["recorded"]["environment"].update({"processor": "Another 9000"}),
    )
    problems, encoded = verify_deep(home.folder.parent)
    assert problems == []
    assert encoded[-1].outcome == "same bits"
    assert encoded[-1].differs[0].endswith("was Another 9000")


def test_other_instructions_of_the_processor_are_lawful(home: BaseRegistry) -> None:
    """A real change of arithmetic: PyTorch's kernels without vector instructions."""
    limited = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    done = subprocess.run(
        [sys.executable, "-m", "mla_extend", "verify", "--deep", "--json", "--registry", str(home.folder.parent)],
        env={**os.environ, **limited},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["ok"]
    for line in found["encoded"]:
        assert line["outcome"] in {"same bits", "within tolerance"}
        assert line["difference"] < TOLERANCE
        assert any(what.startswith("instructions ") for what in line["differs"]) or line["outcome"] == "same bits"


def test_versions_published_before_are_said_to_have_no_record(home: BaseRegistry) -> None:
    """Of them only the hash of the base's own vectors is known."""
    wrong: list[Any] = [[], "rubbish", {"environment": 3, "vectors": {}}, {"environment": {}, "vectors": {"sw": []}}]
    while wrong:
        edit_card(home.current("sw"), lambda values: values["isolation"].update({"recorded": wrong.pop()}))
        assert outcomes(home.folder.parent)[2:] == [("en", "same bits"), ("sw", "not recorded")]
    edit_card(home.current("sw"), lambda values: values["isolation"].pop("recorded"))
    assert outcomes(home.folder.parent)[2:] == [("en", "same bits"), ("sw", "not recorded")]
    edit_card(home.current("sw"), lambda values: values["isolation"]["languages"]["en"].update({"vectors": "0" * 64}))
    assert outcomes(home.folder.parent)[2:] == [("en", "not recorded"), ("sw", "not recorded")]
    edit_card(home.current("de"), lambda values: values["isolation"].update({"probes": "0" * 64}))
    edit_card(home.current("sw"), lambda values: values.update({"isolation": {}}))
    problems, encoded = verify_deep(home.folder.parent)
    assert problems == []
    assert {line.outcome for line in encoded} == {"not recorded"}
    assert "4 of 4 sets of vectors: not recorded." in run(home.folder.parent, "--deep")[1]


@pytest.mark.parametrize("sample", ["", "rubbish!", base64.b64encode(b"\xff" * 2048).decode()])
def test_a_record_that_holds_no_sample_explains_nothing(home: BaseRegistry, sample: str) -> None:
    def change(values: dict[str, Any]) -> None:
        moved_by(0, values)
        values["isolation"]["recorded"]["vectors"]["sw"]["sample"] = sample

    edit_card(home.current("sw"), change)
    (problem,), encoded = verify_deep(home.folder.parent)
    assert encoded[-1].outcome == "moved"
    assert encoded[-1].difference is None
    assert "are not those recorded, more than rounding explains" in problem.what


def test_an_adapter_that_does_not_load_is_a_problem_and_the_others_are_encoded(home: BaseRegistry) -> None:
    version = home.current("de")
    path = version.folder / ADAPTER
    path.chmod(0o644)
    save_file({"nothing": np.zeros(3, np.float32)}, path, metadata={"format": "pt"})
    edit_card(version, lambda values: values["files"].update({ADAPTER: sha256_file(path)}))
    (problem,), encoded = verify_deep(home.folder.parent)
    assert (problem.language, problem.version) == ("de", version.name)
    assert "does not fit the base" in problem.what
    assert [line.language for line in encoded] == ["en", "sw"]


def test_a_base_that_is_gone_or_another_is_a_problem(home: BaseRegistry, clip_folder: Path, tmp_path: Path) -> None:
    record = read_json(home.folder / "base.json")
    for source, what in ((str(tmp_path / "gone"), "gone"), (str(clip_folder), "the base has changed")):
        write_json(home.folder / "base.json", {**record, "source": source})
        (problem,), encoded = verify_deep(home.folder.parent)
        assert (problem.base, problem.language) == (home.base.name, None)
        assert what in problem.what
        assert encoded == []
    assert run(home.folder.parent, "--deep", "--json")[0] == 1
    (home.folder / "base.json").write_text("{}")
    assert [problem.file for problem in verify_deep(home.folder.parent)[0]] == ["base.json"]


def test_the_record_on_the_card_is_small_and_says_where_it_was_made(home: BaseRegistry) -> None:
    recorded = home.card("sw").isolation["recorded"]
    assert list(recorded["vectors"]) == ["sw", "en"]
    assert len(json.dumps(recorded)) < 4_000
    assert recorded["environment"]["torch"] == torch.__version__
    assert recorded["environment"]["device"] == "cpu"
    assert recorded["environment"]["threads"] == str(torch.get_num_threads())
    assert all(recorded["environment"].values())


def test_there_must_be_something_to_verify(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="holds no base"):
        verify_deep(tmp_path)
    with pytest.raises(RegistryError, match="holds no base"):
        run(tmp_path, "--deep")
