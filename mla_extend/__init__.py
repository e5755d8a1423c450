"""Add a language to an English image-text model without moving one bit of what is there.

    from mla_extend import load_model, add_language, Registry

Nothing heavy is imported until one of these names is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mla_extend.add.job import add_language
    from mla_extend.language.model import MultilingualModel
    from mla_extend.registry.load import load_model
    from mla_extend.registry.store import Registry

__all__ = ["MultilingualModel", "Registry", "__version__", "add_language", "load_model"]
__version__ = "0.1.0"

_HOMES = {
    "MultilingualModel": "mla_extend.language.model",
    "Registry": "mla_extend.registry.store",
    "add_language": "mla_extend.add.job",
    "load_model": "mla_extend.registry.load",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
