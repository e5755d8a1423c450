"""What a user imports: every public name is there, is explained, and its example runs as it stands."""

import doctest
import inspect
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mla_extend
from mla_extend import MultilingualModel, add_language, load_model, make_index
from mla_extend.errors import DataError, LanguageError
from tests.conftest import TARGET_WORDS, save_clip, sentences

PUBLIC = [name for name in mla_extend.__all__ if name != "__version__"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder as the examples have it: a base, data, photographs, a registry with Swahili, and an index."""
    folder = tmp_path_factory.mktemp("project")
    save_clip(folder / "path" / "to" / "clip")
    native, target = sentences(200)
    text = "".join(f"{a}\t{b}\n" for a, b in zip(native, target, strict=True))
    for name in ("en-sw.tsv", "en-de.tsv"):
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "photos").mkdir()
    names = ("cat", "dog", "bird")
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{name}.png")
    draw = random.Random(0)
    captions = [(f"photos/{name}.png", " ".join(draw.sample(TARGET_WORDS, 4))) for name in names]
    rows = [json.dumps({"image": image, "caption": caption}) + "\n" for image, caption in captions]
    (folder / "test.jsonl").write_text("".join(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLA_EXTEND_CACHE", str(folder / "cache"))
        base, adapters = folder / "path" / "to" / "clip", folder / "adapters"
        add_language("sw", parallel_data=folder / "en-sw.tsv", base=str(base), registry=adapters, recipe="instant")
        make_index(folder / "photos", folder / "image-index", base=str(base), registry=adapters)
    return folder


@pytest.fixture
def model(project: Path) -> MultilingualModel:
    return load_model(str(project / "path" / "to" / "clip"), project / "adapters")


def examples() -> list[tuple[str, Any]]:
    """Return every public name, and every method of a public class that has an example."""
    found: list[tuple[str, Any]] = []
    for name in PUBLIC:
        thing = getattr(mla_extend, name)
        found.append((name, thing))
        if inspect.isclass(thing):
            methods = inspect.getmembers(thing, inspect.isfunction)
            found += [(f"{name}.{method.__name__}", method) for _, method in methods if ">>>" in (method.__doc__ or "")]
    return found


@pytest.mark.parametrize(("name", "thing"), examples(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_public_name_has_an_example_that_runs(
    name: str, thing: Any, project: Path, model: MultilingualModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(thing) or "", {"model": model}, name, None, None)
    assert test.examples, f"{name} has no example"
    told: list[str] = []
    doctest.DocTestRunner().run(test, out=told.append)
    assert not told, "".join(told)


def test_the_public_names_are_these() -> None:
    assert mla_extend.__all__ == dir(mla_extend) == sorted(mla_extend.__all__)
    assert set(PUBLIC) == {
        "MlaExtendError", "MultilingualModel", "Registry", "add_language", "evaluate", "export", "load_model",
        "make_index", "open_index",
    }  # fmt: skip
    with pytest.raises(AttributeError, match="workflow"):
        mla_extend.workflow  # type: ignore[attr-defined]  # noqa: B018 - asking for it is the test


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, mla_extend; assert not {'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_encode_gives_what_encode_text_gives_in_any_batches(model: MultilingualModel) -> None:
    texts = ["paka", "mbwa mwekundu juu ya nyumba", "a red dog", "ndege kubwa"]
    languages = ["sw", "sw", "en", "sw"]
    due = model.encode_text(texts, languages)
    for batch_size in (1, 3, 100):
        found = model.encode(texts, languages, batch_size=batch_size)
        assert isinstance(found, np.ndarray)
        np.testing.assert_allclose(found, due.numpy(), atol=1e-6)
    tensor = model.encode(texts[:1], "sw", convert_to_numpy=False)
    assert isinstance(tensor, torch.Tensor)
    assert tensor.shape == (1, 12)
    np.testing.assert_allclose(model.encode("paka", "sw"), due[0].numpy(), atol=1e-6)


def test_images_are_encoded_likewise(model: MultilingualModel, project: Path) -> None:
    paths = sorted((project / "photos").iterdir())
    due = model.base.encode_images(paths)
    for batch_size in (1, 2, 100):
        np.testing.assert_allclose(model.encode_images(paths, batch_size=batch_size), due.numpy(), atol=1e-6)
    one = model.encode_images(paths[0], convert_to_numpy=False)
    assert isinstance(one, torch.Tensor)
    torch.testing.assert_close(one, due[0], rtol=0, atol=1e-6)


def test_batches_are_as_large_as_asked(model: MultilingualModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda batch: sizes.append(len(batch.ids)) or forward(batch))
    model.encode(["paka"] * 300, "sw", batch_size=200)
    assert sizes == [200, 100]


def test_a_bar_is_drawn_on_standard_error_alone(model: MultilingualModel, capsys: pytest.CaptureFixture[str]) -> None:
    model.encode(["paka"], "sw")
    assert capsys.readouterr() == ("", "")
    model.encode(["paka"], "sw", show_progress_bar=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "Encoding" in err


def test_what_cannot_be_encoded_is_refused(model: MultilingualModel) -> None:
    with pytest.raises(DataError, match="batch of 0"):
        model.encode(["paka"], "sw", batch_size=0)
    with pytest.raises(DataError, match="no text"):
        model.encode([], "sw")
    with pytest.raises(DataError, match="no image"):
        model.encode_images([])
    with pytest.raises(DataError, match="2 texts but 1 languages"):
        model.encode(["paka", "mbwa"], ["sw"])
    with pytest.raises(LanguageError, match="'de'"):
        model.encode("hund", "de")
