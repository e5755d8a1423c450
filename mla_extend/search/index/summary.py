"""What was done to an index."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Summary:
    """Say what was done.

    Attributes:
        index: the index's folder.
        base: name of its base.
        base_stated: whether the base is known; false where vectors were taken in and nobody said whose they are.
        added: images that were encoded, or taken in.
        renewed: images that were encoded again, since another preparation had made their vectors.
        reused: images whose bytes were there already under another name.
        unchanged: images that were as they were.
        dropped: images whose files are gone, cannot be read any more, or are left out now.
        failed: what could not be used: its path and the reason.
        unreadable: how many pictures and videos of these could not be read, by suffix and what is wrong.
        left_out: how many pictures and whole folders each pattern left out; of those that were asked for, zeros too.
        passed_over: how many pictures and videos are of a kind that cannot be read, by suffix, and why.
        older: images of other folders whose vectors another preparation made.
        count: images in the index now.
        seconds: what it took.
    """

    index: Path
    base: str
    base_stated: bool = True
    added: int = 0
    renewed: int = 0
    reused: int = 0
    unchanged: int = 0
    dropped: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    unreadable: Counter[tuple[str, str]] = field(default_factory=Counter)
    left_out: dict[str, int] = field(default_factory=dict)
    passed_over: dict[str, tuple[int, str]] = field(default_factory=dict)
    older: int = 0
    count: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        return {
            "index": str(self.index),
            "base": self.base,
            "base_stated": self.base_stated,
            "added": self.added,
            "renewed": self.renewed,
            "reused": self.reused,
            "unchanged": self.unchanged,
            "dropped": self.dropped,
            "failed": [{"path": path, "reason": reason} for path, reason in self.failed],
            "unreadable": [
                {"suffix": suffix, "count": count, "reason": reason}
                for (suffix, reason), count in self.unreadable.most_common()
            ],
            "left_out": [{"pattern": pattern, "count": count} for pattern, count in self.left_out.items()],
            "passed_over": [
                {"suffix": suffix, "count": count, "reason": reason}
                for suffix, (count, reason) in self.passed_over.items()
            ],
            "older": self.older,
            "count": self.count,
            "seconds": self.seconds,
        }
