"""The command `index`."""


def index() -> None:
    """Do nothing yet."""
