"""Exports of languages that have no token table of their own: a frozen one that is projected, or the base's."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from mla_extend.bases.open import open_base
from mla_extend.exports import onnx_towers, sentence_transformers
from mla_extend.exports.hub_tokenizer import hub_tokenizer, model_ids
from mla_extend.exports.subject import Subject
from mla_extend.language import pretrained
from mla_extend.language.peft_method import adapter_tensors
from mla_extend.language.pretrained import open_table
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.registry.load import RegistryModel
from tests import families_hf, families_text
from tests.test_export_onnx import TEXTS, run
from tests.test_pretrained import save_bert


@pytest.fixture
def bert(tmp_path: Path) -> Iterator[Path]:
    """Give the folder of a tiny multilingual BERT; no other test's table is in memory."""
    pretrained._OPEN.clear()
    yield save_bert(tmp_path / "tiny-bert")
    pretrained._OPEN.clear()


def with_table(folder: Path, bert: Path | None) -> RegistryModel:
    """Open a base and give it a language that reads a projected table, or the native one."""
    model = RegistryModel(open_base(str(folder), device="cpu"), None)
    if bert is None:
        model.add("sw", tokenizer=None, bottleneck=4)
    else:
        table = open_table(str(bert))
        tokenizer = LanguageTokenizer(table.tokenizer, model.base.max_tokens)
        model.add("sw", tokenizer=tokenizer, bottleneck=4, pretrained=table.to_json())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in adapter_tensors(model.peft, model.language("sw").adapter).values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return model


def test_a_projected_table_is_in_the_onnx_file_and_its_tokenizer_takes_specials_as_text(
    bert: Path, tmp_path: Path
) -> None:
    model = with_table(families_hf.save_siglip(tmp_path / "tiny"), bert)  # without a begin token
    out = tmp_path / "out"
    out.mkdir()
    onnx_towers.write(Subject(model, "sw"), out, int8=False)
    texts = [*TEXTS, "[CLS] paka [SEP] [PAD] [UNK]"]
    np.testing.assert_allclose(run(out, texts), model.encode_text(texts, "sw").numpy(), atol=1e-5)
    made = hub_tokenizer(model, "sw")
    assert [row.ids for row in made.tokenizer.encode_batch(texts)] == model_ids(model, "sw", texts)
    assert (made.pad_token, made.end_token, made.begin_token) == ("[PAD]", "[SEP]", None)


def test_a_projected_table_is_a_plain_one_in_sentence_transformers(bert: Path, tmp_path: Path) -> None:
    model = with_table(families_text.sentence_bert(tmp_path / "tiny"), bert)
    out = tmp_path / "out"
    out.mkdir()
    sentence_transformers.write(Subject(model, "sw"), out, int8=False)
    texts = [*TEXTS, "[CLS] paka [SEP] [PAD] [UNK]"]
    found = SentenceTransformer(str(out), device="cpu").encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(found, model.encode_text(texts, "sw").numpy(), atol=1e-6)


def test_a_language_on_the_native_table_has_the_native_tokenizer(tmp_path: Path) -> None:
    model = with_table(families_text.sentence_bert(tmp_path / "tiny"), None)
    texts = ["a red cat", "the big dog runs near the old boat"]
    due = model.encode_text(texts, "sw").numpy()
    for name, write in (("onnx", onnx_towers.write), ("sentences", sentence_transformers.write)):
        (tmp_path / name).mkdir()
        write(Subject(model, "sw"), tmp_path / name, int8=False)
    np.testing.assert_allclose(run(tmp_path / "onnx", texts), due, atol=1e-5)
    found = SentenceTransformer(str(tmp_path / "sentences"), device="cpu").encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(found, due, atol=1e-6)
