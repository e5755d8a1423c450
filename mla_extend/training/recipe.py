"""Recipes: how a language is built and trained, as typed YAML files.

A recipe's name is looked up among the files that travel with the package; a path is read as it is. Overrides are
`key=value` with dots between levels (`transfer.max_steps=200`). All problems are reported at once.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mla_extend.errors import RecipeError
from mla_extend.files import user_path
from mla_extend.wrong_values import keys_for, shown, wrong
from mla_extend.yaml_loader import read_yaml

REFERENCE_PAIRS = 3000
"""Pairs up to which a stage makes as many passes as its `epochs` says; `epochs_decay` makes them fewer over more."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TokenizerRecipe(_Part):
    """How the language's tokenizer is built."""

    vocabulary: int | None = Field(default=None, ge=300, le=256_000)
    lowercase: bool = True
    native_words: bool = True


class EmbeddingRecipe(_Part):
    """How the language's token table starts.

    `native` reads the base's own table with the base's own tokenizer; `pretrained` reads a frozen multilingual table,
    that of the model `source`, through a trained projection.
    """

    start: Literal["aligned", "native", "pretrained"] = "aligned"
    source: str | None = None
    power: float = Field(default=2.0, gt=0, le=8)
    rounds: int = Field(default=5, ge=0, le=100)
    best: int = Field(default=8, ge=1, le=256)

    @model_validator(mode="after")
    def _source_goes_with_pretrained(self) -> "EmbeddingRecipe":
        if self.start == "pretrained" and not self.source:
            raise ValueError("start: pretrained needs source, a model folder or a hub id")
        if self.start != "pretrained" and self.source:
            raise ValueError(f"source has no meaning with start: {self.start}; it needs start: pretrained")
        return self


class AcquirerRecipe(_Part):
    """The acquirers' kind, of which there is one, and their size; 0 for none."""

    kind: Literal["bottleneck"] = "bottleneck"
    bottleneck: int = Field(default=128, ge=0, le=4096)


class ValidationRecipe(_Part):
    """The slice of the training data that is held out to choose the checkpoint."""

    fraction: float = Field(default=0.04, gt=0, le=0.5)
    largest: int = Field(default=1000, ge=1)


Beta = Annotated[float, Field(ge=0, lt=1)]


