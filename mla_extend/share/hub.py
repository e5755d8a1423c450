"""Send a version of a language to a model repository of the hub, and take one from there.

A repository holds one language. The version's files lie in it under their names, but for its README.md: the
repository's own is the hub's model card, which people edit, so the version's lies beside it as `README.version.md`.
What is taken from a repository goes the same way as what is unpacked (`mla_extend.share.take_in`).
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mla_extend import __version__
from mla_extend.cache import cache_folder
from mla_extend.errors import DataError
from mla_extend.files import folder_beside
from mla_extend.progress import SILENT, Progress
from mla_extend.registry import layout
from mla_extend.registry.card import PACKAGE, Card
from mla_extend.registry.contents import NOTHING, check_contents
from mla_extend.registry.foreign_card import foreign_card
from mla_extend.share.download import MAIN, TOKEN, download, hub_errors, model_info
from mla_extend.share.hub_card import hub_card
from mla_extend.share.pack import find_packed
from mla_extend.share.take_in import already_there, take_in, taken
from mla_extend.share.target import find_target

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
VERSION_README = "README.version.md"
_HARMLESS = frozenset({"", ".txt"})
"""Endings of files that a repository may hold beside a version (a licence, .gitattributes); they are not fetched."""
_REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def push(
    language: str,
    repo: str,
    *,
    private: bool = False,
    revision: str | None = None,
    base: str | None = None,
    registry: str | Path | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Send a version's files with a model card to a model repository, in one commit.

    Args:
        language: a code, or `sw@v1` for one of its versions.
        repo: `OWNER/NAME`; it is made if it is not there.
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
    chosen, card = find_packed(language, base, registry)
    with hub_errors(repo, revision), _quiet():
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
    from mla_extend.data.codes import language_tag  # noqa: PLC0415 - imports langcodes

    _check_repo(repo)
    with folder_beside(cache_folder() / "received") as folder:
        with hub_errors(repo, revision), _quiet():
            api = _api()
            info = model_info(api, repo, revision)
            if not COMMIT.fullmatch(info.sha or ""):
                raise DataError(f"The hub names no commit for {repo}. Check HF_ENDPOINT.")
            what = f"{repo} at {info.sha}"
            sizes = _sizes(info, what)
            download(api, repo, info, {layout.CARD: layout.CARD}, sizes, folder)
            card = foreign_card(folder, what)
            if language is not None and language_tag(language) != card.language:
                raise DataError(f"{what} holds the language {card.language!r}, not {language!r}. {NOTHING}")
            target = find_target(card, base, registry, progress)
            there = already_there(card, folder, target.home, replace=replace)
            if there is not None:
                return taken(card, there, published=False)
            sources = {name: _source(name, sizes, what) for name in card.files}
            stated = [(name, sizes[source] or 0) for name, source in sources.items()]
            check_contents([(layout.CARD, 0), *stated], what)
            progress.start("Fetching")
            download(api, repo, info, sources, sizes, folder)
            progress.finish()
        origin = {"from": "hub", "repo": repo, "revision": revision or MAIN, "commit": info.sha}
        return take_in(
            folder, origin, what, base=base, registry=registry, replace=replace, device=device, progress=progress
        )


def _check_repo(repo: str) -> None:
    if not _REPO.fullmatch(repo):
        raise DataError(f"{repo!r} is not the name of a model repository. Give OWNER/NAME.")


def _api(*, needs_token: bool = False) -> "HfApi":
    from huggingface_hub import HfApi, get_token  # noqa: PLC0415 - slow to import

    token = get_token()
    if needs_token and token is None:
        raise DataError(
            f"Pushing to the hub needs a token. Set {TOKEN} to one with write access, or log in: hf auth login"
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
        raise DataError(f"{repo} exists and is public. Make it private on the hub, or leave out --private.")
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
            raise DataError(f"{repo} holds {others[0]!r} and no {layout.CARD}. Give another repository.")
        return set()
    with folder_beside(cache_folder() / "received") as folder:
        download(api, repo, info, {layout.CARD: layout.CARD}, {}, folder)
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
    source = _stored(name) if _stored(name) in sizes else name
    if source not in sizes:
        raise DataError(f"{what} holds no {source!r}, which its {layout.CARD} names. Ask its publisher.")
    return source


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
