"""Read a plan: which languages are added, with what data and how.

A plan is a YAML file with `defaults` and `languages`, whose options have the names that those of `add-language` have.
Relative paths are relative to the plan. All its problems are reported at once, each with its line, before anything is
started.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mla_extend.bases.source import DEMO, NATIVE, about_base, base_name, local_folder
from mla_extend.data.codes import language_tag
from mla_extend.data.formats.format import Wanted
from mla_extend.data.given import Given, parse_columns, parse_given, parse_sentences
from mla_extend.errors import DataError, MlaExtendError
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.place import registry_root
from mla_extend.registry.store import Registry
from mla_extend.request import DEMO_WEIGHTED
from mla_extend.training.recipe import Recipe, load_recipe
from mla_extend.wrong_values import wrong
from mla_extend.yaml_loader import Loader

LANGUAGE = "{language}"
"""Stands in a path for the language's code, as the plan writes it."""
PAIR_SEPARATOR = ","

Place = tuple[str, ...]
"""Where something stands in the file: the keys that lead to it."""


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _assignments(value: object) -> object:
    """Return a mapping as a list of `key=value`, which a list is already."""
    if isinstance(value, dict):
        return [f"{key}={json.dumps(part) if not isinstance(part, str) else part}" for key, part in value.items()]
    return _several(value)


def _columns(value: object) -> object:
    return ",".join(f"{role}={name}" for role, name in value.items()) if isinstance(value, dict) else value


Several = Annotated[list[str], BeforeValidator(_several)]


class Options(BaseModel):
    """The options of one language, or the defaults of all; what is not set is left to `add-language`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parallel_data: Several | None = None
    image_text: Several | None = None
    lexicon: Several | None = None
    text: Several | None = None
    test_set: str | None = None
    recipe: str | None = None
    overrides: Annotated[list[str], BeforeValidator(_assignments)] = Field(default=[], alias="set")
    columns: Annotated[str | None, BeforeValidator(_columns)] = None
    format: str | None = None
    filter: Literal["strict", "default", "off"] = "default"
    licence: str | None = Field(default=None, alias="license")
    start_from: str | None = None
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    replace: bool = False


class PlanFile(BaseModel):
    """The content of a plan's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    registry: str | None = None
    base: str | None = None
    defaults: Options = Options()
    languages: dict[str, Options] = Field(min_length=1)


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
        return hashlib.sha256(json.dumps([self.language, parts], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """Hold what is to be done: the jobs in an order in which each comes after the one that it starts from.

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
        registry: where the languages go; `None` takes the plan's, else `MLA_EXTEND_REGISTRY`, else `adapters/`.
        base: the base; `None` takes the plan's, else the one that the registry holds, else the demo base.
        recipe: of the languages for which the plan names none.
        progress: told of what the demo has to fetch.

    Raises:
        DataError: the plan has problems; one line each, with the line of the file.
    """
    if str(source) == DEMO and not Path(DEMO).exists():
        return _demo_plan(registry, base, recipe, progress)
    path = Path(source).expanduser().absolute()
    reader = _Reader(path)
    content = reader.content(recipe)
    folder = path.parent
    if registry is None and content.registry is not None:
        registry = folder / Path(content.registry).expanduser()
    root = registry_root(registry).resolve()
    if base is None and content.base is not None:
        inside = local_folder(str(folder / Path(content.base).expanduser())) if content.base else None
        base = str(inside) if inside is not None and content.base != DEMO else content.base
    base = _absolute_base(base)
    try:
        native = native_of(root, base)
    except MlaExtendError as error:
        raise DataError(f"{path}: {_one_line(error)}") from error
    jobs = reader.jobs(content, native)
    reader.refuse_problems()
    for job in jobs:
        job.arguments.update(base=base, registry=str(root))
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
    from mla_extend.data.demo_locales import demo_languages  # noqa: PLC0415 - only the demo needs its packages

    root = registry_root(registry).resolve()
    base = _absolute_base(base)
    options = Options(parallel_data=[DEMO], image_text=[DEMO], recipe=recipe)
    chosen = load_recipe(recipe or "default")
    jobs = [
        Job(tag, {**_arguments(options), "base": base, "registry": str(root)}, chosen)
        for tag in demo_languages(progress)
    ]
    return Plan(DEMO, root, base, jobs)


def _absolute_base(base: str | None) -> str | None:
    folder = local_folder(base) if base and base != DEMO else None
    return str(folder.resolve()) if folder is not None else base


def _arguments(options: Options) -> dict[str, Any]:
    return {
        "parallel_data": list(options.parallel_data or ()),
        "image_text": list(options.image_text or ()),
        "lexicon": list(options.lexicon or ()),
        "text": list(options.text or ()),
        "test_set": options.test_set,
        "recipe": options.recipe or "default",
        "overrides": list(options.overrides),
        "columns": options.columns,
        "format": options.format,
        "filter": options.filter,
        "licence": options.licence,
        "start_from": options.start_from,
        "seed": options.seed,
        "device": options.device,
        "replace": options.replace,
    }


class _Loader(Loader):
    """Read YAML with `true` and `false` as the only words for them: `no` is Norwegian."""


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for letter, resolvers in Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), [*"tTfF"]
)