class StageRecipe(_Part):
    """One stage of training; `max_steps: 0` leaves it out."""

    epochs: float = Field(default=10, gt=0, le=1e6)
    epochs_decay: float = Field(default=0.0, ge=0, lt=1)
    min_steps: int = Field(default=0, ge=0)
    max_steps: int = Field(default=1000, ge=0)
    batch: int = Field(default=128, ge=2)
    learning_rate: float = Field(default=1e-3, ge=0)
    embedding_learning_rate: float = Field(default=1e-3, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    longest_warmup: int = Field(default=50, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    epsilon: float = Field(default=1e-8, gt=0)
    clip_norm: float = Field(default=1.0, gt=0)
    mse: float = Field(default=0.0, ge=0)
    mse_of: Literal["normalised", "raw"] = "normalised"
    contrast: float = Field(default=0.0, ge=0)
    contrast_of: Literal["auto", "softmax"] = "auto"
    temperature: float = Field(default=0.05, gt=0)
    transfer: float = Field(default=0.0, ge=0)
    transfer_batch: int | None = Field(default=None, ge=2)
    native: float = Field(default=0.0, ge=0, le=0.5)
    lexicon: float = Field(default=0.0, ge=0, lt=1)
    code_switching: float = Field(default=0.0, ge=0, le=0.5)
    sampling: float = Field(default=0.0, ge=0, le=1)
    sampling_alpha: float = Field(default=0.3, ge=0)
    average: float = Field(default=0.0, ge=0, lt=1)
    evaluations: int = Field(default=10, ge=1)
    patience: int = Field(default=4, ge=1)

    @model_validator(mode="after")
    def _momentum_fades(self) -> "StageRecipe":
        if self.betas[0] > self.betas[1]:
            raise ValueError(
                f"betas: {list(self.betas)}: the first must not be larger than the second, or what a row "
                "is moved by grows where it has no gradient"
            )
        return self

    @property
    def pairs_beside(self) -> int:
        """Return the pairs of parallel text in a step whose captions the transfer loss is kept on beside."""
        return self.transfer_batch or self.batch

    def steps(self, pairs: int) -> int:
        """Return the optimiser steps for so many training pairs, of which a batch takes all where they are few."""
        batch = max(1, min(self.batch, pairs))
        epochs = self.epochs * math.pow(min(1.0, REFERENCE_PAIRS / max(1, pairs)), self.epochs_decay)
        return min(self.max_steps, max(self.min_steps, round(epochs * pairs / batch), 1))


class Recipe(_Part):
    """Everything that decides what a language becomes, given its data, its base and a seed."""

    name: str = "unnamed"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    tokenizer: TokenizerRecipe = TokenizerRecipe()
    embedding: EmbeddingRecipe = EmbeddingRecipe()
    acquirer: AcquirerRecipe = AcquirerRecipe()
    validation: ValidationRecipe = ValidationRecipe()
    transfer: StageRecipe
    exposure: StageRecipe

    @model_validator(mode="after")
    def _something_to_learn(self) -> "Recipe":
        if self.transfer.max_steps and not (self.transfer.mse or self.transfer.contrast):
            raise ValueError("transfer has steps, but mse and contrast are both 0: give one of them a weight")
        if self.exposure.max_steps and not (self.exposure.contrast or self.exposure.transfer):
            raise ValueError("exposure has steps, but contrast and transfer are both 0: give one of them a weight")
        return self

    def build_arguments(self) -> dict[str, Any]:
        """Return what `build_language` takes from a recipe."""
        return {
            "start": self.embedding.start,
            "source": self.embedding.source,
            "power": self.embedding.power,
            "rounds": self.embedding.rounds,
            "best": self.embedding.best,
            "bottleneck": self.acquirer.bottleneck,
            "vocabulary": self.tokenizer.vocabulary,
            "lowercase": self.tokenizer.lowercase,
            "native_words": self.tokenizer.native_words,
        }


def recipe_folder() -> Path:
    """Return the folder of the recipes that come with the package."""
    inside = Path(__file__).parents[1] / "recipes"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return sorted(path.stem for path in recipe_folder().glob("*.yaml"))


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name or path and apply overrides.

    Raises:
        RecipeError: no such recipe, not YAML, or wrong values; the message lists every problem.
    """
    path = recipe_folder() / f"{name}.yaml"
    if not (name.isidentifier() and path.is_file()):
        path = user_path(name)
        if not path.is_file():
            raise RecipeError(f"There is no recipe {name!r}. Known: {', '.join(recipe_names())}; or give a YAML file.")
    try:
        value = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"The recipe {path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise RecipeError(f"The recipe {path} must be a mapping of keys to values, not {type(value).__name__}.")
    value.setdefault("name", path.stem)
    problems = [problem for override in overrides if (problem := _apply(value, override))]
    try:
        recipe = Recipe.model_validate(value)
    except ValidationError as error:
        problems += [_problem(item) for item in error.errors()]
    if problems:
        raise RecipeError(f"The recipe {path.stem!r} has {len(problems)} problem(s):\n  " + "\n  ".join(problems))
    return recipe


def _problem(item: Any) -> str:
    where = ".".join(map(str, item["loc"]))
    return f"{where}: {wrong(item, keys_for(Recipe, item['loc']))}".removeprefix(": ")


def _apply(value: dict[str, Any], override: str) -> str | None:
    """Put one `key=value` in; return what is wrong with it."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        return f"{override!r} is not key=value"
    *parents, last = key.strip().split(".")
    place = value
    for parent in parents:
        inner = place.setdefault(parent, {})
        if not isinstance(inner, dict):
            return f"{key}: {parent} holds {shown(inner)}, not keys"
        place = inner
    try:
        place[last] = read_yaml(text)
    except yaml.YAMLError as error:
        return f"{key}: {text[:60]!r} is not a YAML value ({error})"
    return None
