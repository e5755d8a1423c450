"""Recipes: their steps and bounds, what may be set, and what is said of what may not."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mla_extend.errors import RecipeError
from mla_extend.training import recipe as module
from mla_extend.training.recipe import StageRecipe, load_recipe, recipe_folder, recipe_names


def test_the_default_recipe_passes_often_over_few_pairs_and_once_or_twice_over_ten_million() -> None:
    stage = load_recipe("default").transfer
    passes = [stage.steps(pairs) * stage.batch / pairs for pairs in (3_000, 30_000, 300_000, 10_000_000)]
    assert [round(number, 1) for number in passes] == [16.0, 8.2, 4.2, 1.5]


@pytest.mark.parametrize(
    ("pairs", "changes", "steps"),
    [
        (50, {}, 50),  # ten epochs of five batches
        (1000, {}, 100),
        (10, {}, 20),
        (5, {}, 20),
        (54, {"batch": 8}, 68),  # 67.5
        (4, {"min_steps": 0}, 10),  # a batch takes all four
        (1000, {"max_steps": 0}, 0),
        (10, {"epochs": 0.01, "min_steps": 0}, 1),
        (10, {"min_steps": 200}, 100),
        (0, {"min_steps": 0}, 1),
        (1, {"min_steps": 0}, 10),
        (300, {"epochs_decay": 0.5, "max_steps": 10_000}, 300),
        (3000, {"epochs_decay": 0.5, "max_steps": 10_000}, 3000),
        (
            300_000,
            {"epochs_decay": 0.5, "max_steps": 100_000},
            30_000,
        ),  # a hundred times the pairs: a tenth of the passes
    ],
)
def test_steps_follow_the_data_within_their_bounds(pairs: int, changes: dict[str, Any], steps: int) -> None:
    given = {"epochs": 10, "min_steps": 20, "max_steps": 100, "batch": 10, **changes}
    assert StageRecipe(**given).steps(pairs) == steps


@pytest.mark.parametrize(
    "override",
    [
        "transfer.batch=1", "transfer.epochs=0", "transfer.epochs_decay=-1", "transfer.epochs_decay=1",
        "transfer.epochs=1e300", "transfer.min_steps=-1",
        "transfer.max_steps=-1", "transfer.learning_rate=-0.1", "transfer.learning_rate=.inf",
        "transfer.embedding_learning_rate=-0.1", "transfer.warmup=1.1", "transfer.warmup=-0.1",
        "transfer.longest_warmup=-1", "transfer.weight_decay=-1", "transfer.betas=[0.9]", "transfer.betas=[0.9, 1.0]",
        "transfer.betas=[-0.1, 0.9]", "transfer.epsilon=0", "transfer.clip_norm=0", "transfer.mse=-1",
        "transfer.mse_of=cosine", "transfer.contrast=-1", "transfer.contrast_of=hard", "transfer.temperature=0",
        "exposure.transfer=-1", "exposure.transfer_batch=1", "transfer.sampling=1.1", "transfer.sampling_alpha=-1",
        "transfer.average=1", "transfer.average=-0.1", "transfer.evaluations=0", "transfer.patience=0",
        "validation.fraction=0", "validation.fraction=0.6", "validation.largest=0", "precision=fp16",
        "tokenizer.vocabulary=299", "tokenizer.vocabulary=256001", "embedding.start=magic", "embedding.power=0",
        "embedding.power=8.1", "embedding.rounds=-1", "embedding.rounds=101", "embedding.best=0", "embedding.best=257",
        "acquirer.kind=prefix", "acquirer.bottleneck=-1", "acquirer.bottleneck=4097",
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused_by_name(override: str) -> None:
    with pytest.raises(RecipeError, match=r"The recipe 'default' has 1 problem\(s\):\n  ") as caught:
        load_recipe("default", [override])
    assert override.partition("=")[0] in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "transfer.batch=2", "transfer.epochs=0.001", "transfer.min_steps=0", "transfer.max_steps=0",
        "transfer.learning_rate=0", "transfer.warmup=0", "transfer.warmup=1", "transfer.betas=[0, 0]",
        "transfer.average=0", "transfer.evaluations=1", "transfer.patience=1", "exposure.transfer_batch=2",
        "validation.fraction=0.5", "validation.largest=1", "tokenizer.vocabulary=300", "tokenizer.vocabulary=256000",
        "embedding.power=8", "embedding.rounds=0", "embedding.rounds=100", "embedding.best=1", "embedding.best=256",
        "acquirer.bottleneck=0", "acquirer.bottleneck=4096", "transfer.sampling=1",
    ],
)  # fmt: skip
def test_values_at_their_bounds_are_taken(override: str) -> None:
    key, _, text = override.partition("=")
    value: Any = load_recipe("default", [override])
    for name in key.split("."):
        value = getattr(value, name)
    expected = yaml.safe_load(text)
    assert value == (tuple(expected) if isinstance(expected, list) else expected)


def test_every_recipe_loads_and_names_every_value() -> None:
    """A recipe that comes with the package leaves nothing to defaults: it is what a user reads."""
    assert recipe_names() == sorted(recipe_names())
    assert {"default", "instant", "paper", "quick"} == set(recipe_names())
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.name == name
        written = yaml.safe_load((recipe_folder() / f"{name}.yaml").read_text(encoding="utf-8"))
        told = recipe.model_dump(mode="json")
        for part, values in written.items():
            if isinstance(values, dict):
                assert {key: told[part][key] for key in values} == values
    assert load_recipe("instant").transfer.max_steps == load_recipe("instant").exposure.max_steps == 0


def test_recipes_lie_beside_the_package_or_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a checkout beside it, in a wheel inside."""
    package = tmp_path / "mla_extend"
    (package / "training").mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(package / "training" / "recipe.py"))
    assert recipe_folder() == tmp_path / "recipes"
    (package / "recipes").mkdir()
    assert recipe_folder() == package / "recipes"


