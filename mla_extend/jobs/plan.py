"""Read a plan: which languages are added, with what data and how.

A plan is a YAML file with `defaults` and `languages`, whose options have the names that those of `add-language` have.
Relative paths are relative to the plan. All its problems are reported at once, before anything is started.
"""

import contextlib
import hashlib
import json
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from mla_extend.bases.source import DEMO, NATIVE, about_base, base_name, local_folder
from mla_extend.data.codes import language_tag
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.source import open_sentences, parse_source
from mla_extend.data.specification import parse_columns
from mla_extend.demo.sources import DEMO_WEIGHTED
from mla_extend.errors import DataError, MlaExtendError
from mla_extend.files import user_path
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.store import Registry
from mla_extend.settings import setting
from mla_extend.training.recipe import Recipe, load_recipe
from mla_extend.training.schedule import seconds_of
from mla_extend.wrong_values import shown, wrong
from mla_extend.yaml_loader import read_yaml

LANGUAGE = "{language}"
"""Stands in a path for the language's code, as the plan writes it."""
PAIR_SEPARATOR = ","


def _several(value: object) -> object:
    return [] if value is None else [value] if isinstance(value, str) else value


def _assignments(value: object) -> object:
    """Return a mapping as a list of `key=value`, which a list is already."""
    if isinstance(value, dict):
        return [f"{key}={part if isinstance(part, str) else json.dumps(part)}" for key, part in value.items()]
    return _several(value)


def _columns(value: object) -> object:
    return ",".join(f"{role}={name}" for role, name in value.items()) if isinstance(value, dict) else value


def _by_code(value: object) -> object:
    """Return a list of codes as a mapping."""
    if not isinstance(value, list):
        return value
    for place, code in enumerate(value):
        if not isinstance(code, str):
            raise ValueError(f"{shown(code)} is not a language code; write languages with options as a mapping")
        if code in value[:place]:
            raise ValueError(f"{code!r} is in the list twice")
    return dict.fromkeys(value)


Several = Annotated[list[str], BeforeValidator(_several)]


class Options(BaseModel):
    """The options of one language, or the defaults of all, named as the arguments of `add_language`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parallel_data: Several = []
    image_text: Several = []
    lexicon: Several = []
    text: Several = []
    test_set: str | None = None
    recipe: str | None = None
    overrides: Annotated[list[str], BeforeValidator(_assignments)] = Field(default=[], alias="set")
    columns: Annotated[str | None, BeforeValidator(_columns)] = None
    format: str | None = None
    filter: Literal["strict", "default", "off"] = "default"
    max_pairs: int | None = Field(default=None, ge=2)
    licence: str | None = Field(default=None, alias="license")
    start_from: str | None = None
    time: str | float | None = None
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    replace: bool = False

    @model_validator(mode="before")
    @classmethod
    def _underscored(cls, value: object) -> object:
        if isinstance(value, dict):
            return {str(key).replace("-", "_"): part for key, part in value.items()}
        return value or {}

    def over(self, defaults: "Options") -> "Options":
        """Return these options over the defaults; changes of the recipe are added to the defaults' own."""
        own = {name: getattr(self, name) for name in self.model_fields_set}
        return defaults.model_copy(update={**own, "overrides": [*defaults.overrides, *self.overrides]})


