"""mteb's own evaluation on our models: the figures are ours, each text goes to its language, nothing is fetched."""

import io
import json
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mla_extend.add.job import add_language
from mla_extend.bases.open import open_base
from mla_extend.errors import BaseError, DataError, LanguageError
from mla_extend.evaluation.mteb_model import MtebModel, mteb_language, subset_language
from mla_extend.evaluation.recall import METRICS, evaluate_retrieval
from mla_extend.language.build import build_language
from mla_extend.language.embedding import mean_std_start
from mla_extend.language.model import MultilingualModel
from mla_extend.registry.load import load_model
from tests.conftest import NATIVE_WORDS, TARGET_WORDS, save_clip

GERMAN_WORDS = ["ein", "rot", "grün", "blau", "Katze", "Hund", "Vogel", "Baum", "Haus", "Boot", "läuft", "schläft"]
GERMAN_WORDS += ["sitzt", "unter", "über", "nahe", "der", "groß", "klein", "alt"]
WORDS = {"en": NATIVE_WORDS, "sw": TARGET_WORDS, "de": GERMAN_WORDS}
SUBSETS = {"en": ["eng-Latn"], "sw": ["swh-Latn"], "de": ["deu-Latn"]}
IMAGES = 40
OWNER = np.repeat(np.arange(IMAGES), 2)
KS = (1, 5, 10)


def captions(language: str, count: int = len(OWNER), seed: int = 5) -> list[str]:
    """Make captions that are all different; those of two languages say the same."""
    draw = random.Random(seed)
    return [" ".join(WORDS[language][i] for i in draw.sample(range(20), draw.randint(4, 7))) for _ in range(count)]


def photographs() -> list[Image.Image]:
    generator = np.random.default_rng(3)
    return [Image.fromarray(generator.integers(0, 255, (20, 24, 3), dtype=np.uint8)) for _ in range(IMAGES)]


def tiny_model(folder: Path) -> MultilingualModel:
    """Return a tiny CLIP with Swahili and German, neither of which reads as the base itself does.

    An aligned start would: word by word, a toy language is the base's own with other names.
    """
    model = MultilingualModel(open_base(str(folder)))
    for tag, seed in (("sw", 1), ("de", 2)):
        build_language(
            model,
            tag,
            native=captions("en", 400, 0),
            target=captions(tag, 400, 0),
            start=mean_std_start,
            bottleneck=4,
            seed=seed,
        )
    return model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> MultilingualModel:
    return tiny_model(save_clip(tmp_path_factory.mktemp("bases") / "tiny-clip"))


@pytest.fixture(autouse=True, scope="module")
def _no_network() -> Iterator[None]:
    """Refuse every connection and look-up, and fail where one was tried and its failure passed over."""
    tried: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        tried.append(address)
        raise OSError("the tests have no network")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield
    assert tried == []


def retrieval_task(direction: str) -> Any:
    """Define a task in mteb's own format, with its data in memory."""
    from datasets import Dataset
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
    from mteb.abstasks.task_metadata import TaskMetadata

    class Tiny(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name=f"Tiny{direction.upper()}Retrieval",
            description="Noise with captions of a few words.",
            reference="https://example.org/tiny",
            dataset={"path": "example/tiny", "revision": "1"},
            type="Any2AnyMultilingualRetrieval",
            category=direction,
            eval_splits=["test"],
            eval_langs=SUBSETS,
            main_score="hit_rate_at_10",
            date=("2026-01-01", "2026-01-02"),
            domains=["Constructed"],
            task_subtypes=["Image Text Retrieval"],
            license="cc0-1.0",
            annotations_creators="derived",
            dialect=[],
            modalities=["text", "image"],
            sample_creation="created",
            bibtex_citation="",
        )

        def load_data(self, num_proc: int | None = None, **_: Any) -> None:
            images = Dataset.from_dict({"id": [f"i{i}" for i in range(IMAGES)], "image": photographs()})
            self.dataset = {}
            for subset in self.hf_subsets:
                names = [f"t{i}" for i in range(len(OWNER))]
                texts = Dataset.from_dict({"id": names, "text": captions(subset)})
                pairs = [(name, f"i{image}") for name, image in zip(names, OWNER, strict=True)]
                relevant: dict[str, dict[str, int]] = {}
                for text, image in pairs:
                    query, document = (text, image) if direction == "t2i" else (image, text)
                    relevant.setdefault(query, {})[document] = 1
                queries, corpus = (texts, images) if direction == "t2i" else (images, texts)
                self.dataset[subset] = {
                    "test": RetrievalSplitData(corpus=corpus, queries=queries, relevant_docs=relevant, top_ranked=None)
                }
            self.data_loaded = True

    return Tiny()


