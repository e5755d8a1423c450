"""The image tower's preprocessing as open_clip describes it, and its effect on an image.

Shapes: `H` and `W` height and width in pixels.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mla_extend.bases.base import Base
from mla_extend.errors import BaseError, DataError

SAMPLE = (331, 257)
"""Width and height of the picture that preprocessing is checked on: not square, and both prime."""


def preprocess_cfg(base: Base) -> dict[str, Any]:
    """Return how images are prepared, as `preprocess_cfg.json` says it.

    `size` is the height and width that the tower takes. `resize_mode` is `shortest` (the shorter edge becomes `resize`,
    or `size` where that is not given, then the middle is cut out) or `squash`.

    Raises:
        BaseError: the base has no image tower, or does not say how images are prepared.
        DataError: `preprocess_cfg.json` cannot describe how its images are prepared.
    """
    if not base.family.has_images or base.processor is None:
        raise BaseError(
            f"The base {base.identity.name!r} has no image tower, or no preprocessor_config.json, so it cannot be "
            "exported. Export a language with --to onnx or sentence-transformers."
        )
    found = _of_open_clip(base.processor) if hasattr(base.processor, "transforms") else _of_transformers(base.processor)
    if found is None:
        raise DataError(
            f"The base {base.identity.name!r} prepares images by {type(base.processor).__name__}, whose output is not "
            "one image of a fixed size. Its image tower cannot be exported."
        )
    return {"mode": "RGB", "fill_color": 0} | found


def sample_image() -> Image.Image:
    """Return a picture with slopes and edges."""
    width, height = SAMPLE
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    bands = ((x // 16 + y // 16) % 2) * 90
    return Image.fromarray(np.stack([x % 256, y % 256, bands + 60], axis=-1).astype(np.uint8), "RGB")


def prepared(image: Image.Image, cfg: Mapping[str, Any]) -> NDArray[np.float32]:
    """Prepare one image as `preprocess_cfg.json` says: `[3, H, W]`."""
    high, wide = cfg["size"]
    how = Image.Resampling[cfg["interpolation"].upper()]
    image = image.convert("RGB")
    if cfg["resize_mode"] == "squash":
        image = image.resize((wide, high), how)
    else:
        edge = cfg.get("resize", high)
        width, height = image.size
        scale = edge / min(width, height)
        # The shorter edge is exact; the longer one is cut down to a whole number.
        image = image.resize((edge, int(height * scale)) if width < height else (int(width * scale), edge), how)
        left, top = (image.width - wide) // 2, (image.height - high) // 2
        image = image.crop((left, top, left + wide, top + high))
    pixels = np.asarray(image, dtype=np.float32) / 255
    pixels = (pixels - np.asarray(cfg["mean"], np.float32)) / np.asarray(cfg["std"], np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def _of_transformers(processor: Any) -> dict[str, Any] | None:
    size = getattr(processor, "size", None)
    if size is None or getattr(processor, "max_num_patches", None):
        return None
    size = dict(size)
    crop = dict(processor.crop_size) if getattr(processor, "do_center_crop", False) else None
    edge = size.get("shortest_edge")
    if edge is None and "height" not in size:
        return None
    final = [crop["height"], crop["width"]] if crop else [size["height"], size["width"]] if "height" in size else None
    if final is None:
        return None
    if edge is None and crop and final != [size["height"], size["width"]]:
        return None
    resampling = Image.Resampling(int(getattr(processor, "resample", None) or Image.Resampling.BICUBIC))
    found: dict[str, Any] = {
        "size": final,
        "mean": list(processor.image_mean),
        "std": list(processor.image_std),
        "interpolation": resampling.name.lower(),
        "resize_mode": "shortest" if edge is not None else "squash",
    }
    return found | ({"resize": edge} if edge is not None and edge != final[0] else {})


def _of_open_clip(processor: Any) -> dict[str, Any] | None:
    parts = {type(step).__name__: step for step in processor.transforms}
    if "Normalize" not in parts or "Resize" not in parts:
        return None
    resize, crop, normal = parts["Resize"], parts.get("CenterCrop"), parts["Normalize"]
    squash = not isinstance(resize.size, int) and len(resize.size) == 2
    size = list(resize.size) if squash else list(crop.size) if crop else None
    if size is None:
        return None
    return {
        "size": size,
        "mean": [float(value) for value in normal.mean],
        "std": [float(value) for value in normal.std],
        "interpolation": str(resize.interpolation.value),
        "resize_mode": "squash" if squash else "shortest",
    }