class PlanFile(BaseModel):
    """The content of a plan's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    registry: str | None = None
    base: str | None = None
    defaults: Options = Options()
    languages: Annotated[dict[str, Options], BeforeValidator(_by_code)] = Field(min_length=1)


@dataclass(frozen=True)
class Job:
    """Hold one language of a plan.

    Attributes:
        language: its tag.
        arguments: keyword arguments of `add_language`, those of data as absolute paths; `base` and `registry` too.
        recipe: as resolved.
    """

    language: str
    arguments: dict[str, Any]
    recipe: Recipe

    @property
    def start_from(self) -> str | None:
        """Return the tag of the language that it starts from, if it does."""
        start: str | None = self.arguments["start_from"]
        return start

    def digest(self) -> str:
        """Return what changes with those options of the language of which its card does not tell."""
        parts = {name: self.arguments[name] for name in ("columns", "filter", "format", "licence", "test_set")}
        if self.arguments["max_pairs"] is not None:
            parts["max_pairs"] = self.arguments["max_pairs"]
        return hashlib.sha256(json.dumps([self.language, parts], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """Hold what is to be done.

    Attributes:
        name: names the folder in which its logs are kept.
        registry: absolute path of the registry.
        base: as `add_language` takes it.
        jobs: one a language.
    """

    name: str
    registry: Path
    base: str | None
    jobs: list[Job] = field(default_factory=list)


def read_plan(
    source: str | Path,
    *,
    registry: str | Path | None = None,
    base: str | None = None,
    recipe: str | None = None,
    progress: Progress = SILENT,
) -> Plan:
    """Read and check a plan.

    Args:
        source: a YAML file, or `demo` for every language that the demo has data for.
        registry: where the languages go; `None` takes the plan's, else the one that is set, else `adapters/`.
        base: the base; `None` takes the plan's, else the one that is set, else the registry's, else the demo base.
        recipe: of the languages for which the plan names none.
        progress: told of what the demo has to fetch.

    Raises:
        DataError: the plan has problems; one line each, with the entry that it is about.
    """
    if str(source) == DEMO and not Path(DEMO).exists():
        return _demo_plan(registry, base, recipe, progress)
    path = user_path(source).absolute()
    content = _read(path)
    folder = path.parent
    if registry is None and content.registry is not None:
        registry = folder / user_path(content.registry)
    root = Registry(registry).root.resolve()
    if base is None and content.base is not None:
        inside = local_folder(str(folder / user_path(content.base))) if content.base else None
        base = str(inside) if inside is not None and content.base != DEMO else content.base
    base = _absolute_base(base)
    try:
        native = native_of(root, base)
    except MlaExtendError as error:
        raise DataError(f"{path}: {_one_line(error)}") from error
    places = {"base": base, "registry": str(root), "recipe": recipe or "default"}
    with contextlib.chdir(folder):
        jobs = _jobs(path, content, native, places)
    return Plan(path.stem, root, base, jobs)


def native_of(root: Path, base: str | None) -> str:
    """Return the tag of a base's own language, as far as it can be told without opening it.

    Raises:
        MlaExtendError: the base's folder, or the registry's word on it, cannot be read.
    """
    if (home := home_of(root, base)) is not None:
        return home.base.native
    source = base or DEMO
    folder = local_folder(source) if source != DEMO else None
    return str((about_base(folder)["native"] if folder else None) or NATIVE)


def home_of(root: str | Path, base: str | None) -> BaseRegistry | None:
    """Return the part of a registry that is a base's, if there is one yet.

    Raises:
        RegistryError: the registry holds several bases and none is named.
    """
    registry = Registry(root)
    name = base_name(base or registry.base_source() or DEMO)
    return registry.open(name) if name in registry.bases() else None


def _demo_plan(registry: str | Path | None, base: str | None, recipe: str | None, progress: Progress) -> Plan:
    from mla_extend.demo.locales import demo_languages  # noqa: PLC0415 - only the demo needs its packages

    root = Registry(registry).root.resolve()
    base = _absolute_base(base)
    chosen = load_recipe(recipe or "default")
    arguments = Options(parallel_data=[DEMO], image_text=[DEMO]).model_dump()
    arguments |= {"recipe": recipe or "default", "base": base, "registry": str(root)}
    return Plan(DEMO, root, base, [Job(tag, dict(arguments), chosen) for tag in demo_languages(progress)])


def _absolute_base(base: str | None) -> str | None:
    base = base or setting("base")
    folder = local_folder(base) if base and base != DEMO else None
    return str(folder.resolve()) if folder is not None else base


def _read(path: Path) -> PlanFile:
    try:
        value = read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. Give a plan's YAML file, or demo.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}. Give a YAML file in UTF-8.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        said = getattr(error, "problem", None) or _one_line(error)
        raise DataError(f"{where}: it cannot be read as YAML ({said}). Correct the line.") from error
    if not isinstance(value, dict):
        what = "is empty" if value is None else f"holds {type(value).__name__}, not a mapping with 'languages'"
        raise DataError(f"{path} {what}. See docs/many-languages.md for a plan.")
    try:
        return PlanFile.model_validate(value)
    except ValidationError as error:
        raise _refused(path, [_said(item) for item in error.errors()]) from error


def _jobs(path: Path, content: PlanFile, native: str, places: dict[str, Any]) -> list[Job]:
    """Return the jobs of a plan in whose folder this process is."""
    jobs: dict[str, Job] = {}
    problems: list[str] = []
    for code, own in content.languages.items():
        try:
            job = _job(code, own.over(content.defaults), native, places)
            if job.language in jobs:
                raise DataError(f"{job.language!r} is already in the list. Keep one of them.")
            jobs[job.language] = job
        except MlaExtendError as error:
            problems.append(f"languages.{code}: {_one_line(error)}")
    try:
        TopologicalSorter({tag: [job.start_from] for tag, job in jobs.items() if job.start_from}).prepare()
    except CycleError as error:
        loop = " from ".join(reversed(error.args[1]))
        problems.append(f"start_from: {loop}: none of them can be first. Break the loop.")
    if problems:
        raise _refused(path, problems)
    return list(jobs.values())


def _job(code: str, options: Options, native: str, places: dict[str, Any]) -> Job:
    tag = language_tag(code)
    if tag == native:
        raise DataError(f"{code!r} is the base's own language, which it knows already. Take it out.")
    if not options.parallel_data:
        raise DataError(f"{code!r} has no parallel_data. Give a file or demo, here or under defaults.")
    arguments = {**options.model_dump(), **places}
    mapping = ColumnMapping(tag, native, parse_columns(options.columns))
    for role in ("parallel_data", "image_text", "lexicon"):
        arguments[role] = [_source(one.replace(LANGUAGE, code), mapping, options.format) for one in arguments[role]]
    texts = [open_sentences(one.replace(LANGUAGE, code), mapping) for one in options.text]
    arguments["text"] = [str(source.path.absolute()) for source in texts]
    if options.test_set is not None:
        arguments["test_set"] = _source(options.test_set.replace(LANGUAGE, code), mapping, None)
    if options.start_from is not None:
        arguments["start_from"] = language_tag(options.start_from)
    if options.time is not None:
        arguments["time"] = seconds_of(options.time)
    if options.recipe is not None:
        own = user_path(options.recipe.replace(LANGUAGE, code))
        arguments["recipe"] = str(own.absolute()) if own.is_file() else options.recipe
    return Job(tag, arguments, load_recipe(arguments["recipe"], options.overrides))


def _source(text: str, mapping: ColumnMapping, format_name: str | None) -> str:
    """Return a source of data as it is given from anywhere: with its path absolute, and all else as it was."""
    if DEMO_WEIGHTED.fullmatch(text) and not Path(text).exists():
        return text
    source = parse_source(text, mapping, format_name)
    path = source.path
    if source.format.name == "hf" and not path.is_dir():
        return text.strip()
    if PAIR_SEPARATOR in str(path) and not path.exists() and source.format.name == "moses":
        files = PAIR_SEPARATOR.join(str(file.expanduser().absolute()) for file in source.format.files(path, mapping))
    else:
        files = str(path.absolute())
    prefix = f"{source.format.name}:" if text.strip().startswith(f"{source.format.name}:") else ""
    split = f"#{source.mapping.split}" if source.mapping.split else ""
    weight = f"={source.weight:g}" if source.weight != 1 else ""
    return f"{prefix}{files}{split}{weight}"


def _refused(path: Path, problems: list[str]) -> DataError:
    lines = [f"{path}: {problem}" for problem in problems]
    return DataError("\n".join([*lines, *(["Nothing was started."] if len(lines) > 1 else [])]))


def _said(item: Any) -> str:
    """Return which entry is wrong, how, and what to do."""
    where = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        known = Options.model_fields if item["loc"][0] in ("defaults", "languages") else PlanFile.model_fields
        names = [part.alias or name for name, part in known.items()]
        return f"{where}: {wrong(item, names).partition(' Known')[0]} Known here: {', '.join(names)}."
    if item["type"] == "missing":
        return f"{where}: it is missing. Name the languages that are to be added."
    return f"{where}: {wrong(item)}. Correct the value."


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
