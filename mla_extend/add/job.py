"""The main job: add a language. It reads as a list of verbs; how each is done is in the room of its name."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mla_extend.add.request import Data, Request, drop_unreadable, read_request
from mla_extend.add.run_folder import RunFolder, claim_run
from mla_extend.add.run_identity import run_identity
from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.codes import language_name
from mla_extend.data.pairs import ImageText
from mla_extend.errors import BaseError
from mla_extend.evaluation.evaluate import evaluate_held_out, evaluate_model
from mla_extend.extras import is_installed
from mla_extend.files import writing_to
from mla_extend.images.contents import image_keys
from mla_extend.language.related import Related, check_related
from mla_extend.platform import package_versions
from mla_extend.processes import join_processes
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.card import Card, read_card
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.load import RegistryModel, find_base
from mla_extend.registry.prove import prove
from mla_extend.registry.recorded import native_probe
from mla_extend.registry.store import Registry
from mla_extend.stop import StopRequest
from mla_extend.training.curve import draw_curve
from mla_extend.training.measure import Measure, estimate, measured_cost
from mla_extend.training.schedule import RunCost
from mla_extend.training.session import Session, Trained, write_log
from mla_extend.training.split import Split, split
from mla_extend.training.stages import Stage, image_vectors

PUBLISHING = 3.0
"""Seconds that the proof and publishing take, roughly."""


def add_language(
    language: str,
    *,
    parallel_data: Data,
    image_text: Data = (),
    lexicon: Data = (),
    text: Data = (),
    base: str | None = None,
    registry: str | Path | None = None,
    recipe: str = "default",
    overrides: Sequence[str] = (),
    test_set: str | Path | None = None,
    licence: str | None = None,
    columns: str | None = None,
    format: str | None = None,  # noqa: A002 - named as the option is
    filter: str = "default",  # noqa: A002
    max_pairs: int | None = None,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    replace: bool = False,
    start_from: str | None = None,
    time: str | float | None = None,
    progress: Progress = SILENT,
) -> Card:
    """Train a language on a base and publish it: build, NLT, LE, evaluate, prove isolation, publish.

    Examples:
        >>> from mla_extend import add_language
        >>> card = add_language(
        ...     "de", parallel_data="en-de.tsv", base="path/to/clip", registry="my-adapters", recipe="instant"
        ... )
        >>> card.language_name, card.isolation["ok"]
        ('German', True)

    Under `accelerate launch` all processes train it together. The first one does the rest, and all return the card.

    Args:
        language: a language code (BCP-47), in any spelling.
        parallel_data: one or several sources of parallel text, each `[FORMAT:]PATH[#SPLIT][=WEIGHT]`, or `demo`. With
            an image column it serves both stages.
        image_text: sources of images with captions in the language. Without any, Language Exposure is skipped.
        lexicon: bilingual word lists.
        text: files of monolingual text, one sentence per line.
        base: `demo`, a model folder or a hub id. Default: the setting, else the registry's base, else the demo base.
        registry: the registry's folder. Default: the setting, else `adapters/` in the current folder.
        recipe: a recipe's name, or a YAML file.
        overrides: changes of recipe values, each `key=value`.
        test_set: what to evaluate on. Training rows that occur in it are dropped. Default: the demo's test set for demo
            data, else the held-out training data.
        licence: the data's licence, for the card. Default: what the data states.
        columns: `ROLE=COLUMN,...` for columns with other names; roles are `native`, `target`, `image`, `text`.
        format: the data's format, if it is not detected.
        filter: `strict`, `default` or `off`: which faulty rows are dropped.
        max_pairs: pairs of the parallel text that are read at most, a random sample of all; `None` reads all.
        seed: seeds everything random.
        device: `cpu`, `cuda`, `mps` or `auto`.
        resume: continue an interrupted run with the same data, recipe and seed.
        replace: publish a new version if the language exists; the older ones are kept.
        start_from: a related language of the registry whose acquirers and shared pieces are copied as the start.
        time: for the whole run: seconds, or `30m`, `2h`. Training takes as many steps as fit on this machine, at most
            four times the recipe's. Default: the recipe's steps, however long they take.
        progress: receives the progress of long work.

    Returns:
        The card of the published version.

    Raises:
        MlaExtendError: what was given cannot be used, training went wrong, or something else would have changed. The
            registry is then as it was.
    """
    measure = Measure()
    processes = join_processes(device)
    source, native = find_base(Registry(registry), base, progress)
    request = read_request(
        language,
        parallel_data=parallel_data,
        image_text=image_text,
        lexicon=lexicon,
        text=text,
        recipe=recipe,
        overrides=overrides,
        test_set=test_set,
        licence=licence,
        columns=columns,
        format=format,
        filter=filter,
        max_pairs=max_pairs,
        seed=seed,
        start_from=start_from,
        time=time,
        native=native,
        progress=progress,
    )
    model, home = _open(source, native, registry, str(processes.device or device), progress)
    home.check_name(request.tag, replace=replace)
    _refuse_images(model, request)
    related = _related(model, request)
    native_before = native_probe(model)
    with StopRequest().listening() as stop:
        features = Features(model.base, progress, processes, stop)
        request, images = _with_images(request, features)
        held_out = split(request.parallel, request.image_text, request.recipe, request.lexicon, request.text)
        identity = run_identity(request, held_out, model.base, images, related.to_json() if related else None)
        with claim_run(home, request.tag, identity, resume, processes) as run:
            if run.note:
                progress.note(run.note)
            stop.remedy = "Continue with the same command and --resume."
            trained = _train(
                run, model, request, held_out, features, related, measure, resume=resume, stop=stop, progress=progress
            )
            if not processes.first:
                processes.wait()
                return read_card(home.current(request.tag).folder)
            metrics = _evaluate(model, request, held_out, Features(model.base, progress, stop=stop), progress)
            staged = _stage(run, model, request.tag, trained)
            card = _card(model, request, trained, metrics, measure, related)
            model.remove(request.tag)
            progress.start("Proving isolation")
            version = home.publish(
                request.tag,
                staged,
                card,
                replace=replace,
                prove=lambda folder: prove(model, home, request.tag, folder, native_before),
            )
            progress.finish()
            run.done = True
    processes.wait()
    return read_card(version.folder)


def plan_language(
    language: str,
    *,
    base: str | None = None,
    registry: str | Path | None = None,
    device: str = "auto",
    replace: bool = False,
    progress: Progress = SILENT,
    **given: Any,
) -> dict[str, Any]:
    """Say what `add_language` would do with the same arguments (`given`): data, parameters, steps, time, memory.

    The language is built for that and a few steps are timed, in a folder that is thrown away; nothing is written to
    the registry.

    Raises:
        MlaExtendError: as `add_language` does for what it is given.
    """
    measure = Measure()
    source, native = find_base(Registry(registry), base, progress)
    request = read_request(language, native=native, progress=progress, **given)
    model, home = _open(source, native, registry, device, progress, create=False)
    if home is not None:
        home.check_name(request.tag, replace=replace)
    _refuse_images(model, request)
    related = _related(model, request)
    if request.image_text is not None:
        contents = image_keys(request.image_text.images, progress)
        request = dataclasses.replace(request, image_text=request.image_text.joined(contents))
    held_out = split(request.parallel, request.image_text, request.recipe, request.lexicon, request.text)
    recipe, pictures = request.recipe, held_out.image_text
    return {
        "language": request.tag,
        "language_name": language_name(request.tag),
        "base": model.base.identity.name,
        "recipe": recipe.name,
        "start_from": related.to_json() if related else None,
        "pairs": request.pairs_read,
        "kept": len(request.parallel),
        "data": request.data,
        "image_text": len(pictures) if pictures else 0,
        "lexicon": len(held_out.lexicon) if held_out.lexicon else 0,
        "text": len(held_out.text),
        "held_out": int(held_out.pairs.sum()),
        **estimate(
            model,
            request.tag,
            request.parallel,
            pictures,
            held_out,
            recipe,
            Features(model.base),
            request.seed,
            related,
            before=measure.seconds(),
            wait=request.time,
        ),
    }


def _open(
    source: str, native: str, registry: str | Path | None, device: str, progress: Progress, *, create: bool = True
) -> tuple[RegistryModel, Any]:
    """Open the base, and its part of the registry (made if it is not there, unless nothing is to be written)."""
    root = Registry(registry)
    opened = open_base(source, device=device, native=native, progress=progress)
    there = opened.identity.name in root.bases()
    home: BaseRegistry | None = root.create(opened.identity) if create or there else None
    return RegistryModel(opened, home), home


def _with_images(request: Request, features: Features) -> tuple[Request, list[bytes]]:
    """Encode the images; return the request with those that can be read, and the content of each.

    Pictures of the same content are one picture, and the rows of those that cannot be read are dropped; but of a test
    set all must be read.
    """
    for tests in request.test_set.splits.values() if request.test_set else ():
        if isinstance(tests, ImageText):
            image_vectors(tests, features)
    if request.image_text is None:
        return request, []
    _, unreadable = features.readable_images(request.image_text.images)
    if unreadable:
        request = drop_unreadable(request, unreadable)
    assert request.image_text is not None
    contents = image_keys(request.image_text.images)
    return dataclasses.replace(request, image_text=request.image_text.joined(contents)), list(dict.fromkeys(contents))


def _refuse_images(model: RegistryModel, request: Request) -> None:
    """Refuse images for a base that has no image tower, before anything is built."""
    tests = request.test_set.splits.values() if request.test_set else ()
    pictures = request.image_text is not None or any(isinstance(split, ImageText) for split in tests)
    if pictures and not model.base.family.has_images:
        raise BaseError(
            f"The base {model.base.identity.name!r} is a text model without an image tower, so that it cannot be "
            "trained or evaluated with images. Give parallel text alone."
        )


def _related(model: RegistryModel, request: Request) -> Related | None:
    """Return the language that the new one starts from, if it does, before anything is built."""
    if request.start_from is None:
        return None
    related = model.related(request.start_from)
    check_related(related, request.recipe.acquirer.bottleneck)
    return related


def _train(
    run: RunFolder,
    model: RegistryModel,
    request: Request,
    held_out: Split,
    features: Features,
    related: Related | None,
    measure: Measure,
    *,
    resume: bool,
    stop: StopRequest,
    progress: Progress,
) -> Trained:
    def fit(stages: Sequence[Stage]) -> RunCost:
        """Return what the stages cost with as many steps as fit into what is left of the time."""
        assert request.time is not None
        rows = [int(held.sum()) for held in (held_out.pairs, held_out.captions) if held is not None]
        native, precision = request.parallel.native, request.recipe.precision
        cost = measured_cost(model, request.tag, stages, rows, native, features, precision, request.seed)
        tests = request.test_set.splits.values() if request.test_set else ()
        after = (sum(map(len, tests)) or sum(rows)) * (cost.row + cost.native) + PUBLISHING
        found = cost.run.fitted(request.time - measure.seconds() - after)
        steps = sum(part.steps for part in found.stages)
        if not steps:
            progress.note(
                f"{request.time:g} s leave no time to train: {measure.seconds():.0f} s are over, and evaluating takes "
                f"some {after:.0f} s. What is published is the aligned start. Give more --time."
            )
        return found

    session = Session(
        run.folder,
        model,
        request.tag,
        request.recipe,
        seed=request.seed,
        progress=progress,
        related=related,
        processes=features.processes,
        schedule=None if request.time is None else fit,
    )
    return session.train(
        request.parallel, held_out.image_text, held_out, features, resume=resume and run.found, stop=stop
    )


def _evaluate(
    model: RegistryModel, request: Request, held_out: Split, features: Features, progress: Progress
) -> dict[str, Any]:
    progress.start("Evaluating")
    try:
        if request.test_set is not None:
            return evaluate_model(model, request.tag, request.test_set, features, seed=request.seed)
        return evaluate_held_out(
            model, request.tag, request.parallel, held_out.image_text, held_out, features, seed=request.seed
        )
    finally:
        progress.finish()


def _stage(run: RunFolder, model: RegistryModel, tag: str, trained: Trained) -> Path:
    """Write the version's files, all but the card, into a folder of the run."""
    staged = run.folder / "version"
    shutil.rmtree(staged, ignore_errors=True)
    with writing_to(staged):
        staged.mkdir()
        model.save(tag, staged)
        write_log(staged / "training.jsonl", trained.log)
        if is_installed("matplotlib"):
            draw_curve(trained.log, staged / "curves.png", title=f"{language_name(tag)} ({tag})")
    return staged


def _card(
    model: RegistryModel,
    request: Request,
    trained: Trained,
    metrics: dict[str, Any],
    measure: Measure,
    related: Related | None,
) -> Card:
    record = model.base.identity
    start = {"start_from": related.to_json()} if related else {}
    return Card(
        language=request.tag,
        language_name=language_name(request.tag),
        base={
            "name": record.name,
            "source": record.source,
            "family": record.family,
            "fingerprint": record.fingerprint,
            "native": record.native,
            "licence": record.licence,
        },
        recipe=request.recipe.model_dump(mode="json"),
        data=[*request.data, *(related.records() if related else ())],
        metrics=metrics,
        versions=package_versions(),
        seed=request.seed,
        cost={
            "seconds": round(measure.seconds(), 1),
            "peak_memory_bytes": measure.peak_memory(),
            "pairs": trained.pairs,
            "device": str(model.base.device),
            "precision": trained.precision,
            **({} if request.time is None else {"time": request.time}),
        },
        parameters=trained.built.parameters,
        stages=[{"stage": "build", **vars(trained.built), **start}, *trained.stages],
    )
