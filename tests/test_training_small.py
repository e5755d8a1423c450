"""Few rows: what is trained on them, what is said, what is refused; and many that are held out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mla_extend.bases.features import Features
from mla_extend.bases.open import open_base
from mla_extend.data.pairs import ParallelText, Part
from mla_extend.errors import DataError
from mla_extend.language.build import build_language
from mla_extend.language.model import MultilingualModel
from mla_extend.training import stages
from mla_extend.training.recipe import load_recipe
from mla_extend.training.stages import transfer_stage
from mla_extend.training.validation import TransferValidation
from tests.conftest import sentences
from tests.test_cli_end_to_end import QUICK, RUNNER, add, app


def first_lines(data: dict[str, Path], **counts: int) -> dict[str, Path]:
    """Cut files to their first lines."""
    for name, count in counts.items():
        lines = data[name].read_text().splitlines(keepends=True)
        data[name].write_text("".join(lines[:count]))
    return data


def test_with_fewer_rows_than_a_batch_a_step_takes_all(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path
) -> None:
    """The card says so, its steps are those of the batch that was taken, and the dry run says the same."""
    few = first_lines(data, parallel=24, images=12)
    settings = ["--set", "transfer.epochs=3", "--set", "exposure.epochs=5", "--filter", "off"]
    settings += ["--set", "exposure.transfer_batch=30"]
    card = add(few, dual_folder, tmp_path / "adapters", *settings)
    transfer, exposure = card["stages"][1:]
    held_pairs, held_captions = (24 - transfer["pairs"] // transfer["steps"], 2)
    assert 2 <= held_pairs <= 4
    pairs, captions = 24 - held_pairs, 12 - held_captions
    assert (transfer["steps"], transfer["pairs"]) == (3, 3 * pairs)
    assert exposure["steps"] == 5
    assert exposure["pairs"] == 5 * (captions + pairs)
    note = f"transfer has {pairs} pairs to train on, so that a step takes {pairs} and not 32; more data would help."
    assert note in transfer["notes"]
    for rows in (f"{captions} captions", f"{pairs} pairs"):
        assert any(f"exposure has {rows} to train on" in note for note in exposure["notes"])

    arguments = ["--parallel-data", str(few["parallel"]), "--image-text", str(few["images"]), "--base"]
    plan = dry_run("add-language", "de", *arguments, str(dual_folder), *settings, registry=tmp_path / "adapters")
    assert plan["stages"] == {"transfer": 3, "exposure": 5}
    assert note in plan["notes"]
    assert all(note in [*transfer["notes"], *exposure["notes"]] for note in plan["notes"])
    assert len(plan["notes"]) == 3


def dry_run(*arguments: str, registry: Path) -> dict[str, Any]:
    """Return the plan of a command, of the same recipe as `add`."""
    done = RUNNER.invoke(app, [*arguments, *QUICK, "--dry-run", "--json"], env={"MLA_EXTEND_REGISTRY": str(registry)})
    assert done.exit_code == 0, done.output
    plan: dict[str, Any] = json.loads(done.stdout)
    return plan


def test_one_row_to_train_on_is_refused(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> None:
    """One caption beside those held out has nothing to be told from."""
    few = first_lines(data, images=3)
    with pytest.raises(DataError, match=r"sw\.jsonl leaves 1 of 3 rows to train on.*Give more data"):
        add(few, dual_folder, tmp_path / "adapters", "--filter", "off")
    card = add(few, dual_folder, tmp_path / "adapters", "--filter", "off", "--set", "exposure.max_steps=0")
    assert card["stages"][2]["steps"] == 0


class Said:
    """Give texts the vectors that are kept for their first id."""

    def __init__(self, vectors: torch.Tensor) -> None:
        self.vectors = vectors

    def forward(self, batch: Any) -> torch.Tensor:
        return self.vectors[batch.ids[:, 0]]


def test_every_held_out_sentence_is_in_the_gallery() -> None:
    """However many there are: above 2,000 of them the last ones had none to find."""
    vectors = np.random.default_rng(0).standard_normal((2100, 16)).astype(np.float32)
    validation = TransferValidation([[i] for i in range(2100)], [str(i) for i in range(2100)], vectors, vectors[:0])
    model: Any = Said(torch.from_numpy(vectors))
    assert validation(model).score == 1


def test_others_fill_the_gallery_only_where_there_is_room(dual_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has to be encoded before the first step."""
    native, target = sentences(60)
    model = MultilingualModel(open_base(str(dual_folder)))
    build_language(model, "sw", native=native, target=target, bottleneck=4)
    data = ParallelText((Part("x.tsv"),), native, target, np.zeros(60, dtype=np.int64), np.arange(60))
    mask = np.arange(60) < 20
    sizes = []
    for room in (10, 25):
        monkeypatch.setattr(stages, "SENTENCES", room)
        stage = transfer_stage(model, "sw", data, mask, load_recipe("quick"), Features(model.base))
        assert isinstance(stage.validation, TransferValidation)
        sizes.append(len(stage.validation.gallery))
        with model.training("sw"):
            assert 0 <= stage.validation(model).score <= 1
    assert sizes == [len(set(native[:20])), 25]
