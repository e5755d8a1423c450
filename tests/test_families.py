"""Every family of bases against every promise: one matrix over tiny random models."""

import copy
import importlib
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from mla_extend.bases.base import Base
from mla_extend.bases.fingerprint import fingerprint
from mla_extend.bases.open import open_base
from mla_extend.bases.source import native_language, text_positions
from mla_extend.errors import BaseError
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import AcquirerBlock, adapter_tensors
from mla_extend.language.pieces import BEGIN_ID, END_ID, PAD_ID
from mla_extend.language.tokenizer import LanguageTokenizer, pad, widen
from mla_extend.processes import ALONE
from mla_extend.training.forward import padded_tokens, run_rows
from mla_extend.training.losses import contrast_loss, sigmoid_loss
from mla_extend.training.precision import Autocast
from mla_extend.training.recipe import StageRecipe, load_recipe
from mla_extend.training.stages import ExposureTask, SubwordSampling, TransferTask, batch_ids
from tests import families_hf
from tests.conftest import assert_close, sentences
from tests.fake_training import loss_of
from tests.test_cli_end_to_end import run

BUILDERS: dict[str, Callable[[Path], Path]] = dict(families_hf.BUILDERS)
REFERENCES: dict[str, Any] = dict(families_hf.REFERENCES)
for _name in ("families_text", "families_open_clip"):
    try:
        _module = importlib.import_module(f"tests.{_name}")
    except ImportError:  # a family whose library is optional
        continue
    BUILDERS |= _module.BUILDERS
    REFERENCES |= getattr(_module, "REFERENCES", {})

END_TO_END = ("clip", "clip-old", "dual-encoder")
"""Families that the tests of the command line run from end to end."""
NATIVE, TARGET = sentences(60)
SHORT = [
    "--recipe", "quick", "--set", "transfer.max_steps=6", "--set", "exposure.max_steps=4", "--set",
    "transfer.batch=32", "--set", "exposure.batch=16", "--set", "acquirer.bottleneck=4", "--set",
    "transfer.evaluations=1", "--set", "exposure.evaluations=1",
    "--set", "validation.fraction=0.03",
]  # fmt: skip


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the folder of a tiny model of a family, made once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = BUILDERS[name](tmp_path_factory.mktemp("families") / f"tiny-{name}")
        return made[name]

    return folder


@pytest.fixture(params=BUILDERS)
def folder(request: pytest.FixtureRequest, folders: Callable[[str], Path]) -> Path:
    """Give the folder of a tiny model of each family."""
    return folders(request.param)


@pytest.fixture(scope="session")
def opened() -> dict[Path, Base]:
    """Keep bases that were opened before."""
    return {}


@pytest.fixture
def base(folder: Path, opened: dict[Path, Base]) -> Base:
    """Give a tiny model of each family, opened from its folder."""
    if folder not in opened:
        opened[folder] = open_base(str(folder))
    return copy.deepcopy(opened[folder])


@pytest.fixture(scope="session")
def images() -> list[Image.Image]:
    """Give pictures of several proportions."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(16, 16), (24, 16), (16, 40), (50, 20)]
    return [
        Image.fromarray(torch.randint(0, 255, (h, w, 3), generator=generator, dtype=torch.uint8).numpy())
        for w, h in sizes
    ]


def randomised(base: Base, languages: dict[str, int]) -> MultilingualModel:
    """Add languages with random, not neutral, weights; the number is the bottleneck."""
    model = MultilingualModel(base)
    for i, (tag, bottleneck) in enumerate(languages.items()):
        tokenizer = LanguageTokenizer.train(TARGET, base.max_tokens, size=320 + i)
        model.add(tag, tokenizer=tokenizer, bottleneck=bottleneck)
        generator = torch.Generator().manual_seed(i)
        with torch.no_grad():
            for tensor in adapter_tensors(model.peft, model.language(tag).adapter).values():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return model


def checkpoint(tower: Any) -> None:
    """Turn gradient checkpointing on, which blocks do in training mode only; tiny models have no dropout to mind."""
    if hasattr(tower, "set_grad_checkpointing"):  # open_clip's
        tower.set_grad_checkpointing(True)
        tower.train()
        return
    if not getattr(tower, "supports_gradient_checkpointing", True):
        pytest.skip(f"{type(tower).__name__} has no gradient checkpointing")
    enable = getattr(tower, "activation_checkpointing_enable", None) or tower.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    for module in tower.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.training = True


def native_rows(base: Base, texts: list[str]) -> tuple[Tensor, Tensor, list[list[int]]]:
    """Encode native text: ids, mask, and each row's ids without its padding."""
    ids, mask = base.family.native_encoding(base.tokenizer, texts, base.max_tokens)
    return ids, mask, [row[keep.bool()].tolist() for row, keep in zip(ids, mask, strict=True)]


