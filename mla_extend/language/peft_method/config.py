"""What a language's adapter is: its settings, as PEFT writes them beside its tensors."""

from dataclasses import dataclass, field
from typing import Any

from peft import PeftConfig

PEFT_TYPE = "LANGUAGE_ACQUIRER"
KIND = "bottleneck"
"""Of acquirers there is one kind; adapters of another, of an older version, are told apart by it."""


@dataclass
class AcquirerConfig(PeftConfig):  # type: ignore[misc]
    """Describe one language's adapter.

    Args:
        target_modules: regular expression over the text tower's module paths that matches its blocks and its token
            embedding in full. Anchored, so that nothing else of the base can match.
        embedding: path of the token embedding.
        width: `W`, the width of the text tower.
        bottleneck: `K` of every acquirer; 0 for none.
        kind: of the acquirers: `bottleneck`, after each block.
        vocabulary: size of the language's own vocabulary; 0 where it reads the native table.
        native_pieces: pieces after those that stand for rows of the native table.
        pretrained: `source`, `fingerprint` and `width` of the frozen table that the language reads through a projection
            of its own; `None` where it has a table of its own.
        language: BCP-47 code.
        base_name: the base's name.
        base_fingerprint: the base's fingerprint.
    """

    target_modules: str | None = field(default=None)
    embedding: str = field(default="")
    width: int = field(default=0)
    bottleneck: int = field(default=128)
    kind: str = field(default=KIND)
    vocabulary: int = field(default=0)
    native_pieces: int = field(default=0)
    pretrained: dict[str, Any] | None = field(default=None)
    language: str = field(default="")
    base_name: str = field(default="")
    base_fingerprint: str = field(default="")

    def __post_init__(self) -> None:
        """Set the type."""
        super().__post_init__()
        self.peft_type = PEFT_TYPE
