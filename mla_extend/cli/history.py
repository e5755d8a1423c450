"""The commands `history`, `rollback`, `prune` and `card`."""


def history() -> None:
    """Do nothing yet."""


def rollback() -> None:
    """Do nothing yet."""


def prune() -> None:
    """Do nothing yet."""


def card() -> None:
    """Do nothing yet."""