def test_the_native_path_moves_by_no_bit(folder: Path, base: Base, images: list[Image.Image]) -> None:
    """Text and images are as before with languages loaded, and after they are gone."""
    texts, pictures = base.native_vectors(NATIVE), base.image_vectors(images) if base.family.has_images else None
    assert torch.equal(open_base(str(folder)).native_vectors(NATIVE), texts)
    names = [name for name, _ in base.model.named_parameters()]
    model = randomised(base, {"sw": 4, "de": 6})
    for _ in range(2):
        assert torch.equal(base.native_vectors(NATIVE), texts)
        assert torch.equal(model.text_vectors(NATIVE, base.identity.native), texts)
        if pictures is not None:
            assert torch.equal(base.image_vectors(images), pictures)
        for tag in model.languages[1:]:
            model.remove(tag)
    assert [name for name, _ in base.model.named_parameters()] == names


@pytest.mark.parametrize("name", REFERENCES)
def test_native_vectors_are_those_of_the_family_s_own_library(
    name: str, folders: Callable[[str], Path], images: list[Image.Image]
) -> None:
    """What the library computes by itself, as its users call it, is what the base gives."""
    base = open_base(str(folders(name)))
    randomised(base, {"sw": 4})
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        text, image = REFERENCES[name](folders(name), NATIVE[:8], images)
    assert_close(base.native_vectors(NATIVE[:8]), text)
    alone = REFERENCES[name](folders(name), NATIVE[:1], images[:1])
    assert torch.equal(base.native_vectors(NATIVE[:1]), alone[0])
    if image is not None:
        assert_close(base.image_vectors(images), image)
        assert torch.equal(base.image_vectors(images[:1]), alone[1])


def test_a_text_s_vector_depends_on_the_text(base: Base) -> None:
    """Tiny random models tell texts apart: what is equal below is not so for want of a signal."""
    vectors = base.encode_native(["a red cat", "the big old dog sleeps under a tree", "boat"])
    assert (vectors @ vectors.T).fill_diagonal_(0).max() < 0.999


@pytest.mark.parametrize("text", [NATIVE[0], max(NATIVE, key=len)])
def test_identity_acquirers_over_the_native_table_are_the_base_bit_for_bit(base: Base, text: str) -> None:
    """A language that reads the native table takes the native tokenizer, padding, mask and pooling."""
    expected = base.native_vectors([text])
    model = MultilingualModel(base)
    model.add("sw", tokenizer=None, bottleneck=4)
    assert torch.equal(model.text_vectors([text], "sw"), expected)


def test_a_foreign_id_may_be_any_native_special_id(base: Base) -> None:
    """A table that holds the native vectors in another order gives the native vectors, whatever its ids are.

    The order is such that a word has the id of the native end token, so that a tower which looks for special ids in
    its ids would find one in the wrong place.
    """
    _, _, rows = native_rows(base, NATIVE[:12])
    expected = [base.native_vectors([text]) for text in NATIVE[:12]]
    native_pad, _, end = base.family.special_ids(base.tokenizer)
    count = base.embedding.num_embeddings
    size = max(320, count)
    word = next(i for i in rows[0] if i not in base.family.special_ids(base.tokenizer) and i != end)
    place = [(i + end - word) % size for i in range(size)]
    at = place.index(PAD_ID)
    place[native_pad], place[at] = place[at], place[native_pad]
    model = MultilingualModel(base)
    tokenizer: Any = SimpleNamespace(size=size, pad_id=PAD_ID)  # no text is tokenised here: the rows are ids
    model.add("sw", tokenizer=tokenizer, bottleneck=4)
    with torch.no_grad():
        for name, tensor in adapter_tensors(model.peft, "lang_sw").items():
            if ".acquirer_embedding." in name:
                tensor[place[:count]] = base.embedding.weight
    foreign = [[place[i] for i in row] for row in rows]
    assert foreign[0].count(end) >= 1 or end == native_pad
    with torch.no_grad():
        for row, vector in zip(foreign, expected, strict=True):
            with model.tuner.route(["lang_sw"]):
                assert torch.equal(model.forward(pad([row])), vector)
        with model.tuner.route(["lang_sw"] * len(rows)):
            assert_close(model.forward(pad(foreign)), torch.cat(expected))


