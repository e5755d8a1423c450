"""The `README.md` of each export, which shows how to open it."""

from typing import Any


def onnx_readme(about: dict[str, Any]) -> str:
    """Return the note of a text tower."""
    return _note(
        about,
        f"`model.onnx` maps ids and mask, both `[batch, length]` of int64 with at most {about['max_tokens']} tokens, "
        f"to vectors `[batch, {about['dimension']}]` of length 1. `tokenizer.json` makes the ids."
        + (" The weights are 8-bit integers." if about["int8"] else ""),
        """import numpy as np
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
session = onnxruntime.InferenceSession("model.onnx")
rows = tokenizer.encode_batch(["..."])
(vectors,) = session.run(None, {
    "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
    "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
})""",
    )


def image_readme(about: dict[str, Any]) -> str:
    """Return the note of an image tower."""
    return _note(
        about,
        f"`model.onnx` maps `pixel_values` `[batch, 3, height, width]` to vectors `[batch, {about['dimension']}]` of "
        "length 1. `preprocess_cfg.json` describes the preprocessing: resize, crop, divide by 255, subtract `mean`, "
        "divide by `std`.",
        """import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
(vectors,) = session.run(None, {"pixel_values": pixels})""",
    )


def sentence_transformers_readme(about: dict[str, Any]) -> str:
    """Return the note of a sentence-transformers model."""
    return _note(
        about,
        f"sentence-transformers opens this folder; vectors have {about['dimension']} dimensions and unit length."
        + (" Use it in float32: half precision lacks the range." if about["architecture"] == "XmodModel" else ""),
        """from sentence_transformers import SentenceTransformer

model = SentenceTransformer("FOLDER")
vectors = model.encode(["..."])""",
    )


def immich_readme(about: dict[str, Any]) -> str:
    """Return the note of a search model for Immich."""
    return _note(
        about,
        "A search model in Immich's layout. Where the images were encoded by the same base, copy `textual/` alone over "
        "that of the model in use: the stored image vectors stay valid. One language at a time: text in another one, "
        "English too, is then read as this one.",
        None,
    )


def _note(about: dict[str, Any], what: str, code: str | None) -> str:
    base = about["base"]
    lines = [
        f"# {about['language']} over {base['name']}",
        "",
        what,
        "",
        *(["```python", code, "```", ""] if code else []),
        f"- language: {about['language']}" + (f", version {about['version']}" if about["version"] else ""),
        f"- base: {base['name']} (`{base['fingerprint']}`), native language {base['native']}",
        f"- licence of the base: {base['licence'] or 'unknown'}; those of a language's data are in `card.json`",
        f"- {about['check']['sentence']}",
        "- hashes of all files: `export.json`",
        "",
    ]
    return "\n".join(lines)
