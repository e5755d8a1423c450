"""The command `export`."""


def export() -> None:
    """Do nothing yet."""