def test_a_recipe_is_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is the file's unless it has one; `~` is the home folder; a name of the package's goes before a file."""
    stages = {"transfer": {"mse": 1.0}, "exposure": {"contrast": 1.0}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(stages))
    assert load_recipe(str(path)).name == "mine"
    path.write_text(yaml.safe_dump({**stages, "name": "other"}))
    assert load_recipe(str(path)).name == "other"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_recipe("~/mine.yaml").name == "other"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").write_text("- no recipe")
    assert load_recipe("default").name == "default"


def test_what_is_no_recipe_is_said(tmp_path: Path) -> None:
    known = ", ".join(recipe_names())
    with pytest.raises(RecipeError) as caught:
        load_recipe("nothing")
    assert str(caught.value) == f"There is no recipe 'nothing'. Known: {known}; or give a YAML file."
    path = tmp_path / "mine.yaml"
    path.write_text("- a\n")
    with pytest.raises(RecipeError, match=r"mine\.yaml must be a mapping of keys to values, not list\.$"):
        load_recipe(str(path))
    path.write_text("a: [\n")
    with pytest.raises(RecipeError, match=r"The recipe .*mine\.yaml cannot be read: "):
        load_recipe(str(path))
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("transfer.batch=many", "'many' is no whole number"),
        ("transfer.batch=1.5", "1.5 is no whole number"),
        ("transfer.batch=1", "1 is not at least 2"),
        ("transfer.batch=", "an empty value is no whole number"),
        ("transfer.temperature=0", "0 is not more than 0"),
        ("transfer.average=1", "1 is not less than 1"),
        ("validation.fraction=0.75", "0.75 is not at most 0.5"),
        ("transfer.epochs=.inf", "inf is no finite number"),
        ("transfer.epochs=ten", "'ten' is no number"),
        ("transfer.betas=[0.9]", "it is missing in [0.9]"),
        ("transfer.betas=3", "3 is no list"),
        ("transfer=3", "3 is no mapping of keys to values"),
        ("name=7", "7 is no text"),
        (f"name=[{'a' * 90}]", f"['{'a' * 58}... is no text"),
        ("tokenizer.lowercase=maybe", "'maybe' is neither true nor false"),
        ("precision=fp16", "'fp16' is not 'auto', 'fp32' or 'bf16'"),
        ("embedding.source=x", "source has no meaning with start: aligned; it needs start: pretrained"),
        ("transfer.batch_size=3", "there is no such key. Did you mean batch?"),
        ("transfr.batch=3", "there is no such key. Did you mean transfer?"),
        ("kind=lora", "there is no such key. Did you mean acquirer.kind?"),
        ("acquirer.kind=lora", "'lora' is not 'bottleneck'"),
        ("embedding.start=random", "'random' is not 'aligned', 'native' or 'pretrained'"),
        ("acquirer.zzz=1", "there is no such key. Known here: kind, bottleneck."),
    ],
)
def test_a_problem_names_the_value_and_what_it_must_be(override: str, said: str, tmp_path: Path) -> None:
    """The same is said of a YAML file, whose values no option has shown."""
    key, _, text = override.partition("=")
    with pytest.raises(RecipeError) as caught:
        load_recipe("default", [override])
    where, _, told = str(caught.value).splitlines()[1].strip().partition(": ")
    assert where.removesuffix(".1") in (key, key.partition(".")[0])
    assert told == said
    content = yaml.safe_load((recipe_folder() / "default.yaml").read_text(encoding="utf-8"))
    place = content
    *parents, last = key.split(".")
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = yaml.safe_load(text)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError) as caught:
        load_recipe(str(path))
    assert str(caught.value).splitlines()[1:] == [f"  {where}: {said}"]


def test_all_problems_are_said_at_once() -> None:
    """Those of overrides that cannot be read, and those of values."""
    wrong = ["rubbish", "=3", "precision.x=1", "seed=[", "transfer.nothing=1", "acquirer.bottleneck=-1"]
    with pytest.raises(RecipeError) as caught:
        load_recipe("default", wrong)
    lines = str(caught.value).splitlines()
    assert lines[0] == "The recipe 'default' has 6 problem(s):"
    assert lines[1] == "  'rubbish' is not key=value"
    assert lines[2] == "  '=3' is not key=value"
    assert lines[3] == "  precision.x: precision holds 'auto', not keys"
    assert lines[4].startswith("  seed: '[' is not a YAML value (")
    for key in ("transfer.nothing", "acquirer.bottleneck"):
        assert sum(line.startswith(f"  {key}") for line in lines) == 1


def test_overrides_are_yaml_and_the_last_one_counts() -> None:
    """Spaces around a key are none of it; a value may hold an equals sign; a part that is not there is made."""
    found = load_recipe("default", [" transfer.batch =3", "transfer.batch=7", "tokenizer.lowercase=no"])
    assert (found.transfer.batch, found.tokenizer.lowercase) == (7, False)
    pretrained = load_recipe("default", ["embedding.start=pretrained", "embedding.source=a=b"])
    assert (pretrained.embedding.start, pretrained.embedding.source) == ("pretrained", "a=b")
    with pytest.raises(RecipeError, match=r"\n  made: "):
        load_recipe("default", ["made.up.here=1"])


def test_what_goes_only_together_is_refused_alone() -> None:
    for override, said in (
        (["embedding.start=pretrained"], "start: pretrained needs source, a model folder or a hub id"),
        (["embedding.source=x"], "source has no meaning with start: aligned; it needs start: pretrained"),
        (["transfer.mse=0", "transfer.contrast=0"], "\\n  transfer has steps, but mse and contrast are both 0"),
        (["exposure.transfer=0", "exposure.contrast=0"], "\\n  exposure has steps, but contrast and transfer are both"),
    ):
        with pytest.raises(RecipeError, match=said):
            load_recipe("default", override)
    none = ["transfer.mse=0", "transfer.contrast=0", "transfer.max_steps=0"]
    assert load_recipe("default", none).transfer.max_steps == 0
    none = ["exposure.transfer=0", "exposure.contrast=0", "exposure.max_steps=0"]
    assert load_recipe("default", none).exposure.max_steps == 0
    for kept in ("transfer.mse=0", "transfer.contrast=0", "exposure.transfer=0", "exposure.contrast=0"):
        load_recipe("default", [kept])


def test_building_takes_its_values_from_the_recipe() -> None:
    settings = ["embedding.start=pretrained", "embedding.source=some/model", "embedding.power=3", "embedding.rounds=4"]
    settings += ["embedding.best=5", "acquirer.bottleneck=6", "tokenizer.vocabulary=700"]
    settings += ["tokenizer.lowercase=false", "tokenizer.native_words=false"]
    assert load_recipe("default", settings).build_arguments() == {
        "start": "pretrained", "source": "some/model", "power": 3, "rounds": 4, "best": 5, "bottleneck": 6,
        "vocabulary": 700, "lowercase": False, "native_words": False,
    }  # fmt: skip


def test_exposure_takes_as_many_pairs_a_step_as_captions_unless_told() -> None:
    assert StageRecipe(batch=32).pairs_beside == 32
    assert StageRecipe(batch=32, transfer_batch=8).pairs_beside == 8
    default = load_recipe("default").exposure
    assert default.pairs_beside < default.batch
