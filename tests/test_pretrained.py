"""A frozen multilingual table, read by several languages through projections of their own."""

import copy
import json
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from mla_extend import load_model
from mla_extend.add import job as workflow
from mla_extend.bases.open import open_base
from mla_extend.cache import cache_folder
from mla_extend.errors import DataError, Interrupted, RecipeError, RegistryError
from mla_extend.exports.hub_tokenizer import hub_tokenizer
from mla_extend.language import pretrained
from mla_extend.language.adapter_files import read_adapter
from mla_extend.language.build import build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import ProjectedTable, adapter_tensors
from mla_extend.language.pretrained import FrozenTable, find_table, open_table
from mla_extend.language.related import Related
from mla_extend.language.tokenizer import LanguageTokenizer, pad
from mla_extend.registry.layout import RECEIVED
from mla_extend.registry.load import RegistryModel
from mla_extend.training.recipe import load_recipe
from tests.conftest import assert_close, sentences
from tests.test_start_from import SHORT, StopAtOnce

NATIVE, TARGET = sentences(300)
SCRIPTS = ["Ein Hund läuft über die Straße.", "Кошка спит под деревом", "两只猫在红色的椅子上", "ሰማያዊ ሰማይ", "قطة صغيرة"]
WIDTH = 24
WEIGHTS = "adapter_model.safetensors"


