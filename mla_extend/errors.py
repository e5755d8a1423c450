"""Everything that this package raises on purpose.

    MlaExtendError
    ├── DataError            a file or text that the user gave cannot be used
    │   ├── ImageError           an image cannot be read
    │   └── MissingExtraError    an optional library that this needs is not installed
    ├── LanguageError        not a language code, or a language that is not there
    ├── RecipeError          a recipe or an override is wrong
    ├── BaseError            the base model cannot be opened, built or used
    │   └── BaseMismatchError    an adapter or an index was made for another base
    ├── RegistryError        the registry, or an adapter in it, is not as it must be
    │   └── IsolationError       something else moved: the publish was refused
    ├── TrainingError        training collapsed, diverged or learned nothing
    ├── Interrupted          the user stopped a run that can be continued
    ├── DiskError            a file cannot be written; an OSError too
    ├── FetchError           a package of the demo could not be had, or its content is wrong
    └── CacheError           what is kept to be used again cannot be read or written

Each message says what happened, with the value, and what to do. The command line turns them into one line and
exit code 1; nothing else catches them.
"""

import errno
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

AGAIN = "Take the version from a backup, or add the language again."
"""What to do about a damaged version."""


class MlaExtendError(Exception):
    """The base class of all errors of this package. The message says what to do.

    Examples:
        >>> from mla_extend import MlaExtendError, load_model
        >>> try:
        ...     load_model(base="no/such/folder", registry="adapters")
        ... except MlaExtendError as error:
        ...     print(type(error).__name__)
        BaseError
    """


class DataError(MlaExtendError):
    """Say which file and line cannot be used, and what to do about it."""


class ImageError(DataError):
    """Name the image that cannot be read; `image` is its path, `kind` says in a word or two what is wrong."""

    def __init__(self, image: object, message: str, kind: str = "damaged") -> None:
        super().__init__(message)
        self.image = image
        self.kind = kind


class MissingExtraError(DataError):
    """Name the optional library that is missing, and the extra that brings it."""


class LanguageError(MlaExtendError):
    """Say which language code is wrong or missing."""


class RecipeError(MlaExtendError):
    """List every problem of a recipe at once."""


class BaseError(MlaExtendError):
    """Say why a base model cannot be opened, built or used."""


class BaseMismatchError(BaseError):
    """Name both bases where an adapter meets a base that it was not made for."""


class RegistryError(MlaExtendError):
    """Say what in the registry is missing or damaged."""


class IsolationError(RegistryError):
    """Name the language or file that adding another language would have moved."""


class TrainingError(MlaExtendError):
    """Say that a run collapsed, diverged or did not learn, with the likely cause."""


class Interrupted(MlaExtendError):  # noqa: N818 - it is not an error of anybody's
    """Say where a stopped run is kept and how to continue it."""


class DiskError(MlaExtendError, OSError):
    """Say which file the disk does not take, and what to do; made as OSError is, of number, reason and path."""

    def __str__(self) -> str:
        """Return the sentence."""
        return f"{fault(self)}. {remedy(self)}"


class FetchError(MlaExtendError):
    """Say which package could not be fetched or has another content than expected."""


class CacheError(MlaExtendError):
    """Say which file of the cache cannot be used."""


@contextmanager
def library_errors(kind: type[MlaExtendError], what: str, remedy: str) -> Iterator[None]:
    """Turn whatever a native library raises into an error of the package's own.

    A panic of the `tokenizers` library is no Exception, so that it would end whatever runs it.

    Args:
        kind: of the error.
        what: what failed, as the beginning of a sentence.
        remedy: what to do.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, MlaExtendError):
        raise
    except BaseException as error:
        line = next(iter(str(error).strip().splitlines()), "")[:200]
        raise kind(f"{what} fails ({type(error).__name__}: {line}). {remedy}") from error


def base_errors(name: str = "") -> AbstractContextManager[None]:
    """Turn whatever the library of a base's tokenizer raises into a BaseError."""
    return library_errors(
        BaseError,
        f"The tokenizer of the base{f' {name!r}' if name else ''}",
        "Copy the base from where it came once more, or use another one.",
    )


def language_errors(file: object = "") -> AbstractContextManager[None]:
    """Turn whatever the library of a language's tokenizer raises into a RegistryError that names a file of it."""
    return library_errors(
        RegistryError,
        f"The language's tokenizer{f' {file}' if file else ''}",
        AGAIN,
    )


_FULL = "Free some space and run the same command again."
_DENIED = "Make it writable, or give another place."
REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "Files there may not be so large: raise the limit, or give another place.",
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: _DENIED,
    errno.EIO: "The disk itself fails: see to it, and run the same command again.",
}
"""What to do, by the number of an error of the disk."""


def fault(error: OSError) -> str:
    """Return what happened, and to which file."""
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"


def remedy(error: OSError) -> str:
    """Return what to do about an error of the system."""
    return REMEDIES.get(error.errno or 0, "Correct that and run the same command again.")
