"""Which base it is, told without opening it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BaseIdentity:
    """Say which base this is: what goes into cards, and into `base.json` of a folder of languages.

    `licence` is the base's, `None` where it is unknown; `created` is filled in when a folder is made for it.
    """

    name: str
    source: str
    family: str
    fingerprint: str
    native: str
    licence: str | None = None
    created: str = ""
