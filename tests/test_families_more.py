"""What the families with BERT-like text towers, the text-only ones and open_clip's have of their own."""

import copy
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    CamembertConfig,
    DistilBertConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen3Config,
    T5Config,
    T5EncoderModel,
    XLMRobertaConfig,
)

from mla_extend.bases.base import Base
from mla_extend.bases.families.open_clip import OpenClip
from mla_extend.bases.families.sentence_transformer import SentenceTransformerFamily
from mla_extend.bases.open import open_base
from mla_extend.errors import BaseError
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import adapter_tensors
from mla_extend.language.tokenizer import LanguageTokenizer, pad
from tests import families_open_clip, families_text
from tests.conftest import assert_close, native_tokenizer, save_clip, sentences
from tests.families_open_clip import save_open_clip, siglip_tokenizer
from tests.families_text import ROBERTA_SIZES, SIZES, roberta_tokenizer, save_sentence_model, save_vision_text

NATIVE, TARGET = sentences(40)
LONG = "the big old dog sleeps under a tree near the small red house " * 3
BUILDERS = {**families_text.BUILDERS, **families_open_clip.BUILDERS}


def edit(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refusal(folder: Path) -> str:
    """Return what opening a folder says, which must be one line."""
    with pytest.raises(BaseError) as caught:
        open_base(str(folder))
    message = str(caught.value)
    assert "\n" not in message
    return message


def same_as_library(folder: Path, texts: list[str]) -> Base:
    """Compare a folder's native vectors with those of sentence-transformers, and return the base.

    Alone, a text's vector is the same bit for bit; among others, whose lengths it is padded to, but for rounding.
    """
    from sentence_transformers import SentenceTransformer

    base = open_base(str(folder))
    library = SentenceTransformer(str(folder), device="cpu")
    expected = library.encode(texts, batch_size=1, convert_to_tensor=True, show_progress_bar=False)
    assert torch.equal(torch.cat([base.native_vectors([text]) for text in texts]), expected)
    assert_close(base.native_vectors(texts), expected)
    return base


# All of them --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILDERS)
def test_a_bf16_base_takes_fp32_adapters_and_a_copy_is_its_own(name: str, tmp_path: Path) -> None:
    """The parts of a text tower follow its model to another type, and a copy gives the same vectors."""
    base = open_base(str(BUILDERS[name](tmp_path / "base")))
    base.model.to(torch.bfloat16)
    model = MultilingualModel(base)
    model.add("sw", tokenizer=LanguageTokenizer.train(TARGET, base.max_tokens, size=320), bottleneck=4)
    vectors = model.encode_text([*TARGET, LONG], "sw")
    assert vectors.dtype == torch.float32
    assert torch.isfinite(vectors).all()
    assert {parameter.dtype for parameter in base.text_tower.get_submodule("").parameters(recurse=False)} <= {
        torch.bfloat16
    }
    assert torch.equal(copy.deepcopy(model).encode_text([*TARGET, LONG], "sw"), vectors)


# VisionTextDualEncoder ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [XLMRobertaConfig, CamembertConfig])
def test_other_text_towers_that_count_positions_as_roberta_does(kind: type[PreTrainedConfig], tmp_path: Path) -> None:
    """Native vectors are the library's own, and text beyond the tower is cut instead of running off its table."""
    tokenizer = roberta_tokenizer()
    config = kind(vocab_size=len(tokenizer), pad_token_id=1, type_vocab_size=1, **ROBERTA_SIZES)
    folder = save_vision_text(tmp_path / "base", config, tokenizer)
    base = open_base(str(folder))
    text, image = families_text.vision_text_reference(folder, NATIVE, [Image.new("RGB", (20, 30), "red")])
    assert_close(base.native_vectors(NATIVE), text)
    assert_close(base.image_vectors([Image.new("RGB", (20, 30), "red")]), image)
    assert base.max_tokens == 16
    assert base.native_vectors([LONG]).isfinite().all()


@pytest.mark.parametrize("name", ["vision-text-roberta", "sentence-roberta", "sentence-mpnet"])
def test_positions_do_not_depend_on_the_ids_of_a_language(name: str, tmp_path: Path) -> None:
    """A piece whose id is that of the native padding is a token like any other."""
    base = open_base(str(families_text.BUILDERS[name](tmp_path / "base")))
    native_pad = base.tokenizer.pad_token_id
    model = MultilingualModel(base)
    tokenizer = LanguageTokenizer.train(TARGET, base.max_tokens, size=320)
    model.add("sw", tokenizer=tokenizer, bottleneck=4)
    (table,) = [t for n, t in adapter_tensors(model.peft, "lang_sw").items() if ".acquirer_embedding." in n]
    texts = ["a red cat sleeps", "boat"]
    rows = base.tokenizer(texts)["input_ids"]
    word = rows[0][1]
    with torch.no_grad():
        table[: base.embedding.num_embeddings] = base.embedding.weight
        table[native_pad] = base.embedding.weight[word]
    swapped = [[native_pad if i == word else i for i in row] for row in rows]
    assert native_pad in swapped[0]
    with torch.no_grad(), model.tuner.route(["lang_sw"] * 2):
        vectors = model.forward(pad(swapped))
    assert_close(vectors, base.native_vectors(texts))


def test_a_text_tower_without_a_pooler_is_refused(tmp_path: Path) -> None:
    """The library itself cannot encode text with one."""
    tokenizer = native_tokenizer("bert")
    config = DistilBertConfig(vocab_size=len(tokenizer), dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    message = refusal(save_vision_text(tmp_path / "base", config, tokenizer))
    assert "'distilbert', which gives no pooled output" in message


def test_a_text_tower_that_shares_its_blocks_is_refused(tmp_path: Path) -> None:
    """An acquirer stands after one block; ALBERT runs one block many times."""
    tokenizer = native_tokenizer("bert")
    config = AlbertConfig(vocab_size=len(tokenizer), embedding_size=16, **SIZES)
    assert "'albert'" in refusal(save_vision_text(tmp_path / "base", config, tokenizer))


# sentence-transformers ----------------------------------------------------------------------------------------------


def test_what_sentence_transformers_itself_saves_is_read(tmp_path: Path) -> None:
    """Its present layout and names of modules and settings, with every module that is known."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    transformer = Transformer(str(families_text.sentence_bert(tmp_path / "tower")), max_seq_length=9)
    dense = Dense(16, 10, bias=False, activation_function=torch.nn.ReLU())
    last = Dense(10, 8, activation_function=torch.nn.Identity())
    model = SentenceTransformer(modules=[transformer, Pooling(16, "cls"), dense, Normalize(), last])
    model.save(str(tmp_path / "saved"))
    base = same_as_library(tmp_path / "saved", [*NATIVE, LONG])
    assert base.max_tokens == 9
    assert base.native_vectors(NATIVE).shape == (40, 8)
    assert not torch.allclose(base.native_vectors(NATIVE).norm(dim=1), torch.ones(40))
    names = [f"{file.parent.name}/{file.name}" for file in base.family.weight_files(tmp_path / "saved")]
    assert names == ["saved/model.safetensors", "2_Dense/model.safetensors", "4_Dense/model.safetensors"]


@pytest.mark.parametrize("kind", [LlamaConfig, MistralConfig, Qwen3Config])
def test_other_causal_models_give_what_the_library_gives(kind: type[PreTrainedConfig], tmp_path: Path) -> None:
    """They are pooled at their last token and padded on the left."""
    tokenizer = families_text.decoder_tokenizer()
    special = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 1}
    config = kind(vocab_size=len(tokenizer), num_key_value_heads=1, **SIZES, **special)
    same_as_library(save_sentence_model(tmp_path / "base", config, tokenizer, pooling="lasttoken"), [*NATIVE, LONG])


@pytest.mark.parametrize("kind", [XLMRobertaConfig, CamembertConfig])
def test_other_encoders_give_what_the_library_gives(kind: type[PreTrainedConfig], tmp_path: Path) -> None:
    """Those that count positions as RoBERTa does."""
    tokenizer = roberta_tokenizer()
    config = kind(vocab_size=len(tokenizer), pad_token_id=1, type_vocab_size=1, **ROBERTA_SIZES)
    same_as_library(save_sentence_model(tmp_path / "base", config, tokenizer), [*NATIVE, LONG])


def test_the_side_of_the_padding_makes_no_difference(tmp_path: Path) -> None:
    """A causal model's last token is found on either side."""
    left = families_text.sentence_decoder(tmp_path / "left")
    right = Path(shutil.copytree(left, tmp_path / "right"))
    edit(right / "tokenizer_config.json", padding_side="right")
    vectors = [open_base(str(folder)).native_vectors(NATIVE) for folder in (left, right)]
    assert_close(*vectors)
    assert open_base(str(right)).tokenizer.padding_side == "right"


def test_the_tokens_around_a_text_are_found_whatever_they_are_called(tmp_path: Path) -> None:
    """A language's end starts from the token that the model pools, not from the one that is named its end."""
    base = open_base(str(families_text.sentence_decoder(tmp_path / "decoder")))
    assert base.tokenizer.eos_token_id == 0
    assert base.family.special_ids(base.tokenizer) == (1, 1, 1)
    base = open_base(str(families_text.sentence_roberta(tmp_path / "roberta")))
    assert base.family.special_ids(base.tokenizer) == (1, 0, 2)


def test_a_tokenizer_without_padding_is_refused(tmp_path: Path) -> None:
    """Texts of several lengths could not be encoded together."""
    tokenizer = families_text.decoder_tokenizer()
    tokenizer.pad_token = None
    config = LlamaConfig(vocab_size=len(tokenizer), bos_token_id=None, eos_token_id=0, **SIZES)
    folder = save_sentence_model(tmp_path / "base", config, tokenizer, pooling="lasttoken")
    assert 'Add one to its tokenizer_config.json, for example "pad_token": "<|im_end|>"' in refusal(folder)


def test_case_is_folded_where_the_folder_says_so(tmp_path: Path) -> None:
    """`do_lower_case` is heeded in native text and in the ids that alignment sees."""
    folder = families_text.sentence_bert(tmp_path / "base")
    assert open_base(str(folder)).native_ids(["A Red CAT"]) != open_base(str(folder)).native_ids(["a red cat"])
    edit(folder / "sentence_bert_config.json", do_lower_case=True)
    base = same_as_library(folder, ["A Red CAT", "a red cat"])
    assert base.native_ids(["A Red CAT"]) == base.native_ids(["a red cat"])


def test_lengths_come_from_the_module_else_from_the_tokenizer(tmp_path: Path) -> None:
    """Text is cut where sentence-transformers cuts it."""
    folder = families_text.sentence_mpnet(tmp_path / "base")
    edit(folder / "sentence_bert_config.json", max_seq_length=5)
    assert same_as_library(folder, [LONG, *NATIVE]).max_tokens == 5
    edit(folder / "sentence_bert_config.json", max_seq_length=None)
    edit(folder / "tokenizer_config.json", model_max_length=7)
    assert same_as_library(folder, [LONG, *NATIVE]).max_tokens == 7
    (folder / "sentence_bert_config.json").unlink()
    edit(folder / "tokenizer_config.json", model_max_length=512)
    assert open_base(str(folder)).max_tokens == 16


def test_weights_without_a_pooler_are_complete(tmp_path: Path) -> None:
    """Sentence vectors do not come from it, and many folders lack it."""
    folder = families_text.sentence_bert(tmp_path / "base")
    before = open_base(str(folder)).native_vectors(NATIVE)
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("pooler.")}
    assert len(kept) < len(tensors)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(open_base(str(folder)).native_vectors(NATIVE), before)


def modules(folder: Path, *kinds: str) -> None:
    """Write a `modules.json` of these types, each in a folder of its own but for the first."""
    listed = [
        {"idx": i, "path": f"{i}_{kind.rpartition('.')[2]}" if i else "", "type": kind} for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))


