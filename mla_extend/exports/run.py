"""Export a language, or the image tower, to a folder that another tool opens."""

from pathlib import Path
from typing import Any

from mla_extend.errors import DataError
from mla_extend.exports import immich, onnx_towers, sentence_transformers
from mla_extend.exports.folder import check_free, export_folder
from mla_extend.exports.subject import IMAGES, Subject
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.load import load_model

TOOLS = {
    "onnx": onnx_towers.write,
    "sentence-transformers": sentence_transformers.write,
    "immich": immich.write,
}


def export(
    language: str,
    to: str,
    *,
    out: str | Path | None = None,
    int8: bool = False,
    base: str | None = None,
    registry: str | Path | None = None,
    replace: bool = False,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Export a language to a folder for another tool; return the content of its `export.json`, and the folder.

    Examples:
        >>> from mla_extend import export
        >>> found = export("sw", "onnx", base="path/to/clip", registry="adapters")
        >>> found["folder"]
        'clip-sw-onnx'

    Args:
        language: a language of the registry (`sw`, or a version such as `sw@v1`), the base's own, or `images` for the
            image tower.
        to: `onnx`, `sentence-transformers` or `immich`.
        out: the folder to write. Default: named after base, language and tool, in the current folder.
        int8: quantise the weights to 8 bits; `onnx` only.
        base: as for `load_model`.
        registry: as for `load_model`.
        replace: replace an earlier export in that folder.
        progress: told of the work.

    Raises:
        DataError: there is no such tool, the folder is taken, or the base or language cannot be exported to it.
        LanguageError: there is no such language.
    """
    if to not in TOOLS:
        raise DataError(f"There is no export to {to!r}. Give --to one of {', '.join(TOOLS)}.")
    if int8 and (to != "onnx" or language == IMAGES):
        raise DataError(
            "--int8 quantises text towers with --to onnx only. The vectors of a quantised image tower would differ "
            "from those in your index."
        )
    if language == IMAGES and to != "onnx":
        raise DataError(f"--to {to} takes a language. Export the image tower with --to onnx.")
    if out is not None:
        check_free(Path(out), replace)
    model = load_model(base, registry, device="cpu", progress=progress)
    subject = Subject.of(model, language)
    folder = Path(out) if out is not None else Path(f"{model.base.identity.name}-{subject.tag}-{to}")
    progress.start(f"Exporting {subject.tag} to {to}")
    with export_folder(folder, replace) as filled:
        about = TOOLS[to](subject, filled, int8)
    progress.finish()
    return {"folder": str(folder), **about}
