"""Language acquirers as a PEFT method: every trap that was met, as a contract."""

import copy
import math
import warnings
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

from mla_extend.bases.open import open_base
from mla_extend.errors import DataError, LanguageError, RegistryError
from mla_extend.language.acquirer import Acquirer
from mla_extend.language.model import MultilingualModel
from mla_extend.language.peft_method import BASE_PATH, AcquirerBlock, Run, adapter_tensors, load_tensors, plan_of
from mla_extend.language.tokenizer import LanguageTokenizer, pad
from tests.conftest import assert_close, sentences

NATIVE, TARGET = sentences(200)


def model_with(folder: Path, languages: dict[str, int], seed: int = 1) -> MultilingualModel:
    """Open a base and add languages with random, not neutral, weights; the number is the bottleneck."""
    model = MultilingualModel(open_base(str(folder)))
    for tag, bottleneck in languages.items():
        add(model, tag, bottleneck, seed)
    return model


def add(model: MultilingualModel, tag: str, bottleneck: int, seed: int = 1) -> None:
    size = 300 + 10 * len(tag) + bottleneck
    tokenizer = LanguageTokenizer.train(TARGET, model.base.max_tokens, size=size)
    model.add(tag, tokenizer=tokenizer, bottleneck=bottleneck)
    generator = torch.Generator().manual_seed(seed + sum(map(ord, tag)))
    with torch.no_grad():
        for tensor in adapter_tensors(model.peft, model.language(tag).adapter).values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)


def checkpoint(model: MultilingualModel) -> None:
    """Turn gradient checkpointing on, which blocks do in training mode only; tiny models have no dropout to mind."""
    tower = model.base.text_tower
    enable = getattr(tower, "activation_checkpointing_enable", None) or tower.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    for module in tower.modules():
        if hasattr(module, "gradient_checkpointing"):
            module.training = True


def test_an_acquirer_starts_as_the_identity_bit_for_bit() -> None:
    hidden = torch.randn(2, 3, 8)
    acquirer = Acquirer(8, 4)
    assert torch.equal(acquirer(hidden), hidden)


def test_the_paper_s_size_of_an_acquirer() -> None:
    assert sum(p.numel() for p in Acquirer(512, 256).parameters()) == 262_912


def test_an_acquirer_casts_in_and_out() -> None:
    hidden = torch.randn(2, 8, dtype=torch.bfloat16)
    acquirer = Acquirer(8, 4)
    nn.init.normal_(acquirer.up.weight)
    assert acquirer(hidden).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert acquirer(hidden.float()).dtype == torch.float32


def test_native_text_and_images_are_bit_equal_with_languages_loaded(base_folder: Path, pictures: list[Path]) -> None:
    base = open_base(str(base_folder))
    text, images = base.native_vectors(NATIVE), base.image_vectors(pictures)
    model = model_with(base_folder, {"sw": 4, "de": 6})
    assert torch.equal(model.text_vectors(NATIVE, "en"), text)
    assert torch.equal(model.base.image_vectors(pictures), images)
    with model.peft.disable_adapter():
        ids, mask = model.base.family.native_encoding(model.base.tokenizer, NATIVE[:9], 16)
        assert torch.equal(model.base.family.native_features(model.base.model, ids, mask), text_of(base, NATIVE[:9]))


def text_of(base: object, texts: list[str]) -> torch.Tensor:
    ids, mask = base.family.native_encoding(base.tokenizer, texts, 16)  # type: ignore[attr-defined]
    return base.family.native_features(base.model, ids, mask)  # type: ignore[attr-defined,no-any-return]


def test_the_base_itself_is_the_rule_while_languages_are_loaded(base_folder: Path) -> None:
    before = open_base(str(base_folder)).native_vectors(NATIVE)
    model = model_with(base_folder, {"sw": 4, "de": 6})
    assert torch.equal(model.base.native_vectors(NATIVE), before)


