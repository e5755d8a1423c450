"""Reports: the exact keys, what is not known is null, and the room's borders."""

import json

import numpy as np
import pytest

from mla_extend.errors import DataError
from mla_extend.evaluation.intervals import bootstrap, ratio_bootstrap
from mla_extend.evaluation.recall import METRICS, chance, evaluate_retrieval
from mla_extend.evaluation.report import evaluation_json, split_report
from mla_extend.files import dump_json

KEYS = {
    "gallery", "captions", "mean_recall", "ci95", "t2i_mean_recall", "native_mean_recall", "ratio", "ratio_ci95",
    "floor_mean_recall", "chance_mean_recall", "metrics", "native_metrics", "floor_metrics",
}  # fmt: skip


def vectors(images=40, captions=2, noise=1.0):
    generator = np.random.default_rng(0)
    image, owner = generator.standard_normal((images, 8)), np.repeat(np.arange(images), captions)
    return image, image[owner] + noise * generator.standard_normal((len(owner), 8)), owner


def test_full_report():
    image, text, owner = vectors()
    native, floor = image[owner], np.ones_like(text)
    report = split_report(image, text, owner, native_text_vectors=native, floor_text_vectors=floor, seed=3)
    result = evaluate_retrieval(image, text, owner)
    found = json.loads(dump_json(report.to_json()))
    assert set(found) == KEYS
    assert (found["gallery"], found["captions"]) == (40, 80)
    assert found["mean_recall"] == result.mean_recall
    assert found["t2i_mean_recall"] == result.t2i_mean
    assert found["metrics"] == result.metrics()
    assert found["ci95"][0] <= found["mean_recall"] <= found["ci95"][1]
    assert found["native_mean_recall"] == 1.0
    assert found["ratio"] == found["mean_recall"]
    assert found["ratio_ci95"] == found["ci95"]
    assert tuple(found["floor_metrics"]) == tuple(found["native_metrics"]) == METRICS
    assert found["chance_mean_recall"] == chance(40, 2).mean_recall
    assert found["floor_mean_recall"] < 0.2
    assert report == split_report(image, text, owner, native_text_vectors=native, floor_text_vectors=floor, seed=3)


def test_unknown_figures_are_null():
    found = split_report(*vectors()).to_json()
    unknown = {key for key, value in found.items() if value is None}
    assert unknown == {
        "native_mean_recall", "ratio", "ratio_ci95", "floor_mean_recall", "native_metrics", "floor_metrics"
    }  # fmt: skip
    assert set(found) == KEYS


def test_native_that_finds_nothing_gives_no_ratio():
    image, text, owner = vectors()
    found = split_report(image, text, owner, native_text_vectors=np.zeros_like(text)).to_json()
    assert found["native_mean_recall"] == 0.0
    assert found["ratio"] is None
    assert found["ratio_ci95"] is None


def test_native_may_have_other_captions():
    image, text, owner = vectors()
    found = split_report(image, text, owner, native_text_vectors=image, native_image_of_text=np.arange(40))
    assert found.native_mean_recall == 1.0
    with pytest.raises(DataError, match="image_of_text has the shape"):
        split_report(image, text, owner, native_text_vectors=image)


@pytest.mark.parametrize("protocol", ["standard", "first", "mla"])
def test_protocol_reaches_every_figure(protocol):
    image, text, owner = vectors()
    report = split_report(image, text, owner, native_text_vectors=text, floor_text_vectors=text, protocol=protocol)
    assert report.metrics == report.native_metrics == report.floor_metrics
    assert report.metrics == evaluate_retrieval(image, text, owner, protocol).metrics()
    assert report.chance_mean_recall == chance(40, 2, protocol).mean_recall
    assert (report.ratio, report.ratio_ci95) == (1.0, (1.0, 1.0))


def test_resamples_and_seed_reach_both_intervals():
    image, text, owner = vectors()
    once = split_report(image, text, owner, native_text_vectors=image[owner], resamples=1)
    assert once.ci95.low == once.ci95.high
    assert once.ratio_ci95.low == once.ratio_ci95.high
    result, native = evaluate_retrieval(image, text, owner), evaluate_retrieval(image, image[owner], owner)
    for seed in ({}, {"seed": 0}, {"seed": 5}):
        report = split_report(image, text, owner, native_text_vectors=image[owner], **seed)
        assert report.ci95 == bootstrap(result, **seed).mean_recall
        assert report.ratio_ci95 == ratio_bootstrap(result, native, **seed).interval


def test_images_without_captions_lower_what_chance_finds():
    report = split_report(np.eye(12), np.eye(12)[:3], [0, 1, 2])
    counts = [1] * 3 + [0] * 9
    assert (report.gallery, report.chance_mean_recall) == (12, chance(12, counts).mean_recall)


def test_evaluation_json():
    report = split_report(*vectors())
    found = evaluation_json("sw", "clip-vit-b32", "xm3600", {"test": report}, seed=0, protocol="standard")
    assert found == {
        "language": "sw",
        "base": "clip-vit-b32",
        "test_set": "xm3600",
        "protocol": "standard",
        "seed": 0,
        "splits": {"test": report.to_json()},
    }
    assert json.loads(dump_json(found)) == found
    assert found == evaluation_json("sw", "clip-vit-b32", "xm3600", {"test": report}, seed=0)
    with pytest.raises(DataError, match="no protocol 'all'"):
        evaluation_json("sw", "base", "set", {}, seed=0, protocol="all")
