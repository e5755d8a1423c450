"""Where a base comes from: the demo, a folder, or a hub repository. No model is opened, and no torch needed."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mla_extend.errors import BaseError, DataError
from mla_extend.files import read_json, user_path
from mla_extend.progress import SILENT, Progress

DEMO = "demo"
NATIVE = "en"
NATIVE_OF_TYPE = {"chinese_clip": "zh"}
"""The native language of kinds of models whose folders name none; that of all others is English."""
CLIP_POSITIONS, DEMO_POSITIONS = 77, 512
POSITIONS_OF_TYPE = {
    "clip": CLIP_POSITIONS,
    "metaclip_2": CLIP_POSITIONS,
    "siglip": 64,
    "siglip2": 64,
    "chinese_clip": 512,
}
"""Positions of the text tower where a configuration leaves them at the library's default."""
COUNTED_FROM_PADDING = re.compile("roberta|camembert|xmod|mpnet|data2vec|ernie_m")
"""Kinds of text tower whose first token has the position after that of padding."""
OPEN_CLIP = "open_clip_config.json"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
REASON_LENGTH = 200
"""Characters of another library's message that are passed on."""


def base_folder(source: str, progress: Progress = SILENT) -> Path:
    """Return the local folder of a base, building or fetching it if need be."""
    if source == DEMO:
        from mla_extend.demo.base import demo_base  # noqa: PLC0415 - only the demo needs its packages

        return demo_base(progress)
    folder = local_folder(source)
    if folder is not None:
        return folder
    if not HUB_ID.fullmatch(source):
        raise BaseError(f"There is no base at {source!r}. Give a model folder, a hub id (owner/name), or 'demo'.")
    return fetch(source)


def base_name(source: str) -> str:
    """Return the name that a base's registry folder gets."""
    folder = local_folder(source)
    name = folder.resolve().name if folder is not None else source.replace("/", "--")
    return re.sub(r"[^\w.-]+", "-", name).strip(".-") or "base"


def native_language(source: str, progress: Progress = SILENT) -> str:
    """Return the native language that a base's folder names, else its kind's, without opening the model.

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
        if folder is not None:
            return _positions(folder), source
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        pass  # the base itself will say what is wrong with it, when it is opened
    return CLIP_POSITIONS, "CLIP, as the base is not at hand"


def _positions(folder: Path) -> int:
    """Read how many tokens a text tower takes from its folder; raise what comes of another layout."""
    if (folder / OPEN_CLIP).is_file() and not (folder / "config.json").is_file():
        return int(read_json(folder / OPEN_CLIP)["model_cfg"]["text_cfg"].get("context_length", CLIP_POSITIONS))
    if (folder / "modules.json").is_file():  # sentence-transformers: the tower lies in the first module's folder
        folder = folder / read_json(folder / "modules.json")[0]["path"]
        most = _text_positions(read_json(folder / "config.json"))
        for name, key in (
            ("sentence_bert_config.json", "max_seq_length"),
            ("tokenizer_config.json", "model_max_length"),
        ):
            found = read_json(folder / name).get(key) if (folder / name).is_file() else None
            if found is not None:  # the first that says something counts
                return int(min(most, found))
        return most
    config = read_json(folder / "config.json")
    given = config["text_config"]
    return _text_positions(given) if given.get("max_position_embeddings") else POSITIONS_OF_TYPE[config["model_type"]]


def _text_positions(config: dict[str, Any]) -> int:
    """Return the positions of a text tower that can hold tokens: RoBERTa and its kin count from the padding's on."""
    positions, kind = int(config["max_position_embeddings"]), str(config.get("model_type"))
    return positions - int(config.get("pad_token_id", 1)) - 1 if COUNTED_FROM_PADDING.search(kind) else positions


def local_folder(source: str) -> Path | None:
    """Return the folder that a source is the path of, if it is one."""
    try:
        folder = user_path(source)
    except DataError:
        return None
    return folder if source and folder.is_dir() else None


def model_type(folder: Path) -> str | None:
    """Return the `model_type` of a folder's `config.json`, `None` where there is none to be read."""
    try:
        found = read_json(folder / "config.json")["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def about_base(folder: Path) -> dict[str, Any]:
    """Return what a folder's `mla_extend.json` says of the base, and its kind's native language if it says none.

    Raises:
        BaseError: the file cannot be read, or holds something else.
    """
    native = NATIVE_OF_TYPE.get(model_type(folder) or "")
    path = folder / "mla_extend.json"
    if not path.is_file():
        return {"native": native}
    try:
        about = read_json(path)
    except (OSError, ValueError) as error:
        raise BaseError(f"{path} cannot be read ({reason(error)}). Correct or delete it.") from error
    if not isinstance(about, dict):
        raise BaseError(
            f"{path} holds {type(about).__name__}, but it must hold an object with 'name' and 'native'. Correct "
            "or delete it."
        )
    for key, kind in (("native", str), ("licences", list)):
        if key in about and not isinstance(about[key], kind) and not (key == "native" and about[key] is None):
            raise BaseError(f"{path}: {key!r} is {about[key]!r}, not of type {kind.__name__}. Correct or delete it.")
    return {**about, "native": about.get("native") or native}


def reason(error: BaseException) -> str:
    """Return the first line of another library's message, at readable length."""
    lines = str(error).strip().splitlines()
    text = lines[0].strip() if lines else ""
    text = text or type(error).__name__
    return text if len(text) <= REASON_LENGTH else f"{text[:REASON_LENGTH]}..."


def fetch(source: str, files: Sequence[str] = HUB_FILES, what: str = "base") -> Path:
    """Return the folder of a model that is fetched from the hub.

    Raises:
        BaseError: it is not to be had.
    """
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - slow to import, needed for hub ids alone
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(source, allow_patterns=list(files)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise BaseError(
            f"The {what} {source!r} is not a local folder, and the hub does not give it ({reason(error)}). "
            "Check the name and the network, or give a local folder."
        ) from error