def run(model: MtebModel, task: Any, cache: Path) -> dict[str, dict[str, float]]:
    """Run a task and return its scores by subset."""
    import mteb

    results = mteb.evaluate(model, task, cache=mteb.ResultCache(cache), co2_tracker=False, show_progress_bar=False)
    return {scores["hf_subset"]: scores for scores in results.task_results[0].scores["test"]}


def batches(**columns: list[Any]) -> list[dict[str, list[Any]]]:
    """Return columns as mteb's loaders give them, three rows at a time."""
    rows = len(next(iter(columns.values())))
    return [{name: values[i : i + 3] for name, values in columns.items()} for i in range(0, rows, 3)]


def encode(model: MtebModel, subset: str = "sw", eval_langs: Any = None, **columns: list[Any]) -> np.ndarray:
    task = retrieval_task("t2i").metadata.model_copy(update={"eval_langs": eval_langs or SUBSETS})
    return model.encode(
        batches(**columns), task_metadata=task, hf_split="test", hf_subset=subset, show_progress_bar=False
    )


def test_mteb_s_figures_are_ours_in_both_directions(model: MultilingualModel, tmp_path: Path) -> None:
    images = model.encode_images(photographs())
    theirs = {direction: run(MtebModel(model), retrieval_task(direction), tmp_path) for direction in ("t2i", "i2t")}
    seen = set()
    for tag in SUBSETS:
        assert len(set(captions(tag))) == len(OWNER)
        ours = evaluate_retrieval(images, model.encode_text(captions(tag), tag).numpy(), OWNER).metrics()
        found = [theirs[direction][tag][f"hit_rate_at_{k}"] for direction in ("t2i", "i2t") for k in KS]
        assert found == pytest.approx([ours[name] for name in METRICS], abs=1e-6)
        assert theirs["t2i"][tag]["recall_at_5"] == pytest.approx(ours["image_retrieval_recall@5"], abs=1e-6)
        seen.add(tuple(found))
    assert len(seen) == len(SUBSETS)  # three languages, three ways into the model


