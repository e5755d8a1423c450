"""The commands `pack`, `unpack`, `push` and `pull`."""


def pack() -> None:
    """Do nothing yet."""


def unpack() -> None:
    """Do nothing yet."""


def push() -> None:
    """Do nothing yet."""


def pull() -> None:
    """Do nothing yet."""