def save_bert(folder: Path, *, seed: int = 0, specials: tuple[str, ...] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")) -> Path:
    """Save a tiny random BERT with a WordPiece tokenizer of several scripts, as transformers does."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=list(specials), show_progress=False)
    tokenizer.train_from_iterator([*TARGET, *SCRIPTS * 3], trainer)
    begin, end = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", begin), ("[SEP]", end)]
    )
    # Saved with cutting and padding switched on, as some are: neither may be taken over.
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=9)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size() + 3, hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, max_position_embeddings=8, initializer_range=1.0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return folder


@pytest.fixture
def bert(tmp_path: Path) -> Iterator[Path]:
    """Give the folder of a tiny BERT; no other test's table is in memory."""
    pretrained._OPEN.clear()
    yield save_bert(tmp_path / "tiny-bert")
    pretrained._OPEN.clear()


def table_of(folder: Path) -> torch.Tensor:
    return load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"]


def projected(model: MultilingualModel, tag: str) -> ProjectedTable:
    layer = model.tuner.layers()[model.base.family.embedding]
    module = layer.acquirer_embedding[model.language(tag).adapter]
    assert isinstance(module, ProjectedTable)
    return module


def test_a_table_is_read_and_kept_once_in_the_cache(bert: Path) -> None:
    table = open_table(str(bert))
    assert torch.equal(table.weight, table_of(bert))
    assert table.width == WIDTH
    assert open_table(str(bert)) is table
    assert find_table(table.to_json()) is table
    kept = cache_folder() / "tables"
    assert [path.name for path in kept.iterdir()] == [table.fingerprint[:32]]
    names = {path.name for path in kept.glob("*/*")}
    assert names == {"table.safetensors", "table.json", "tokenizer.json"}


def test_a_table_s_fingerprint_is_of_its_numbers_and_its_tokenizer(bert: Path, tmp_path: Path) -> None:
    table = open_table(str(bert))
    shutil.copytree(bert, tmp_path / "moved")
    assert open_table(str(tmp_path / "moved")).fingerprint == table.fingerprint
    assert open_table(str(save_bert(tmp_path / "other", seed=1))).fingerprint != table.fingerprint
    value = json.loads((tmp_path / "moved" / "tokenizer.json").read_text())
    value["normalizer"]["lowercase"] = True
    (tmp_path / "moved" / "tokenizer.json").write_text(json.dumps(value))
    assert open_table(str(tmp_path / "moved")).fingerprint != table.fingerprint


def test_its_tokenizer_does_what_a_language_s_own_does(bert: Path, tmp_path: Path) -> None:
    table = open_table(str(bert))
    tokenizer = LanguageTokenizer(table.tokenizer, 7)
    reference = Tokenizer.from_str(table.tokenizer)
    reference.no_truncation()
    reference.no_padding()
    begin, end = reference.token_to_id("[CLS]"), reference.token_to_id("[SEP]")
    for text in [*TARGET[:20], *SCRIPTS]:
        whole = reference.encode(text).ids
        assert tokenizer.ids([text]) == [whole if len(whole) <= 7 else [*whole[:6], end]]
        assert tokenizer.plain_ids([text]) == [whole[1:-1]]
    spelled = tokenizer.plain_ids(["paka [SEP] [CLS] [PAD] mbwa"])[0]
    assert not {begin, end, tokenizer.pad_id} & set(spelled)
    batch = pad(tokenizer.ids(["paka", "paka mbwa ndege"]))
    assert batch.ids[0, batch.ends[0]] == batch.ids[1, batch.ends[1]] == end
    tokenizer.save(tmp_path)
    assert LanguageTokenizer.load(tmp_path, 7).ids(SCRIPTS) == tokenizer.ids(SCRIPTS)
    shuffled = open_table(str(save_bert(tmp_path / "late", specials=("[UNK]", "[CLS]", "[SEP]", "[PAD]"))))
    assert LanguageTokenizer(shuffled.tokenizer, 7).pad_id == 3


def test_a_language_reads_the_table_through_its_projection(base_folder: Path, bert: Path) -> None:
    """Vectors are table rows times the projection; the tensors are the projection's and the acquirers' alone."""
    model = MultilingualModel(open_base(str(base_folder)))
    built = build_language(
        model, "sw", native=NATIVE, target=TARGET, start="pretrained", source=str(bert), bottleneck=4
    )
    module, weight = projected(model, "sw"), table_of(bert)
    ids = torch.tensor(model.tokenise("sw", TARGET[:1]))
    layer = model.tuner.layers()[model.base.family.embedding]
    with model.tuner.route(["lang_sw"]):
        found = layer(ids)
    torch.testing.assert_close(found, weight[ids] @ module.projection.weight.T + module.projection.bias)
    names = {name.rsplit("acquirer_embedding.")[-1]: tensor for name, tensor in tensors(model, "sw").items()
             if ".acquirer_embedding." in name}  # fmt: skip
    assert {name: tuple(tensor.shape) for name, tensor in names.items()} == {
        "projection.weight": (model.base.width, WIDTH), "projection.bias": (model.base.width,),
    }  # fmt: skip
    assert built.parameters == sum(tensor.numel() for tensor in tensors(model, "sw").values())
    assert built.table == open_table(str(bert)).to_json()
    again = MultilingualModel(open_base(str(base_folder)))
    build_language(again, "sw", native=NATIVE, target=TARGET, start="pretrained", source=str(bert), bottleneck=4)
    assert torch.equal(again.encode_text(TARGET[:9], "sw"), model.encode_text(TARGET[:9], "sw"))


def tensors(model: MultilingualModel, tag: str) -> dict[str, torch.Tensor]:
    return adapter_tensors(model.peft, model.language(tag).adapter)


def test_two_languages_share_one_table_and_nothing_that_trains(base_folder: Path, bert: Path) -> None:
    """Gradients reach one language's projection alone; the table, the other language and the base stay as they are."""
    base = open_base(str(base_folder))
    native = base.native_vectors(NATIVE[:8])
    model = MultilingualModel(base)
    for seed, tag in enumerate(("sw", "de")):
        build_language(
            model, tag, native=NATIVE, target=TARGET, start="pretrained", source=str(bert), bottleneck=4, seed=seed
        )
    build_language(model, "yo", native=NATIVE, target=TARGET, bottleneck=4)
    assert projected(model, "sw").table is projected(model, "de").table
    places = [{tensor.data_ptr() for tensor in tensors(model, tag).values()} for tag in ("sw", "de")]
    assert not places[0] & places[1]
    before = model.text_vectors(TARGET[:8], "de")
    weight = projected(model, "sw").table.weight.clone()
    with model.training("sw") as own:
        loss = model.forward(pad(model.language("sw").tokenizer.ids(TARGET[:8]))).square().sum()  # type: ignore[union-attr]
        loss.backward()
        assert all(tensor.grad is not None and tensor.grad.abs().sum() > 0 for name, tensor in own.items()
                   if ".projection." in name or ".up." in name)  # fmt: skip
        with torch.no_grad():
            for tensor in own.values():
                tensor.sub_(tensor.grad if tensor.grad is not None else 0)
    assert torch.equal(projected(model, "sw").table.weight, weight)
    assert torch.equal(model.text_vectors(TARGET[:8], "de"), before)
    assert torch.equal(model.text_vectors(NATIVE[:8], "en"), native)
    mixed = model.encode_text(TARGET[:4] * 4, ["sw"] * 4 + ["de"] * 4 + ["yo"] * 4 + ["en"] * 4)
    for place, tag in enumerate(("sw", "de", "yo", "en")):
        alone = model.encode_text(TARGET[:4], tag)
        assert_close(mixed[4 * place : 4 * place + 4], alone)
    assert projected(copy.deepcopy(model), "sw").table is projected(model, "sw").table


def test_rows_are_padded_with_the_pad_id_of_their_own_tokenizer(dual_folder: Path, bert: Path, tmp_path: Path) -> None:
    late = save_bert(tmp_path / "late", specials=("[UNK]", "[CLS]", "[SEP]", "[PAD]"))
    model = MultilingualModel(open_base(str(dual_folder)))
    build_language(model, "sw", native=NATIVE, target=TARGET, bottleneck=4)
    build_language(model, "de", native=NATIVE, target=TARGET, start="pretrained", source=str(late), bottleneck=4)
    model.add("yo", tokenizer=None, bottleneck=4)
    native = model.base.family.special_ids(model.base.tokenizer)[0]
    with model.tuner.route(["lang_sw", "lang_de", "lang_yo"]):
        assert model._pad_ids(3) == [0, 3, native]


def test_a_saved_adapter_holds_the_projection_alone_and_finds_its_table(
    dual_folder: Path, bert: Path, tmp_path: Path
) -> None:
    """In the cache, or where it came from; refused where it is neither, and where another one is there."""
    model = MultilingualModel(open_base(str(dual_folder)))
    build_language(model, "sw", native=NATIVE, target=TARGET, start="pretrained", source=str(bert), bottleneck=4)
    expected = model.encode_text(TARGET[:9], "sw")
    folder = tmp_path / "saved"
    folder.mkdir()
    model.save("sw", folder)
    assert (folder / WEIGHTS).stat().st_size < table_of(bert).nbytes
    about = json.loads((folder / "adapter_config.json").read_text())["pretrained"]
    assert about == open_table(str(bert)).to_json()
    del model

    def loaded(*, foreign: bool = False) -> torch.Tensor:
        pretrained._OPEN.clear()
        other = MultilingualModel(open_base(str(dual_folder)))
        other.load("sw", folder, foreign=foreign)
        return other.encode_text(TARGET[:9], "sw")

    away = bert.rename(tmp_path / "away")
    assert torch.equal(loaded(), expected)  # from the cache
    kept = cache_folder() / "tables" / about["fingerprint"][:32]
    away.rename(bert)
    save_file({"table": table_of(bert) + 1}, kept / "table.safetensors")
    assert torch.equal(loaded(), expected)  # the cache is damaged, and is made again from the source
    shutil.rmtree(cache_folder() / "tables")
    assert torch.equal(loaded(), expected)  # from the source
    assert torch.equal(loaded(foreign=True), expected)
    shutil.rmtree(cache_folder() / "tables")
    with pytest.raises(RegistryError, match=r"not in the cache\. Nothing is fetched because an adapter from elsewhere"):
        loaded(foreign=True)
    assert torch.equal(loaded(), expected)
    shutil.rmtree(cache_folder() / "tables")
    bert.rename(away)
    with pytest.raises(RegistryError, match=r"neither in the cache .* nor where it came from"):
        loaded()
    save_bert(bert, seed=1)
    with pytest.raises(RegistryError, match=r"the table there now has"):
        loaded()
    with pytest.raises(RegistryError, match="does not say which"):
        find_table({"width": 3})


def test_a_projection_is_copied_where_both_read_the_same_table(dual_folder: Path, bert: Path, tmp_path: Path) -> None:
    model = MultilingualModel(open_base(str(dual_folder)))
    build_language(model, "sw", native=NATIVE, target=TARGET, start="pretrained", source=str(bert), bottleneck=4)
    folder = tmp_path / "sw"
    folder.mkdir()
    model.save("sw", folder)
    related = Related("sw", "v", read_adapter(folder, model.base.max_tokens))
    arguments: dict[str, Any] = {"native": NATIVE, "target": TARGET, "bottleneck": 4, "related": related, "seed": 9}
    build_language(model, "zu", start="pretrained", source=str(bert), **arguments)
    assert all(torch.equal(tensor, related.parts.tensors[name]) for name, tensor in tensors(model, "zu").items())
    built = build_language(model, "xh", start="aligned", **arguments)
    assert built.copied == 0
    other = save_bert(tmp_path / "other", seed=1)
    build_language(model, "st", start="pretrained", source=str(other), **arguments)
    for name, tensor in tensors(model, "st").items():
        assert torch.equal(tensor, related.parts.tensors[name]) == (".acquirer_block." in name)


def test_what_cannot_be_a_table_is_refused(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="There is no model at"):
        open_table("no/such/folder")
    import huggingface_hub

    def unreachable(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(DataError, match=r"is not a local folder, and the hub does not give it \(no network\)"):
        open_table("nobody/nothing")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(bert))
    assert open_table("nobody/nothing").width == WIDTH

    def broken(name: str) -> Path:
        return Path(shutil.copytree(bert, tmp_path / name))

    folder = broken("no-weights")
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"holds no \.safetensors"):
        open_table(str(folder))
    folder = broken("damaged")
    (folder / "model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(DataError, match="cannot be read"):
        open_table(str(folder))
    folder = broken("no-table")
    save_file({"encoder.weight": torch.ones(2, 2)}, folder / "model.safetensors")
    with pytest.raises(DataError, match="has no token table"):
        open_table(str(folder))
    save_file({"shared.weight": torch.ones(2, dtype=torch.int8)}, folder / "model.safetensors")
    with pytest.raises(DataError, match="has the shape"):
        open_table(str(folder))
    save_file({"shared.weight": torch.ones(20, 2)}, folder / "model.safetensors")
    with pytest.raises(DataError, match="not of one model"):
        open_table(str(folder))
    folder = broken("no-tokenizer")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"no readable tokenizer\.json"):
        open_table(str(folder))
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be used"):
        open_table(str(folder))
    value = json.loads((bert / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**value, "post_processor": None}))
    with pytest.raises(DataError, match="no begin and end token"):
        open_table(str(folder))


