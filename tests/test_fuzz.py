"""Each parser refuses or reads what `make fuzz` begins with and has found: quickly, and with our errors alone."""

import time
from pathlib import Path

import pytest

from mla_extend.errors import MlaExtendError
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "fuzz" / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_is_read_or_refused(name: str) -> None:
    kept = sorted((CORPUS / name).iterdir())
    assert kept
    for path in kept:
        begun = time.process_time()
        try:
            TARGETS[name](path.read_bytes())
        except MlaExtendError:
            pass
        except BaseException as error:
            error.add_note(f"while reading {path}")
            raise
        assert time.process_time() - begun < 10, path
