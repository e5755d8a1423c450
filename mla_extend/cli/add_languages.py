"""The command `add-languages`."""


def add_languages() -> None:
    """Do nothing yet."""