def test_half_precision_tables_serve(bert: Path, dual_folder: Path) -> None:
    weights = load_file(bert / "model.safetensors")
    save_file({name: tensor.bfloat16() for name, tensor in weights.items()}, bert / "model.safetensors")
    table = open_table(str(bert))
    assert table.weight.dtype == torch.bfloat16
    assert table.look_up(torch.tensor([[1, 2]])).dtype == torch.float32
    assert FrozenTable("x", table.weight.float(), table.tokenizer).fingerprint != table.fingerprint


def test_the_recipe_says_what_is_wrong_with_its_source() -> None:
    paper = load_recipe("paper")
    assert paper.build_arguments()["source"] == "google-bert/bert-base-multilingual-cased"
    assert (paper.acquirer.bottleneck, paper.transfer.mse_of, paper.exposure.temperature) == (256, "raw", 0.01)
    with pytest.raises(RecipeError, match="needs source"):
        load_recipe("default", ["embedding.start=pretrained"])
    with pytest.raises(RecipeError, match="needs start: pretrained"):
        load_recipe("default", ["embedding.source=x"])


def test_the_paper_s_recipe_goes_the_whole_way(
    data: dict[str, Path], dual_folder: Path, bert: Path, tmp_path: Path
) -> None:
    """Added, proven, loaded and evaluated; interrupted and resumed to the same bytes."""
    arguments: dict[str, Any] = {
        "parallel_data": data["parallel"], "image_text": data["images"], "base": str(dual_folder), "recipe": "paper",
        "overrides": [
            *SHORT, "exposure.batch=16", "exposure.max_steps=4", f"embedding.source={bert}",
            "transfer.learning_rate=0.01", "transfer.embedding_learning_rate=0.01",
        ],
    }  # fmt: skip
    registry = tmp_path / "adapters"
    plan = workflow.plan_language("sw", registry=registry, **arguments)
    card = workflow.add_language("sw", registry=registry, **arguments)
    assert plan["parameters"] == card.parameters
    build = card.stages[0]
    assert build["table"] == open_table(str(bert)).to_json()
    assert card.isolation["ok"]
    second = workflow.add_language("de", registry=registry, **arguments)
    assert second.isolation["languages"]["sw"]["vectors_equal"]
    vectors = load_model(base=str(dual_folder), registry=registry).encode_text(TARGET[:3], "sw")
    assert vectors.shape == (3, 16)
    with pytest.raises(Interrupted):
        workflow.add_language("sw", registry=tmp_path / "cut", progress=StopAtOnce(), **arguments)
    resumed = workflow.add_language("sw", registry=tmp_path / "cut", resume=True, **arguments)
    assert resumed.files[WEIGHTS] == card.files[WEIGHTS]


@pytest.mark.parametrize("start", ["native", "pretrained"])
def test_a_foreign_tokenizer_reads_decomposed_text_as_composed(start: str, bert: Path, base_folder: Path) -> None:
    model = MultilingualModel(open_base(str(base_folder)))
    build_language(model, "de", native=NATIVE, target=TARGET, start=start, source=str(bert), bottleneck=4)
    model.base.tokenizer.backend_tokenizer.normalizer = normalizers.Replace("é", "dog")
    texts = ["Ein Hund läuft über", "ガス é"]
    made = hub_tokenizer(model, "de").tokenizer
    for text in texts:
        other = unicodedata.normalize("NFD", text)
        assert model.tokenise("de", [other]) == model.tokenise("de", [text]) == [made.encode(other).ids]


def test_a_version_that_came_from_elsewhere_is_loaded_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(MultilingualModel, "load", lambda self, tag, folder, *, foreign: told.append(foreign))
    model = RegistryModel.__new__(RegistryModel)
    model.load("sw", tmp_path)
    (tmp_path / RECEIVED).write_text("{}")
    model.load("sw", tmp_path)
    assert told == [False, True]
