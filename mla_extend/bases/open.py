"""Open a base: the demo's, a local folder's, or a hub repository's."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mla_extend.bases.base import Base, BaseIdentity
from mla_extend.bases.families import FAMILIES
from mla_extend.bases.family import Family
from mla_extend.bases.fingerprint import fingerprint
from mla_extend.errors import BaseError
from mla_extend.files import read_json
from mla_extend.progress import SILENT, Progress

DEMO = "demo"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


def open_base(source: str, *, device: str = "cpu", native: str | None = None, progress: Progress = SILENT) -> Base:
    """Open a frozen base.

    Args:
        source: `demo`, a local folder, or a hub id such as `openai/clip-vit-base-patch32`.
        device: where the model goes (`cpu`, `cuda`, `mps`).
        native: the base's own language, a BCP-47 code; `None` takes what the folder says, else English.
        progress: told of a base that has to be built or fetched first.

    Raises:
        BaseError: it is not there, is of no known family, has no text tower, or its weights are damaged.
    """
    folder = base_folder(source, progress)
    about = _about(folder)
    family = _family(folder)
    with _quiet_transformers():
        model = _load(family, folder)
        tokenizer = _load_tokenizer(folder)
        processor = _load_processor(folder)
    identity = BaseIdentity(
        name=str(about.get("name") or base_name(source)),
        source=source,
        family=family.name,
        fingerprint=fingerprint(folder),
        native=native or str(about.get("native", "en")),
        licence=_licence(about),
    )
    return Base(identity, family, model, tokenizer, processor).to(device)


def base_folder(source: str, progress: Progress = SILENT) -> Path:
    """Return the local folder of a base, building or fetching it if need be."""
    if source == DEMO:
        from mla_extend.bases.demo import demo_base  # noqa: PLC0415 - only the demo needs its packages

        return demo_base(progress)
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if not HUB_ID.fullmatch(source):
        raise BaseError(f"There is no base at {source!r}. Give a model folder, a hub id (owner/name), or 'demo'.")
    return _fetch(source)


def base_name(source: str) -> str:
    """Return the name that a base's registry folder gets."""
    folder = Path(source).expanduser()
    name = folder.resolve().name if folder.is_dir() else source.replace("/", "--")
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "base"


def _fetch(source: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - slow to import, needed for hub ids alone
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(source, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BaseError(
            f"The base {source!r} is neither a folder here nor to be had from the hub ({reason}). "
            "Check the name and the network, or give a local folder."
        ) from error


def _about(folder: Path) -> dict[str, Any]:
    path = folder / "mla_extend.json"
    if not path.is_file():
        return {}
    try:
        about = read_json(path)
    except (OSError, ValueError) as error:
        raise BaseError(f"{path} cannot be read ({error}). Correct it or take it away.") from error
    if not isinstance(about, dict):
        raise BaseError(f"{path} must hold an object with 'name' and 'native', not {type(about).__name__}.")
    return about


def _licence(about: dict[str, Any]) -> str | None:
    """Return the licences of what the base is made of, as one text."""
    parts = [part for part in about.get("licences", []) if isinstance(part, dict) and part.get("licence")]
    return "; ".join(dict.fromkeys(f"{part['licence']} ({part.get('what', 'base')})" for part in parts)) or None


def _family(folder: Path) -> Family:
    try:
        config = read_json(folder / "config.json")
        model_type = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseError(
            f"{folder} is not a model folder: its config.json cannot be read or names no model_type ({error})."
        ) from error
    for family in FAMILIES:
        if model_type in family.model_types:
            return family
    known = ", ".join(sorted(name for family in FAMILIES for name in family.model_types))
    raise BaseError(
        f"{folder} holds a model of type {model_type!r}, which has no text tower that languages can be added to. "
        f"Known types: {known}."
    )


def _load(family: Family, folder: Path) -> Any:
    try:
        return family.load(folder)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BaseError(f"The model in {folder} cannot be loaded as {family.name} ({error}).") from error


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer  # noqa: PLC0415

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise BaseError(f"The tokenizer in {folder} cannot be loaded ({error}).") from error


def _load_processor(folder: Path) -> Any:
    """Return the image processor that works on PIL images, so that torchvision is never needed."""
    if not (folder / "preprocessor_config.json").is_file():
        return None
    from transformers import AutoImageProcessor  # noqa: PLC0415

    try:
        return AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise BaseError(f"The image preprocessing of {folder} cannot be loaded ({error}).") from error


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and reports out of what this program prints."""
    from transformers.utils import logging  # noqa: PLC0415

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
