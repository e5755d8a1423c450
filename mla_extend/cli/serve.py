"""The command `serve`."""


def serve() -> None:
    """Do nothing yet."""
