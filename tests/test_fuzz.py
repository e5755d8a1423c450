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


def test_a_unit_that_does_not_end_is_refused_before_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mla_extend.data.formats.tmx.MOST_UNIT", 100_000)
    whole = (CORPUS / "tmx" / "plain").read_bytes()
    many = whole.replace(b"</body>", b"<tu><tuv/></tu>" * 20_000 + b"</body>")
    TARGETS["tmx"](many)
    with pytest.raises(MlaExtendError, match="without the end of a unit"):
        TARGETS["tmx"](whole.replace(b"dog", b"dog" * 100_000))
