"""Where a base comes from: the demo, a folder, or a hub repository. No model is opened, and no torch needed."""

import re
from pathlib import Path
from typing import Any

from mla_extend.errors import BaseError
from mla_extend.files import read_json
from mla_extend.progress import SILENT, Progress

DEMO = "demo"
NATIVE = "en"
CLIP_POSITIONS, DEMO_POSITIONS = 77, 512
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
REASON_LENGTH = 200
"""Characters of another library's message that are passed on."""


def base_folder(source: str, progress: Progress = SILENT) -> Path:
    """Return the local folder of a base, building or fetching it if need be."""
    if source == DEMO:
        from mla_extend.bases.demo import demo_base  # noqa: PLC0415 - only the demo needs its packages

        return demo_base(progress)
    folder = local_folder(source)
    if folder is not None:
        return folder
    if not HUB_ID.fullmatch(source):
        raise BaseError(f"There is no base at {source!r}. Give a model folder, a hub id (owner/name), or 'demo'.")
    return _fetch(source)


def base_name(source: str) -> str:
    """Return the name that a base's registry folder gets."""
    folder = local_folder(source)
    name = folder.resolve().name if folder is not None else source.replace("/", "--")
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "base"


def native_language(source: str, progress: Progress = SILENT) -> str:
    """Return the native language that a base's folder names, else English, without opening the model.

    Raises:
        BaseError: there is no such base.
    """
    return NATIVE if source == DEMO else str(about_base(base_folder(source, progress)).get("native") or NATIVE)


def text_positions(source: str) -> tuple[int, str]:
    """Return how many tokens a base's text tower takes, special ones included, and what has that many.

    It is read from the configuration alone: nothing is opened, fetched or built.
    """
    if source == DEMO:
        return DEMO_POSITIONS, DEMO
    folder = local_folder(source)
    try:
        config = read_json(folder / "config.json") if folder is not None else {}
        return int(config["text_config"]["max_position_embeddings"]), source
    except (OSError, ValueError, KeyError, TypeError):
        return CLIP_POSITIONS, "CLIP, as the base is not at hand"


def local_folder(source: str) -> Path | None:
    """Return the folder that a source is the path of, if it is one."""
    try:
        folder = Path(source).expanduser()
    except RuntimeError:  # the home of a user who is not there
        return None
    return folder if source and folder.is_dir() else None


def about_base(folder: Path) -> dict[str, Any]:
    path = folder / "mla_extend.json"
    if not path.is_file():
        return {}
    try:
        about = read_json(path)
    except (OSError, ValueError) as error:
        raise BaseError(f"{path} cannot be read ({reason(error)}). Correct it or take it away.") from error
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


def reason(error: BaseException) -> str:
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
            f"The base {source!r} is neither a folder here nor to be had from the hub ({reason(error)}). "
            "Check the name and the network, or give a local folder."
        ) from error