KNOWN = ("sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling")
WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "weighted layers": (
        lambda f: modules(f, KNOWN[0], "sentence_transformers.models.WeightedLayerPooling", KNOWN[1]),
        "Transformer, WeightedLayerPooling, Pooling",
    ),
    "a module from elsewhere": (lambda f: modules(f, *KNOWN, "my_code.Dense"), r"lists my_code\.Dense"),
    "no modules": (lambda f: (f / "modules.json").write_text("[]"), "lists nothing"),
    "modules that are none": (lambda f: (f / "modules.json").write_text('{"a": 1}'), "lists no modules"),
    "a module outside": (
        lambda f: (f / "modules.json").write_text(f'[{{"type": "{KNOWN[0]}", "path": "../other"}}]'),
        "a module outside the folder",
    ),
    "maximum": (
        lambda f: edit(f / "1_Pooling/config.json", pooling_mode_cls_token=False, pooling_mode_max_tokens=True),
        "pools by max",
    ),
    "two poolings": (
        lambda f: edit(f / "1_Pooling/config.json", pooling_mode_mean_tokens=True),
        "pools by cls and mean",
    ),
    "a pooling that is no object": (lambda f: (f / "1_Pooling/config.json").write_text("3"), "int, not an object"),
    "no pooling": (lambda f: (f / "1_Pooling/config.json").unlink(), "1_Pooling/config.json cannot be read"),
    "residual": (lambda f: edit(f / "2_Dense/config.json", use_residual=True), "use_residual True"),
    "activation": (
        lambda f: edit(f / "2_Dense/config.json", activation_function="my_code.Sine"),
        r"'my_code\.Sine'",
    ),
    "pickled dense layer": (
        lambda f: (f / "2_Dense/model.safetensors").rename(f / "2_Dense/pytorch_model.bin"),
        r"2_Dense holds no \.safetensors",
    ),
    "dense layer of another size": (
        lambda f: edit(f / "2_Dense/config.json", out_features=9),
        "size mismatch for weight",
    ),
    "prompt": (
        lambda f: (f / "config_sentence_transformers.json").write_text(
            '{"prompts": {"query": "query: "}, "default_prompt_name": "query"}'
        ),
        "the prompt 'query: ' before every text",
    ),
    "no tokenizer": (
        lambda f: [path.unlink() for path in (f / "0_Transformer").glob("tokenizer*.json")],
        "no tokenizer in .*0_Transformer",
    ),
    "no weights": (lambda f: (f / "0_Transformer/model.safetensors").unlink(), r"0_Transformer holds no \.safetensors"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_sentence_model_that_cannot_be_followed_is_refused(name: str, tmp_path: Path) -> None:
    """Each refusal names the folder or file and what in it is unknown."""
    damage, expected = WRONG[name]
    folder = families_text.sentence_roberta(tmp_path / "base")
    damage(folder)
    message = refusal(folder)
    assert str(folder) in message
    with pytest.raises(BaseError, match=expected):
        open_base(str(folder))


def test_a_text_tower_of_another_kind_is_refused_by_its_type(tmp_path: Path) -> None:
    """What has its embedding and blocks elsewhere is not guessed at."""
    folder = families_text.sentence_bert(tmp_path / "base")
    config = T5Config(vocab_size=24, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    T5EncoderModel(config).save_pretrained(folder)
    assert re.search("is of type 't5', .* Use a model over one of bert, .*, modernbert,", refusal(folder))


def test_a_clip_that_sentence_transformers_wraps_is_pointed_to(tmp_path: Path) -> None:
    """The CLIP inside has both towers, and opens by itself."""
    inside = save_clip(tmp_path / "wrapped" / "0_CLIPModel")
    kind = "sentence_transformers.models.CLIPModel"
    (tmp_path / "wrapped" / "modules.json").write_text(json.dumps([{"idx": 0, "path": "0_CLIPModel", "type": kind}]))
    assert f"Give the folder of the CLIP inside: {inside}." in refusal(tmp_path / "wrapped")
    assert open_base(str(inside)).identity.family == "clip"


def test_a_clip_beside_a_list_of_modules_is_a_clip(tmp_path: Path) -> None:
    """Newer versions of sentence-transformers save a CLIP in the root, where it has both towers as well."""
    folder = save_clip(tmp_path / "base")
    modules(folder, "sentence_transformers.base.modules.transformer.Transformer")
    assert open_base(str(folder)).identity.family == "clip"


def test_a_text_tower_alone_is_no_sentence_model(tmp_path: Path) -> None:
    """Without `modules.json` nothing says how its states are pooled."""
    folder = families_text.sentence_bert(tmp_path / "base")
    (folder / "modules.json").unlink()
    assert not SentenceTransformerFamily().recognises(folder)
    assert "'bert'" in refusal(folder)


def test_a_sentence_model_has_no_images(tmp_path: Path) -> None:
    """Neither the base nor the family itself gives any."""
    base = open_base(str(families_text.sentence_bert(tmp_path / "base")))
    assert base.processor is None
    with pytest.raises(BaseError, match="no image tower"):
        base.family.image_features(base.model, torch.zeros(1, 3, 16, 16))


# open_clip ----------------------------------------------------------------------------------------------------------


def written(folder: Path, **text: Any) -> Path:
    """Write a configuration of open_clip without weights."""
    folder.mkdir()
    config = {"model_cfg": {"embed_dim": 12, "vision_cfg": families_open_clip.VISION, "text_cfg": text}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def weighted(folder: Path) -> Path:
    """Put a file of weights into a folder that is refused before they are loaded."""
    save_file({"weight": torch.zeros(1)}, folder / families_open_clip.WEIGHTS)
    return folder


def test_without_open_clip_its_models_are_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the extra."""
    monkeypatch.setitem(sys.modules, "open_clip", None)
    message = refusal(weighted(written(tmp_path / "base")))
    assert "pip install 'mla-extend[open-clip]'" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ({"hf_model_name": "roberta-base"}, r"a text tower of transformers \(roberta-base\)"),
        ({"embed_cls": True}, "a class token after the text"),
        ({"pool_type": "none"}, "no pooling of the text"),
        ({"tokenizer_mode": "clips"}, "the tokenizer mode 'clips'"),
        ({"tokenizer_kwargs": {"reduction_mask": "random"}}, "a tokenizer that drops tokens"),
    ],
)
def test_other_text_towers_of_open_clip_are_refused(text: dict[str, Any], expected: str, tmp_path: Path) -> None:
    """Each is named, before anything is built or fetched."""
    pytest.importorskip("open_clip", reason="needs the extra open-clip")
    folder = weighted(written(tmp_path / "base", **text))
    with pytest.raises(BaseError, match=expected):
        open_base(str(folder))


def test_a_caption_decoder_is_refused(tmp_path: Path) -> None:
    """CoCa has a class token after its text."""
    pytest.importorskip("open_clip", reason="needs the extra open-clip")
    folder = weighted(written(tmp_path / "base"))
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["multimodal_cfg"] = {}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    assert "CoCa" in refusal(folder)


@pytest.mark.parametrize("content", ["{}", "[]", "no JSON", '{"model_cfg": {"text_cfg": 3, "vision_cfg": {}}}'])
def test_a_damaged_configuration_of_open_clip_is_named(content: str, tmp_path: Path) -> None:
    """The message names the file."""
    pytest.importorskip("open_clip", reason="needs the extra open-clip")
    folder = weighted(written(tmp_path / "base"))
    (folder / "open_clip_config.json").write_text(content)
    assert f"{folder / 'open_clip_config.json'}" in refusal(folder)


def test_weights_of_open_clip_must_be_safetensors(tmp_path: Path) -> None:
    """A pickled file beside the configuration is not opened."""
    folder = written(tmp_path / "base")
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"x")
    assert "holds no open_clip_model.safetensors" in refusal(folder)


def test_a_tensor_of_open_clip_that_is_missing_is_named(tmp_path: Path) -> None:
    """It would be drawn at random otherwise."""
    folder = families_open_clip.clip(tmp_path / "base")
    tensors = load_file(folder / families_open_clip.WEIGHTS)
    del tensors["ln_final.weight"]
    save_file(tensors, folder / families_open_clip.WEIGHTS)
    assert "ln_final.weight" in refusal(folder)


def test_a_folder_for_both_libraries_is_opened_by_transformers(tmp_path: Path) -> None:
    """Which family takes such a folder does not depend on what is installed, but on whose weights are there."""
    folder = weighted(save_clip(tmp_path / "base"))
    shutil.copy(written(tmp_path / "config") / "open_clip_config.json", folder)
    assert open_base(str(folder)).identity.family == "clip"
    assert not OpenClip().recognises(folder)
    (folder / "model.safetensors").unlink()
    assert OpenClip().recognises(folder)


def test_a_tokenizer_that_open_clip_would_fetch_is_asked_for(tmp_path: Path) -> None:
    """One that the configuration names must lie in the folder."""
    folder = families_open_clip.siglip(tmp_path / "base")
    for path in folder.glob("tokenizer*.json"):
        path.unlink()
    assert "names 'the-folder-itself'" in refusal(folder)


@pytest.mark.parametrize("name", families_open_clip.BUILDERS)
def test_the_tokenizers_of_open_clip_give_their_own_ids(name: str, tmp_path: Path) -> None:
    """Padded ids are the library's; rows are those without padding; alignment sees the words alone."""
    open_clip = pytest.importorskip("open_clip", reason="needs the extra open-clip")
    folder = families_open_clip.BUILDERS[name](tmp_path / "base")
    base = open_base(str(folder))
    texts = [*NATIVE, LONG, "", "Привет, мир! 你好 नमस्ते &amp; so on"]
    ids, mask = base.family.native_encoding(base.tokenizer, texts, base.max_tokens)
    assert torch.equal(ids, open_clip.get_tokenizer(f"local-dir:{folder}")(texts))
    rows = base.tokenizer(texts)["input_ids"]
    assert [len(row) for row in rows] == mask.sum(1).tolist()
    assert all(ids[i, : len(row)].tolist() == row for i, row in enumerate(rows))
    pad_id, begin, end = base.family.special_ids(base.tokenizer)
    assert all(row[-1] == end and (begin == end or row[0] == begin) for row in rows)
    assert all((ids[i, len(row) :] == pad_id).all() for i, row in enumerate(rows))
    words = base.native_ids(texts)
    assert words[0] == [i for i in rows[0] if i not in (begin, end)]
    assert len(words[len(NATIVE)]) > base.max_tokens


@pytest.mark.parametrize("name", ["open-clip", "open-clip-custom-text"])
def test_a_causal_tower_does_not_read_its_padding(name: str, tmp_path: Path) -> None:
    """Rows shorter than the position table give what padded ones give."""
    base = open_base(str(families_open_clip.BUILDERS[name](tmp_path / "base")))
    base.model.double()  # tells rounding from what would be wrong
    batch = pad(base.tokenizer(NATIVE)["input_ids"])
    assert batch.ids.shape[1] < base.family.padded_length(base.model) == base.max_tokens
    hidden = base.family.hidden_states(base.text_tower, batch.ids, batch.mask)
    vectors = base.family.pool(base.model, hidden, batch.mask, batch.ends)
    ids, mask = base.family.native_encoding(base.tokenizer, NATIVE, base.max_tokens)
    native = base.family.native_features(base.model, ids, mask)
    torch.testing.assert_close(vectors, native, rtol=0, atol=1e-12)


def test_the_parts_of_the_text_tower_are_the_model_s_own(tmp_path: Path) -> None:
    """Nothing is copied, so that they move together and no memory is spent twice."""
    for name in ("open-clip", "open-clip-custom-text"):
        base = open_base(str(families_open_clip.BUILDERS[name](tmp_path / name)))
        own = {id(parameter) for parameter in base.model.clip.parameters()}
        assert {id(parameter) for parameter in base.text_tower.parameters()} <= own
        base.model.to(torch.float64)
        own = {id(parameter) for parameter in base.model.clip.parameters()}
        assert {id(parameter) for parameter in base.text_tower.parameters()} <= own


OTHERS: dict[str, dict[str, Any]] = {
    "blocks with norms inside": {"text": {"qk_norm": True, "scale_attn": True, "ls_init_value": 0.5}},
    "first token": {"custom_text": True, "text": {"pool_type": "first", "no_causal_mask": True}},
    "no projection": {"embed_dim": 16, "custom_text": True, "text": {"proj_type": "none"}},
    "longest side": {"preprocessing": {"resize_mode": "longest", "fill_color": 7, "interpolation": "bilinear"}},
    "an oblong image": {"vision_cfg": families_open_clip.VISION | {"image_size": [16, 24]}},
    "a residual network": {
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "head_width": 8, "image_size": 64},
    },
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_shapes_of_open_clip_are_the_library_s_own(name: str, tmp_path: Path) -> None:
    """Text and images as the library gives them, and a new language is the identity."""
    folder = save_open_clip(tmp_path / "base", **OTHERS[name])
    base = open_base(str(folder))
    images = [Image.new("RGB", size, colour) for size, colour in (((20, 30), "red"), ((70, 16), "blue"))]
    images.append(Image.effect_mandelbrot((50, 40), (-3, -2.5, 2, 2.5), 100).convert("RGB"))
    model = MultilingualModel(base)
    model.add("sw", tokenizer=None, bottleneck=4)
    text, pictures = families_open_clip.reference(folder, NATIVE, images)
    assert_close(base.native_vectors(NATIVE), text)
    assert_close(base.image_vectors(images), pictures)
    for native in NATIVE[:5]:
        assert torch.equal(model.text_vectors([native], "sw"), base.native_vectors([native]))


def test_the_learned_sigmoid_is_that_of_a_siglip_alone(tmp_path: Path) -> None:
    """Scale and bias are the model's; a CLIP has none."""
    base = open_base(str(families_open_clip.siglip(tmp_path / "siglip")))
    scale, bias = base.family.sigmoid_terms(base.model)
    assert torch.equal(scale, base.model.clip.logit_scale.exp())
    assert torch.equal(bias, base.model.clip.logit_bias)
    base = open_base(str(families_open_clip.clip(tmp_path / "clip")))
    assert base.family.sigmoid_terms(base.model) is None


def test_a_text_that_siglip_s_tokenizer_cleans_is_the_same_text(tmp_path: Path) -> None:
    """Case and punctuation go before alignment as they go before the tower."""
    base = open_base(str(families_open_clip.siglip(tmp_path / "base")))
    assert (
        base.native_ids(["A Red, cat!"])
        == base.native_ids(["a red cat"])
        == [siglip_tokenizer()("a red cat")["input_ids"][:-1]]
    )
    assert torch.equal(base.native_vectors(["A Red, cat!"]), base.native_vectors(["a red cat"]))
