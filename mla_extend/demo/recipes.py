"""How the demo's image head is trained, and how it takes up the classes of its tower."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HeadRecipe:
    """Say how the image head is trained.

    Attributes:
        hidden: width of its inner layer.
        dropout: share of inputs and inner units left out.
        epochs: passes over the concepts.
        batch: concepts a step, each of them the others' negative.
        rate: highest learning rate, reached after a tenth of the steps.
        decay: weight decay.
        temperature: what cosines are divided by.
        keyword_share: at most this share of a text's vector is the mean of its keywords.
        mixing: share of the pictures that are a mix of the styles instead of one of them.
        seed: of everything that is drawn.
    """

    hidden: int = 1024
    dropout: float = 0.3
    epochs: int = 60
    batch: int = 512
    rate: float = 1e-3
    decay: float = 0.05
    temperature: float = 0.05
    keyword_share: float = 0.3
    mixing: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class ClassRecipe:
    """Say how the names of the image tower's classes count.

    Attributes:
        temperature: what the classifier's logits are divided by.
        weight: of the names' mean beside the head's normalised vector.
        unlike: directions in which the head's pictures vary least, and in which others are told from them.
        distance: times the median picture's own distance at which names count half.
    """

    temperature: float = 0.7
    weight: float = 1.0
    unlike: int = 768
    distance: float = 4.0


HEAD = HeadRecipe()


NAMES = ClassRecipe()
