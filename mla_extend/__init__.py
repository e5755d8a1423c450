"""Add a language to an English image-text model without moving one bit of what is there.

    from mla_extend import add_language, load_model, open_index

Nothing heavy is imported until one of these names is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mla_extend.add.job import add_language
    from mla_extend.errors import MlaExtendError
    from mla_extend.evaluation.evaluate import evaluate
    from mla_extend.exports.run import export
    from mla_extend.language.model import MultilingualModel
    from mla_extend.registry.load import load_model
    from mla_extend.registry.store import Registry
    from mla_extend.search.index.make import make_index
    from mla_extend.search.searcher import open_index

__all__ = [
    "MlaExtendError",
    "MultilingualModel",
    "Registry",
    "__version__",
    "add_language",
    "evaluate",
    "export",
    "load_model",
    "make_index",
    "open_index",
]
__version__ = "0.1.0"

_HOMES = {
    "MlaExtendError": "mla_extend.errors",
    "MultilingualModel": "mla_extend.language.model",
    "Registry": "mla_extend.registry.store",
    "add_language": "mla_extend.add.job",
    "evaluate": "mla_extend.evaluation.evaluate",
    "export": "mla_extend.exports.run",
    "load_model": "mla_extend.registry.load",
    "make_index": "mla_extend.search.index.make",
    "open_index": "mla_extend.search.searcher",
}

if not TYPE_CHECKING:  # so that a type checker refuses a name that is not there

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used."""
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, for those who complete them."""
    return __all__
