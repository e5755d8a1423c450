"""Two versions of a language, or two languages, on the same images: figures, names of versions, what is refused."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from rich.console import Console
from typer.testing import CliRunner

from mla_extend.bases.open import open_base
from mla_extend.cli import compare as cli
from mla_extend.cli.compare import comparison_table
from mla_extend.errors import DataError, LanguageError, MlaExtendError, RegistryError
from mla_extend.evaluation.compare import compare
from mla_extend.evaluation.evaluate import evaluate
from mla_extend.evaluation.intervals import paired_bootstrap
from mla_extend.evaluation.recall import METRICS, RetrievalResult, evaluate_retrieval
from mla_extend.evaluation.transfer import text_transfer
from mla_extend.language.model import MultilingualModel
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.registry.card import Card
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.store import Registry
from tests.conftest import sentences

NATIVE, TARGET = sentences(400)
TOKENIZER = LanguageTokenizer.train(TARGET, 16)
Publish = Callable[..., str]


def publisher(base_folder: Path, root: Path) -> tuple[BaseRegistry, Publish]:
    """Return a registry of a base, and what publishes an adapter of random weights in it."""
    base = open_base(str(base_folder))
    home = Registry(root).create(base.identity)
    model = MultilingualModel(base)

    def publish(language: str, seed: int = 0, test_set: Path | None = None) -> str:
        staged = home.work_folder(language) / "version"
        staged.mkdir()
        model.add(language, tokenizer=TOKENIZER, bottleneck=4)
        generator = torch.Generator().manual_seed(seed)
        with model.training(language) as tensors, torch.no_grad():
            for tensor in tensors.values():
                tensor.normal_(generator=generator)
        model.save(language, staged)
        model.remove(language)
        data = [{"role": "test_set", "path": str(test_set), "sha256": "", "pairs": 0}] if test_set else []
        cost = {"seconds": 0, "peak_memory_bytes": 0}
        card = Card(language, language, vars(base.identity), {}, data, {}, {}, seed, cost, 0)
        return home.publish(language, staged, card, replace=True, prove=lambda _: {"ok": True}).name

    return home, publish


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(pictures: Sequence[Path], texts: Sequence[str], captions: int = 2) -> list[dict[str, Any]]:
    """Return rows with some captions for each picture, all of one picture after the other."""
    images = [picture for picture in pictures for _ in range(captions)]
    return [
        {"image": f"pictures/{image.name}", "caption": text, "english": native}
        for image, text, native in zip(images, texts, NATIVE, strict=False)
    ]


def expected_on(
    base_folder: Path, version: Path, language: str, pictures: Sequence[Path], rows: Sequence[dict[str, Any]]
) -> RetrievalResult:
    """Return the ranks of a version on rows, with `pictures` as the gallery."""
    model = MultilingualModel(open_base(str(base_folder)))
    model.load(language, version)
    names = [f"pictures/{picture.name}" for picture in pictures]
    owner = [names.index(row["image"]) for row in rows]
    texts = model.text_vectors([row["caption"] for row in rows], language).numpy()
    return evaluate_retrieval(model.encode_images(pictures), texts, owner)


def check_figures(figures: dict[str, Any], first: RetrievalResult, second: RetrievalResult, seed: int = 0) -> None:
    """Check all figures of a split of images against the ranks of both."""
    found = paired_bootstrap(second, first, seed=seed)
    assert figures["mean_recall"] == {
        "first": pytest.approx(first.mean_recall),
        "second": pytest.approx(second.mean_recall),
        "difference": pytest.approx(second.mean_recall - first.mean_recall),
        "ci95": pytest.approx(list(found.interval)),
        "p_value": found.p_value,
    }
    assert figures["t2i_mean_recall"]["first"] == pytest.approx(first.t2i_mean)
    assert figures["i2t_mean_recall"]["second"] == pytest.approx(sum(second.recall.i2t) / 3)
    assert list(figures) == ["mean_recall", "t2i_mean_recall", "i2t_mean_recall", *METRICS]
    for name in METRICS:
        line = figures[name]
        assert (line["first"], line["second"]) == pytest.approx((first.metrics()[name], second.metrics()[name]))
        assert line["difference"] == pytest.approx(line["second"] - line["first"])
        assert line["ci95"][0] <= line["difference"] <= line["ci95"][1]
        assert 0 < line["p_value"] <= 1


@pytest.fixture
def pair(dual_folder: Path, tmp_path: Path, pictures: list[Path]) -> tuple[BaseRegistry, list[str], Path]:
    """Give a registry with two versions of Swahili, the oldest first, and their test set."""
    home, publish = publisher(dual_folder, tmp_path / "adapters")
    test = write_rows(tmp_path / "test.jsonl", rows_of(pictures, TARGET))
    for seed in (0, 1):
        publish("sw", seed, test)
    return home, [version.name for version in home.versions("sw")], test


def test_two_versions_are_compared_on_all_images(base_folder: Path, tmp_path: Path, pictures: list[Path]) -> None:
    home, publish = publisher(base_folder, tmp_path / "adapters")
    rows = rows_of(pictures, TARGET)
    test = write_rows(tmp_path / "test.jsonl", rows)
    names = [publish("sw", seed, test) for seed in (0, 1)]
    found = compare(f"sw@{names[0]}", f"sw@{names[1]}", registry=tmp_path / "adapters", seed=3)
    results = [expected_on(base_folder, home.folder / "sw" / name, "sw", pictures, rows) for name in names]
    assert (found["first"]["version"], found["second"]["version"]) == tuple(names)
    assert (found["first"]["seed"], found["second"]["seed"]) == (0, 1)
    assert (found["test_set"], found["base"], found["seed"]) == ("test", base_folder.name, 3)
    split = found["splits"]["test"]
    assert (split["images"], split["left_out"]) == (60, [0, 0])
    assert split["figures"]["mean_recall"]["difference"] != 0
    check_figures(split["figures"], *results, seed=3)


def test_the_figures_are_those_of_evaluate(pair: tuple[BaseRegistry, list[str], Path]) -> None:
    home, names, _ = pair
    root = home.folder.parent
    home.use("sw", names[1])
    found = compare(f"sw@{names[0]}", "sw", registry=root)["splits"]["test"]["figures"]
    for side, name in zip(("first", "second"), names, strict=True):
        home.use("sw", name)
        report = evaluate("sw", registry=root)["splits"]["test"]
        assert found["mean_recall"][side] == pytest.approx(report["mean_recall"])
        assert {metric: found[metric][side] for metric in METRICS} == pytest.approx(report["metrics"])


def test_comparing_the_other_way_round_turns_the_signs(pair: tuple[BaseRegistry, list[str], Path]) -> None:
    root = pair[0].folder.parent
    there, back = compare("sw@v1", "sw@v2", registry=root), compare("sw@v2", "sw@v1", registry=root)
    assert (there["first"], there["second"]) == (back["second"], back["first"])
    for name, line in there["splits"]["test"]["figures"].items():
        other = back["splits"]["test"]["figures"][name]
        assert line["difference"] == pytest.approx(-other["difference"])
        assert line["ci95"] == pytest.approx([-end for end in reversed(other["ci95"])])
        assert line["p_value"] == other["p_value"]


def test_a_version_is_named_by_age_name_or_beginning(pair: tuple[BaseRegistry, list[str], Path]) -> None:
    home, names, _ = pair
    root = home.folder.parent
    alone = next(name[:end] for name in [names[0]] for end in range(1, 30) if not names[1].startswith(name[:end]))
    wanted = compare("sw@v1", "sw@v2", registry=root)
    assert (wanted["first"]["version"], wanted["second"]["version"]) == tuple(names)
    assert compare(f"sw@{alone}", f"sw@{names[1]}", registry=root) == wanted
    home.use("sw", names[0])
    assert compare("sw", "sw@v2", registry=root) == wanted
    assert compare("swa@v1", "sw@v2", registry=root) == wanted


@pytest.mark.parametrize(
    ("first", "second", "error", "message"),
    [
        ("sw@v0", "sw", RegistryError, r"no version 'v0'. It has: v1 2\S+, v2 2\S+\."),
        ("sw@v3", "sw", RegistryError, "no version 'v3'"),
        ("sw@1999", "sw", RegistryError, "no version '1999'"),
        ("sw@2", "sw", RegistryError, "several versions that begin with '2'"),
        ("sw@", "sw", RegistryError, "names no version after '@'. Write sw@v1"),
        ("sw@v2", "sw@v2", RegistryError, r"are the same version, 2\S+\. Name another"),
        ("de", "sw", LanguageError, "'de' is not in the registry"),
        ("swahili", "sw@v1", LanguageError, "swahili"),
    ],
)  # fmt: skip
def test_says_which_version_is_meant_by_none(
    pair: tuple[BaseRegistry, list[str], Path], first: str, second: str, error: type[MlaExtendError], message: str
) -> None:
    with pytest.raises(error, match=message):
        compare(first, second, registry=pair[0].folder.parent)


def test_two_languages_are_compared_on_the_images_that_both_have(
    dual_folder: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    """The German file has other captions, the images in another order, two of them not, and copies of others."""
    home, publish = publisher(dual_folder, tmp_path / "adapters")
    swahili = rows_of(pictures[:50], TARGET)
    (tmp_path / "german" / "pictures").mkdir(parents=True)
    for picture in pictures[2:]:
        (tmp_path / "german" / "pictures" / picture.name).write_bytes(picture.read_bytes())
    german = rows_of(list(reversed(pictures[2:])), list(reversed(TARGET)), captions=1)
    names = [
        publish("sw", 0, write_rows(tmp_path / "test.jsonl", swahili)),
        publish("de", 1, write_rows(tmp_path / "german" / "test.jsonl", german)),
    ]
    found = compare("sw", "de", registry=tmp_path / "adapters")
    split = found["splits"]["test"]
    assert (split["images"], split["left_out"]) == (48, [2, 10])
    both = pictures[2:50]
    kept = {f"pictures/{picture.name}" for picture in both}
    check_figures(
        split["figures"],
        *(
            expected_on(dual_folder, home.folder / tag / name, tag, both, [r for r in rows if r["image"] in kept])
            for tag, name, rows in zip(("sw", "de"), names, (swahili, german), strict=True)
        ),
    )


def test_one_test_set_given_serves_both_languages(dual_folder: Path, tmp_path: Path, pictures: list[Path]) -> None:
    """Its columns are the languages' codes; splits that it has for both are compared."""
    _, publish = publisher(dual_folder, tmp_path / "adapters")
    publish("sw", 0)
    publish("ja", 1)
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "pictures").symlink_to(tmp_path / "pictures")
    for split, start in (("seen", 0), ("unseen", 30)):
        rows = [
            {"image": f"pictures/{picture.name}", "sw": TARGET[i], "ja": f"猫 {TARGET[-i]}"}
            for i, picture in enumerate(pictures[start : start + 30])
        ]
        write_rows(folder / f"{split}.jsonl", rows)
    found = compare("sw", "ja", test_set=folder, registry=tmp_path / "adapters")
    assert {name: split["images"] for name, split in found["splits"].items()} == {"seen": 30, "unseen": 30}


