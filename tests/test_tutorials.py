"""The README and the tutorials run as they stand, on tiny models in place of those that they name."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import save_clip, sentences
from tests.documented import ROOT, RUN, run_page
from tests.families_text import sentence_bert

PAGES = [page for page, test in RUN.items() if test == Path(__file__).name]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_as_it_stands(
    page: str, data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the pages name on the hub lies in the current folder, under the same names."""
    monkeypatch.chdir(tmp_path)
    for name in ("openai/clip-vit-base-patch32", "path/to/clip", "my-clip"):
        save_clip(tmp_path / name)
    sentence_bert(tmp_path / "sentence-transformers" / "all-MiniLM-L6-v2")
    (tmp_path / "documents.en.txt").write_text("\n".join(dict.fromkeys(sentences(60, seed=1)[0])) + "\n")
    (tmp_path / "photos").mkdir()
    for i, name in enumerate(("dog", "cat", "bird")):
        pixels = np.random.default_rng(i).integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.png")
    run_page(ROOT / page)
