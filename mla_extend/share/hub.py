"""Send a version of a language to a model repository of the hub, and take one from there.

A repository holds one language. The version's files lie in it under their names, but for its README.md: the
repository's own is the hub's model card, which people edit, so the version's lies beside it as `README.version.md`.
What is taken from a repository goes the same way as what is unpacked (`mla_extend.share.take_in`).
"""

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from mla_extend import __version__
from mla_extend.bases.source import HUB_ID, reason
from mla_extend.cache import cache_folder
from mla_extend.errors import DataError, MlaExtendError
from mla_extend.files import folder_beside
from mla_extend.progress import SILENT, Progress
from mla_extend.registry import contents, layout
from mla_extend.registry.card import PACKAGE, Card
from mla_extend.registry.contents import check_contents
from mla_extend.registry.foreign_card import foreign_card
from mla_extend.registry.model_card import licence
from mla_extend.share.pack import find_packed
from mla_extend.share.take_in import already_there, take_in, taken
from mla_extend.share.target import find_target

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, HfApi
    from huggingface_hub.hf_api import ModelInfo

COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
VERSION_README = "README.version.md"
MAIN = "main"
TOKEN = "HF_TOKEN"
T = TypeVar("T")
PATIENCE, SLOWEST = 30.0, 20_000
"""Seconds that an answer may take beside a second for so many bytes of it."""
ERROR_BYTES = 4096
"""Of what the hub says of an error, so many are read."""
FIGURES = {
    "mean_recall": "mean recall",
    "to_native_accuracy": "finds its native sentence first",
    "from_native_accuracy": "found first by its native sentence",
}
_HARMLESS = frozenset({"", ".txt"})
"""Endings of files that a repository may hold beside a version (a licence, .gitattributes); they are not fetched."""
_REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def push(
    language: str,
    repo: str,
    *,
    version: str | None = None,
    private: bool = False,
    revision: str | None = None,
    base: str | None = None,
    registry: str | Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Send a version's files with a model card to a model repository, in one commit.

    Args:
        language: a code.
        repo: `OWNER/NAME`; it is made if it is not there.
        version: its name, the beginning of it, or `v1` for the oldest; `None` is the one in use.
        private: a repository that is made now is private; one that is there must be so.
        revision: the branch, made if it is not there; `None` is the main one.
        base: a base's name or source; `None`: the one that holds the language.
        registry: the registry's folder.
        progress: told of the sending.

    Returns:
        `language`, `version`, `base`, `repo`, `revision`, `commit` (its hash), `files`.

    Raises:
        LanguageError, RegistryError: as `pack`.
        DataError: there is no token, the repository holds another language or is public, or the hub refuses or fails.
    """
    _check_repo(repo)
    chosen, card = find_packed(language, version, base, registry)
    with _told(repo, revision), _quiet():
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete  # noqa: PLC0415 - slow to import

        api = _api(needs_token=True)
        there = _there(api, repo, private, revision)
        stale = _stale(api, repo, there, card)
        readme = hub_card(card, repo, (chosen.folder / layout.README).read_text(encoding="utf-8"))
        sent: dict[str, Path | bytes] = {
            **{_stored(name): chosen.folder / name for name in (layout.CARD, *card.files)},
            layout.README: readme.encode(),
        }
        operations = [CommitOperationAdd(name, content) for name, content in sorted(sent.items())]
        progress.start("Sending")
        commit = api.create_commit(
            repo,
            [*operations, *(CommitOperationDelete(name) for name in sorted(stale - sent.keys()))],
            commit_message=f"{card.language_name} ({card.language}), version {card.version}",
            revision=revision,
            parent_commit=there.sha,
        )
        progress.finish()
    return {
        "language": card.language,
        "version": card.version,
        "base": card.base["name"],
        "repo": repo,
        "revision": revision or MAIN,
        "commit": commit.oid,
        "files": sorted(sent),
    }


def pull(
    repo: str,
    *,
    revision: str | None = None,
    language: str | None = None,
    base: str | None = None,
    registry: str | Path | None = None,
    replace: bool = False,
    device: str = "auto",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Take a version from a model repository, check it, prove isolation and publish it.

    The revision is turned into a commit hash first, and everything is fetched from that commit. The card comes before
    the rest: what is of another base, or is there already, is not fetched.

    Args:
        repo: `OWNER/NAME`.
        revision: a branch, a tag or a commit; `None` is the main branch.
        language: the one it must be; `None` takes what it is.
        base, registry, replace, device, progress: as `unpack`.

    Returns:
        As `unpack`; `received` holds `repo`, the `revision` asked for and its `commit`.

    Raises:
        DataError: there is no such repository or revision, the hub refuses or fails, or it holds what a version must
            not hold.
        MlaExtendError: as `unpack`.
    """
    _check_repo(repo)
    with folder_beside(cache_folder() / "received") as folder:
        with _told(repo, revision), _quiet():
            api = _api()
            info = _info(api, repo, revision)
            if not COMMIT.fullmatch(info.sha or ""):
                raise DataError(f"The hub names no commit for {repo}. Check HF_ENDPOINT.")
            what = f"{repo} at {info.sha}"
            sizes = _sizes(info, what)
            _fetch(api, repo, info, {layout.CARD: layout.CARD}, sizes, folder)
            card = foreign_card(folder, what)
            _check_asked(card, language, what)
            target = find_target(card, base, registry, progress)
            there = already_there(card, folder, target.home, replace=replace)
            if there is not None:
                return taken(card, there, published=False)
            sources = {name: _source(name, sizes, what) for name in card.files}
            stated = [(name, sizes[source] or 0) for name, source in sources.items()]
            check_contents([(layout.CARD, 0), *stated], what)
            progress.start("Fetching")
            _fetch(api, repo, info, sources, sizes, folder)
            progress.finish()
        origin = {"from": "hub", "repo": repo, "revision": revision or MAIN, "commit": info.sha}
        return take_in(
            folder, origin, what, base=base, registry=registry, replace=replace, device=device, progress=progress
        )


def hub_card(card: Card, repo: str, readme: str) -> str:
    """Return the hub's model card: metadata that the hub reads, how to take the language, and the version's own card.

    Args:
        card: of the version.
        repo: where it will lie.
        readme: the version's README.md, whose metadata is replaced.
    """
    from huggingface_hub import ModelCardData  # noqa: PLC0415 - slow to import

    source, terms = str(card.base.get("source") or ""), licence(card)
    about = ModelCardData(
        language=[card.language],
        license=terms["license"],
        license_name=terms.get("license_name"),
        library_name=PACKAGE,
        base_model=source if HUB_ID.fullmatch(source) else None,
        base_model_relation="adapter" if HUB_ID.fullmatch(source) else None,
        pipeline_tag="feature-extraction",
        tags=[PACKAGE, "peft", "image-text retrieval", str(card.base["family"])],
        datasets=_data_sets(card) or None,
        model_name=repo.partition("/")[2],
        eval_results=_results(card),
    )
    body = _FRONT_MATTER.sub("", readme).lstrip("\n")
    title, _, rest = body.partition("\n")
    take = (
        f"```sh\npip install mla-extend\nmla-extend pull {repo}\n```\n\n"
        f"It is taken only for the base `{card.base['name']}`, by its fingerprint, after every file was checked."
    )
    return f"---\n{about.to_yaml()}\n---\n\n{title}\n\n{take}\n{rest}"


def _data_sets(card: Card) -> list[str]:
    """Return the hub's names of the data sets that it was trained on."""
    paths = (record["path"] for record in card.data if record.get("format") == "hf" and record["role"] != "test_set")
    named = ("/".join(path.split("/")[:2]) for path in paths if not Path(path).exists())
    return sorted({name for name in named if HUB_ID.fullmatch(name)})


def _results(card: Card) -> list["EvalResult"] | None:
    """Return the measured figures in the hub's form, fractions from 0 to 1; `None` if there are none."""
    from huggingface_hub import EvalResult  # noqa: PLC0415 - slow to import

    test_set = PurePosixPath(str(card.metrics.get("test_set") or "held out")).name
    found = []
    for name, split in card.metrics.get("splits", {}).items():
        figures = {key: split[key] for key in FIGURES if isinstance(split.get(key), float)}
        for metric, value in {**figures, **(split.get("metrics") or {})}.items():
            result = EvalResult(
                task_type="retrieval",
                dataset_type=re.sub(r"[^\w.-]+", "-", test_set).strip("-") or "test",
                dataset_name=test_set,
                dataset_split=name,
                metric_type=metric,
                metric_value=round(value, 4),
                metric_name=FIGURES.get(metric, metric.replace("_", " ")),
            )
            found.append(result)
    return found or None


# The hub --------------------------------------------------------------------------------------------------------------


def _check_repo(repo: str) -> None:
    if not _REPO.fullmatch(repo):
        raise DataError(f"{repo!r} is no name of a model repository. Give OWNER/NAME.")


def _api(*, needs_token: bool = False) -> "HfApi":
    from huggingface_hub import HfApi, get_token  # noqa: PLC0415 - slow to import

    token = get_token()
    if needs_token and token is None:
        raise DataError(
            f"Sending to the hub needs a token. Set {TOKEN} to one that may write, or log in: hf auth login"
        )
    # The library reads the variable when it is imported, and a program may set it later.
    return HfApi(os.environ.get("HF_ENDPOINT"), token=token, library_name=PACKAGE, library_version=__version__)


def _there(api: "HfApi", repo: str, private: bool, revision: str | None) -> "ModelInfo":
    """Return the repository to send to at its branch, both made if they are not there."""
    from huggingface_hub.errors import RepositoryNotFoundError  # noqa: PLC0415 - slow to import

    try:
        info = api.model_info(repo)
    except RepositoryNotFoundError:
        api.create_repo(repo, private=private, exist_ok=True)
        info = api.model_info(repo)
    if private and info.private is False:
        raise DataError(f"{repo} is there and is public. Make it private on the hub, or leave out --private.")
    if revision is None or revision == MAIN:
        return info
    api.create_branch(repo, branch=revision, exist_ok=True)
    return api.model_info(repo, revision=revision)


def _stale(api: "HfApi", repo: str, info: "ModelInfo", card: Card) -> set[str]:
    """Return the files of the version that the repository holds, which is of the same language and base.

    Raises:
        DataError: it holds something else.
    """
    names = {sibling.rfilename for sibling in info.siblings or []}
    if layout.CARD not in names:
        others = sorted(name for name in names - {layout.README} if not name.startswith("."))
        if others:
            raise DataError(f"{repo} holds {others[0]!r} and no {layout.CARD}: it is of something else. Take another.")
        return set()
    with folder_beside(cache_folder() / "received") as folder:
        _fetch(api, repo, info, {layout.CARD: layout.CARD}, {}, folder)
        old = foreign_card(folder, repo)
    for what, mine, other in (
        ("language", card.language, old.language),
        ("base", card.base["fingerprint"][:16], old.base["fingerprint"][:16]),
    ):
        if mine != other:
            raise DataError(
                f"{repo} holds the {what} {other!r}, and {mine!r} is to be sent. A repository holds one language for "
                "one base: give another."
            )
    return names & {_stored(name) for name in old.files}


def _stored(name: str) -> str:
    """Return what a version's file is called in a repository."""
    return VERSION_README if name == layout.README else name


def _info(api: "HfApi", repo: str, revision: str | None) -> "ModelInfo":
    """Ask for a repository's commit and files, as the library does, but with bounds on the answer."""
    from huggingface_hub.hf_api import ModelInfo  # noqa: PLC0415 - slow to import

    url = f"{api.endpoint}/api/models/{repo}" + (f"/revision/{quote(revision, safe='')}" if revision else "")
    answer = json.loads(b"".join(_get(api, url, contents.MAX_SMALL, {"blobs": "true"})))
    return ModelInfo(**answer)  # type: ignore[no-untyped-call]


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
                raise DataError(
                    f"{url} gives more than the {most:,} bytes that it may have. Nothing was taken from it."
                )
            if time.monotonic() - begun > PATIENCE + arrived / SLOWEST:
                raise DataError(
                    f"{url} has given {arrived:,} bytes in {time.monotonic() - begun:.0f} s. Try again later."
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
        raise DataError(f"{url} has begun no answer in {seconds:.0f} s. Try again later.") from error


def _sizes(info: "ModelInfo", what: str) -> dict[str, int | None]:
    """Return the sizes of a repository's files, `None` where the server does not say, after looking at their kinds.

    Raises:
        DataError: there is one of a kind that could run code, or no card, or the card is too large.
    """
    sizes: dict[str, int | None] = {}
    for sibling in info.siblings or []:
        name, suffix = sibling.rfilename, PurePosixPath(sibling.rfilename).suffix.lower()
        if suffix not in layout.SUFFIXES | _HARMLESS:
            kinds = ", ".join(sorted(layout.SUFFIXES))
            raise DataError(f"{what} holds {name[:200]!r}, and a version holds {kinds} alone. Nothing was fetched.")
        sizes[name] = sibling.size
    card = [(name, size or 0) for name, size in sizes.items() if name == layout.CARD]
    check_contents(card, what, "Nothing was fetched.")
    return sizes


def _source(name: str, sizes: Mapping[str, int | None], what: str) -> str:
    """Return what a file on the card is called in the repository."""
    source = _stored(name) if _stored(name) in sizes else name
    if source not in sizes:
        raise DataError(f"{what} holds no {source!r}, which its {layout.CARD} names. Ask whoever sent it.")
    return source


def _check_asked(card: Card, language: str | None, what: str) -> None:
    from mla_extend.data.codes import language_tag  # noqa: PLC0415 - imports langcodes

    if language is not None and language_tag(language) != card.language:
        raise DataError(f"{what} holds the language {card.language!r}, not {language!r}. Nothing was taken from it.")


def _fetch(
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
            raise DataError(f"{url} gave {size:,} of {stated:,} bytes. Try again later.")
        left -= size


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's progress bars out of what this program prints."""
    from huggingface_hub.utils.tqdm import (  # noqa: PLC0415 - slow to import
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    drawn = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if drawn:
            enable_progress_bars()


@contextlib.contextmanager
def _told(repo: str, revision: str | None) -> Iterator[None]:
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
        raise DataError(f"The hub was not asked for {repo}: HF_HUB_OFFLINE is set. Unset it and try again.") from error
    except errors.RevisionNotFoundError as error:
        raise DataError(f"{repo} has no branch, tag or commit {revision or MAIN!r}. Look at what it has.") from error
    except errors.RepositoryNotFoundError as error:
        raise DataError(
            f"There is no model repository {repo} on the hub, or it may not be read or written with the token at hand. "
            f"Check the name, or set {TOKEN}."
        ) from error
    except errors.HfHubHTTPError as error:
        code = error.response.status_code
        remedy = "Try again later." if code >= 500 else f"Check {TOKEN} and what it may do."
        raise DataError(f"The hub refused or failed over {repo} (HTTP {code}: {_short(error)}). {remedy}") from error
    except Exception as error:  # what the libraries below raise has no common name
        if isinstance(error, OSError) or type(error).__module__.startswith(("http", "ssl")):
            raise DataError(
                f"The hub cannot be reached for {repo} ({_short(error)}). Check the network, HF_ENDPOINT and the name."
            ) from error
        raise DataError(
            f"What the hub answers for {repo} cannot be read ({type(error).__name__}: {_short(error)}). Check "
            "HF_ENDPOINT."
        ) from error


def _short(error: BaseException) -> str:
    return "".join(character if character.isprintable() else "?" for character in reason(error))
