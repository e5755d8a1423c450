"""A dual encoder of any BERT-like text tower and an image tower, as a Hugging Face model.

The text vector is the mean over tokens, as sentence-transformers takes it, so the shared space is the text tower's
own; a small head maps image features into it, and beside it may stand the names of the image tower's own classes.
Shapes: `B` batch, `T` tokens, `F` image features, `K` classes, `D` width of the shared space.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from mla_extend.bases.efficientnet_lite import LITE0_CONFIG, MODEL_TYPE, EfficientNetLite
from mla_extend.bases.family import mean_pool


class DualEncoderConfig(PretrainedConfig):  # type: ignore[misc]
    """Describe a dual encoder.

    Args:
        text_config: configuration of the text tower as Hugging Face writes it, `model_type` included.
        image_config: configuration of the image tower; `model_type` says which one.
        projection_dim: `D`.
        text_pooling: how a text's vector is taken; `mean` is the only way so far.
        head_hidden: width of the image head's inner layer.
        classes: `K`, how many classes of the image tower's own lend their names to an image; 0 is none.
        unlike: in how many directions an image's features tell whether the head knows images of its kind.
    """

    model_type = "mla_dual_encoder"

    def __init__(
        self,
        text_config: dict[str, Any] | None = None,
        image_config: dict[str, Any] | None = None,
        projection_dim: int = 384,
        text_pooling: str = "mean",
        head_hidden: int = 1024,
        classes: int = 0,
        unlike: int = 0,
        **kwargs: Any,
    ) -> None:
        self.text_config = text_config if text_config is not None else {"model_type": "bert"}
        self.image_config = image_config if image_config is not None else dict(LITE0_CONFIG)
        self.projection_dim = projection_dim
        self.text_pooling = text_pooling
        self.head_hidden = head_hidden
        self.classes = classes
        self.unlike = unlike
        super().__init__(**kwargs)


class ImageHead(nn.Module):
    """Map image features `[B, F]` to the shared space `[B, D]`: `W x + V gelu(U x)` on normalised `x`.

    Args:
        features: `F`.
        hidden: width of the inner layer.
        dim: `D`.
        dropout: share of features and of inner units that training leaves out.
    """

    def __init__(self, features: int, hidden: int, dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.direct = nn.Linear(features, dim)
        self.inner = nn.Linear(features, hidden)
        self.outer = nn.Linear(hidden, dim)
        self.dropout = dropout

    def forward(self, features: Tensor) -> Tensor:
        """Return unnormalised vectors `[B, D]`."""
        x = F.dropout(self.norm(features), self.dropout, self.training)
        inner = F.dropout(F.gelu(self.inner(x)), self.dropout, self.training)
        vectors: Tensor = self.direct(x) + self.outer(inner)
        return vectors


class ClassNames(nn.Module):
    """Describe images by the names of classes (Norouzi et al. 2013, arXiv 1312.5650): `g(x) N softmax(C x)`.

    The gate `g(x) = 1 / (1 + d^-8)` lets them in where an image is unlike those that the head learned from: `d` is
    `|U x|^2`, the distance from the plane of their features (Wang et al. 2022, arXiv 2203.10807), 1 where it is half
    open. Temperatures and weights are in the matrices.

    Args:
        features: `F`.
        classes: `K`.
        unlike: rows of `U`.
        dim: `D`.
    """

    def __init__(self, features: int, classes: int, unlike: int, dim: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(features, classes)
        self.names = nn.Linear(classes, dim, bias=False)
        self.unlike = nn.Linear(features, unlike)

    def forward(self, features: Tensor) -> Tensor:
        """Return what is added to the head's normalised vectors: `[B, D]`."""
        distance = self.unlike(features).square().sum(dim=-1, keepdim=True)
        vectors: Tensor = torch.sigmoid(8 * distance.log()) * self.names(self.classifier(features).softmax(dim=-1))
        return vectors


class DualEncoderModel(PreTrainedModel):  # type: ignore[misc]
    """Encode texts and images into one space.

    Attributes:
        text_model: maps ids and mask to hidden states `[B, T, D]`.
        image_model: maps pixels to features `[B, F]`.
        image_head: maps features to the shared space.
        image_classes: adds the names of the image tower's classes to that, or None.
    """

    config_class = DualEncoderConfig
    base_model_prefix = "dual_encoder"
    main_input_name = "input_ids"

    def __init__(self, config: DualEncoderConfig) -> None:
        super().__init__(config)
        if config.text_pooling != "mean":
            raise ValueError(f"text_pooling is {config.text_pooling!r}; a dual encoder pools by 'mean'.")
        if config.image_config.get("model_type") != MODEL_TYPE:
            raise ValueError(
                f"image_config names the tower {config.image_config.get('model_type')!r}; known: {MODEL_TYPE!r}."
            )
        text = dict(config.text_config)
        text_config = AutoConfig.for_model(text.pop("model_type"), **text)
        # A pooler would be one more layer that nothing uses and whose absence loading would report.
        extra = {"add_pooling_layer": False} if text_config.model_type == "bert" else {}
        self.text_model = AutoModel.from_config(text_config, **extra)
        self.image_model = EfficientNetLite(config.image_config)
        self.image_head = ImageHead(self.image_model.features, config.head_hidden, config.projection_dim)
        self.image_classes = (
            ClassNames(self.image_model.features, config.classes, config.unlike, config.projection_dim)
            if config.classes
            else None
        )
        self.post_init()

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return unnormalised text vectors `[B, D]` of ids and mask `[B, T]`: the mean over the mask's tokens."""
        hidden = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return mean_pool(hidden, attention_mask)

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """Return unnormalised image vectors `[B, D]` of pixels `[B, 3, H, W]`."""
        return self.map_features(self.image_model(pixel_values))

    def map_features(self, features: Tensor) -> Tensor:
        """Return unnormalised image vectors `[B, D]` of the image tower's features `[B, F]`."""
        vectors: Tensor = self.image_head(features)
        return vectors if self.image_classes is None else F.normalize(vectors, dim=-1) + self.image_classes(features)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Return text and image vectors, both `[B, D]` and unnormalised."""
        return self.get_text_features(input_ids, attention_mask), self.get_image_features(pixel_values)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        else:
            super()._init_weights(module)


AutoConfig.register(DualEncoderConfig.model_type, DualEncoderConfig, exist_ok=True)
AutoModel.register(DualEncoderConfig, DualEncoderModel, exist_ok=True)
