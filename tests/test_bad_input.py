"""Bad input through the real command: what is said, and that the registry is left as it was."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from mla_extend import files
from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.source import open_source
from mla_extend.errors import BaseError, BaseMismatchError, DataError, LanguageError, MlaExtendError, RecipeError
from tests.conftest import save_dual_encoder, sentences
from tests.test_cli_end_to_end import QUICK, add, run, tree

NATIVE, TARGET = sentences(80)
GOOD = "".join(f"{a}\t{b}\n" for a, b in zip(NATIVE, TARGET, strict=True))


def refused(error: type[MlaExtendError], match: str, base: Path, registry: Path, *arguments: str) -> None:
    """Assert that adding is refused with a message, and that nothing was published."""
    before = tree(registry) if registry.exists() else {}
    with pytest.raises(error, match=match):
        run("add-language", "--base", str(base), *QUICK, *arguments, registry=registry)
    after = tree(registry) if registry.exists() else {}
    assert {name: content for name, content in after.items() if "/.work/" not in name and "base.json" not in name} == {
        name: content for name, content in before.items() if "/.work/" not in name and "base.json" not in name
    }


PARALLEL = {
    "missing": (None, r"missing\.tsv does not exist"),
    "empty": (b"", r"empty\.tsv is empty"),
    "one-column": (
        GOOD.encode() + b"only one\n" * 9,
        r"one-column\.tsv, line 81: one column, 'only one' \(and 8 more\).*tab",
    ),
    "latin-1": (GOOD.encode() + b"caf\xe9\tx\n", r"latin-1\.tsv, line 81: not UTF-8 \(byte 0xe9.*iconv"),
    "copy": ("".join(f"{a}\t{a}\n" for a in NATIVE).encode(), r"copy\.tsv: in 80 of 80 pairs the target is a copy"),
    "few": ("".join(GOOD.splitlines(True)[:3]).encode(), r"few\.tsv leaves 1 of 3 rows to train on.*more data"),
    "blank": (b"a\t\n\tb\n\n", r"blank\.tsv holds 0 pair"),
}


@pytest.mark.parametrize("name", PARALLEL)
def test_parallel_files_that_cannot_be_used(name: str, dual_folder: Path, tmp_path: Path) -> None:
    content, match = PARALLEL[name]
    path = tmp_path / f"{name}.tsv"
    if content is not None:
        path.write_bytes(content)
    refused(DataError, match, dual_folder, tmp_path / "adapters", "sw", "--parallel-data", str(path))


def test_an_unknown_format_and_a_folder_are_named(dual_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    path.write_text(GOOD)
    refused(DataError, r"'\.docx' is not known", dual_folder, tmp_path / "r", "sw", "--parallel-data", str(path))
    refused(DataError, "is a folder", dual_folder, tmp_path / "r", "sw", "--parallel-data", str(tmp_path))


def image_rows(path: Path, change: Callable[[int, dict[str, str]], None], pictures: list[Path]) -> Path:
    rows = [{"image": str(pictures[i % 60]), "caption": TARGET[i]} for i in range(80)]
    for i, row in enumerate(rows):
        change(i, row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_images_that_are_missing_or_broken_are_named_with_their_line(
    dual_folder: Path, tmp_path: Path, pictures: list[Path]
) -> None:
    parallel = tmp_path / "good.tsv"
    parallel.write_text(GOOD)
    arguments = ("sw", "--parallel-data", str(parallel), "--image-text")
    registry = tmp_path / "adapters"

    def miss(i: int, row: dict[str, str]) -> None:
        if i >= 4:
            row["image"] = f"nowhere{i}.png"

    path = image_rows(tmp_path / "miss.jsonl", miss, pictures)
    missing = r"miss\.jsonl, line 5: the image .*nowhere4\.png does not exist \(nor do 75 others\)"
    refused(DataError, missing, dual_folder, registry, *arguments, str(path))
    for picture in pictures:
        picture.write_bytes(b"no picture")
    path = image_rows(tmp_path / "broken.jsonl", lambda _i, _row: None, pictures)
    broken = r"broken\.jsonl: none of its \d+ images can be read\. .*00\.png cannot be read"
    refused(DataError, broken, dual_folder, registry, *arguments, str(path))
    path.write_text('{"image": "a.png", "caption": \n')
    refused(DataError, r"line 1: not JSON", dual_folder, registry, *arguments, str(path))
    path.write_text('{"picture": "a.png", "caption": "x"}\n')
    refused(DataError, r"line 1: no column with the image path", dual_folder, registry, *arguments, str(path))
    path.write_text('["a.png", "x"]\n')
    refused(DataError, r"line 1: list, not an object", dual_folder, registry, *arguments, str(path))


def test_an_image_without_a_text_is_not_looked_for(tmp_path: Path, pictures: list[Path]) -> None:
    def empty(i: int, row: dict[str, str]) -> None:
        if i == 0:
            row.update(image="nowhere.png", caption=" ")

    path = image_rows(tmp_path / "some.jsonl", empty, pictures)
    data = open_source(path, ColumnMapping()).captions()
    assert len(data) == 79
    assert len(data.images) == 60
    assert data.where(0) == f"{path}, line 2"


def test_codes_recipes_devices_and_bases(dual_folder: Path, tmp_path: Path) -> None:
    parallel = tmp_path / "good.tsv"
    parallel.write_text(GOOD)
    registry = tmp_path / "adapters"
    rest = ("--parallel-data", str(parallel))
    refused(LanguageError, "Did you mean 'sw'", dual_folder, registry, "swahili", *rest)
    refused(LanguageError, "native language", dual_folder, registry, "en", *rest)
    refused(RecipeError, "no recipe 'nonsense'", dual_folder, registry, "sw", *rest, "--recipe", "nonsense")
    wrong = ("--set", "transfer.steps=3", "--set", "acquirer.bottleneck=-1", "--set", "nonsense")
    refused(RecipeError, r"3 problem\(s\)(?s:.*)transfer\.steps|nonsense", dual_folder, registry, "sw", *rest, *wrong)
    refused(BaseError, "device", dual_folder, registry, "sw", *rest, "--device", "gpu9")
    refused(BaseError, "There is no base at", tmp_path / "nowhere", registry, "sw", *rest)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "vit"}')
    refused(BaseError, "type 'vit', which has no text tower", other, registry, "sw", *rest)
    (other / "config.json").write_text('{"model_type": "clip"}')
    refused(BaseError, "cannot be loaded|safetensors", other, registry, "sw", *rest)


def test_a_registry_of_another_base_is_refused(data: dict[str, Path], tmp_path: Path) -> None:
    base = save_dual_encoder(tmp_path / "one" / "same-name")
    registry = tmp_path / "adapters"
    add(data, base, registry)
    other = save_dual_encoder(tmp_path / "two" / "same-name")
    tensors = load_file(other / "model.safetensors")
    name = next(iter(tensors))
    tensors[name] = tensors[name] + 1
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    refused(BaseMismatchError, "same-name", other, registry, "de", "--parallel-data", str(data["parallel"]))


def test_a_full_disk_leaves_the_registry_as_it_was(
    data: dict[str, Path],
    dual_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = tmp_path / "adapters"
    add(data, dual_folder, registry)
    home = registry / dual_folder.name
    before = tree(home / "sw")

    def full(_path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_file", full)
        with pytest.raises((MlaExtendError, OSError), match="No space left"):
            add(data, dual_folder, registry, language="de")
    assert tree(home / "sw") == before
    assert [row["language"] for row in json.loads(run("list", "--json", registry=registry)[1])] == ["sw"]


def test_a_run_that_diverges_says_so(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    rates = ("--set", "transfer.learning_rate=1e30", "--set", "transfer.embedding_learning_rate=1e30")
    with pytest.raises(MlaExtendError, match=r"(diverged|collapsed).*learning.rate"):
        add(data, dual_folder, tmp_path / "adapters", *rates, "--set", "precision=fp32")


def test_shuffled_pairs_are_refused_as_learning_nothing(dual_folder: Path, tmp_path: Path) -> None:
    native, target = sentences(800)
    parallel = tmp_path / "shifted.tsv"
    shifted = target[400:] + target[:400]
    parallel.write_text("".join(f"{a}\t{b}\n" for a, b in zip(native, shifted, strict=True)))
    with pytest.raises(MlaExtendError, match="learned nothing"):
        run(
            "add-language", "sw", "--parallel-data", str(parallel), "--base", str(dual_folder), *QUICK,
            "--set", "validation.fraction=0.1", registry=tmp_path / "adapters",
        )  # fmt: skip
