"""The export to Immich: its layout of a search model, whose textual half alone may be taken."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from mla_extend.exports.folder import finish, keep_card
from mla_extend.exports.hub_tokenizer import HubTokenizer, probes
from mla_extend.exports.images import preprocess_cfg
from mla_extend.exports.onnx_files import require_onnx, run_onnx, write_onnx
from mla_extend.exports.onnx_towers import MODEL, TOKENIZER, TOLERANCE, check_record, compare, write_image_tower
from mla_extend.exports.readmes import immich_readme
from mla_extend.exports.subject import Subject
from mla_extend.exports.towers import TextTowerOfIds
from mla_extend.files import write_json


def write(subject: Subject, folder: Path, int8: bool) -> dict[str, Any]:
    """Write a search model to an empty folder; return what `export.json` says.

    Raises:
        BaseError: the base has no image tower.
        DataError: a library is missing, or what was written gives other vectors than the model.
    """
    del int8  # refused by the caller
    require_onnx()
    base = subject.model.base
    cfg = preprocess_cfg(base)
    cfg.pop("resize", None)  # Immich makes the shorter edge as long as what it cuts out
    tokenizer = subject.tokenizer()
    textual, visual = folder / "textual", folder / "visual"
    textual.mkdir()
    visual.mkdir()
    image, image_error, difference = write_image_tower(subject, cfg, visual / MODEL, "image")
    write_json(visual / "preprocess_cfg.json", cfg)
    error = _write_textual(subject, tokenizer, textual)
    config = {
        "embed_dim": image.shape[1],
        "text_cfg": {"context_length": base.max_tokens, "vocab_size": tokenizer.tokenizer.get_vocab_size()},
        "vision_cfg": {"image_size": cfg["size"][0]},
    }
    write_json(folder / "config.json", config)
    keep_card(folder, subject.version_folder)
    about = subject.about(
        "immich",
        dimension=image.shape[1],
        context_length=base.max_tokens,
        preprocessing_difference=difference,
        check=check_record(subject, len(probes(base.max_tokens)), max(error, image_error), TOLERANCE),
    )
    return finish(folder, about, immich_readme(about))


def _write_textual(subject: Subject, tokenizer: HubTokenizer, folder: Path) -> float:
    """Write the textual half; return the largest difference of its vectors from the model's own."""
    base = subject.model.base
    tower = TextTowerOfIds(base, tokenizer.pad_id, tokenizer.end_id, subject.native, tokenizer.max_tokens)
    length = base.max_tokens
    text = torch.full((1, length), tokenizer.end_id, dtype=torch.int32)
    with subject.active():
        write_onnx(tower, folder / MODEL, {"text": text}, "text_embedding")
    (folder / TOKENIZER).write_text(tokenizer.json(length), encoding="utf-8")
    config = {"model_max_length": tokenizer.max_tokens, "pad_token": tokenizer.pad_token}
    write_json(folder / "tokenizer_config.json", config)
    reader = Tokenizer.from_file(str(folder / TOKENIZER))
    texts = probes(tokenizer.max_tokens)
    reader.enable_truncation(length)  # as Immich does
    feeds = [{"text": np.array([encoding.ids], dtype=np.int32)} for encoding in reader.encode_batch(texts)]
    found = np.concatenate(run_onnx(folder / MODEL, feeds))
    return compare(subject, found, subject.model.encode_text(texts, subject.tag).numpy(), TOLERANCE)
