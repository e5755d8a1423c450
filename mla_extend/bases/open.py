"""Open a base: the demo's, a local folder's, or a hub repository's."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mla_extend.bases.base import Base, BaseIdentity
from mla_extend.bases.families import FAMILIES
from mla_extend.bases.family import Family
from mla_extend.bases.fingerprint import fingerprint
from mla_extend.errors import BaseError
from mla_extend.files import read_json
from mla_extend.progress import SILENT, Progress

DEMO = "demo"
NATIVE = "en"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
REASON_LENGTH = 200
"""Characters of another library's message that are passed on."""


def open_base(source: str, *, device: str = "cpu", native: str | None = None, progress: Progress = SILENT) -> Base:
    """Open a frozen base.

    Args:
        source: `demo`, a local folder, or a hub id such as `openai/clip-vit-base-patch32`.
        device: where the model goes (`cpu`, `cuda`, `mps`).
        native: the base's own language, a BCP-47 code; `None` takes what the folder says, else English.
        progress: told of a base that has to be built or fetched first.

    Raises:
        BaseError: it is not there, is of no known family, has no text tower, its weights are damaged or incomplete,
            or there is no such device.
    """
    target = _device(device)
    folder = base_folder(source, progress)
    about = _about(folder)
    family = _family(folder)
    print_of_weights = fingerprint(folder)  # before they are loaded: it says better what is wrong with them
    with _quiet_transformers():
        model = _load(family, folder)
        tokenizer = _load_tokenizer(folder)
        processor = _load_processor(folder)
    identity = BaseIdentity(
        name=str(about.get("name") or base_name(source)),
        source=source,
        family=family.name,
        fingerprint=print_of_weights,
        native=native or about.get("native") or NATIVE,
        licence=_licence(about),
    )
    return Base(identity, family, model, tokenizer, processor).to(target)


def native_language(source: str, progress: Progress = SILENT) -> str:
    """Return the native language that a base's folder names, else English, without opening the model.

    Raises:
        BaseError: there is no such base.
    """
    return NATIVE if source == DEMO else str(_about(base_folder(source, progress)).get("native") or NATIVE)


def base_folder(source: str, progress: Progress = SILENT) -> Path:
    """Return the local folder of a base, building or fetching it if need be."""
    if source == DEMO:
        from mla_extend.bases.demo import demo_base  # noqa: PLC0415 - only the demo needs its packages

        return demo_base(progress)
    folder = _folder(source)
    if folder is not None:
        return folder
    if not HUB_ID.fullmatch(source):
        raise BaseError(f"There is no base at {source!r}. Give a model folder, a hub id (owner/name), or 'demo'.")
    return _fetch(source)


def base_name(source: str) -> str:
    """Return the name that a base's registry folder gets."""
    folder = _folder(source)
    name = folder.resolve().name if folder is not None else source.replace("/", "--")
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "base"


def _folder(source: str) -> Path | None:
    """Return the folder that a source is the path of, if it is one."""
    try:
        folder = Path(source).expanduser()
    except RuntimeError:  # the home of a user who is not there
        return None
    return folder if source and folder.is_dir() else None


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise BaseError(f"There is no device {name!r} here ({_reason(error)}). Give cpu, cuda, mps or auto.") from error


def _reason(error: BaseException) -> str:
    """Return the first line of another library's message, at readable length."""
    lines = str(error).strip().splitlines()
    text = lines[0].strip() if lines else ""
    text = text or type(error).__name__
    return text if len(text) <= REASON_LENGTH else f"{text[:REASON_LENGTH]}..."


def _fetch(source: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - slow to import, needed for hub ids alone
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(source, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise BaseError(
            f"The base {source!r} is neither a folder here nor to be had from the hub ({_reason(error)}). "
            "Check the name and the network, or give a local folder."
        ) from error


def _about(folder: Path) -> dict[str, Any]:
    path = folder / "mla_extend.json"
    if not path.is_file():
        return {}
    try:
        about = read_json(path)
    except (OSError, ValueError) as error:
        raise BaseError(f"{path} cannot be read ({_reason(error)}). Correct it or take it away.") from error
    if not isinstance(about, dict):
        raise BaseError(
            f"{path} holds {type(about).__name__}, but it must hold an object with 'name' and 'native'. Correct it or "
            "take it away."
        )
    for key, kind in (("native", str), ("licences", list)):
        if key in about and not isinstance(about[key], kind) and not (key == "native" and about[key] is None):
            raise BaseError(
                f"{path}: {key!r} is {about[key]!r}, not of type {kind.__name__}. Correct it or take it away."
            )
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
            f"{folder} is not a model folder: its config.json cannot be read or names no model_type "
            f"({_reason(error)}). Give the folder of a model as transformers saves it."
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
    except Exception as error:
        raise BaseError(
            f"The model in {folder} cannot be loaded as {family.name} ({_reason(error)}). Fetch the model again, or "
            "correct its config.json."
        ) from error


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer  # noqa: PLC0415

    # Without its files, some classes of tokenizer open all the same, with an empty vocabulary.
    if not any(any(folder.glob(name)) for name in TOKENIZER_FILES):
        raise BaseError(
            f"There is no tokenizer in {folder} (one of {', '.join(TOKENIZER_FILES)}). Copy its files from where the "
            "model came from."
        )
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        raise BaseError(
            f"The tokenizer in {folder} cannot be loaded ({_reason(error)}). Fetch the model again."
        ) from error


def _load_processor(folder: Path) -> Any:
    """Return the image processor that works on PIL images, so that torchvision is never needed."""
    if not any((folder / name).is_file() for name in PROCESSOR_FILES):
        return None
    from transformers import AutoImageProcessor  # noqa: PLC0415

    try:
        return AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)
    except Exception as error:
        raise BaseError(
            f"The image preprocessing of {folder} cannot be loaded ({_reason(error)}). Fetch the model again, or "
            f"correct its {PROCESSOR_FILES[0]}."
        ) from error


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