def test_the_same_picture_twice_is_two_images(dual_folder: Path, tmp_path: Path, pictures: list[Path]) -> None:
    pictures[1].write_bytes(pictures[0].read_bytes())
    _, publish = publisher(dual_folder, tmp_path / "adapters")
    for language in ("sw", "de"):
        publish(language, 0, write_rows(tmp_path / "test.jsonl", rows_of(pictures, TARGET)))
    split = compare("sw", "de", registry=tmp_path / "adapters")["splits"]["test"]
    assert (split["images"], split["left_out"]) == (60, [0, 0])
    assert split["figures"]["mean_recall"]["difference"] == 0
    assert split["figures"]["mean_recall"]["p_value"] == 1


def test_parallel_text_is_compared_by_finding_translations(dual_folder: Path, tmp_path: Path) -> None:
    """The sentences that find theirs are those of `text_transfer`, and a sentence that stands twice is one."""
    home, publish = publisher(dual_folder, tmp_path / "adapters")
    pairs = list(dict(zip(NATIVE[:120], TARGET, strict=False)).items())
    pairs.append((pairs[0][0], f"{pairs[0][1]} sana"))
    test = tmp_path / "dev.tsv"
    test.write_text("".join(f"{native}\t{target}\n" for native, target in pairs), encoding="utf-8")
    for seed in (0, 1):
        publish("sw", seed, test)
    split = compare("sw@v1", "sw@v2", registry=tmp_path / "adapters")["splits"]["test"]
    different = list(dict(pairs))
    assert (split["native_sentences"], split["left_out"]) == (len(different), [0, 0])
    model = MultilingualModel(open_base(str(dual_folder)))
    teacher = model.base.native_vectors(different).numpy()
    for side, version in zip(("first", "second"), home.versions("sw"), strict=True):
        model.load("sw", version.folder)
        vectors = model.text_vectors([target for _, target in pairs], "sw").numpy()
        model.remove("sw")
        expected = text_transfer(vectors, teacher, np.array([different.index(native) for native, _ in pairs]))
        for name in ("to_native_accuracy", "from_native_accuracy"):
            assert split["figures"][name][side] == pytest.approx(getattr(expected, name))
    for line in split["figures"].values():
        assert line["ci95"][0] <= line["difference"] <= line["ci95"][1]


