"""Opening a base and telling it from others: its fingerprint, its vectors, and what is said of a wrong folder."""

import json
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from safetensors.torch import load_file, save_file

from mla_extend.bases.fingerprint import fingerprint
from mla_extend.bases.open import open_base, pick_device
from mla_extend.bases.source import base_name
from mla_extend.errors import BaseError, DataError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD_TWO = "model-00002-of-*.safetensors"
TEXTS = ["a red cat", "the big old dog sleeps under a tree", "boat", "a red cat"]
REMEDY = re.compile(
    r"Known types|[.:;,] (?:add|check|convert|copy|correct|fetch|give|install|put|remove|replace|save|take|use)\b",
    re.IGNORECASE,
)

Damage = Callable[[Path], object]


@pytest.fixture
def folder(base_folder: Path, tmp_path: Path) -> Path:
    """Give a copy of a tiny base that a test may damage."""
    return Path(shutil.copytree(base_folder, tmp_path / "copied-base"))


@pytest.fixture
def clip(clip_folder: Path, tmp_path: Path) -> Path:
    """Give a copy of the tiny CLIP."""
    return Path(shutil.copytree(clip_folder, tmp_path / "copied-clip"))


@pytest.fixture
def dual(dual_folder: Path, tmp_path: Path) -> Path:
    """Give a copy of the tiny dual encoder."""
    return Path(shutil.copytree(dual_folder, tmp_path / "copied-dual"))


def write(name: str, content: str | bytes) -> Damage:
    """Make a damage that puts other content into a file."""
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def remove(*patterns: str) -> Damage:
    """Make a damage that takes away every file that matches."""

    def damage(folder: Path) -> None:
        for path in [path for pattern in patterns for path in folder.glob(pattern)]:
            path.unlink()

    return damage


def cut(size: int) -> Damage:
    """Make a damage that leaves the first bytes of the weights; a negative size counts from the end."""
    return lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:size])


