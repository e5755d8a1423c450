"""The command `search`."""


def search() -> None:
    """Do nothing yet."""
