"""The card of a version: what was made, from what, how, at what cost, and how good it is."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mla_extend.errors import AGAIN, BaseMismatchError, RegistryError
from mla_extend.files import dump_json, read_plain
from mla_extend.plain import first_line, plain, plain_values
from mla_extend.registry.layout import CARD

SCHEMA = 1
"""Raised only when a card of this number could be misread by an older package; a new key alone does not raise it."""

PACKAGE = "mla-extend"
_EMPTY = '\n  "digest": ""'


@dataclass(frozen=True)
class Card:
    """Hold everything that is known of one version of one language.

    Attributes:
        language: BCP-47 tag.
        language_name: in English.
        base: `name`, `fingerprint`, `family`, `native`, and `source` and `licence` where they are known.
        recipe: as resolved, every default filled in.
        data: for each source: `role`, `path`, `format`, `sha256`, `pairs` as read, `kept` and `dropped` (by reason),
            `licence` (`None`: unknown), and where they apply `split`, `weight`, `columns`, `noncommercial`.
        metrics: the evaluation's JSON.
        versions: of the packages that made it, `mla-extend` among them.
        seed: of the run.
        cost: `seconds`, `peak_memory_bytes`, `pairs`.
        parameters: how many numbers the language trains.
        stages: for each stage of training, what it did.
        created, version, bytes, files, isolation: filled in when it is published; `files` gives the SHA-256 of every
            file but the card, `bytes` their sum without the model card.
        schema: of this card.
    """

    language: str
    language_name: str
    base: dict[str, Any]
    recipe: dict[str, Any]
    data: list[dict[str, Any]]
    metrics: dict[str, Any]
    versions: dict[str, str]
    seed: int
    cost: dict[str, Any]
    parameters: int
    stages: list[Any] = field(default_factory=list)
    created: str = ""
    version: str = ""
    bytes: int = 0
    files: dict[str, str] = field(default_factory=dict)
    isolation: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def noncommercial(self) -> bool:
        """Say whether a source that it was trained on may not be used commercially."""
        return any(record.get("noncommercial") for record in self.data if record.get("role") != "test_set")

    def to_json(self) -> dict[str, Any]:
        """Return the card as JSON values, as they will be read: keys as texts, tuples as lists, odd characters escaped.

        Raises:
            RegistryError: a value is not JSON (NaN, infinity, an array).
        """
        try:
            values: dict[str, Any] = plain_values(json.loads(json.dumps(asdict(self), allow_nan=False)))
        except (TypeError, ValueError, RecursionError) as error:
            raise RegistryError(
                f"The card of {self.language!r} has a value that JSON cannot hold ({first_line(error)}). "
                "Give plain numbers, texts, lists and objects; leave out what is NaN or infinite."
            ) from error
        return values


def card_text(values: Mapping[str, Any]) -> str:
    """Return the content of a card's file: its values, and a digest of that content with the digest left empty."""
    text = dump_json({**values, "digest": ""})
    return text.replace(_EMPTY, f'\n  "digest": "{hashlib.sha256(text.encode()).hexdigest()}"')


def read_card(folder: Path) -> Card:
    """Read the card of a version's folder.

    Its digest tells of damage and of edits, so that its values are those that were published. It is no signature: who
    can write the folder can write a new digest. One from elsewhere is read by `foreign_card`.

    Raises:
        RegistryError: there is none, it is damaged or edited, or a later version of this package wrote it.
    """
    path = folder / CARD
    try:
        content = read_plain(path)
        values = json.loads(content)
    except FileNotFoundError as error:
        raise RegistryError(f"{path} is missing: {folder.name} is not a complete version. {AGAIN}") from error
    except RecursionError as error:
        raise RegistryError(f"{path} is nested too deeply. {AGAIN}") from error
    except (OSError, ValueError) as error:
        raise RegistryError(f"{path} cannot be read ({first_line(error)}). {AGAIN}") from error
    if not isinstance(values, dict):
        raise RegistryError(f"{path} holds {type(values).__name__}, not an object. {AGAIN}")
    _check_schema(path, values)
    digest = plain(str(values.get("digest")))
    found = hashlib.sha256(content.replace(f'\n  "digest": "{digest}"'.encode(), _EMPTY.encode(), 1)).hexdigest()
    if digest != found:
        raise RegistryError(
            f"{path} was changed after it was published: its digest is {digest[:64]}, its content has {found}. {AGAIN}"
        )
    try:
        # Keys that this version does not know are left out: an addition alone does not raise the schema.
        return Card(**{item.name: values[item.name] for item in fields(Card) if item.name in values})
    except TypeError as error:
        raise RegistryError(f"{path} is not a card: {first_line(error).partition(' ')[2]}. {AGAIN}") from error


def check_base(card: Card, name: str, fingerprint: str) -> None:
    """Check that a card's adapter was made for the base at hand.

    Raises:
        BaseMismatchError: it was made for another; the message names both.
    """
    own = str(card.base.get("fingerprint"))
    if own != fingerprint:
        raise BaseMismatchError(
            f"The adapter for {card.language!r} was made for the base {card.base.get('name')!r} (fingerprint "
            f"{own[:16]}), and the base at hand is {name!r} (fingerprint {fingerprint[:16]}). Open the base it was "
            f"made for, or add the language to this one."
        )


def _check_schema(path: Path, values: Mapping[str, Any]) -> None:
    schema = values.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise RegistryError(f"{path} says schema {str(schema)[:80]!r}, which is no card's. {AGAIN}")
    if schema > SCHEMA:
        versions = values.get("versions")
        wrote = plain(str(versions.get(PACKAGE) or ""))[:40] if isinstance(versions, dict) else None
        need = f"{PACKAGE} {wrote} or later" if wrote else f"a later version of {PACKAGE}"
        raise RegistryError(
            f"{path} has schema {schema}, and this version reads schemas up to {SCHEMA}. It needs {need}: "
            f"pip install --upgrade {PACKAGE}"
        )