def test_native_vectors_are_the_family_s_own(base_folder: Path) -> None:
    model = model_with(base_folder, {"sw": 4})
    text = NATIVE[0]
    ids, mask = model.base.family.native_encoding(model.base.tokenizer, [text], 16)
    with model.native_path():
        own = model.base.model.get_text_features(input_ids=ids, attention_mask=mask)
    own = own if isinstance(own, torch.Tensor) else own.pooler_output
    assert torch.equal(model.text_vectors([text], "en"), own)


def test_identity_acquirers_over_the_native_table_equal_the_base(base_folder: Path) -> None:
    model = MultilingualModel(open_base(str(base_folder)))
    model.add("sw", tokenizer=None, bottleneck=4)
    assert_close(model.text_vectors(NATIVE, "sw"), model.text_vectors(NATIVE, "en"))


def test_a_mixed_batch_equals_single_batches(base_folder: Path) -> None:
    model = model_with(base_folder, {"sw": 4, "de": 6, "pt-BR": 4})
    texts = NATIVE[:4] + TARGET[:6]
    languages = ["en", "sw", "en", "de", "pt-BR", "sw", "de", "de", "en", "sw"]
    mixed = model.encode_text(texts, languages)
    single = torch.cat([model.encode_text([t], tag) for t, tag in zip(texts, languages, strict=True)])
    assert_close(mixed, single)
    torch.testing.assert_close(mixed.norm(dim=1), torch.ones(10))
    different = model.encode_text([TARGET[0]] * 3, ["sw", "de", "pt-BR"])
    assert not torch.allclose(different[0], different[1])


def test_peft_s_own_mixed_batches_take_any_order(dual_folder: Path) -> None:
    model = model_with(dual_folder, {"sw": 4, "de": 6})
    batch = pad(model.tokenise("sw", TARGET[:3]))
    names = ["lang_de", BASE_PATH, "lang_sw"]
    small = batch.ids.clamp(max=20)
    mixed = model.peft(input_ids=small, attention_mask=batch.mask, adapter_names=names).last_hidden_state
    for row, name in enumerate(names):
        one = model.peft(input_ids=small[[row]], attention_mask=batch.mask[[row]], adapter_names=[name])
        assert_close(mixed[[row]], one.last_hidden_state)
    assert model.tuner.routing.plan is None


def test_the_route_is_left_behind_after_an_error(dual_folder: Path) -> None:
    model = model_with(dual_folder, {"sw": 4})
    with pytest.raises(ZeroDivisionError), model.tuner.route(["lang_sw"]):
        raise ZeroDivisionError
    assert model.tuner.routing.plan is None


def test_plans_are_runs() -> None:
    assert plan_of(["a", "a", BASE_PATH, "b"]) == (Run("a", 0, 2), Run(None, 2, 3), Run("b", 3, 4))


def test_save_load_round_trip_and_own_files_only(base_folder: Path, tmp_path: Path) -> None:
    model = model_with(base_folder, {"sw": 4, "sw-TZ": 5})
    folder = tmp_path / "saved"
    folder.mkdir()
    model.save("sw", folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "sentencepiece.model"}
    tensors = load_file(folder / "adapter_model.safetensors")
    assert len(tensors) == 2 * 4 + 1  # two acquirers of four tensors, one table
    fresh = MultilingualModel(open_base(str(base_folder)))
    fresh.load("sw", folder)
    assert torch.equal(fresh.text_vectors(TARGET, "sw"), model.text_vectors(TARGET, "sw"))