def test_a_mixed_batch_equals_single_rows(base: Base) -> None:
    """Rows of several languages and of the base, of several lengths, are as each is by itself."""
    model = randomised(base, {"sw": 4, "de": 6})
    model.add("fr", tokenizer=None, bottleneck=4)
    native = base.identity.native
    tags = [native, "sw", "fr", "de", "sw", native, "fr", "de", "de", "sw"]
    texts = [NATIVE[i] if tag in (native, "fr") else TARGET[i] for i, tag in enumerate(tags)]
    mixed = model.text_vectors(texts, tags)
    single = torch.cat([model.text_vectors([text], tag) for text, tag in zip(texts, tags, strict=True)])
    assert_close(mixed, single)
    assert not torch.allclose(*model.text_vectors([TARGET[0]] * 2, ["sw", "de"]))


def test_save_and_load_give_equal_vectors(folder: Path, base: Base, tmp_path: Path) -> None:
    """A language that was saved is the same in a base that is opened anew."""
    model = randomised(base, {"sw": 4})
    expected = model.text_vectors(TARGET, "sw")
    model.save("sw", tmp_path)
    fresh = MultilingualModel(open_base(str(folder)))
    fresh.load("sw", tmp_path)
    assert torch.equal(fresh.text_vectors(TARGET, "sw"), expected)


def test_bf16_autocast_is_near(base: Base) -> None:
    """Half precision turns no vector around."""
    model = randomised(base, {"sw": 4})
    exact = model.encode_text(TARGET[:20], "sw")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near = model.encode_text(TARGET[:20], "sw")
    assert near.dtype == torch.float32
    assert (exact * near).sum(dim=1).min() > 0.99


def test_a_training_step_in_bf16_runs_every_block_in_it_and_leaves_nothing(base: Base) -> None:
    model = randomised(base, {"sw": 4})
    batch = pad(model.tokenise("sw", TARGET[:8]))
    found: list[torch.dtype] = []
    blocks = [layer for layer in model.tuner.layers().values() if isinstance(layer, AcquirerBlock)]
    hooks = [
        block.base_layer.register_forward_pre_hook(lambda _, given: found.append(given[0].dtype)) for block in blocks
    ]
    with model.training("sw") as tensors:
        exact = model.forward(batch).detach()
        assert set(found) == {torch.float32}
        found.clear()
        with Autocast("bf16", model)():
            near = model.forward(batch).float()
        assert found == [torch.bfloat16] * len(blocks)
        near.square().sum().backward()
        assert all(tensor.grad is not None and tensor.grad.dtype == torch.float32 for tensor in tensors.values())
        assert F.cosine_similarity(near.detach(), exact).min() > 0.99
        assert torch.equal(model.forward(batch).detach(), exact)
    for hook in hooks:
        hook.remove()


def test_gradient_checkpointing_gives_equal_gradients(base: Base) -> None:
    """Gradients reach every tensor of the language and no other, with and without checkpointing."""
    found: list[dict[str, Tensor]] = []
    for checkpointing in (False, True):
        model = randomised(copy.deepcopy(base), {"sw": 4, "de": 4})
        if checkpointing:
            checkpoint(model.base.text_tower)
        with model.training("sw") as tensors:
            model.forward(pad(model.tokenise("sw", TARGET[:8]))).square().sum().backward()
            found.append({name: tensor.grad for name, tensor in tensors.items() if tensor.grad is not None})
            assert found[-1].keys() == tensors.keys()
            assert all(gradient.abs().sum() > 0 for gradient in found[-1].values())
            assert not any(p.requires_grad for n, p in model.base.model.named_parameters() if ".lang_sw." not in n)
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, msg=name)


