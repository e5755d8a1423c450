"""A language's tokenizer as one `tokenizer.json` that the `tokenizers` library alone turns into the model's own ids."""

import json
import unicodedata
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer, processors

from mla_extend.errors import DataError
from mla_extend.language.model import MultilingualModel
from mla_extend.language.normaliser import composed_first
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.registry.isolation import PROBES

SPECIAL = "<s> [SEP] </s> <pad> <0x41>"
"""Text that spells special tokens: in a language's own tokenizer it is text."""


@dataclass(frozen=True)
class HubTokenizer:
    """Hold a tokenizer that cuts at `max_tokens` and pads on the right, and its padding and end tokens."""

    tokenizer: Tokenizer
    max_tokens: int
    pad_id: int
    end_id: int

    @property
    def pad_token(self) -> str:
        """Return the spelling of the padding token."""
        return str(self.tokenizer.id_to_token(self.pad_id))

    @property
    def end_token(self) -> str:
        """Return the spelling of the token that ends every text."""
        return str(self.tokenizer.id_to_token(self.end_id))

    @property
    def begin_token(self) -> str | None:
        """Return the spelling of the token that begins every text; `None` where there is none."""
        whole, plain = (self.tokenizer.encode("a", add_special_tokens=special).ids for special in (True, False))
        return None if whole[:1] == plain[:1] else str(self.tokenizer.id_to_token(whole[0]))

    def json(self, length: int | None = None) -> str:
        """Return `tokenizer.json`; `length` pads every text to it, `None` to the longest of a batch."""
        copied = Tokenizer.from_str(self.tokenizer.to_str())
        copied.enable_padding(pad_id=self.pad_id, pad_token=self.pad_token, length=length)
        return str(copied.to_str(pretty=False))


def hub_tokenizer(model: MultilingualModel, tag: str) -> HubTokenizer:
    """Return a language's tokenizer; the native one's for the base's own language and for those that read its table.

    Raises:
        DataError: the base's own tokenizer is not one of the `tokenizers` library, or gives other ids there.
    """
    base = model.base
    own = None if tag == model.native else model.language(tag).tokenizer
    if own is not None:
        limit = base.max_tokens if base.begins else base.max_tokens - 1  # as the model cuts before it drops the begin
        tokenizer = Tokenizer.from_str(_own(own, base.begins))
        end = tokenizer.encode("").ids[-1]
        pad = own.pad_id if tokenizer.id_to_token(own.pad_id) in ("<pad>", "[PAD]") else end
    else:
        backend = getattr(base.tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise DataError(
                f"The base {base.identity.name!r} has a native tokenizer of the class {type(base.tokenizer).__name__}, "
                f"which the tokenizers library cannot run, so {tag!r} cannot be exported. A language with a "
                "tokenizer of its own can."
            )
        limit = base.max_tokens
        tokenizer = Tokenizer.from_str(backend.to_str())
        tokenizer = tokenizer if tag == model.native else composed_first(tokenizer)
        pad, _, end = base.family.special_ids(base.tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    made = HubTokenizer(tokenizer, limit, pad, end)
    _check(model, tag, made, own is not None)
    return made


def probes(max_tokens: int) -> list[str]:
    """Return texts in several scripts and spellings, an empty one and one that is longer than the text tower."""
    return [
        *PROBES,
        *(unicodedata.normalize("NFD", text) for text in ("강아지", "Ọ̀rọ̀ yorùbá", "İKİ KÖPEK", "ガス", "Ấm đường")),
        "Ng`ombe ng’ombe NGʼOMBE",
        "\u200fכלב\u200f so\u00adft　ｶﾞｽ",
        "می‌خواهم ශ්‍රී",
        "",
        "a",
        "mbwa mweusi anakimbia",
        "ጥቁር ውሻ",
        "كلب أسود",
        "黒い犬。",
        " ".join(["mbwa"] * max_tokens),
    ]


def model_ids(model: MultilingualModel, tag: str, texts: list[str]) -> list[list[int]]:
    """Return the ids that the model itself encodes."""
    if tag != model.native:
        return model.tokenise(tag, texts)
    with model.base.tokenizing():
        ids, mask = model.base.family.native_encoding(model.base.tokenizer, texts, model.base.max_tokens)
    return [row[keep.bool()].tolist() for row, keep in zip(ids, mask, strict=True)]


def _own(own: LanguageTokenizer, begins: bool) -> str:
    """Return a language's `tokenizer.json`: text never spells a special token, and a begin may be left out."""
    content: dict[str, Any] = json.loads(own.content)
    # The library leaves special tokens in text alone by a switch that its file does not keep.
    content["added_tokens"] = [token for token in content["added_tokens"] if not token["special"]]
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if not begins:
        around = [(str(own.piece(token)), token) for token in tokenizer.encode("").ids[1:]]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=["$A", *(name for name, _ in around)], pair=None, special_tokens=list(dict.fromkeys(around))
        )
    return str(tokenizer.to_str())


def _check(model: MultilingualModel, tag: str, made: HubTokenizer, own: bool) -> None:
    texts = probes(model.base.max_tokens) + ([SPECIAL] if own else [])
    expected = model_ids(model, tag, texts)  # by the base or the language, which say whose tokenizer it is that fails
    found = [encoding.ids for encoding in made.tokenizer.encode_batch(texts)]
    for text, ids, due in zip(texts, found, expected, strict=True):
        if ids != due:
            raise DataError(
                f"The tokenizer of {tag!r} gives other ids in the tokenizers library alone ({ids[:8]} instead of "
                f"{due[:8]} for {text[:40]!r}), so it cannot be exported. Add the language with a tokenizer of "
                "its own."
            )
