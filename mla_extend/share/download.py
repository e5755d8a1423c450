"""Ask the hub and fetch from it, with bounds on bytes and seconds by what arrives; its faults become one sentence."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from mla_extend import __version__
from mla_extend.bases.source import reason
from mla_extend.errors import DataError, MlaExtendError
from mla_extend.registry import contents, layout
from mla_extend.registry.card import PACKAGE

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

MAIN = "main"
TOKEN = "HF_TOKEN"
PATIENCE, SLOWEST = 30.0, 20_000
"""Seconds that an answer may take beside a second for so many bytes of it."""
ERROR_BYTES = 4096
"""Of what the hub says of an error, so many are read."""
T = TypeVar("T")


def model_info(api: "HfApi", repo: str, revision: str | None) -> "ModelInfo":
    """Ask for a repository's commit and files, as the library does, but with bounds on the answer."""
    from huggingface_hub.hf_api import ModelInfo  # noqa: PLC0415 - slow to import

    url = f"{api.endpoint}/api/models/{repo}" + (f"/revision/{quote(revision, safe='')}" if revision else "")
    answer = json.loads(b"".join(_get(api, url, contents.MAX_SMALL, {"blobs": "true"})))
    return ModelInfo(**answer)  # type: ignore[no-untyped-call]


def download(
    api: "HfApi",
    repo: str,
    info: "ModelInfo",
    sources: Mapping[str, str],
    sizes: Mapping[str, int | None],
    folder: Path,
) -> None:
    """Fetch files at one commit to where a version has them.

    Args:
        api, repo, info: where they are.
        sources: for each file of the version, what it is called in the repository; checked.
        sizes: of the repository's files, as the server states them.
        folder: the version's.

    Raises:
        DataError: a file is larger or smaller than stated, or all together are too large.
    """
    from huggingface_hub import hf_hub_url  # noqa: PLC0415 - slow to import

    left = contents.MAX_BYTES
    for name, source in sources.items():
        stated = sizes.get(source)
        small = PurePosixPath(name).name in {layout.CARD, contents.ADAPTER}
        most = min(left, contents.MAX_SMALL) if small else left
        url = hf_hub_url(repo, source, revision=info.sha, endpoint=api.endpoint)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("xb") as file:
            for part in _get(api, url, most if stated is None else min(most, stated)):
                file.write(part)
            size = file.tell()
        if stated is not None and size != stated:
            raise DataError(f"{url} sent {size:,} of {stated:,} bytes. Try again later.")
        left -= size


def _get(api: "HfApi", url: str, most: int, params: Mapping[str, str] | None = None) -> Iterator[bytes]:
    """Give what the hub answers, as it arrives, while it arrives fast enough.

    Args:
        api: whose token is sent.
        url: where it is asked for.
        most: bytes that it may be at most.
        params: what is added to the address.

    Raises:
        DataError: more arrives, or it arrives slower than `SLOWEST`.
    """
    from huggingface_hub import get_session, hf_raise_for_status  # noqa: PLC0415 - slow to import

    headers = {"accept-encoding": "identity", "user-agent": f"{PACKAGE}/{__version__}"}  # so that nothing unfolds
    if api.token:
        headers["authorization"] = f"Bearer {api.token}"
    arrived, begun = 0, time.monotonic()
    asked = get_session().stream("GET", url, headers=headers, params=params, timeout=PATIENCE)
    with contextlib.ExitStack() as left:
        response = _within(PATIENCE, asked.__enter__, url)
        left.push(asked)
        if response.status_code >= HTTPStatus.BAD_REQUEST:  # the library would read the answer whole, for its message
            first = next(response.iter_raw(), b"")[:ERROR_BYTES]
            hf_raise_for_status(
                type(response)(response.status_code, headers=response.headers, content=first, request=response.request)
            )
        for part in response.iter_raw():
            arrived += len(part)
            if arrived > most:
                raise DataError(f"{url} sends more than the {most:,} bytes that are allowed. Nothing was kept.")
            if time.monotonic() - begun > PATIENCE + arrived / SLOWEST:
                raise DataError(
                    f"{url} sent only {arrived:,} bytes in {time.monotonic() - begun:.0f} s. Try again later."
                )
            yield part


def _within(seconds: float, call: Callable[[], T], url: str) -> T:
    """Return what a call gives within some seconds, which no timeout bounds of one that waits many times.

    Raises:
        DataError: it takes longer. It then waits on in a thread that keeps no process alive.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where it was asked for
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError as error:
        if answer.done():  # the call's own
            raise
        raise DataError(f"{url} did not answer within {seconds:.0f} s. Try again later.") from error


@contextlib.contextmanager
def hub_errors(repo: str, revision: str | None) -> Iterator[None]:
    """Turn what the library raises into one line.

    Raises:
        DataError: the hub cannot be reached, refuses or fails.
    """
    from huggingface_hub import errors  # noqa: PLC0415 - slow to import

    try:
        yield
    except MlaExtendError:
        raise
    except RuntimeError as error:  # of an upload, around what went wrong
        raise DataError(
            f"Not everything could be sent to {repo} ({_short(error.__cause__ or error)}). Nothing was changed there. "
            "Try again later."
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise DataError(f"The hub was not asked for {repo}: HF_HUB_OFFLINE is set. Unset it.") from error
    except errors.RevisionNotFoundError as error:
        raise DataError(f"{repo} has no branch, tag or commit {revision or MAIN!r}. Look at what it has.") from error
    except errors.RepositoryNotFoundError as error:
        raise DataError(
            f"There is no model repository {repo} on the hub, or your token gives no access to it. "
            f"Check the name, or set {TOKEN}."
        ) from error
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        remedy = "Try again later." if code >= 500 else f"Check {TOKEN} and its permissions."
        raise DataError(f"The request to the hub for {repo} failed (HTTP {code}: {_short(error)}). {remedy}") from error
    except Exception as error:  # what the libraries below raise has no common name
        if isinstance(error, OSError) or type(error).__module__.startswith(("http", "ssl")):
            raise DataError(
                f"The hub cannot be reached for {repo} ({_short(error)}). Check the network, HF_ENDPOINT and the name."
            ) from error
        raise DataError(
            f"The hub's answer about {repo} cannot be read ({type(error).__name__}: {_short(error)}). Check "
            "HF_ENDPOINT."
        ) from error


def _short(error: BaseException) -> str:
    return "".join(character if character.isprintable() else "?" for character in reason(error))