class _Reader:
    """Read one file, remember where everything stands, and gather problems."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[Place, int] = {}
        self.problems: list[str] = []

    def content(self, recipe: str | None) -> PlanFile:
        """Return the file's content, `recipe` being the default where it names none.

        Raises:
            DataError: it cannot be read, or a key or value is wrong.
        """
        value = self._yaml()
        if not isinstance(value, dict):
            raise DataError(
                f"{self.path}:1: a plan is a mapping with 'languages', not {type(value).__name__}. See "
                "docs/many-languages.md for one."
            )
        self.refuse_problems()
        value = {str(key): part for key, part in value.items()}
        if isinstance(listed := value.get("languages"), list):
            value["languages"] = {str(code): None for code in listed}
            self._listed(listed)
            self.refuse_problems()
        if isinstance(named := value.get("languages"), dict):
            value["languages"] = {str(code): _underscored(options or {}) for code, options in named.items()}
        value["defaults"] = _underscored(value.get("defaults") or {})
        if recipe is not None and isinstance(value["defaults"], dict):
            value["defaults"].setdefault("recipe", recipe)
        try:
            return PlanFile.model_validate(value)
        except ValidationError as error:
            for item in error.errors():
                where = tuple(str(part) for part in item["loc"])
                self.problem(where, f"{'.'.join(where)}: {_said(item)}")
            self.refuse_problems()
            raise AssertionError from error

    def jobs(self, content: PlanFile, native: str) -> list[Job]:
        """Return the jobs in the order in which they can be done; what is wrong with them is kept."""
        found: dict[str, Job] = {}
        written: dict[str, str] = {}
        for code, own in content.languages.items():
            at = ("languages", code)
            with self._problems(at):
                tag = language_tag(code)
                if tag in found:
                    raise DataError(f"{code!r} and {written[tag]!r} are the same language. Keep one of them.")
                if tag == native:
                    raise DataError(f"{code!r} is the base's own language, which it knows already. Take it out.")
                found[tag] = self._job(code, tag, _merged(content.defaults, own), native, at)
                written[tag] = code
        return self._ordered(found, written)

    def problem(self, at: Place, text: str) -> None:
        """Keep a problem with the line of what it is about, or of what holds that."""
        place = tuple(part.replace("-", "_") for part in at)
        while place and place not in self.lines:
            place = place[:-1]
        self.problems.append(f"{self.path}:{self.lines.get(place, 1)}: {text}")

    def refuse_problems(self) -> None:
        """Raise what has been found."""
        if self.problems:
            raise DataError("\n".join([*self.problems, *(["Nothing was started."] if len(self.problems) > 1 else [])]))

    # YAML -----------------------------------------------------------------------------------------------------------

    def _yaml(self) -> object:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise DataError(f"{self.path} does not exist. Give a plan's YAML file, or demo.") from error
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self.path} cannot be read: {error}. Give a YAML file in UTF-8.") from error
        try:
            loader = _Loader(text)
            try:
                node = loader.get_single_node()
                if node is None:
                    raise DataError(f"{self.path} is empty. See docs/many-languages.md for a plan.")
                self._walk(node, (), set())
                value: object = loader.construct_document(node)
            finally:
                loader.dispose()
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark is not None else 1
            said = getattr(error, "problem", None) or _one_line(error)
            raise DataError(f"{self.path}:{line}: this is not YAML ({said}). Correct the line.") from error
        return value

    def _walk(self, node: yaml.Node, at: Place, seen: set[int]) -> None:
        """Remember the line of every key and entry; find keys that stand twice."""
        self.lines.setdefault(at, node.start_mark.line + 1)
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name = str(key.value).replace("-", "_")
                if (*at, name) in self.lines and key.tag != "tag:yaml.org,2002:merge":
                    line = self.lines[*at, name]
                    self.problems.append(
                        f"{self.path}:{key.start_mark.line + 1}: {key.value!r} stands in line {line} already. Keep one "
                        "of them."
                    )
                self.lines[*at, name] = key.start_mark.line + 1
                self._walk(value, (*at, name), seen)
        elif isinstance(node, yaml.SequenceNode):
            for place, value in enumerate(node.value):
                self._walk(value, (*at, str(place)), seen)

    def _listed(self, listed: Sequence[object]) -> None:
        """Check a list of codes, and give each code the line of its entry."""
        for place, code in enumerate(listed):
            at = ("languages", str(place))
            if not isinstance(code, str):
                self.problem(
                    at,
                    f"{code!r} is {type(code).__name__}, not a language code. Write codes, or languages as a mapping "
                    "where they have options of their own.",
                )
                continue
            if listed.index(code) < place:
                self.problem(at, f"{code!r} stands in the list already. Keep one of them.")
            self.lines.setdefault(("languages", code.replace("-", "_")), self.lines[at])

    # Jobs -----------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _problems(self, at: Place) -> Iterator[None]:
        """Keep an error as a problem of a place in the file."""
        try:
            yield
        except MlaExtendError as error:
            self.problem(at, _one_line(error))

    def _job(self, code: str, tag: str, options: Options, native: str, at: Place) -> Job:
        arguments = _arguments(options)
        wanted = Wanted(tag, native, parse_columns(options.columns))
        if not arguments["parallel_data"]:
            raise DataError(f"{code!r} has no parallel_data. Give a file or demo, here or under defaults.")
        if options.start_from is not None:
            with self._problems((*at, "start_from")):
                arguments["start_from"] = language_tag(options.start_from)
        for role in ("parallel_data", "image_text", "lexicon"):
            given = []
            for text in arguments[role]:
                with self._problems((*at, role)):
                    given.append(self._source(text.replace(LANGUAGE, code), wanted, options.format))
            arguments[role] = given
        with self._problems((*at, "text")):
            files = [self.path.parent / text.replace(LANGUAGE, code) for text in arguments["text"]]
            arguments["text"] = [str(parse_sentences(str(file)).path.absolute()) for file in files]
        if options.test_set is not None:
            with self._problems((*at, "test_set")):
                arguments["test_set"] = self._source(options.test_set.replace(LANGUAGE, code), wanted, None)
        own = self.path.parent / Path(arguments["recipe"].replace(LANGUAGE, code)).expanduser()
        if own.is_file():
            arguments["recipe"] = str(own)
        try:
            recipe = load_recipe(arguments["recipe"], arguments["overrides"])
        except MlaExtendError as error:
            raise DataError(_one_line(error)) from error
        return Job(tag, arguments, recipe)

    def _source(self, text: str, wanted: Wanted, format_name: str | None) -> str:
        """Return a source of data, found from the plan's folder, as it is given from anywhere."""
        folder = self.path.parent
        if DEMO_WEIGHTED.fullmatch(text) and not (folder / text).exists():
            return text
        with contextlib.chdir(folder):
            given = parse_given(text, wanted, format_name)
            return _absolute(text, given, wanted)

    def _ordered(self, found: Mapping[str, Job], written: Mapping[str, str]) -> list[Job]:
        """Return the jobs, each after the one that it starts from."""
        ordered: dict[str, Job] = {}
        for tag in found:
            chain: list[str] = []
            at: str | None = tag
            while at is not None and at in found and at not in ordered:
                if at in chain:
                    loop = " from ".join([*chain[chain.index(at) :], at])
                    self.problem(
                        ("languages", written[at], "start_from"), f"{loop}: none of them can be first. Break the loop."
                    )
                    break
                chain.append(at)
                at = found[at].start_from
            ordered.update((name, found[name]) for name in reversed(chain))
        return list(ordered.values())