def test_mteb_s_own_crossmodal_tasks_run_on_a_copy_in_a_folder(
    model: MultilingualModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published tasks, unchanged, on a folder of the published layout: parquet, images as bytes, a split each."""
    import datasets
    import mteb

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.chdir(tmp_path)
    folder = Path("mteb/xm3600/data")
    folder.mkdir(parents=True)
    for tag in ("sw", "de", "en"):
        rows = datasets.Dataset.from_dict(
            {
                "image": [{"bytes": png(image), "path": None} for image in photographs()],
                "image_id": [f"{i:016x}" for i in range(IMAGES)],
                "image_locale": ["sw"] * IMAGES,
                "captions": [captions(tag)[2 * i : 2 * i + 2] for i in range(IMAGES)],
                "captions_tokenized": [[""]] * IMAGES,
                "captions_tokenized_lowercase": [[""]] * IMAGES,
            }
        )
        rows.to_parquet(folder / f"{tag}-00000-of-00001.parquet")
    names = ["XM3600T2IRetrieval", "XM3600I2TRetrieval"]
    tasks = mteb.get_tasks(tasks=names, languages=["swa", "deu", "eng"])
    assert [sorted(task.hf_subsets) for task in tasks] == [["de", "en", "sw"]] * 2
    images = model.encode_images(photographs())
    t2i, i2t = (run(MtebModel(model), task, tmp_path / "results") for task in tasks)
    for tag in ("sw", "de", "en"):
        ours = evaluate_retrieval(images, model.encode_text(captions(tag), tag).numpy(), OWNER).metrics()
        found = [scores[tag][f"hit_rate_at_{k}"] for scores in (t2i, i2t) for k in KS]
        assert found == pytest.approx([ours[name] for name in METRICS], abs=1e-6)


def png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()


def test_results_are_kept_for_this_very_model_alone(
    model: MultilingualModel, clip_folder: Path, tmp_path: Path
) -> None:
    task = retrieval_task("t2i")
    wrapped = MtebModel(model)
    run(wrapped, task, tmp_path)
    meta = wrapped.mteb_model_meta
    (path,) = tmp_path.rglob("TinyT2IRetrieval.json")
    assert path.parent.name == meta.revision
    assert json.loads((path.parent / "model_meta.json").read_text())["name"] == "mla-extend/tiny-clip"
    run(MtebModel(model, "sw"), task, tmp_path)
    assert len(list(tmp_path.rglob("TinyT2IRetrieval.json"))) == 2

    assert MtebModel(tiny_model(clip_folder)).mteb_model_meta.revision == meta.revision
    other = tiny_model(clip_folder)
    other.remove("de")
    build_language(other, "de", native=["a cat"] * 9, target=["eine Katze"] * 9, bottleneck=4, seed=1)
    assert MtebModel(other).mteb_model_meta.revision != meta.revision
    bare = MtebModel(MultilingualModel(open_base(str(clip_folder)))).mteb_model_meta
    assert bare.revision == model.base.identity.fingerprint[:12] == meta.revision.split("-")[0]


def test_what_mteb_is_told_of_a_model(model: MultilingualModel) -> None:
    from mteb.models.models_protocols import EncoderProtocol

    wrapped = MtebModel(model)
    meta = wrapped.mteb_model_meta
    assert isinstance(wrapped, EncoderProtocol)
    assert meta.languages == ["eng-Latn", "deu-Latn", "swa-Latn"]
    assert (meta.embed_dim, meta.max_tokens, meta.framework) == (12, 16, ["PyTorch"])
    assert meta.modalities == ["text", "image"]
    assert meta.n_parameters == sum(parameter.numel() for parameter in model.base.model.parameters())
    assert meta.adapted_from is None
    assert MtebModel(model, "deu").mteb_model_meta.experiment_kwargs == {"language": "de"}


def test_a_registry_s_languages_are_told_before_they_are_loaded(
    data: dict[str, Path], clip_folder: Path, tmp_path: Path
) -> None:
    card = add_language(
        "sw", parallel_data=data["parallel"], base=str(clip_folder), registry=tmp_path / "adapters", recipe="instant"
    )
    model = load_model(registry=tmp_path / "adapters", device="cpu")
    before = MtebModel(model).mteb_model_meta
    assert not model.is_loaded("sw")
    assert before.languages == ["eng-Latn", "swa-Latn"]
    vectors = encode(MtebModel(model), text=captions("sw"))
    assert np.array_equal(vectors, model.encode_text(captions("sw"), "sw").numpy())
    after = MtebModel(model).mteb_model_meta
    assert (after.revision, after.n_parameters) == (before.revision, before.n_parameters)
    bare = MtebModel(MultilingualModel(open_base(str(clip_folder)))).mteb_model_meta
    assert before.n_parameters == bare.n_parameters + card.parameters


def test_texts_images_and_pairs_are_encoded_in_order(model: MultilingualModel) -> None:
    wrapped, texts, images = MtebModel(model), captions("sw", 7), photographs()[:7]
    found = encode(wrapped, text=texts)
    assert found.dtype == np.float32
    assert np.array_equal(found, model.encode_text(texts, "sw").numpy())
    # Other batches than encode_images makes, so other roundings.
    assert encode(wrapped, image=images) == pytest.approx(model.encode_images(images), abs=1e-6)
    both = encode(wrapped, text=texts, image=images)
    total = model.text_vectors(texts, "sw") + model.base.image_vectors(images)
    assert both == pytest.approx(torch.nn.functional.normalize(total, dim=-1).numpy(), abs=1e-6)
    assert np.linalg.norm(both, axis=1) == pytest.approx(1)


def test_english_is_as_mteb_s_own_clip_wrapper_encodes_it(clip_folder: Path) -> None:
    from datasets import Dataset
    from mteb.models.model_implementations.clip_models import CLIPModel
    from torch.utils.data import DataLoader

    columns = {"text": captions("en", 7), "image": photographs()[:7]}
    whole = Dataset.from_dict(columns)
    theirs, ours = CLIPModel(str(clip_folder), revision="main", device="cpu"), MtebModel(tiny_model(clip_folder))
    about = {"task_metadata": retrieval_task("t2i").metadata, "hf_split": "test", "hf_subset": "en"}
    for names in (["text"], ["image"], ["text", "image"]):
        loader = DataLoader(whole.select_columns(names), batch_size=3, collate_fn=collate)
        expected = torch.nn.functional.normalize(theirs.encode(loader, **about, show_progress_bar=False), dim=-1)
        assert ours.encode(loader, **about, show_progress_bar=False) == pytest.approx(expected.numpy(), abs=1e-6)


def collate(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_similarity_is_the_cosine(model: MultilingualModel) -> None:
    wrapped = MtebModel(model)
    first, second = np.random.default_rng(0).standard_normal((2, 5, 12)).astype(np.float32)
    unit = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (first, second)]
    cosines = unit[0] @ unit[1].T
    assert np.asarray(wrapped.similarity(first, second)) == pytest.approx(cosines, abs=1e-6)
    assert np.asarray(wrapped.similarity_pairwise(first, second)) == pytest.approx(np.diag(cosines), abs=1e-6)


def test_native_text_takes_the_base_s_own_path(model: MultilingualModel) -> None:
    texts = captions("en")
    for codes in ({"en": ["eng-Latn"]}, ["eng-Latn"]):
        subset = "en" if isinstance(codes, dict) else "default"
        found = encode(MtebModel(model), subset, codes, text=texts)
        assert np.array_equal(found, model.base.encode_native(texts).numpy())


def test_a_given_language_goes_before_the_task_s(model: MultilingualModel) -> None:
    texts = captions("sw")
    found = encode(MtebModel(model, "swa"), "fr", {"fr": ["fra-Latn"]}, text=texts)
    assert np.array_equal(found, model.encode_text(texts, "sw").numpy())


@pytest.mark.parametrize(
    ("codes", "subset", "known", "expected"),
    [
        (["swa-Latn"], "sw", ["en", "sw"], "sw"),
        (["swh-Latn"], "swahili", ["en", "sw"], "sw"),
        (["zho-Hans"], "zh", ["en", "zh"], "zh"),
        (["zho-Hans"], "zh", ["en", "zh-Hant", "zh-Hans"], "zh-Hans"),
        (["zho-Hant"], "zh", ["en", "zh"], None),
        (["kor-Hang"], "ko", ["en", "ko"], "ko"),
        (["jpn-Jpan"], "ja", ["en", "ja"], "ja"),
        (["fil-Latn"], "fil", ["en", "fil"], "fil"),
        (["quz-Latn"], "quz", ["en", "qu"], "qu"),
        (["por-Latn"], "pt", ["en", "pt-BR"], "pt-BR"),
        (["por-Latn"], "pt", ["en", "pt-PT", "pt-BR"], "pt-BR"),
        (["eng-Latn"], "default", ["en-US", "sw"], "en-US"),
        (["nor-Latn", "nno-Latn", "nob-Latn"], "no", ["en", "nb"], "nb"),
        (["nor-Latn", "nno-Latn", "nob-Latn"], "no", ["en", "nn"], "nn"),
        (["nor-Latn", "nno-Latn", "nob-Latn"], "no", ["en", "da"], None),
        (["eng-Latn", "zho-Hans"], "it2t", ["en", "zh"], None),
        (["eng-Latn", "deu-Latn"], "en-de", ["en", "de"], None),
        (["hrv-Latn"], "hr", ["en", "bs", "sr"], None),
        (["hin-Latn"], "hi", ["en", "hi"], None),
        (["python-Code"], "default", ["en"], None),
        (["zxx-Zxxx"], "default", ["en"], None),
        ([], "x", ["en"], None),
    ],
)
def test_a_subset_s_language(codes: list[str], subset: str, known: list[str], expected: str | None) -> None:
    assert subset_language(codes, subset, known) == expected


def test_every_image_text_subset_of_mteb_is_in_a_language_that_we_can_name() -> None:
    """Each language that mteb's image-text tasks are in is found in a model that has them all."""
    import mteb
    from mteb.languages import check_language_code

    subsets = [
        (task.metadata.name, subset, codes)
        for task in mteb.get_tasks(modalities=["image"])
        if "text" in task.metadata.modalities
        for subset, codes in task.metadata.hf_subsets_to_langscripts.items()
    ]
    known = ["en", "zh-Hant", "no", "ar", "bg", "bn", "cs", "da", "de", "el", "es", "et", "fa", "fi", "fil", "fr"]
    known += [
        "my",
        "gu",
        "he",
        "hi",
        "hr",
        "hu",
        "id",
        "it",
        "ja",
        "kn",
        "ko",
        "lt",
        "lv",
        "mi",
        "ml",
        "mr",
        "nl",
        "or",
    ]
    known += ["pa", "pl", "pt", "qu", "ro", "ru", "sa", "sk", "sl", "sv", "sw", "ta", "te", "th", "tr", "uk", "ur"]
    known += ["vi", "yo", "zh"]
    for tag in known:
        check_language_code(mteb_language(tag))
    assert len(subsets) > 300
    lost = {(name, subset) for name, subset, codes in subsets if subset_language(codes, subset, known) is None}
    assert lost == {("XModBenchIT2TReranking", "it2t")}  # English and Chinese in one


def test_what_cannot_be_encoded_is_said(model: MultilingualModel, dual_folder: Path, tmp_path: Path) -> None:
    wrapped = MtebModel(model)
    with pytest.raises(LanguageError, match=r"'fr'\) is in fra-Latn, for which .* has: en, de, sw\. Choose"):
        encode(wrapped, "fr", {"fr": ["fra-Latn"]}, text=["un chat"])
    with pytest.raises(LanguageError, match=r"'xx'\) names no language"):
        encode(wrapped, "xx", text=["paka"])
    with pytest.raises(LanguageError, match="'fr' is not loaded"):
        MtebModel(model, "fr")
    with pytest.raises(LanguageError, match="not a language code"):
        MtebModel(model, "swahili")
    with pytest.raises(DataError, match=r"TinyT2IRetrieval .* neither text nor images"):
        encode(wrapped, audio=["a.wav"])
    task = retrieval_task("t2i").metadata
    with pytest.raises(DataError, match="precision='int8' is not supported"):
        wrapped.encode([], task_metadata=task, hf_split="test", hf_subset="sw", precision="int8")


def test_a_base_without_images_says_so(clip_folder: Path) -> None:
    base = open_base(str(clip_folder))
    base.processor = None
    wrapped = MtebModel(MultilingualModel(base))
    assert wrapped.mteb_model_meta.modalities == ["text"]
    with pytest.raises(BaseError, match="no image"):
        encode(wrapped, image=photographs()[:2])


def test_without_mteb_the_extra_is_named(model: MultilingualModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mteb.models.model_meta", None)
    with pytest.raises(DataError, match=r"pip install 'mla-extend\[mteb\]'"):
        MtebModel(model)
