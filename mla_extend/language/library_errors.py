"""Turn what native libraries raise over a language's files into the project's own errors. Standard library only."""

from collections.abc import Iterator
from contextlib import contextmanager

from mla_extend.errors import MlaExtendError, RegistryError
from mla_extend.registry.plain import first_line


@contextmanager
def library_errors() -> Iterator[None]:
    """Turn whatever a tokenizer's library raises into a RegistryError.

    A panic of the `tokenizers` library is no Exception, so that it would end whatever runs it.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, MlaExtendError):
        raise
    except BaseException as error:
        raise RegistryError(
            f"The language's tokenizer fails ({type(error).__name__}: {first_line(error)}). Take the version from a "
            "backup, or add the language again."
        ) from error
