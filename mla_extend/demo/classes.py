"""Set the weights that let the image tower's own classes speak for photographs; nothing here is trained.

Shapes: `N` pictures, `F` image features, `K` classes, `D` width of the space.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mla_extend.bases.dual_encoder_model import ClassNames
from mla_extend.demo.packages import CLASSES, fetch, read_members
from mla_extend.demo.recipes import ClassRecipe

FOLDER = "timm/data/_info/imagenet_"
FILES = tuple(f"{FOLDER}{name}.txt" for name in ("synsets", "synset_to_lemma", "synset_to_definition"))


@dataclass(frozen=True)
class ImageClass:
    """Hold what a class is called, and what a dictionary says of it."""

    names: tuple[str, ...]
    gloss: str


def image_classes() -> list[ImageClass]:
    """Return the classes of ImageNet in the classifier's order; raise FetchError if the package cannot be had."""
    files = read_members(fetch(CLASSES), FILES.__contains__)
    codes, lemmas, glosses = (files[name].decode().splitlines() for name in FILES)
    names, meanings = (dict(line.split("\t", 1) for line in lines) for lines in (lemmas, glosses))
    return [ImageClass(tuple(names[code].split(", ")), meanings[code]) for code in codes]


def set_classes(
    classes: ClassNames,
    listed: Sequence[ImageClass],
    classifier: tuple[Tensor, Tensor],
    texts: Mapping[str, Tensor],
    features: Tensor,
    recipe: ClassRecipe,
) -> None:
    """Fill in the module.

    Args:
        classes: the module, changed in place.
        listed: the classes, in the classifier's order.
        classifier: its weights `[K, F]` and biases `[K]`.
        texts: vectors `[D]` of all names and glosses.
        features: those of the pictures that the head learned from, `[N, F]`.
        recipe: how.
    """
    named = torch.stack(
        [F.normalize(torch.stack([texts[name] for name in one.names]), dim=-1).mean(0) for one in listed]
    )
    glosses = torch.stack([texts[one.gloss] for one in listed])
    vectors = F.normalize(F.normalize(named, dim=-1) + F.normalize(glosses, dim=-1), dim=-1)
    mean = features.mean(dim=0)
    # In the order of growing variance: the first span what the pictures hardly vary in.
    directions = torch.linalg.eigh(torch.cov(features.T)).eigenvectors[:, : classes.unlike.out_features].T
    usual = ((features - mean) @ directions.T).square().sum(dim=-1).median()
    directions = directions / (recipe.distance * usual).sqrt()
    state = {
        "classifier.weight": classifier[0] / recipe.temperature,
        "classifier.bias": classifier[1] / recipe.temperature,
        "names.weight": recipe.weight * vectors.T,
        "unlike.weight": directions,
        "unlike.bias": -directions @ mean,
    }
    classes.load_state_dict({name: tensor.contiguous() for name, tensor in state.items()})
