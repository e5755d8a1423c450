"""Text and image towers as ONNX, opened by onnxruntime and tokenizers alone, for every family of bases."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from mla_extend.bases.open import open_base
from mla_extend.errors import BaseError, DataError
from mla_extend.exports import immich, onnx_files, onnx_towers
from mla_extend.exports.images import prepared
from mla_extend.exports.subject import Subject
from mla_extend.files import sha256_file
from mla_extend.language.peft_method import adapter_parameters
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.registry.load import RegistryModel
from tests import families_hf, families_text
from tests.conftest import sentences

BUILDERS: dict[str, Callable[[Path], Path]] = families_hf.BUILDERS | families_text.BUILDERS
TARGET = sentences(60)[1]
TEXTS = [
    "Mbwa mweusi anakimbia ufukweni.",
    "paka",
    "paka green and the house",
    "ጥቁር ውሻ በሜዳ ላይ",
    "كلب أسود صغير",
    "黒い犬が走る。",
    "",
    "<s> </s> <pad> [SEP]",
    "mbwa na paka " * 20,
]


def tiny(folder: Path, bottleneck: int = 4) -> RegistryModel:
    """Open a base and give it the language sw, with weights of a size that tells a wrong path from a right one."""
    model = RegistryModel(open_base(str(folder), device="cpu"), None)
    own = LanguageTokenizer.train(TARGET, model.base.max_tokens, size=320)
    own, grown = own.with_native(model.base.tokenizer, TARGET)
    tokenizer = LanguageTokenizer(grown.content, model.base.max_tokens, own.pieces)
    model.add("sw", tokenizer=tokenizer, native_pieces=len(grown.rows), bottleneck=bottleneck)
    generator = torch.Generator().manual_seed(0)
    table = model.own_table("sw")
    assert table is not None
    assert table.native_rows is not None
    with torch.no_grad():
        table.native_rows.copy_(torch.tensor(grown.rows))
        for tensor in adapter_parameters(model.peft, model.language("sw").adapter).values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return model


def run(folder: Path, texts: list[str]) -> NDArray[np.float32]:
    """Encode texts by the files of an export alone."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    rows = tokenizer.encode_batch(texts)
    feeds = {
        "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
        "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
    }
    vectors: NDArray[np.float32] = session.run(None, feeds)[0]
    return vectors


