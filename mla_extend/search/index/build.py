"""Encode images and videos into an index: what is new or changed, once.

A file is unchanged where its size and time are as they were, or else its SHA-256. A file with the bytes of another
takes its vector over. Where pictures are prepared otherwise than when the index was made, all are encoded again.
"""

import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mla_extend.errors import DataError, ImageError, Interrupted
from mla_extend.progress import SILENT, Progress
from mla_extend.search.index.about import About
from mla_extend.search.index.exclude import Excludes
from mla_extend.search.index.graph import refresh_graph
from mla_extend.search.index.kinds import passed_over, readable
from mla_extend.search.index.preparation import preparation_of, what_changed
from mla_extend.search.index.shards import Vectors
from mla_extend.search.index.store import Item, Known, Same, Store, writing
from mla_extend.search.index.summary import Summary
from mla_extend.search.index.walk import Findings, Found, absolute, find_images, gone
from mla_extend.stop import StopRequest

if TYPE_CHECKING:  # it imports torch
    from mla_extend.bases.base import Base
    from mla_extend.images.pipeline import Picture

KEPT = 1024
"""Images after which the index is written."""
SECONDS = 30.0
"""Seconds after which it is written where images take long."""
TINY = 1e-12
"""Length that a vector is taken to have at least."""


def index_images(
    source: Path, folder: Path, base: "Base", progress: Progress = SILENT, *, excludes: Excludes | None = None
) -> Summary:
    """Bring an index up to date with a folder of images and videos, or add one file to it.

    Args:
        source: the folder, or the file.
        folder: of the index; it is made if it is not there.
        base: encodes the images.
        progress: told of what is encoded.
        excludes: what is left out below the folder, the usual where it is `None`.

    Raises:
        DataError: there is no image at `source`, or the index cannot be used.
        BaseMismatchError: the index was made with another base.
        BaseError: the base has no image tower.
        Interrupted: the user asked to stop; what was encoded is kept.
    """
    began = time.perf_counter()
    identity = base.identity
    summary = Summary(folder, identity.name)
    excludes = excludes or Excludes()
    findings = find_images(source, excludes)
    if not findings.files and not findings.failed:
        raise _nothing(source, findings)
    root = absolute(source)
    with writing(folder) as store:
        store.check(identity.name, identity.fingerprint)
        _prepare(store, preparation_of(base), progress)
        with StopRequest().listening() as stop:
            _Run(store, base, summary, progress).bring_up_to_date(findings.files, stop)
        if root.is_dir():
            there = {str(found.path) for found in findings.files}
            missing = [name for name in store.below(root) if name not in there]
            summary.dropped += store.drop({*gone(missing), *_left_out(store, root, missing, excludes)})
        store.name_source(str(root))
        store.tidy()
        refresh_graph(store, progress)
        summary.count = store.count()
        summary.older = store.count_older(files=True)
        summary.base_stated = store.about is None or store.about.stated
    summary.failed[:0] = findings.failed
    summary.left_out = dict.fromkeys(excludes.asked, 0) | dict((+findings.left_out).most_common())
    reasons = passed_over()
    summary.passed_over = {suffix: (count, reasons[suffix]) for suffix, count in (+findings.passed_over).most_common()}
    summary.seconds = time.perf_counter() - began
    return summary


def _prepare(store: Store, preparation: str, progress: Progress) -> None:
    """Let an index that was made otherwise be made anew, and say why."""
    before = store.prepare(preparation)
    if before is None:
        return
    progress.note(
        f"The pictures of this index were prepared {what_changed(before, preparation)}. They are encoded again. You "
        "can stop and continue with the same command; the index can be searched meanwhile."
    )
    if kept := store.count_older(files=False):
        progress.note(f"{kept:,} imported vectors without files stay as they are.")


def _nothing(source: Path, findings: Findings) -> DataError:
    """Return the error over a folder in which there is nothing to encode."""
    there = [f"{count:,} {suffix}" for suffix, count in (+findings.passed_over).most_common()]
    there += [f"{count:,} left out by {rule!r}" for rule, count in (+findings.left_out).most_common()]
    but = f" There are, though: {', '.join(there)}." if there else ""
    return DataError(
        f"{source} holds no image or video that can be read: no name ends in {', '.join(sorted(readable()))}.{but} "
        "Give a folder that does."
    )


def _left_out(store: Store, root: Path, names: Iterable[str], excludes: Excludes) -> list[str]:
    """Return the names of the index that are left out now; what was named itself stays, and so do lists taken in."""
    named = {source for source in store.sources() if source != str(root)}

    def is_left_out(path: Path) -> bool:
        rule = excludes.rule_within(root, path)
        if rule is None or rule in excludes.asked:
            return rule is not None
        above = [folder for folder in (path, *path.parents) if str(folder) in named]
        return all(excludes.rule_within(folder, path) for folder in above)

    return [
        name for name in names if (known := store.known(name)) and known.hash is not None and is_left_out(Path(name))
    ]