def edit_json(name: str, **changes: Any) -> Damage:
    """Make a damage that sets keys of a JSON file."""
    return lambda folder: (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | changes))


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    """Make a damage that changes tensors and saves them as they were saved."""

    def damage(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return damage


def norm_name(tensors: dict[str, torch.Tensor]) -> str:
    """Return the name of a weight of the text tower that every family has."""
    return min(name for name in tensors if name.startswith("text_model.") and "norm" in name.lower())


def nudge(tensors: dict[str, torch.Tensor]) -> None:
    """Change one number of one tensor by the least that its type can hold."""
    flat = tensors[norm_name(tensors)].view(-1)
    flat[0] = torch.nextafter(flat[0], flat[0] + 1)


def double(tensors: dict[str, torch.Tensor]) -> None:
    """Give one tensor twice its length."""
    name = norm_name(tensors)
    tensors[name] = torch.cat([tensors[name], tensors[name]])


def pickle_weights(folder: Path) -> None:
    """Save the weights as older models have them."""
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def reshard(folder: Path) -> None:
    """Spread the weights over several files, as transformers does it for large models."""
    model = open_base(str(folder)).model
    (folder / WEIGHTS).unlink()
    model.save_pretrained(folder, max_shard_size="8KB")


def slow_tokenizer(folder: Path) -> None:
    """Replace the tokenizer by one that consists of a vocabulary and merges, without a tokenizer.json."""
    remove("tokenizer*.json")(folder)
    tokens = ["a", "a</w>", "b", "b</w>", "ab", "ab</w>", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")


def test_the_same_weights_in_shards_have_the_same_fingerprint(folder: Path) -> None:
    """Resharding changes neither the fingerprint nor a vector."""
    before = open_base(str(folder))
    reshard(folder)
    assert len(list(folder.glob("*.safetensors"))) > 2
    after = open_base(str(folder))
    assert after.identity.fingerprint == before.identity.fingerprint == fingerprint(folder)
    assert torch.equal(after.native_vectors(TEXTS), before.native_vectors(TEXTS))


def test_a_fingerprint_is_independent_of_the_path(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy elsewhere, and the same folder by a relative path, are the same base."""
    expected = fingerprint(folder)
    assert re.fullmatch(r"[0-9a-f]{64}", expected)
    assert fingerprint(Path(shutil.copytree(folder, tmp_path / "deep" / "other name"))) == expected
    monkeypatch.chdir(folder.parent)
    assert fingerprint(Path(folder.name)) == expected


HARMLESS: dict[str, Damage] = {
    "written by another version": edit_json("config.json", transformers_version="4.0.0", _name_or_path="/elsewhere"),
    "tokenizer from elsewhere": edit_json("tokenizer_config.json", name_or_path="owner/name"),
    "a README": write("README.md", "# A model"),
    "the base's name": write("mla_extend.json", '{"name": "other", "native": "de"}'),
    "older weights beside": write("pytorch_model.bin", b"\x80"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_computes_nothing_is_not_in_the_fingerprint(name: str, folder: Path) -> None:
    """Who wrote the model, and files that are not loaded, leave the fingerprint as it is."""
    before = fingerprint(folder)
    HARMLESS[name](folder)
    assert fingerprint(folder) == before


def test_the_layout_of_a_json_file_is_not_in_the_fingerprint(folder: Path) -> None:
    """Order of keys and indentation do not matter."""
    before = fingerprint(folder)
    for path in folder.glob("*config.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps(dict(reversed(content.items())), indent=7))
    assert fingerprint(folder) == before


CHANGES: dict[str, Damage] = {
    "one weight": edit_weights(nudge),
    "a weight more": edit_weights(lambda tensors: tensors.update(extra=torch.zeros(1))),
    "a weight's name": edit_weights(lambda tensors: tensors.update(renamed=tensors.pop(norm_name(tensors)))),
    "a weight's shape": edit_weights(lambda tensors: tensors.update({norm_name(tensors): torch.ones(2, 8)})),
    "a weight's type": edit_weights(lambda tensors: tensors.update({norm_name(tensors): torch.ones(16).half()})),
    "the model's configuration": edit_json("config.json", projection_dim=8),
    "the preprocessing": edit_json("preprocessor_config.json", image_mean=[0.5, 0.5, 0.4]),
    "no preprocessing": remove("preprocessor_config.json"),
    "the tokenizer": lambda folder: write(
        "tokenizer.json", (folder / "tokenizer.json").read_text().replace('"cat"', '"cats"')
    )(folder),
    "the tokenizer's settings": edit_json("tokenizer_config.json", model_max_length=7),
    "a WordPiece vocabulary": write("vocab.txt", "[PAD]\n[UNK]\n"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_fingerprint_changes_with_what_decides_a_vector(name: str, folder: Path) -> None:
    """One weight, the preprocessing or the tokenizer makes it another base."""
    before = fingerprint(folder)
    CHANGES[name](folder)
    assert fingerprint(folder) != before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("merges.txt", "b</w>", "b"), ("vocab.json", '"a": 0, "a</w>": 1', '"a": 1, "a</w>": 0')],
)
def test_a_fingerprint_changes_with_a_tokenizer_without_tokenizer_json(
    name: str, old: str, new: str, clip: Path
) -> None:
    """A vocabulary and merges, which open as a tokenizer, belong to the base's fingerprint."""
    slow_tokenizer(clip)
    before = open_base(str(clip))
    (clip / name).write_text((clip / name).read_text().replace(old, new))
    after = open_base(str(clip))
    same_ids = after.native_ids(["ab", "a"]) == before.native_ids(["ab", "a"])
    assert same_ids == (after.identity.fingerprint == before.identity.fingerprint)
    assert after.identity.fingerprint != before.identity.fingerprint


def test_a_fingerprint_changes_with_the_type_that_weights_are_loaded_in(clip: Path) -> None:
    """The same weights computed in another precision give other vectors, so it is another base, or they stay."""
    before = open_base(str(clip))
    edit_json("config.json", dtype="bfloat16")(clip)
    after = open_base(str(clip))
    same_vectors = torch.equal(after.native_vectors(TEXTS), before.native_vectors(TEXTS))
    assert same_vectors == (after.identity.fingerprint == before.identity.fingerprint)


def test_a_fingerprint_is_of_the_weights_that_are_loaded(folder: Path) -> None:
    """Weights of the same names in a file that is not loaded hide no change of those that are."""
    shutil.copy(folder / WEIGHTS, folder / "model_old.safetensors")
    before = fingerprint(folder)
    edit_weights(nudge)(folder)
    assert fingerprint(folder) != before


HEADERS = {"not JSON": b"{", "not UTF-8": b"\xff", "no offsets": b'{"a": {}}', "no tensor": b'{"a": "x"}'}
BAD_WEIGHTS: dict[str, Damage] = {
    "empty": cut(0),
    "cut in the size": cut(4),
    "cut in the header": cut(50),
    "cut in a tensor": cut(-100),
    "a list as header": write(WEIGHTS, struct.pack("<Q", 3) + b"[1]"),
    "size of garbage": write(WEIGHTS, b"\xff" * 200),
    **{name: write(WEIGHTS, struct.pack("<Q", len(header)) + header) for name, header in HEADERS.items()},
}


@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_damaged_weights_have_no_fingerprint(name: str, dual: Path) -> None:
    """The file is named, and that it is to be fetched again."""
    BAD_WEIGHTS[name](dual)
    with pytest.raises(BaseError, match=r"copied-dual/model\.safetensors is not a readable.*Fetch the model again"):
        fingerprint(dual)


def test_a_folder_in_place_of_weights_has_no_fingerprint(dual: Path) -> None:
    """It is named as a file that cannot be read."""
    (dual / WEIGHTS).unlink()
    (dual / WEIGHTS).mkdir()
    with pytest.raises(BaseError, match=r"copied-dual/model\.safetensors is not a readable"):
        fingerprint(dual)


@pytest.mark.parametrize("damage", [remove(WEIGHTS), pickle_weights], ids=["none", "pickled"])
def test_a_folder_without_safetensors_has_no_fingerprint(damage: Damage, dual: Path) -> None:
    """The folder is named, and how to convert the model."""
    damage(dual)
    with pytest.raises(BaseError, match=r"copied-dual holds no \.safetensors weights.*convert.*save_pretrained"):
        fingerprint(dual)


@dataclass(frozen=True)
class Wrong:
    """Say how a folder is wrong and what of it a message must name.

    Attributes:
        damage: makes it wrong.
        match: what the message says beside the path.
    """

    damage: Damage
    match: str


CONFIG = r"config\.json"
WRONG = {
    "empty folder": Wrong(remove("*"), CONFIG),
    "no config": Wrong(remove("config.json"), CONFIG),
    "config is broken": Wrong(write("config.json", "{"), CONFIG),
    "config is not UTF-8": Wrong(write("config.json", b"\xff\xfe{"), CONFIG),
    "config is a list": Wrong(write("config.json", "[]"), CONFIG),
    "config is null": Wrong(write("config.json", "null"), CONFIG),
    "config names no type": Wrong(write("config.json", "{}"), "model_type"),
    "type is unknown": Wrong(write("config.json", '{"model_type": "t5"}'), "type 't5'.*clip"),
    "type is a list": Wrong(write("config.json", '{"model_type": ["clip"]}'), r"\['clip'\]"),
    "no weights": Wrong(remove(WEIGHTS), "safetensors"),
    "weights are pickled": Wrong(pickle_weights, "safetensors"),
    "weights are empty": Wrong(cut(0), "safetensors"),
    "weights end in the header": Wrong(cut(50), "safetensors"),
    "weights end in a tensor": Wrong(cut(-100), "safetensors"),
    "a tensor has another shape": Wrong(edit_weights(double), "has the shape"),
    "a shard is missing": Wrong(lambda f: (reshard(f), remove(SHARD_TWO)(f)), r"model-00002-of-\d+\.safetensors"),
    "the index is broken": Wrong(lambda f: (reshard(f), write(INDEX, "{")(f)), "weight_map"),
    "the index is empty": Wrong(lambda f: (reshard(f), write(INDEX, "{}")(f)), "weight_map"),
    "tokenizer is missing": Wrong(remove("tokenizer.json"), "[Tt]okenizer"),
    "tokenizer is broken": Wrong(write("tokenizer.json", "{"), "[Tt]okenizer"),
    "tokenizer is a list": Wrong(write("tokenizer.json", "[]"), "[Tt]okenizer"),
    "tokenizer's settings are broken": Wrong(write("tokenizer_config.json", "{"), "[Tt]okenizer"),
    "tokenizer's settings are a list": Wrong(write("tokenizer_config.json", "[]"), "[Tt]okenizer"),
    "preprocessing is broken": Wrong(write("preprocessor_config.json", "{"), "preprocess"),
    "preprocessing is a list": Wrong(write("preprocessor_config.json", "[]"), "preprocess"),
    "preprocessing is unknown": Wrong(edit_json("preprocessor_config.json", image_processor_type="No"), "preprocess"),
    "about is broken": Wrong(write("mla_extend.json", "{"), r"mla_extend\.json"),
    "about is a list": Wrong(write("mla_extend.json", "[]"), r"mla_extend\.json.*must hold an object"),
    "licences are null": Wrong(write("mla_extend.json", '{"licences": null}'), "licences"),
}


def refusal(folder: Path) -> str:
    """Open a wrong folder and return what is said."""
    with pytest.raises(BaseError) as caught:
        open_base(str(folder))
    return str(caught.value)


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_a_wrong_folder_is_refused_by_its_path(case: Wrong, folder: Path) -> None:
    """The message names the folder and what in it is wrong."""
    case.damage(folder)
    message = refusal(folder)
    assert str(folder) in message
    assert re.search(case.match, message.replace(str(folder), ""), re.DOTALL)


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_a_refusal_says_what_to_do(case: Wrong, dual: Path) -> None:
    """The message of each wrong folder names a remedy."""
    case.damage(dual)
    assert REMEDY.search(refusal(dual))


@pytest.mark.parametrize("name", ["tokenizer is missing", "preprocessing is unknown"])
def test_a_refusal_is_one_line_of_readable_length(name: str, dual: Path) -> None:
    """The command line prints a message as its one line."""
    WRONG[name].damage(dual)
    message = refusal(dual).replace(str(dual), "")
    assert "\n" not in message
    assert len(message) < 600


def test_a_tensor_of_another_shape_is_named(folder: Path) -> None:
    """The message says which tensor does not fit."""
    edit_weights(double)(folder)
    assert "norm" in refusal(folder).lower()


def test_a_missing_tensor_is_refused(folder: Path) -> None:
    """Weights that lack a tensor of the model are damaged: no two openings would give the same vectors."""
    edit_weights(lambda tensors: tensors.pop(norm_name(tensors)))(folder)
    assert "norm" in refusal(folder).lower()


def test_a_clip_without_any_tokenizer_is_refused(clip: Path) -> None:
    """A folder without a tokenizer file does not open, for each text would become unknown tokens."""
    remove("tokenizer*.json")(clip)
    assert "okenizer" in refusal(clip)


def test_merges_that_do_not_fit_the_vocabulary_are_refused(clip: Path) -> None:
    """A tokenizer whose two files contradict each other is refused by its path."""
    slow_tokenizer(clip)
    write("merges.txt", "#version: 0.2\nx y\n")(clip)
    assert re.search(r"[Tt]okenizer in .*copied-clip", refusal(clip))


def test_a_dual_encoder_without_any_tokenizer_is_refused(dual: Path) -> None:
    """A folder without a tokenizer file does not open."""
    remove("tokenizer*.json")(dual)
    assert re.search(r"[Tt]okenizer in .*copied-dual", refusal(dual))


@pytest.mark.parametrize("text_config", [3, {"hidden_size": "wide"}], ids=["no object", "wrong value"])
def test_a_configuration_that_clip_refuses_is_named(text_config: Any, clip: Path) -> None:
    """A config.json of the right type with wrong values is refused by its path."""
    edit_json("config.json", text_config=text_config)(clip)
    assert str(clip) in refusal(clip)


@pytest.mark.parametrize("text_config", [3, {"hidden_size": 16}], ids=["no object", "no type"])
def test_a_configuration_that_a_dual_encoder_refuses_is_named(text_config: Any, dual: Path) -> None:
    """A config.json of the right type with a wrong text tower is refused by its path."""
    edit_json("config.json", text_config=text_config)(dual)
    assert str(dual) in refusal(dual)


def test_no_such_folder(tmp_path: Path) -> None:
    """A path that is not there, or is a file, is named with what may be given instead."""
    path = tmp_path / "a file"
    expected = r"no base at '.*a file'\. Give a model folder, a hub id \(owner/name\), or 'demo'"
    with pytest.raises(BaseError, match=expected):
        open_base(str(path))
    path.write_text("x")
    with pytest.raises(BaseError, match=expected):
        open_base(str(path))


def test_the_home_of_nobody() -> None:
    """A path in the home of an unknown user is no such folder."""
    with pytest.raises(BaseError, match="no base at '~nobody-of-this-name/base'"):
        open_base("~nobody-of-this-name/base")


def test_an_empty_source() -> None:
    """No name at all is no such base, not a broken one."""
    with pytest.raises(BaseError, match="There is no base at ''"):
        open_base("")


@pytest.mark.parametrize(
    "error", [LocalEntryNotFoundError("not in the cache\nand more"), OSError("not in the cache"), ValueError()]
)
def test_a_hub_id_that_cannot_be_fetched(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is neither here nor on the hub is named in one line, with what to check."""

    def fail(*_arguments: Any, **_options: Any) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    reason = "ValueError" if isinstance(error, ValueError) else "not in the cache"
    with pytest.raises(BaseError, match=rf"^The base 'no/such' .*\({reason}\)\. Check the name and the network.*$"):
        open_base("no/such")


def test_a_hub_id_opens_from_where_it_was_fetched(clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetched base keeps its hub id as source and its folder's fingerprint; only harmless files are asked for."""
    asked: dict[str, list[str]] = {}

    def fetch(source: str, *, allow_patterns: list[str]) -> str:
        asked[source] = allow_patterns
        return str(clip_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    identity = open_base("owner/name").identity
    assert (identity.name, identity.source) == ("owner--name", "owner/name")
    assert identity.fingerprint == fingerprint(clip_folder)
    assert not any(pattern.endswith((".bin", ".py", ".pt")) for pattern in asked["owner/name"])


def test_an_unknown_device_is_refused(dual: Path) -> None:
    """A device that torch does not know is a BaseError that names it."""
    with pytest.raises(BaseError, match="gpu9"):
        open_base(str(dual), device="gpu9")


def test_a_base_without_preprocessing_encodes_text_alone(folder: Path) -> None:
    """It opens; images are refused by the base's name."""
    remove("preprocessor_config.json")(folder)
    base = open_base(str(folder))
    assert base.native_vectors(TEXTS).shape[0] == len(TEXTS)
    with pytest.raises(BaseError, match="'copied-base' has no image"):
        base.encode_images([Image.new("RGB", (20, 20))])


def test_a_missing_preprocessor_config_is_named(folder: Path) -> None:
    """Asked for an image, a base with an image tower names the file that is missing."""
    remove("preprocessor_config.json")(folder)
    with pytest.raises(BaseError, match=r"preprocessor_config\.json"):
        open_base(str(folder)).encode_images([Image.new("RGB", (20, 20))])


def test_preprocessing_in_a_processor_config_is_taken(clip: Path) -> None:
    """What transformers 5 writes for a CLIP, a processor_config.json, is preprocessing as well."""
    path = clip / "preprocessor_config.json"
    image_processor = json.loads(path.read_text())
    path.unlink()
    (clip / "processor_config.json").write_text(
        json.dumps({"image_processor": image_processor, "processor_class": "CLIPProcessor"})
    )
    assert open_base(str(clip)).processor is not None


def test_each_family_gives_vectors_of_the_stated_width(folder: Path) -> None:
    """Text and images have the configuration's `projection_dim`; the text tower has the width of its embedding."""
    base = open_base(str(folder))
    config = json.loads((folder / "config.json").read_text())
    image = Image.new("RGB", (20, 20), "red")
    image.save(folder / "red.png")
    for vectors in (base.native_vectors(TEXTS), base.image_vectors([image, folder / "red.png"] * 2)):
        assert vectors.shape == (4, config["projection_dim"])
        assert vectors.dtype == torch.float32
        assert vectors.isfinite().all()
    assert base.width == config["text_config"]["hidden_size"]
    assert base.max_tokens == config["text_config"]["max_position_embeddings"]
    assert base.identity.family == ("clip" if config["model_type"] == "clip" else "dual-encoder")


def test_encoded_vectors_are_normalised_and_others_are_not(folder: Path) -> None:
    """`encode_*` gives the directions of `*_vectors` at length 1."""
    base = open_base(str(folder))
    images = [Image.new("RGB", (20, 30), colour) for colour in ("red", "blue")]
    for raw, encoded in (
        (base.native_vectors(TEXTS), base.encode_native(TEXTS)),
        (base.image_vectors(images), base.encode_images(images)),
    ):
        torch.testing.assert_close(encoded.norm(dim=-1), torch.ones(len(raw)))
        assert ((raw.norm(dim=-1) - 1).abs() > 0.01).all()
        torch.testing.assert_close(encoded * raw.norm(dim=-1, keepdim=True), raw)


def test_texts_keep_their_order(folder: Path) -> None:
    """Rows come in the order given, whatever lengths they were batched by, and text beyond the tower is cut."""
    base = open_base(str(folder))
    vectors = base.native_vectors([*TEXTS, "cat " * 100])
    for text, vector in zip(TEXTS, vectors, strict=False):
        torch.testing.assert_close(vector, base.native_vectors([text])[0])
    assert vectors[-1].isfinite().all()


def test_nothing_to_encode_is_refused(dual_folder: Path) -> None:
    """An empty list has no vectors."""
    base = open_base(str(dual_folder))
    with pytest.raises(DataError, match="no text to encode"):
        base.encode_native([])
    with pytest.raises(DataError, match="no image to encode"):
        base.encode_images([])


def test_an_opened_base_is_frozen(folder: Path) -> None:
    """It is in evaluation mode, without gradients, and two openings give the same vectors."""
    base = open_base(str(folder))
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert not any(module.training for module in base.model.modules())
    assert torch.equal(base.native_vectors(TEXTS), open_base(str(folder)).native_vectors(TEXTS))


def test_opening_leaves_the_folder_as_it_was(folder: Path) -> None:
    """No file of the base is written, added or taken away."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    open_base(str(folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_says_who_it_is(dual: Path) -> None:
    """Name, native language and licences come from mla_extend.json; the caller's language comes first."""
    plain = open_base(str(dual)).identity
    assert (plain.name, plain.native, plain.licence) == ("copied-dual", "en", None)
    licences = [{"licence": "MIT", "what": "text"}, {"licence": "MIT", "what": "text"}, {"licence": "CC0-1.0"}, {}]
    write("mla_extend.json", json.dumps({"name": "mine", "native": "de", "licences": licences}))(dual)
    about = open_base(str(dual)).identity
    assert (about.name, about.native, about.licence) == ("mine", "de", "MIT (text); CC0-1.0 (base)")
    assert about.fingerprint == plain.fingerprint
    assert open_base(str(dual), native="fr").identity.native == "fr"


def test_a_native_language_of_null_is_english(dual: Path) -> None:
    """`"native": null` says nothing, so the language is English and not 'None'."""
    write("mla_extend.json", '{"native": null}')(dual)
    assert open_base(str(dual)).identity.native == "en"


def test_base_names_are_folder_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is a plain folder name, whatever the source looks like."""
    (tmp_path / "my base (1)").mkdir()
    monkeypatch.chdir(tmp_path / "my base (1)")
    assert base_name(".") == base_name(str(tmp_path / "my base (1)")) == "my-base-1"
    assert base_name("openai/clip-vit-base-patch32") == "openai--clip-vit-base-patch32"
    assert base_name("/") == "base"


def test_that_a_familys_model_is_not_imported_before_it_is_opened() -> None:
    code = (
        "import sys, mla_extend.bases.families\n"
        "found = [n for n in sys.modules if '.modeling_' in n and '.models.' in n and '.auto.' not in n]\n"
        "assert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_number_is_one_number_whatever_its_axes(folder: Path, shape: tuple[int, ...]) -> None:
    """Releases of transformers save a model's scale with and without an axis; it keeps its value."""

    def reshape(tensors: dict[str, torch.Tensor]) -> None:
        numbers = [name for name, value in tensors.items() if value.numel() == 1]
        tensors.update({name: torch.full(shape, 3.0) for name in numbers})
        changed.extend(numbers)

    changed: list[str] = []
    edit_weights(reshape)(folder)
    model = open_base(str(folder)).model
    assert [float(model.get_parameter(name).detach()) for name in changed] == [3.0] * len(changed)


def test_a_device_is_taken_by_name_or_the_fastest_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_device("cpu") == torch.device("cpu")
    for name in ("rubbish", "cuda:99"):
        with pytest.raises(BaseError, match=f"There is no device {name!r} here .*Give cpu, cuda, mps or auto"):
            pick_device(name)
    for cuda, mps, expected in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert pick_device("auto") == torch.device(expected)
