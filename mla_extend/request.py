"""What the user asked for, read and checked before anything slow is opened."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mla_extend.bases.base import Base
from mla_extend.data.codes import language_tag
from mla_extend.data.pairs import ImageText, ParallelText
from mla_extend.data.read import has_images, read_image_text, read_parallel
from mla_extend.data.test_sets import TestSet, read_test_set
from mla_extend.errors import DataError
from mla_extend.files import sha256_file
from mla_extend.progress import Progress
from mla_extend.training.recipe import Recipe, load_recipe

DEMO = "demo"


@dataclass(frozen=True)
class Request:
    """Hold what is to be added: language, data, recipe, seed. `data` is what the card says of each file."""

    tag: str
    parallel: ParallelText
    image_text: ImageText | None
    test_set: TestSet | None
    recipe: Recipe
    seed: int
    data: list[dict[str, Any]]

    def identity(self, base: Base) -> str:
        """Return what makes a run the same run: base, language, data, recipe and seed."""
        data = [[record["role"], record["sha256"]] for record in self.data if record["role"] != "test_set"]
        parts = [base.identity.fingerprint, self.tag, data, self.recipe.model_dump(mode="json"), self.seed]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_request(
    language: str,
    parallel_data: str | Path,
    image_text: str | Path | None,
    test_set: str | Path | None,
    recipe: str,
    overrides: Sequence[str],
    licence: str | None,
    seed: int,
    progress: Progress,
) -> Request:
    """Read and check what was asked for.

    Raises:
        LanguageError: it is no language code.
        RecipeError: the recipe has problems.
        DataError: a file cannot be used.
    """
    tag = language_tag(language)
    typed = load_recipe(recipe, overrides)
    files = _files(tag, parallel_data, image_text, test_set, licence, progress)
    parallel = read_parallel(files["parallel"].path, tag)
    images_path = files["image_text"].path if "image_text" in files else None
    if images_path is None and has_images(parallel.source):
        images_path = parallel.source
    images = read_image_text(images_path, tag) if images_path is not None else None
    tests = None
    if "test_set" in files:
        given = files["test_set"]
        tests = read_test_set(given.path, tag, "en", name=given.name)
    data = [_record("parallel", files["parallel"], len(parallel))]
    if images is not None and images_path is not None:
        data.append(_record("image_text", files.get("image_text", files["parallel"]), len(images)))
    if tests is not None:
        data.append(_record("test_set", files["test_set"], sum(len(part) for part in tests.splits.values())))
    return Request(tag, parallel, images, tests, typed, seed, data)


@dataclass(frozen=True)
class Given:
    """A file as it was given: what the user wrote, where it lies, its licence."""

    name: str
    path: Path
    licence: str | None


def _files(
    tag: str,
    parallel_data: str | Path,
    image_text: str | Path | None,
    test_set: str | Path | None,
    licence: str | None,
    progress: Progress,
) -> dict[str, Given]:
    asked = {"parallel": parallel_data, "image_text": image_text, "test_set": test_set}
    if test_set is None and DEMO in (str(parallel_data), str(image_text)):
        asked["test_set"] = DEMO
    files: dict[str, Given] = {}
    for role, value in asked.items():
        if value is None:
            continue
        if str(value) == DEMO:
            files[role] = demo_file(role, tag, progress)
        else:
            path = Path(value).expanduser()
            if not path.exists():
                raise DataError(f"{path} does not exist (given as {role.replace('_', ' ')}). Check the path.")
            files[role] = Given(str(value), path, licence)
    return files


def demo_file(role: str, tag: str, progress: Progress) -> Given:
    """Return one of the demo's files for a language, making it if it is not in the cache."""
    from mla_extend.data.demo import demo_data  # noqa: PLC0415 - only the demo needs its packages

    data = demo_data(tag, progress)
    path = {"parallel": data.parallel, "image_text": data.image_text, "test_set": data.test_set}[role]
    licence = "; ".join(dict.fromkeys(str(part["licence"]) for part in data.licences))
    return Given(DEMO, path, licence)


def _record(role: str, given: Given, rows: int) -> dict[str, Any]:
    if given.path.is_dir():
        parts = {path.name: sha256_file(path) for path in sorted(given.path.iterdir()) if path.is_file()}
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    else:
        digest = sha256_file(given.path)
    return {"role": role, "path": given.name, "sha256": digest, "pairs": rows, "licence": given.licence}