def _absolute(text: str, given: Given, wanted: Wanted) -> str:
    """Return the text of a source with its path made absolute, the format, split and weight as they were."""
    path = given.path
    if given.format.name == "hf" and not path.is_dir():
        return text.strip()
    if PAIR_SEPARATOR in str(path) and not path.exists() and given.format.name == "moses":
        files = PAIR_SEPARATOR.join(str(file.expanduser().absolute()) for file in given.format.files(path, wanted))
    else:
        files = str(path.expanduser().absolute())
    prefix = f"{given.format.name}:" if text.strip().startswith(f"{given.format.name}:") else ""
    split = f"#{given.split}" if given.split else ""
    weight = f"={given.weight:g}" if given.weight != 1 else ""
    return f"{prefix}{files}{split}{weight}"


def _merged(defaults: Options, own: Options) -> Options:
    """Return a language's options over the defaults; changes of the recipe are added to the defaults' own."""
    merged = {name: getattr(defaults, name) for name in defaults.model_fields_set}
    merged |= {name: getattr(own, name) for name in own.model_fields_set}
    if "overrides" in merged:
        merged["overrides"] = [*defaults.overrides, *own.overrides]
    aliases = {"overrides": "set", "licence": "license"}
    return Options.model_validate({aliases.get(name, name): value for name, value in merged.items()})


def _underscored(options: object) -> object:
    return (
        {str(key).replace("-", "_"): value for key, value in options.items()} if isinstance(options, dict) else options
    )


def _said(item: Any) -> str:
    """Return what is wrong with a value, and what to do."""
    if item["type"] == "extra_forbidden":
        known = Options.model_fields if item["loc"][0] in ("defaults", "languages") else PlanFile.model_fields
        names = [part.alias or name for name, part in known.items()]
        return f"{wrong(item, names).partition(' Known')[0]} Known here: {', '.join(names)}."
    if item["type"] == "missing":
        return "it is missing. Name the languages that are to be added."
    return f"{wrong(item)}. Correct the value."


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
