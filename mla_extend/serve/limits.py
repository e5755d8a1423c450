"""Every limit of the server, in one place."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bound what a request may be, take and hold.

    Attributes:
        characters: of one text.
        top: hits of one search.
        texts: of one `/embed`.
        body_bytes: of one request's body.
        bodies_bytes: of all bodies that are held at once.
        pixels: of an image, before it is decoded.
        requests: that are worked on at once; the next is told to come again.
        opened: pictures sent as queries that are held decoded at once.
        batch: text queries that go through the text tower together.
        seconds: from a request's headers to its body, and from its body to the beginning of its answer.
        header_seconds: from the first byte of a request, or from the connection, to the end of its headers.
        thumbnails_bytes: of small pictures that are kept in memory.
        refresh_seconds: the least between two looks at the registry.
    """

    characters: int = 2000
    top: int = 200
    texts: int = 256
    body_bytes: int = 16 * MIB
    bodies_bytes: int = 128 * MIB
    pixels: int = 64_000_000
    requests: int = 256
    opened: int = 4
    batch: int = 32
    seconds: float = 20.0
    header_seconds: float = 10.0
    thumbnails_bytes: int = 64 * MIB
    refresh_seconds: float = 1.0