def test_translations_are_searched_by_the_base_itself(
    pair: tuple[BaseRegistry, list[str], Path], tmp_path: Path
) -> None:
    """Translations that are the captions' English read what the base reads, interval and sign as between versions."""
    home, names, test = pair
    rows = [json.loads(line) for line in test.read_text().splitlines()]
    file = tmp_path / "mt.jsonl"
    write_rows(file, [{"caption": row["caption"], "translation": row["english"]} for row in reversed(rows)])
    found = compare("sw@v1", translations=file, registry=home.folder.parent, seed=2)
    assert found["first"]["version"] == names[0]
    assert found["second"] == {"language": "en", "translations": str(file)}
    home.use("sw", names[0])
    report = evaluate("sw", registry=home.folder.parent)["splits"]["test"]
    figures, counts = found["splits"]["test"]["figures"], found["splits"]["test"]
    assert (counts["images"], counts["left_out"]) == (60, [0, 0])
    assert figures["mean_recall"]["first"] == pytest.approx(report["mean_recall"])
    assert figures["mean_recall"]["second"] == pytest.approx(report["native_mean_recall"])
    assert {name: figures[name]["second"] for name in METRICS} == pytest.approx(report["native_metrics"])
    model = MultilingualModel(open_base(str(home.base.source)))
    model.load("sw", home.folder / "sw" / names[0])
    images = model.encode_images([tmp_path / row["image"] for row in rows[::2]])
    ranks = [
        evaluate_retrieval(
            images, model.text_vectors([row[key] for row in rows], tag).numpy(), [i // 2 for i in range(len(rows))]
        )
        for key, tag in (("caption", "sw"), ("english", "en"))
    ]
    check_figures(figures, *ranks, seed=2)
    code, out, _ = run("sw@v1", "--translations", str(file), "--registry", str(home.folder.parent))
    assert code == 0
    assert file.name in out.replace("\n", "")


def test_translations_of_parallel_text_find_their_sentences(dual_folder: Path, tmp_path: Path) -> None:
    _, publish = publisher(dual_folder, tmp_path / "adapters")
    pairs = dict(zip(NATIVE[:60], TARGET, strict=False))
    (tmp_path / "dev.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs.items()), encoding="utf-8")
    (tmp_path / "mt.tsv").write_text("".join(f"{b}\t{a}\n" for a, b in pairs.items()), encoding="utf-8")
    publish("sw", 0, tmp_path / "dev.tsv")
    found = compare("sw", translations=tmp_path / "mt.tsv", registry=tmp_path / "adapters")
    figures = found["splits"]["test"]["figures"]
    assert [line["second"] for line in figures.values()] == [1, 1]
    assert all(line["difference"] == pytest.approx(1 - line["first"]) for line in figures.values())


def test_a_second_or_translations_are_needed_and_not_both(
    pair: tuple[BaseRegistry, list[str], Path], tmp_path: Path
) -> None:
    root, file = pair[0].folder.parent, tmp_path / "mt.txt"
    for arguments in (("sw",), ("sw@v1", "sw@v2", file)):
        with pytest.raises(DataError, match=r"second argument or --translations FILE"):
            compare(*arguments[:2], translations=(*arguments, None, None)[2], registry=root)
    file.write_text("a dog\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"mt\.txt has 1 lines and the test set 120 captions"):
        compare("sw@v1", translations=file, registry=root)


def test_test_sets_that_share_nothing_are_refused(dual_folder: Path, tmp_path: Path, pictures: list[Path]) -> None:
    _, publish = publisher(dual_folder, tmp_path / "adapters")
    root = tmp_path / "adapters"
    publish("sw", 0, write_rows(tmp_path / "sw.jsonl", rows_of(pictures[:30], TARGET)))
    publish("de", 0, write_rows(tmp_path / "de.jsonl", rows_of(pictures[30:], TARGET)))
    with pytest.raises(DataError, match=r"No image of the split 'test' is in both.*sw\.jsonl and .*de\.jsonl"):
        compare("sw", "de", registry=root)
    text = tmp_path / "text.tsv"
    text.write_text("a cat\tpaka\na dog\tmbwa\n", encoding="utf-8")
    publish("ja", 0, text)
    with pytest.raises(DataError, match="'test' has images in one of the two test sets only"):
        compare("sw", "ja", registry=root)
    other = tmp_path / "other.tsv"
    other.write_text("a tree\tmti\na bird\tndege\n", encoding="utf-8")
    publish("am", 0, other)
    with pytest.raises(DataError, match="No native sentence of the split 'test'"):
        compare("am", "ja", registry=root)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "pictures").symlink_to(tmp_path / "pictures")
    write_rows(folder / "val.jsonl", rows_of(pictures, TARGET))
    publish("cy", 0, folder)
    with pytest.raises(DataError, match="'sw' has the splits test and that of 'cy' val: none is in both"):
        compare("sw", "cy", registry=root)


def test_the_test_set_must_be_known(dual_folder: Path, tmp_path: Path, pictures: list[Path]) -> None:
    """Without one on the cards it must be given; one card's is enough; with two, the user says which."""
    _, publish = publisher(dual_folder, tmp_path / "adapters")
    root = tmp_path / "adapters"
    names = [publish("sw", seed) for seed in (0, 1)]
    with pytest.raises(DataError, match="names no test set"):
        compare("sw@v1", "sw@v2", registry=root)
    first = write_rows(tmp_path / "first.jsonl", rows_of(pictures, TARGET))
    second = write_rows(tmp_path / "second.jsonl", rows_of(pictures, TARGET))
    assert compare("sw@v1", "sw@v2", test_set=first, registry=root)["test_set"] == "first"
    names.append(publish("sw", 2, first))
    assert compare(f"sw@{names[0]}", "sw", registry=root)["test_set"] == "first"
    names.append(publish("sw", 3, second))
    with pytest.raises(DataError, match=r"two test sets, .*first\.jsonl and .*second\.jsonl. Say which"):
        compare(f"sw@{names[2]}", "sw", registry=root)
    assert compare(f"sw@{names[2]}", "sw", test_set=second, registry=root)["test_set"] == "second"


def test_languages_of_two_bases_are_not_compared(
    dual_folder: Path, clip_folder: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    test = write_rows(tmp_path / "test.jsonl", rows_of(pictures, TARGET))
    publisher(dual_folder, tmp_path / "adapters")[1]("sw", 0, test)
    publisher(clip_folder, tmp_path / "adapters")[1]("de", 0, test)
    with pytest.raises(RegistryError, match="'sw' was made for the base 'tiny-dual' and 'de' for 'tiny-clip'"):
        compare("sw", "de", registry=tmp_path / "adapters")


def test_a_damaged_older_version_is_refused(pair: tuple[BaseRegistry, list[str], Path]) -> None:
    home, _, _ = pair
    weights = home.versions("sw")[0].folder / "adapter_model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(RegistryError, match=r"adapter_model\.safetensors.*it was changed"):
        compare("sw@v1", "sw@v2", registry=home.folder.parent)


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the command as one of several."""
    app = typer.Typer()
    app.command("compare")(cli.compare)
    app.command("other")(lambda: None)
    result = CliRunner().invoke(app, ["compare", *arguments], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_command_prints_json_alone(pair: tuple[BaseRegistry, list[str], Path]) -> None:
    root = pair[0].folder.parent
    code, out, _ = run("sw@v1", "sw@v2", "--registry", str(root), "--json")
    assert code == 0
    assert json.loads(out) == compare("sw@v1", "sw@v2", registry=root)


def test_the_command_draws_a_table_and_says_what_it_left_out(
    pair: tuple[BaseRegistry, list[str], Path], dual_folder: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    root = pair[0].folder.parent
    _, publish = publisher(dual_folder, root)
    publish("de", 5, write_rows(tmp_path / "de.jsonl", rows_of(pictures[:57], TARGET)))
    code, out, err = run("sw@v1", "de", "--registry", str(root))
    assert code == 0
    assert "text to image R@10" in out
    assert "3 of sw@v1, 0 of de" in " ".join(err.split())
    assert "LANG[@VERSION]" in run("--help")[1]


def test_the_table_fits_a_small_terminal(pair: tuple[BaseRegistry, list[str], Path]) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(comparison_table(compare("sw@v1", "sw@v2", registry=pair[0].folder.parent)))
    drawn = console.export_text()
    assert "…" not in drawn
    assert drawn.count("R@") == 6
