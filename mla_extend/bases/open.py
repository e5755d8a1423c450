"""Open a base: the demo's, a local folder's, or a hub repository's."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from mla_extend.bases.base import Base
from mla_extend.bases.families import FAMILIES
from mla_extend.bases.family import Family
from mla_extend.bases.fingerprint import fingerprint
from mla_extend.bases.identity import BaseIdentity
from mla_extend.bases.source import NATIVE, about_base, base_folder, base_name, reason
from mla_extend.errors import BaseError
from mla_extend.files import read_json
from mla_extend.progress import SILENT, Progress
from mla_extend.settings import setting


def open_base(source: str, *, device: str = "cpu", native: str | None = None, progress: Progress = SILENT) -> Base:
    """Open a frozen base.

    Args:
        source: `demo`, a local folder, or a hub id such as `openai/clip-vit-base-patch32`.
        device: where the model goes: `cpu`, `cuda`, `mps`, or `auto` for the fastest there is.
        native: the base's own language, a BCP-47 code; `None` takes what the folder says, else English.
        progress: told of a base that has to be built or fetched first.

    Raises:
        BaseError: it is not there, is of no known family, has no text tower, its weights are damaged or incomplete,
            or there is no such device.
    """
    target = pick_device(device)
    folder = base_folder(source, progress)
    about = about_base(folder)
    family = _family(folder)
    weights = family.weight_files(folder)
    with ThreadPoolExecutor(1) as beside, _quiet_transformers():
        hashed = beside.submit(fingerprint, folder, weights)
        try:
            model = _load(f"{family.name} model in", family.load, folder, "Fetch it again, or correct its config.json.")
            tokenizer = _load("tokenizer in", family.load_tokenizer, folder, "Fetch the model again.")
            remedy = "Correct preprocessor_config.json, or fetch it."
            processor = _load("image preprocessing of", family.load_processor, folder, remedy)
        except BaseError:
            hashed.result()  # says better what is wrong with the weights
            raise
    identity = BaseIdentity(
        name=str(about.get("name") or base_name(source)),
        source=source,
        family=family.name,
        fingerprint=hashed.result(),
        native=native or about.get("native") or NATIVE,
        licence=_licence(about),
    )
    return Base(identity, family, model, tokenizer, processor).to(target)


def pick_device(wanted: str) -> torch.device:
    """Return a device by name; `auto` takes the one that is set, else CUDA, then MPS, then the CPU.

    Raises:
        BaseError: there is no such device here.
    """
    if wanted == "auto":
        wanted = setting("device") or wanted
    if wanted == "auto":
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        return torch.empty(0, device=wanted).device
    except (RuntimeError, AssertionError) as error:
        raise BaseError(
            f"There is no device {wanted!r} here ({reason(error)}). Give cpu, cuda, mps or auto."
        ) from error


def _licence(about: dict[str, Any]) -> str | None:
    """Return the licences of what the base is made of, as one text."""
    parts = [part for part in about.get("licences", []) if isinstance(part, dict) and part.get("licence")]
    return "; ".join(dict.fromkeys(f"{part['licence']} ({part.get('what', 'base')})" for part in parts)) or None


def _family(folder: Path) -> Family:
    for family in FAMILIES:
        if family.recognises(folder):
            return family
    try:
        found = read_json(folder / "config.json")["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseError(
            f"{folder} is not a model folder: its config.json cannot be read or names no model_type "
            f"({reason(error)}). Give the folder of a model as transformers saves it."
        ) from error
    known = ", ".join(sorted(name for family in FAMILIES for name in family.model_types))
    raise BaseError(
        f"{folder} holds a model of type {found!r}, which has no text tower that languages can be added to. "
        f"Known types: {known}."
    )


def _load(what: str, load: Callable[[Path], Any], folder: Path, remedy: str) -> Any:
    """Load one part of a base; what a library raises over a wrong file is told in one line."""
    try:
        return load(folder)
    except BaseError:
        raise
    except Exception as error:
        raise BaseError(f"The {what} {folder} cannot be loaded ({reason(error)}). {remedy}") from error


@contextlib.contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and reports out of what this program prints."""
    from transformers.utils import logging  # noqa: PLC0415

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with no_progress_bars():
            yield
    finally:
        logging.set_verbosity(verbosity)


@contextlib.contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing bars of its own."""
    from transformers.utils import logging  # noqa: PLC0415 - slow to import

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