@pytest.fixture(params=BUILDERS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> RegistryModel:
    """Give a tiny model of each family, with a language."""
    return tiny(BUILDERS[request.param](tmp_path / f"tiny-{request.param}"))


def test_a_language_of_every_family_gives_the_models_vectors(
    model: RegistryModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    about = onnx_towers.write(Subject(model, "sw"), out, int8=False)
    due = model.encode_text(TEXTS, "sw").numpy()
    np.testing.assert_allclose(run(out, TEXTS), due, atol=1e-5)
    for text, expected in zip(TEXTS, due, strict=True):
        np.testing.assert_allclose(run(out, [text])[0], expected, atol=1e-5)
    ids = [row.ids for row in Tokenizer.from_file(str(out / "tokenizer.json")).encode_batch(["paka", "mbwa na paka"])]
    pad_id = model.language("sw").tokenizer.pad_id
    assert [[i for i in row if i != pad_id] for row in ids] == model.tokenise("sw", ["paka", "mbwa na paka"])
    assert about["dimension"] == due.shape[1]
    assert about["check"]["largest_difference"] < 1e-5
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("family", ["clip", "dual-encoder", "siglip2-fixed", "sentence-decoder"])
def test_the_bases_own_language_gives_the_bases_vectors(family: str, tmp_path: Path) -> None:
    model = tiny(BUILDERS[family](tmp_path / "tiny"))
    out = tmp_path / "out"
    out.mkdir()
    onnx_towers.write(Subject(model, "en"), out, int8=False)
    texts = ["a red cat sits under the old tree", "dog", "the boat " * 30]
    np.testing.assert_allclose(run(out, texts), model.encode_text(texts, "en").numpy(), atol=1e-5)


def test_a_native_tokenizer_of_another_library_is_refused(tmp_path: Path) -> None:
    model = tiny(families_hf.save_clip(tmp_path / "tiny"))
    model.base.tokenizer = str.split
    with pytest.raises(DataError, match="which the tokenizers library cannot run"):
        onnx_towers.write(Subject(model, "en"), tmp_path, int8=False)


def test_eight_bits_give_nearly_the_same_vectors_in_a_smaller_file(tmp_path: Path) -> None:
    model = tiny(families_hf.save_dual_encoder(tmp_path / "tiny"))
    for name, int8 in (("full", False), ("int8", True)):
        (tmp_path / name).mkdir()
        about = onnx_towers.write(Subject(model, "sw"), tmp_path / name, int8=int8)
    due = model.encode_text(TEXTS, "sw").numpy()
    found = run(tmp_path / "int8", TEXTS)
    assert np.all((found * due).sum(axis=1) > 0.98)
    assert not np.allclose(found, due, atol=1e-6)
    assert about["int8"]
    assert about["check"]["tolerance"] is None
    assert "8-bit" in (tmp_path / "int8" / "README.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in (tmp_path / "int8").iterdir()) == [
        "README.md", "export.json", "model.onnx", "tokenizer.json",
    ]  # fmt: skip


@pytest.mark.parametrize("family", ["clip", "siglip", "dual-encoder", "dual-encoder-classes", "vision-text-bert"])
def test_the_image_tower_gives_the_models_vectors_from_pixels_of_its_own_preprocessing(
    family: str, tmp_path: Path
) -> None:
    builders = {**BUILDERS, "dual-encoder-classes": partial(families_hf.save_dual_encoder, classes=5)}
    model = tiny(builders[family](tmp_path / "tiny"))
    out = tmp_path / "out"
    out.mkdir()
    about = onnx_towers.write(Subject(model, "images"), out, int8=False)
    draw = np.random.default_rng(0)
    shapes = [(16, 16), (40, 24), (24, 60)]
    images = [Image.fromarray(draw.integers(0, 255, (*shape, 3), dtype=np.uint8)) for shape in shapes]
    cfg = json.loads((out / "preprocess_cfg.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(out / "model.onnx"), providers=["CPUExecutionProvider"])
    pixels = np.stack([prepared(image, cfg) for image in images])
    np.testing.assert_allclose(session.run(None, {"pixel_values": pixels})[0], model.encode_images(images), atol=1e-4)
    assert about["preprocessing_difference"] < 1e-4


def test_an_image_tower_that_keeps_proportions_is_refused(tmp_path: Path) -> None:
    model = tiny(families_hf.save_siglip2_naflex(tmp_path / "tiny"))
    with pytest.raises(DataError, match="not one image of a fixed size"):
        onnx_towers.write(Subject(model, "images"), tmp_path, int8=False)


def test_a_base_without_images_has_no_image_tower_and_nothing_for_immich(tmp_path: Path) -> None:
    model = tiny(families_text.sentence_bert(tmp_path / "tiny"))
    with pytest.raises(BaseError, match="no image tower"):
        onnx_towers.write(Subject(model, "images"), tmp_path, int8=False)
    with pytest.raises(BaseError, match="no image tower"):
        immich.write(Subject(model, "sw"), tmp_path, int8=False)


def test_vectors_that_differ_are_refused(tmp_path: Path) -> None:
    model = tiny(families_hf.save_dual_encoder(tmp_path / "tiny"))
    subject = Subject(model, "sw")
    onnx_towers.write_text_tower(subject, subject.tokenizer(), tmp_path / "model.onnx")
    with torch.no_grad():
        model.base.text_tower.embeddings.position_embeddings.weight.add_(0.5)
        model.base.text_tower.embeddings.position_embeddings.weight[1].mul_(3)
    with pytest.raises(DataError, match="gives vectors unlike the model"):
        onnx_towers.check_text_tower(subject, subject.tokenizer(), tmp_path / "model.onnx")


IMMICH = """
import json, sys
from pathlib import Path

for name in ("torch", "mla_extend", "transformers"):
    sys.modules[name] = None
import numpy as np
import onnxruntime as ort
from PIL import Image
from tokenizers import Tokenizer

folder, picture, texts = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
length = config["text_cfg"].get("context_length", 77)
settings = json.loads((folder / "textual/tokenizer_config.json").read_text(encoding="utf-8"))
tokenizer = Tokenizer.from_file(str(folder / "textual/tokenizer.json"))
pad = settings["pad_token"]
tokenizer.enable_padding(length=length, pad_token=pad, pad_id=tokenizer.token_to_id(pad))
tokenizer.enable_truncation(max_length=length)
session = ort.InferenceSession(str(folder / "textual/model.onnx"), providers=["CPUExecutionProvider"])
vectors = []
for text in texts:
    ids = tokenizer.encode(" ".join(text.split())).ids
    (row,) = session.run(None, {"text": np.array([ids], dtype=np.int32)})[0]
    vectors.append(row.tolist())
how = json.loads((folder / "visual/preprocess_cfg.json").read_text(encoding="utf-8"))
size = how["size"][0] if isinstance(how["size"], list) else how["size"]
resample = Image.Resampling[how["interpolation"].upper()]
image = Image.open(picture).convert("RGB")
if how.get("resize_mode", "shortest") == "squash":
    image = image.resize((size, size), resample)
else:
    width, height = image.size
    wide = width < height
    image = image.resize((size, int(height / width * size)) if wide else (int(width / height * size), size), resample)
    left, top = int(image.width / 2 - size / 2), int(image.height / 2 - size / 2)
    image = image.crop((left, top, left + size, top + size))
pixels = (np.asarray(image, dtype=np.float32) / 255 - np.float32(how["mean"])) / np.float32(how["std"])
session = ort.InferenceSession(str(folder / "visual/model.onnx"), providers=["CPUExecutionProvider"])
(image,) = session.run(None, {"image": pixels.astype(np.float32).transpose(2, 0, 1)[None]})[0]
print(json.dumps([vectors, image.tolist(), config["embed_dim"]]))
"""
"""What Immich does with the files of a search model, in a process that has neither this package nor torch."""


@pytest.mark.parametrize("family", ["clip", "siglip", "chinese-clip", "dual-encoder"])
def test_immich_gets_the_models_vectors_from_the_files_alone(family: str, tmp_path: Path, pictures: list[Path]) -> None:
    model = tiny(BUILDERS[family](tmp_path / "tiny"))
    out = tmp_path / "out"
    out.mkdir()
    about = immich.write(Subject(model, "sw"), out, int8=False)
    assert {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()} == {
        "README.md", "config.json", "export.json", "textual/model.onnx", "textual/tokenizer.json",
        "textual/tokenizer_config.json", "visual/model.onnx", "visual/preprocess_cfg.json",
    }  # fmt: skip
    arguments = [sys.executable, "-c", IMMICH, str(out), str(pictures[0]), json.dumps(TEXTS)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    vectors, image, dimension = json.loads(done.stdout)
    np.testing.assert_allclose(vectors, model.encode_text(TEXTS, "sw").numpy(), atol=1e-4)
    np.testing.assert_allclose(image, model.encode_images(pictures[0]), atol=1e-4)
    assert dimension == about["dimension"] == len(image)


def test_immich_takes_the_bases_own_language_too(tmp_path: Path, pictures: list[Path]) -> None:
    model = tiny(families_hf.save_clip(tmp_path / "tiny"))
    out = tmp_path / "out"
    out.mkdir()
    immich.write(Subject(model, "en"), out, int8=False)
    texts = ["a red cat", "the big dog runs near the boat"]
    arguments = [sys.executable, "-c", IMMICH, str(out), str(pictures[0]), json.dumps(texts)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout)[0], model.encode_text(texts, "en").numpy(), atol=1e-4)


def test_weights_beyond_two_gigabytes_lie_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "EXTERNAL", 0)
    model = tiny(families_hf.save_dual_encoder(tmp_path / "tiny"))
    out = tmp_path / "out"
    out.mkdir()
    about = onnx_towers.write(Subject(model, "sw"), out, int8=False)
    assert "model.onnx.data" in about["files"]
    out.rename(tmp_path / "moved")
    np.testing.assert_allclose(run(tmp_path / "moved", TEXTS), model.encode_text(TEXTS, "sw").numpy(), atol=1e-5)


def test_what_cannot_be_traced_is_told_in_one_line(tmp_path: Path) -> None:
    class Branch(torch.nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return ids if ids.sum() > 0 else -ids

    with pytest.raises(DataError, match=r"^The model cannot be exported to ONNX [^\n]*$"):
        onnx_files.write_onnx(Branch(), tmp_path / "model.onnx", {"ids": torch.ones(2, 2)}, "out")
    assert not list(tmp_path.glob("*.onnx"))


def test_a_missing_library_is_named_with_the_way_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(DataError, match=r"pip install 'mla-extend\[onnx\]'"):
        onnx_files.require_onnx()


def test_hashes_in_the_export_are_those_of_its_files(tmp_path: Path) -> None:
    model = tiny(families_hf.save_dual_encoder(tmp_path / "tiny"))
    out = tmp_path / "out"
    out.mkdir()
    onnx_towers.write(Subject(model, "sw"), out, int8=False)
    written: dict[str, Any] = json.loads((out / "export.json").read_text(encoding="utf-8"))
    assert {name: entry["sha256"] for name, entry in written["files"].items()} == {
        path.name: sha256_file(path) for path in out.iterdir() if path.name != "export.json"
    }
    assert written["base"]["fingerprint"] == model.base.identity.fingerprint