class _Run:
    """Bring one index up to date."""

    def __init__(self, store: Store, base: "Base", summary: Summary, progress: Progress) -> None:
        self.store = store
        self.base = base
        self.summary = summary
        self.progress = progress
        self.items: list[Item] = []
        self.vectors: list[Vectors] = []
        self.touched: list[tuple[int, int]] = []
        self.broken: list[str] = []
        # By content, until it is written: what it is, why it is none, or `None` until that is known.
        self.coming: dict[bytes, Same | ImageError | None] = {}
        self.written = time.monotonic()

    def bring_up_to_date(self, files: list[Found], stop: StopRequest) -> None:
        """Encode what is new or changed, and write it every now and then.

        Raises:
            Interrupted: the user asked to stop; what was encoded is kept.
        """
        wanted = {found.path: found for found in files if not self._is_unchanged(found)}
        done = 0
        self.progress.start("Encoding images", total=len(wanted))
        try:
            with closing(self.base.encoded(wanted, wanted=self._is_new, stop=stop)) as pictures:
                for one in pictures:
                    self._take(wanted[Path(str(one.item))], one)
                    self.progress.advance()
                    done += 1
                    if self._waiting() >= KEPT or time.monotonic() - self.written > SECONDS:
                        self._write()
        finally:
            self.progress.finish()
        self._write()
        if done < len(wanted):
            raise Interrupted(f"Stopped with {done:,} of {len(wanted):,} images done and kept. {stop.remedy}")

    def _waiting(self) -> int:
        return len(self.items) + len(self.touched) + len(self.broken)

    def _known(self, path: object) -> Known | None:
        """Return what is known of a file whose vector still counts."""
        known = self.store.known(str(path))
        return None if known is None or self.store.is_older(known.key) else known

    def _is_unchanged(self, found: Found) -> bool:
        known = self._known(found.path)
        unchanged = known is not None and (known.size, known.mtime_ns) == (found.size, found.mtime_ns)
        self.summary.unchanged += unchanged
        return unchanged

    def _is_new(self, path: object, content: bytes) -> bool:
        """Say whether a file's content has to be encoded: no file of the index has it, nor one on the way there."""
        known = self._known(path)
        if (known is not None and known.hash == content) or content in self.coming:
            return False
        self.coming[content] = same = self.store.same_content(content)
        return same is None

    def _take(self, found: Found, one: "Picture[Vectors]") -> None:
        """Take a file: as it was, with the vector of one of the same content, or with its own."""
        name, known = str(found.path), self._known(found.path)
        if one.content is not None and known is not None and known.hash == one.content:
            self.summary.unchanged += 1
            self.touched.append((found.mtime_ns, known.key))
            return
        same: Same | ImageError | None = one.error
        if one.made is not None:
            same = Same(one.made / max(float(np.linalg.norm(one.made)), TINY), *one.size)
            self._count(name, one.content)
        elif same is None and one.content is not None:
            same = self.coming.get(one.content) or self.store.same_content(one.content)
            self.summary.reused += isinstance(same, Same)
        if one.content is not None:
            self.coming[one.content] = same
        if not isinstance(same, Same):
            reason = str(one.error or "It has the content of another picture that cannot be read.")
            self.summary.failed.append((name, reason))
            self.summary.unreadable[found.path.suffix.lower(), same.kind if same else "damaged"] += 1
            self.broken.append(name)
            return
        size = same.width, same.height
        self.items.append(Item(name, True, found.size, found.mtime_ns, one.content, *size))
        self.vectors.append(same.vector)

    def _count(self, name: str, content: bytes | None) -> None:
        """Count a file that was encoded: new, changed, or as it was and prepared otherwise."""
        known = self.store.known(name)
        renewed = known is not None and self.store.is_older(known.key) and known.hash in (content, None)
        self.summary.renewed += renewed
        self.summary.added += not renewed

    def _write(self) -> None:
        self.written = time.monotonic()
        if self.touched:
            self.store.touch(self.touched)
        if self.broken:
            self.summary.dropped += self.store.drop(self.broken)
        if self.items:
            identity = self.base.identity
            vectors = np.stack(self.vectors)
            about = About(
                identity.name, identity.fingerprint, identity.source, True, vectors.shape[1], preparation_of(self.base)
            )
            self.store.add(self.items, [self.store.write(vectors)], about)
        self.items, self.vectors, self.touched, self.broken = [], [], [], []
        # What is written is found in the store from now on.
        self.coming = {content: same for content, same in self.coming.items() if not isinstance(same, Same)}
