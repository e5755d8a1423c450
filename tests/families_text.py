"""Small random models with BERT-like text towers, and text-only ones, written as their libraries save them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    BertConfig,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    RobertaConfig,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    ViTConfig,
)

from tests.conftest import NATIVE_WORDS, native_tokenizer, processor_config, sentences

SIZES: dict[str, int] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
}
ROBERTA_SIZES = SIZES | {"max_position_embeddings": 18}
"""Room for sixteen tokens: the first two positions are those of padding and of nothing."""


def roberta_tokenizer() -> PreTrainedTokenizerFast:
    """Make a word-level tokenizer with the special tokens of RoBERTa, whose padding has the id 1."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {word: i for i, word in enumerate([*special, *NATIVE_WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", **names)


def decoder_tokenizer() -> PreTrainedTokenizerFast:
    """Make byte pairs that end a text with the padding token, are padded on the left and name another token the end."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|im_end|>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences(200)[0], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 1)]
    )
    names = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="left", **names)


def liven(model: torch.nn.Module, scale: float = 0.2) -> None:
    """Give every parameter numbers of a size that tells a wrong path from a right one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)


def save_vision_text(folder: Path, text: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Save a tiny random `VisionTextDualEncoderModel` over a small ViT."""
    vision = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=16, patch_size=8
    )
    config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=12)
    model = VisionTextDualEncoderModel(config).eval()
    liven(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(processor_config(16))
    return folder


def save_sentence_model(
    folder: Path,
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerFast,
    *,
    pooling: str = "mean_tokens",
    dense: int | None = None,
    normalise: bool = False,
    place: str = "",
    settings: dict[str, Any] | None = None,
) -> Path:
    """Save a tiny random sentence-embedding model in the layout of the hub's; `place` is the text tower's folder."""
    names = [("Transformer", place), ("Pooling", "1_Pooling")]
    tower = AutoModel.from_config(config).eval()
    liven(tower, 0.4 if pooling == "lasttoken" else 0.2)  # all texts end with the same token
    with torch.no_grad():
        tower.get_input_embeddings().weight.normal_()  # words outweigh positions
    tower.save_pretrained(folder / place)
    tokenizer.save_pretrained(folder / place)
    about = {"max_seq_length": 16, "do_lower_case": False} | (settings or {})
    (folder / place / "sentence_bert_config.json").write_text(json.dumps(about))
    (folder / "1_Pooling").mkdir()
    modes = {
        f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "max_tokens", "lasttoken")
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **modes}))
    if dense is not None:
        names.append(("Dense", "2_Dense"))
        (folder / "2_Dense").mkdir()
        layer = {"in_features": 16, "out_features": dense, "bias": True}
        activation = {"activation_function": "torch.nn.modules.activation.Tanh"}
        (folder / "2_Dense" / "config.json").write_text(json.dumps(layer | activation))
        generator = torch.Generator().manual_seed(1)
        weight, bias = (torch.randn(shape, generator=generator) * 0.3 for shape in ((dense, 16), (dense,)))
        save_file({"linear.weight": weight, "linear.bias": bias}, folder / "2_Dense" / "model.safetensors")
    if normalise:
        names.append(("Normalize", f"{len(names)}_Normalize"))
        (folder / names[-1][1]).mkdir()
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def vision_text_bert(folder: Path) -> Path:
    """Save a dual encoder over BERT."""
    torch.manual_seed(0)
    tokenizer = native_tokenizer("bert")
    return save_vision_text(folder, BertConfig(vocab_size=len(tokenizer), **SIZES), tokenizer)


def vision_text_roberta(folder: Path) -> Path:
    """Save a dual encoder over RoBERTa."""
    torch.manual_seed(0)
    tokenizer = roberta_tokenizer()
    config = RobertaConfig(vocab_size=len(tokenizer), pad_token_id=1, type_vocab_size=1, **ROBERTA_SIZES)
    return save_vision_text(folder, config, tokenizer)


def sentence_bert(folder: Path) -> Path:
    """Save a mean-pooled, normalised BERT."""
    torch.manual_seed(0)
    tokenizer = native_tokenizer("bert")
    return save_sentence_model(folder, BertConfig(vocab_size=len(tokenizer), **SIZES), tokenizer, normalise=True)


def sentence_roberta(folder: Path) -> Path:
    """Save a RoBERTa pooled at its first token, with a dense layer, in a folder of its own as older models have it."""
    torch.manual_seed(0)
    tokenizer = roberta_tokenizer()
    config = RobertaConfig(vocab_size=len(tokenizer), pad_token_id=1, type_vocab_size=1, **ROBERTA_SIZES)
    options = {"dense": 12, "normalise": True, "place": "0_Transformer"}
    return save_sentence_model(folder, config, tokenizer, pooling="cls_token", **options)


def sentence_mpnet(folder: Path) -> Path:
    """Save a mean-pooled MPNet, whose positions are relative as well."""
    torch.manual_seed(0)
    tokenizer = roberta_tokenizer()
    return save_sentence_model(folder, MPNetConfig(vocab_size=len(tokenizer), **ROBERTA_SIZES), tokenizer)


def sentence_distilbert(folder: Path) -> Path:
    """Save a mean-pooled DistilBERT with a dense layer."""
    torch.manual_seed(0)
    tokenizer = native_tokenizer("bert")
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 16}
    return save_sentence_model(folder, DistilBertConfig(vocab_size=len(tokenizer), **sizes), tokenizer, dense=20)


def sentence_modernbert(folder: Path) -> Path:
    """Save a ModernBERT pooled at its first token."""
    torch.manual_seed(0)
    tokenizer = native_tokenizer("bert")
    special = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    config = ModernBertConfig(vocab_size=len(tokenizer), **SIZES, **special)
    return save_sentence_model(folder, config, tokenizer, pooling="cls_token")


def sentence_decoder(folder: Path) -> Path:
    """Save a causal model pooled at its last token, padded on the left."""
    torch.manual_seed(0)
    tokenizer = decoder_tokenizer()
    special = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 1}
    config = Qwen2Config(vocab_size=len(tokenizer), num_key_value_heads=1, **SIZES, **special)
    return save_sentence_model(folder, config, tokenizer, pooling="lasttoken", normalise=True)


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "vision-text-bert": vision_text_bert,
    "vision-text-roberta": vision_text_roberta,
    "sentence-bert": sentence_bert,
    "sentence-roberta": sentence_roberta,
    "sentence-mpnet": sentence_mpnet,
    "sentence-distilbert": sentence_distilbert,
    "sentence-modernbert": sentence_modernbert,
    "sentence-decoder": sentence_decoder,
}


@torch.no_grad()
def vision_text_reference(folder: Path, texts: list[str], images: list[Image.Image]) -> tuple[Tensor, Tensor | None]:
    """Encode by transformers, as its documentation shows."""
    model = VisionTextDualEncoderModel.from_pretrained(folder).eval()
    encoding = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    prepared = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=images, return_tensors="pt")
    return model.get_text_features(**encoding).pooler_output, model.get_image_features(**prepared).pooler_output


def sentence_reference(folder: Path, texts: list[str], images: list[Image.Image]) -> tuple[Tensor, Tensor | None]:
    """Encode by sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return model.encode(texts, convert_to_tensor=True, show_progress_bar=False), None


Reference = Callable[[Path, list[str], list[Image.Image]], tuple[Tensor, Tensor | None]]
REFERENCES: dict[str, Reference] = {
    name: vision_text_reference if name.startswith("vision") else sentence_reference for name in BUILDERS
}
