"""Languages as sentence-transformers models: what `SentenceTransformer(PATH)` makes of the folder."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel

from mla_extend.errors import DataError
from mla_extend.exports import sentence_transformers
from mla_extend.exports.subject import Subject
from mla_extend.exports.xmod import xmod
from mla_extend.language.acquirer import Acquirer
from mla_extend.registry.load import RegistryModel
from tests import families_hf, families_text
from tests.test_export_onnx import BUILDERS, TEXTS, tiny

NATIVE = ["a red cat sits under the old tree", "dog", "the boat " * 30]


def opened(folder: Path, texts: list[str]) -> np.ndarray:
    """Encode texts by sentence-transformers."""
    vectors: np.ndarray = SentenceTransformer(str(folder), device="cpu").encode(texts, show_progress_bar=False)
    return vectors


def exported(model: RegistryModel, tag: str, out: Path) -> str:
    """Export to a new folder; return the class of its text tower."""
    out.mkdir()
    about = sentence_transformers.write(Subject(model, tag), out, int8=False)
    assert about["dimension"] == model.encode_text(["a"], tag).shape[1]
    return str(about["architecture"])


@pytest.mark.parametrize(
    "family", ["dual-encoder", "sentence-bert", "sentence-roberta", "vision-text-bert", "vision-text-roberta"]
)
def test_a_language_with_acquirers_is_an_xmod_model_of_equal_vectors(family: str, tmp_path: Path) -> None:
    model = tiny(BUILDERS[family](tmp_path / "tiny"))
    assert exported(model, "sw", tmp_path / "out") == "XmodModel"
    due = model.encode_text(TEXTS, "sw").numpy()
    np.testing.assert_allclose(opened(tmp_path / "out", TEXTS), due, atol=1e-6)
    assert "float32" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_the_folder_needs_neither_this_package_nor_trust(tmp_path: Path) -> None:
    model = tiny(families_hf.save_dual_encoder(tmp_path / "tiny"))
    exported(model, "sw", tmp_path / "out")
    program = (
        "import json, sys; sys.modules['mla_extend'] = None\n"
        "from sentence_transformers import SentenceTransformer\n"
        "model = SentenceTransformer(sys.argv[1], device='cpu')\n"
        "print(json.dumps(model.encode(json.loads(sys.argv[2]), show_progress_bar=False).tolist()))"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "out"), json.dumps(TEXTS)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "newly initialized" not in done.stderr
    found = np.array(json.loads(done.stdout.splitlines()[-1]), dtype=np.float32)
    np.testing.assert_allclose(found, model.encode_text(TEXTS, "sw").numpy(), atol=1e-6)


def test_a_chinese_clip_with_large_weights_is_equal_to_their_rounding(tmp_path: Path) -> None:
    model = tiny(families_hf.save_chinese_clip(tmp_path / "tiny"))
    assert exported(model, "sw", tmp_path / "out") == "XmodModel"
    due = model.encode_text(TEXTS, "sw").numpy()
    np.testing.assert_allclose(opened(tmp_path / "out", TEXTS), due, atol=5e-6)


@pytest.mark.parametrize(
    ("family", "architecture"),
    [
        ("dual-encoder", "BertModel"),
        ("sentence-roberta", "RobertaModel"),
        ("sentence-mpnet", "MPNetModel"),
        ("sentence-distilbert", "DistilBertModel"),
        ("sentence-modernbert", "ModernBertModel"),
        ("vision-text-roberta", "RobertaModel"),
    ],
)
def test_a_language_without_acquirers_stays_a_model_of_its_own_class(
    family: str, architecture: str, tmp_path: Path
) -> None:
    model = tiny(BUILDERS[family](tmp_path / "tiny"), bottleneck=0)
    assert exported(model, "sw", tmp_path / "out") == architecture
    due = model.encode_text(TEXTS, "sw").numpy()
    np.testing.assert_allclose(opened(tmp_path / "out", TEXTS), due, atol=1e-6)


@pytest.mark.parametrize("family", ["dual-encoder", "sentence-roberta"])
def test_the_bases_own_language_is_exported_as_it_is(family: str, tmp_path: Path) -> None:
    model = tiny(BUILDERS[family](tmp_path / "tiny"))
    exported(model, "en", tmp_path / "out")
    due = model.encode_text(NATIVE, "en").numpy()
    np.testing.assert_allclose(opened(tmp_path / "out", NATIVE), due, atol=1e-6)


@pytest.mark.parametrize("family", ["clip", "siglip", "sentence-mpnet", "sentence-distilbert", "sentence-modernbert"])
def test_what_no_class_can_hold_is_refused_with_the_way_that_is_left(family: str, tmp_path: Path) -> None:
    model = tiny(BUILDERS[family](tmp_path / "tiny"))
    with pytest.raises(DataError, match=r"No transformers model can hold .* Export it with --to onnx"):
        sentence_transformers.write(Subject(model, "sw"), tmp_path, int8=False)


def test_a_type_of_model_that_takes_no_other_tokenizer_is_refused(tmp_path: Path) -> None:
    model = tiny(families_text.sentence_decoder(tmp_path / "tiny"), bottleneck=0)
    with pytest.raises(DataError, match="can hold a tokenizer of its own in a model of the type 'qwen2'"):
        sentence_transformers.write(Subject(model, "sw"), tmp_path, int8=False)


def test_the_export_leaves_the_model_as_it_is(tmp_path: Path) -> None:
    model = tiny(families_text.sentence_bert(tmp_path / "tiny"))
    before = model.encode_text(["paka"], "sw"), model.encode_text(["a cat"], "en")
    exported(model, "sw", tmp_path / "out")
    after = model.encode_text(["paka"], "sw"), model.encode_text(["a cat"], "en")
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("epsilon", [1e-12, 1e-5])
@pytest.mark.parametrize("bottleneck", [3, 90])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "silu"])
def test_xmod_is_exact_for_every_activation_epsilon_and_bottleneck(
    activation: str, bottleneck: int, epsilon: float
) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96,
        max_position_embeddings=12, hidden_act=activation, layer_norm_eps=epsilon,
    )  # fmt: skip
    tower = BertModel(config, add_pooling_layer=False).eval()
    acquirers = [Acquirer(48, bottleneck).eval() for _ in range(3)]
    with torch.no_grad():
        for parameter in (*tower.parameters(), *(p for one in acquirers for p in one.parameters())):
            parameter.add_(torch.randn(parameter.shape) * 0.1)
        ids = torch.randint(1, 50, (4, 12))
        mask = torch.ones_like(ids)
        ids[0, 5:] = 0
        mask[0, 5:] = 0
        model, readout = xmod(
            tower,
            tower.embeddings.word_embeddings.weight,
            acquirers,
            positions=tower.embeddings.position_embeddings.weight,
            pad_id=0,
            tag="sw",
        )
        found = model(input_ids=ids, attention_mask=mask).last_hidden_state @ readout.T
        for layer, acquirer in zip(tower.encoder.layer, acquirers, strict=True):
            layer.register_forward_hook(lambda _, __, output, own=acquirer: own(output))
        due = tower(input_ids=ids, attention_mask=mask).last_hidden_state
    kept = mask.bool()
    torch.testing.assert_close(found[kept], due[kept], rtol=0, atol=2e-6 * float(due.abs().max()))