def test_both_stages_lower_their_loss(base: Base) -> None:
    """A few steps on the same rows fit them better, by the family's own contrast where images are shown."""
    model = randomised(base, {"sw": 4})
    ids, rows = model.tokenise("sw", TARGET[:16]), np.arange(16)
    teacher = base.native_vectors(NATIVE[:16]).numpy()
    images = np.random.default_rng(0).normal(size=teacher.shape).astype(np.float32)
    recipe = load_recipe("default")
    stages = [(TransferTask(ids, teacher, NATIVE[:16]), recipe.transfer)]
    if base.family.has_images:
        stages.append((ExposureTask(ids, images, rows, TARGET[:16]), recipe.exposure))  # type: ignore[arg-type]
    for task, how in stages:
        with model.training("sw") as tensors:
            optimiser = torch.optim.Adam(tensors.values(), lr=3e-3)
            losses = []
            for _ in range(12):
                optimiser.zero_grad()
                loss = loss_of(task, model, rows, how)
                loss.backward()
                optimiser.step()
                losses.append(loss.item())
        assert losses[-1] < losses[0]


def test_a_fingerprint_is_stable_and_sensitive(folder: Path, base: Base, tmp_path: Path) -> None:
    """The same files elsewhere give the same one; one number of one tensor gives another."""
    copied = Path(shutil.copytree(folder, tmp_path / "copied"))
    again = open_base(str(copied))
    assert again.identity.fingerprint == base.identity.fingerprint
    for file in again.family.weight_files(copied):
        tensors = load_file(file)
        name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
        tensors[name].view(-1)[0] += 1
        save_file(tensors, file, metadata={"format": "pt"})
        assert fingerprint(copied, again.family.weight_files(copied)) != base.identity.fingerprint


@pytest.mark.parametrize("folder", [name for name in BUILDERS if name not in END_TO_END], indirect=True)
def test_a_language_is_added_and_evaluated(
    folder: Path, base: Base, data: dict[str, Path], tmp_path: Path, images: list[Image.Image]
) -> None:
    """The command itself runs every stage that the family has; what it lacks is refused."""
    registry = tmp_path / "adapters"
    shown = ["--image-text", str(data["images"])]
    arguments = ["add-language", "sw", "--parallel-data", str(data["parallel"]), "--base", str(folder), "--json"]
    if not base.family.has_images:
        with pytest.raises(BaseError, match="without an image tower"):
            base.image_vectors(images)
        with pytest.raises(BaseError, match="without an image tower"):
            run(*arguments, *shown, *SHORT, registry=registry)
        shown = []
    code, out, _ = run(*arguments, *shown, *SHORT, registry=registry)
    assert code == 0
    card = json.loads(out)
    assert card["isolation"]["ok"]
    assert [stage["stage"] for stage in card["stages"]] == ["build", "transfer", *(["exposure"] if shown else [])]
    if base.family.has_images:
        code, out, _ = run("evaluate", "sw", "--test-set", str(data["test"]), "--json", registry=registry)
        assert code == 0
        assert json.loads(out)["splits"]["test"]["captions"] == 50


# What one family has alone ----------------------------------------------------------------------------------------


def test_siglip_pads_every_row_to_one_length_and_pools_there(folders: Callable[[str], Path]) -> None:
    """The padding is part of what SigLIP reads: another pad vector gives another sentence vector."""
    model = randomised(open_base(str(folders("siglip"))), {"sw": 4})
    before = model.text_vectors(TARGET[:3], "sw")
    with torch.no_grad():
        for name, tensor in adapter_tensors(model.peft, "lang_sw").items():
            if ".acquirer_embedding." in name:
                tensor[PAD_ID] += 1
    assert not torch.allclose(model.text_vectors(TARGET[:3], "sw"), before)


def test_a_language_begins_with_a_token_where_its_base_does(base: Base) -> None:
    """A tower that never saw a begin token would find every word one place further on than it learned."""
    model = randomised(base, {"sw": 4})
    _, _, (native,) = native_rows(base, ["a"])
    (own,) = model.tokenise("sw", ["paka"])
    assert (own[0] == BEGIN_ID) == base.begins == (native[:1] != base.native_ids(["a"])[0][:1])
    assert own[-1] == END_ID


