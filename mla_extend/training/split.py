"""What is held out of training, and what is left of the data."""

from dataclasses import dataclass, field

import numpy as np

from mla_extend.data.hold_out import hold_out, normalised
from mla_extend.data.pairs import ImageText, Mask, ParallelText
from mla_extend.errors import DataError
from mla_extend.flat import Texts
from mla_extend.training.recipe import Recipe


@dataclass(frozen=True)
class Split:
    """Say which pairs and which captions are held out of training.

    Attributes:
        pairs: `[P]`, true where held out.
        captions: `[C]`, the same of `image_text`; `None` where there is none.
        image_text: the captions that are trained on or held out; those of neither kind are left out.
        lexicon: the word list without what says the same as something held out; `None` where nothing is left.
        text: text of the language, likewise.
    """

    pairs: Mask
    captions: Mask | None
    image_text: ImageText | None = None
    lexicon: ParallelText | None = None
    text: Texts = field(default_factory=lambda: Texts.of([]))

    @property
    def words(self) -> list[tuple[str, str]]:
        """Return the word list as native words with words of the language."""
        return [] if self.lexicon is None else list(zip(self.lexicon.native, self.lexicon.target, strict=True))


def split(
    parallel: ParallelText,
    image_text: ImageText | None,
    recipe: Recipe,
    lexicon: ParallelText | None = None,
    text: Texts | None = None,
) -> Split:
    """Hold out a slice of the training data: images with all their captions, and the same sentences in both files.

    Raises:
        DataError: what is left is too little for a contrast.
    """
    rule = recipe.validation
    texts, owners = (image_text.texts, image_text.image_of_text) if image_text is not None else ([], [])
    found = hold_out(parallel.target, texts, owners, fraction=rule.fraction, largest=rule.largest)
    pairs, captions = found.pairs, None
    if image_text is not None:
        captions = found.captions[~found.dropped]
        image_text = image_text.subset(~found.dropped)
    _enough(parallel.source, pairs)
    if image_text is not None and captions is not None and recipe.exposure.max_steps:
        _enough(image_text.source, captions)
    text = Texts.of(text or [])
    if lexicon is not None or text:
        shown = image_text.subset(captions).texts if image_text is not None and captions is not None else []
        held = set(map(normalised, (*parallel.subset(pairs).target, *shown)))
        text = text.take(np.fromiter((normalised(one) not in held for one in text), np.bool_, len(text)))
        if lexicon is not None:
            lexicon = lexicon.subset(np.array([normalised(one) not in held for one in lexicon.target]))
    return Split(pairs, captions, image_text, lexicon if lexicon is not None and len(lexicon) else None, text)


def _enough(source: str, held_out: Mask) -> None:
    rows = int((~held_out).sum())
    if rows < 2:
        raise DataError(
            f"{source} leaves {rows} of {len(held_out)} rows to train on, the others being held out to choose the "
            "weights by. Two are needed at least, to tell one from another. Give more data."
        )