def test_peft_itself_opens_what_was_saved(base_folder: Path, tmp_path: Path) -> None:
    model = model_with(base_folder, {"sw": 4})
    model.save("sw", tmp_path)
    tower = open_base(str(base_folder)).text_tower
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
    opened = PeftModel.from_pretrained(tower, tmp_path, adapter_name="anything")
    batch = pad(model.tokenise("sw", TARGET[:5]))
    with model.tuner.route(["lang_sw"]):
        expected = model.base.text_tower(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    got = opened(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    assert torch.equal(got, expected)


def test_peft_writes_the_same_tensors(dual_folder: Path, tmp_path: Path) -> None:
    model = model_with(dual_folder, {"sw": 4, "sw-TZ": 5})
    model.save("sw", tmp_path)
    model.peft.save_pretrained(str(tmp_path / "peft"), save_embedding_layers=False)
    adapter = model.language("sw").adapter
    theirs = load_file(tmp_path / "peft" / adapter / "adapter_model.safetensors")
    ours = load_file(tmp_path / "adapter_model.safetensors")
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_gradients_reach_one_language_only_also_with_checkpointing(base_folder: Path) -> None:
    for checkpointing in (False, True):
        model = model_with(base_folder, {"sw": 4, "de": 4})
        if checkpointing:
            checkpoint(model)
        with model.training("sw") as tensors:
            vectors = model.forward(pad(model.tokenise("sw", TARGET[:8])))
            vectors.square().sum().backward()
            for name, tensor in tensors.items():
                assert tensor.grad is not None, name
                assert tensor.grad.abs().sum() > 0, name
            others = [p for n, p in model.base.model.named_parameters() if ".lang_sw." not in n]
            assert all(p.grad is None and not p.requires_grad for p in others)
        assert not any(p.requires_grad for p in model.base.model.parameters())


def test_checkpointing_changes_no_gradient(dual_folder: Path) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = model_with(dual_folder, {"sw": 4})
        if checkpointing:
            checkpoint(model)
        with model.training("sw") as tensors:
            model.forward(pad(model.tokenise("sw", TARGET[:8]))).square().sum().backward()
            gradients.append({n: t.grad for n, t in tensors.items()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_recorded_hidden_states_are_those_after_the_acquirer(base_folder: Path) -> None:
    model = model_with(base_folder, {"sw": 4})
    batch = pad(model.tokenise("sw", TARGET[:3]))
    with model.tuner.route(["lang_sw"]):
        output = model.base.text_tower(input_ids=batch.ids, attention_mask=batch.mask, output_hidden_states=True)
    last = output.hidden_states[-1]
    norm = getattr(model.base.text_tower, "final_layer_norm", None)
    torch.testing.assert_close(norm(last) if norm is not None else last, output.last_hidden_state)


@pytest.mark.parametrize("as_tuple", [False, True])
def test_blocks_may_return_a_tensor_or_a_tuple(as_tuple: bool) -> None:
    class Block(nn.Module):
        size = 8

        def forward(self, hidden: torch.Tensor) -> object:
            return (hidden, "attention") if as_tuple else hidden

    from mla_extend.language.peft_method import AcquirerConfig, Routing

    routing = Routing()
    wrapped = AcquirerBlock(Block(), routing)
    wrapped.update_layer("lang_sw", AcquirerConfig(width=8, bottleneck=2))
    nn.init.ones_(wrapped.acquirer_block["lang_sw"].up.bias)
    routing.plan = plan_of(["lang_sw"])
    output = wrapped(torch.zeros(1, 2, 8))
    hidden = output[0] if as_tuple else output
    assert torch.equal(hidden, torch.ones(1, 2, 8))
    assert wrapped.size == 8  # the block's own attributes stay in reach
    with pytest.raises(AttributeError):
        _ = wrapped.nothing
    with pytest.raises(NotImplementedError, match="not linear"):
        wrapped.merge()


def test_only_the_text_tower_is_wrapped(clip_folder: Path) -> None:
    model = model_with(clip_folder, {"sw": 4})
    wrapped = [name for name, module in model.base.model.named_modules() if isinstance(module, AcquirerBlock)]
    assert len(wrapped) == 2
    assert all(name.startswith("text_model.") for name in wrapped)


def test_removing_a_language_restores_what_was(base_folder: Path) -> None:
    base = open_base(str(base_folder))
    names = [name for name, _ in base.model.named_parameters()]
    before = base.native_vectors(NATIVE)
    model = model_with(base_folder, {"sw": 4, "de": 4})
    kept = model.text_vectors(TARGET, "de")
    model.remove("sw")
    assert torch.equal(model.text_vectors(TARGET, "de"), kept)
    with pytest.raises(LanguageError, match="'sw' is not loaded"):
        model.encode_text(["x"], "sw")
    model.remove("de")
    assert [name for name, _ in model.base.model.named_parameters()] == names
    assert torch.equal(model.text_vectors(NATIVE, "en"), before)
    add(model, "sw", 4)
    assert torch.equal(model.text_vectors(NATIVE, "en"), before)


def test_adding_a_language_moves_no_bit_of_another(base_folder: Path) -> None:
    model = model_with(base_folder, {"sw": 4})
    before = model.text_vectors(TARGET, "sw"), model.text_vectors(NATIVE, "en")
    add(model, "de", 6)
    assert torch.equal(model.text_vectors(TARGET, "sw"), before[0])
    assert torch.equal(model.text_vectors(NATIVE, "en"), before[1])


@pytest.mark.parametrize("tag", ["to", "de", "en-GB", "pt-BR", "type", "pop"])
def test_no_language_code_breaks_a_module_name(dual_folder: Path, tag: str) -> None:
    model = model_with(dual_folder, {tag: 4, "sw": 4})
    assert model.encode_text(TARGET[:2], tag).shape == (2, 16)


def test_a_copy_routes_for_itself(dual_folder: Path) -> None:
    model = model_with(dual_folder, {"sw": 4})
    other = copy.deepcopy(model)
    assert torch.equal(other.text_vectors(TARGET[:4], "sw"), model.text_vectors(TARGET[:4], "sw"))
    assert other.tuner.routing is not model.tuner.routing


def test_a_bf16_base_takes_fp32_adapters(base_folder: Path) -> None:
    base = open_base(str(base_folder))
    base.model.to(torch.bfloat16)
    model = MultilingualModel(base)
    add(model, "sw", 4)
    vectors = model.encode_text(TARGET[:4], "sw")
    assert vectors.dtype == torch.float32
    assert torch.isfinite(vectors).all()


def test_unknown_languages_and_wrong_lists_are_errors(dual_folder: Path) -> None:
    model = model_with(dual_folder, {"sw": 4})
    with pytest.raises(LanguageError, match="Did you mean 'sw'"):
        model.encode_text(["x"], "swe")
    with pytest.raises(DataError, match="2 texts but 1 languages"):
        model.encode_text(["x", "y"], ["sw"])
    with pytest.raises(DataError, match="empty"):
        model.encode_text([], "sw")
    with pytest.raises(DataError, match="not one string"):
        model.encode_text("x", "sw")
    with pytest.raises(LanguageError, match="own language"):
        model.add("en", tokenizer=None, bottleneck=4)
    with pytest.raises(LanguageError, match="loaded already"):
        model.add("sw", tokenizer=None, bottleneck=4)


def test_wrong_tensors_are_listed(dual_folder: Path, tmp_path: Path) -> None:
    model = model_with(dual_folder, {"sw": 4})
    tensors = dict(adapter_tensors(model.peft, "lang_sw"))
    name = next(iter(tensors))
    with pytest.raises(ValueError, match=f"{name} is missing; new is unknown"):
        load_tensors(model.peft, "lang_sw", {**{k: v for k, v in tensors.items() if k != name}, "new": torch.ones(1)})
    model.save("sw", tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"rubbish")
    with pytest.raises(RegistryError, match="cannot be read"):
        MultilingualModel(open_base(str(dual_folder))).load("sw", tmp_path)


def test_pooling_finds_the_end_in_a_foreign_vocabulary(clip_folder: Path) -> None:
    """The end id of the base may be any piece of the language; the position still comes from the tokenizer."""
    model = model_with(clip_folder, {"sw": 4})
    rows = model.tokenise("sw", TARGET[:6])
    alone = [model.text_vectors([text], "sw")[0] for text in TARGET[:6]]
    assert_close(model.text_vectors(TARGET[:6], "sw"), torch.stack(alone))
    batch = pad(rows)
    assert batch.ends.tolist() == [len(row) - 1 for row in rows]
    assert all(row.count(3) == 1 for row in rows)
    assert math.isclose(float(batch.mask.sum()), sum(map(len, rows)))