def test_drawn_text_begins_as_all_text_of_its_base_does(base: Base) -> None:
    model = randomised(base, {"sw": 4})
    tokenizer = model.language("sw").tokenizer
    assert tokenizer is not None
    teacher = np.ones((len(TARGET), 4), dtype=np.float32)
    task = TransferTask(model.tokenise("sw", TARGET), teacher, TARGET, drawn=SubwordSampling(tokenizer, TARGET))
    rows = np.arange(len(TARGET))
    drawn, likeliest = (batch_ids(model, task, rows, StageRecipe(sampling=share)) for share in (1.0, 0.0))
    assert likeliest == task.ids
    assert drawn != likeliest
    assert all((row[0] == BEGIN_ID) == base.begins and row[-1] == END_ID for row in [*drawn, *likeliest])


def test_parts_of_a_batch_give_the_vectors_and_gradients_of_the_whole(base: Base) -> None:
    """Rows of like length go together, and each comes back to its place."""
    model = randomised(base, {"sw": 4})
    rows = model.tokenise("sw", TARGET)
    ids = [(row * (1 + 4 * (i % 3 == 0)))[: base.max_tokens] for i, row in enumerate(rows)]
    weights = torch.randn(len(ids), 1, generator=torch.Generator().manual_seed(0))
    passes: list[int] = []

    def gradients(costs: int) -> tuple[Tensor, list[Tensor], int]:
        with pytest.MonkeyPatch.context() as patch, model.training("sw") as tensors:
            patch.setattr("mla_extend.training.forward.PART_COSTS", costs)
            patch.setattr("mla_extend.training.forward.PART_ROWS", 2)
            forward = model.forward
            patch.setattr(model, "forward", lambda batch: (passes.append(len(batch.ids)), forward(batch))[1])
            vectors = run_rows(model, ids, ALONE)
            found = torch.autograd.grad((weights * vectors).sum(), list(tensors.values()), allow_unused=True)
            kept = [one for one in found if one is not None]
            return vectors.detach(), kept, padded_tokens(model, [len(row) for row in ids])

    whole, parts = gradients(10**9), gradients(1)
    fixed = base.family.padded_length(base.model)
    assert len(passes) == 2 if fixed else len(passes) > 2
    assert whole[2] == len(ids) * (fixed or max(map(len, ids)))
    assert parts[2] == whole[2] if fixed else parts[2] < whole[2]
    torch.testing.assert_close(parts[0], whole[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts[1], whole[1], rtol=1e-3, atol=1e-4)


def test_a_batch_is_widened_row_by_row() -> None:
    """Each row is padded with its own id, also where it was padded before; ends stay where they were."""
    batch = widen(pad([[5, 6, 7], [8]]), 5, [0, 1])
    assert batch.ids.tolist() == [[5, 6, 7, 0, 0], [8, 1, 1, 1, 1]]
    assert batch.mask.tolist() == [[1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]
    assert batch.ends.tolist() == [2, 0]


@pytest.mark.parametrize("name", ["siglip", "siglip2-fixed", "siglip2-naflex"])
def test_siglip_s_tokenizers_lower_case(name: str, folders: Callable[[str], Path]) -> None:
    """SigLIP learned lower-cased text; so are native text and the ids that alignment sees."""
    base = open_base(str(folders(name)))
    assert torch.equal(base.native_vectors(["A Red CAT"]), base.native_vectors(["a red cat"]))
    assert base.native_ids(["A Red CAT"]) == base.native_ids(["a red cat"])


def test_a_left_padding_tokenizer_still_pads_siglip_on_the_right(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    """Gemma's classes pad on the left unless their folder says otherwise, which SigLIP 2 never saw."""
    folder = Path(shutil.copytree(folders("siglip2-fixed"), tmp_path / "left"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"padding_side": "left"}))
    assert torch.equal(
        open_base(str(folder)).native_vectors(NATIVE), open_base(str(folders("siglip2-fixed"))).native_vectors(NATIVE)
    )


def test_chinese_clip_is_chinese_unless_its_folder_says_otherwise(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    """The native language comes from the caller, else the folder, else the kind of model."""
    folder = Path(shutil.copytree(folders("chinese-clip"), tmp_path / "copied"))
    assert native_language(str(folder)) == open_base(str(folder)).identity.native == "zh"
    (folder / "mla_extend.json").write_text('{"native": null}')
    assert native_language(str(folder)) == open_base(str(folder)).identity.native == "zh"
    (folder / "mla_extend.json").write_text('{"native": "ja"}')
    assert native_language(str(folder)) == open_base(str(folder)).identity.native == "ja"
    assert open_base(str(folder), native="ko").identity.native == "ko"
    assert native_language(str(folders("siglip"))) == "en"


def test_positions_are_read_without_opening_the_model(folder: Path, base: Base) -> None:
    """What counts the tokens that are cut off, before a model is opened, has the length that the model has."""
    assert text_positions(str(folder)) == (base.max_tokens, str(folder))


def test_positions_are_read_or_known_by_the_kind(folders: Callable[[str], Path], tmp_path: Path) -> None:
    """A configuration that leaves the positions at the library's default means SigLIP's, not CLIP's."""
    assert text_positions(str(folders("siglip")))[0] == 16
    (tmp_path / "config.json").write_text('{"model_type": "siglip", "text_config": {"vocab_size": 7}}')
    assert text_positions(str(tmp_path)) == (64, str(tmp_path))
    for text in ("{}", '"x"', "null"):
        (tmp_path / "config.json").write_text(f'{{"model_type": "other", "text_config": {text}}}')
        assert text_positions(str(tmp_path))[0] == 77


@pytest.mark.parametrize("name", ["siglip", "siglip2-naflex"])
def test_the_sigmoid_contrast_is_the_model_s_own(name: str, folders: Callable[[str], Path]) -> None:
    """On the model's own vectors, scale and bias it gives the loss that the library computes."""
    base = open_base(str(folders(name)))
    ids, _, _ = native_rows(base, NATIVE[:4])
    pictures = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green", "white")]
    inputs = dict(base.family.pixels(base.processor, pictures))
    with torch.no_grad():
        output = base.model(input_ids=ids, return_loss=True, **inputs)
    terms = base.family.sigmoid_terms(base.model)
    assert terms is not None
    got = sigmoid_loss(base.native_vectors(NATIVE[:4]), base.image_vectors(pictures), *terms)
    torch.testing.assert_close(got, output.loss)


def test_equal_captions_are_no_negatives_of_the_sigmoid_contrast() -> None:
    """A pair that goes together as well is left out; the diagonal stays, whatever the mask says of it."""
    text, other = torch.randn(3, 4), torch.randn(3, 4)
    scale, bias = torch.tensor(5.0), torch.tensor(-2.0)
    same = torch.eye(3, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    cosines = torch.nn.functional.cosine_similarity(text.unsqueeze(1), other.unsqueeze(0), dim=-1)
    expected = 0.0
    for i in range(3):
        for j in range(3):
            if i == j or not same[i, j]:
                sign = 1 if i == j else -1
                expected -= float(torch.nn.functional.logsigmoid(sign * (scale * cosines[i, j] + bias)))
    assert sigmoid_loss(text, other, scale, bias, same).item() == pytest.approx(expected / 3, rel=1e-5)
    bare = sigmoid_loss(text, other, scale, bias, same & ~torch.eye(3, dtype=torch.bool))
    assert torch.equal(bare, sigmoid_loss(text, other, scale, bias, same))


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_exposure_takes_the_base_s_own_contrast_unless_told(name: str, folders: Callable[[str], Path]) -> None:
    """`auto` is a softmax over the batch for CLIP and a sigmoid of each pair for SigLIP; `softmax` is one for both."""
    model = randomised(open_base(str(folders(name))), {"sw": 4})
    ids = model.tokenise("sw", TARGET[:8])
    images = torch.randn(8, model.text_vectors(TARGET[:1], "sw").shape[1], generator=torch.Generator().manual_seed(0))
    rows = torch.arange(8).numpy()
    task = ExposureTask(ids, images.numpy(), rows, TARGET[:8])
    automatic = load_recipe("default").exposure
    softmax = load_recipe("default", ["exposure.contrast_of=softmax"]).exposure
    with torch.no_grad(), model.training("sw"):
        text = model.forward(pad(ids))
        same = torch.tensor([[a == b for a in TARGET[:8]] for b in TARGET[:8]])
        by_softmax = contrast_loss(text, images, softmax.temperature, same)
        assert torch.equal(loss_of(task, model, rows, softmax), by_softmax)
        terms = model.base.family.sigmoid_terms(model.base.model)
        assert (terms is None) == (name == "clip")
        expected = by_softmax if terms is None else sigmoid_loss(text, images, *terms, same)
        assert torch.equal(loss_of(task, model, rows, automatic), expected)
