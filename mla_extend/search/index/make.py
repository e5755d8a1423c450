"""Make an image index, or bring one up to date: from images, or from vectors that somebody made elsewhere."""

from collections.abc import Sequence
from pathlib import Path

from mla_extend.bases.open import open_base
from mla_extend.bases.source import DEMO
from mla_extend.demo.base import demo_images
from mla_extend.demo.icons import TEST_STYLE
from mla_extend.errors import DataError
from mla_extend.files import user_path
from mla_extend.progress import SILENT, Progress
from mla_extend.registry.load import find_base
from mla_extend.registry.store import Registry
from mla_extend.search.index.about import FILE, read_about
from mla_extend.search.index.build import index_images
from mla_extend.search.index.exclude import Excludes
from mla_extend.search.index.summary import Summary
from mla_extend.search.index.take_in import recognise, take_in
from mla_extend.search.index.walk import find_images
from mla_extend.settings import index_folder


def make_index(
    source: str | Path,
    folder: str | Path | None = None,
    *,
    vectors: str | None = None,
    base: str | None = None,
    registry: str | Path | None = None,
    device: str = "auto",
    exclude: Sequence[str] = (),
    default_excludes: bool = True,
    progress: Progress = SILENT,
) -> Summary:
    """Encode images and videos into an index, or import vectors. Unchanged images are not encoded again.

    Examples:
        >>> from mla_extend import make_index
        >>> make_index("photos", "image-index", base="path/to/clip").count
        3

    Args:
        source: a folder of images, an image, a list of paths or a file of vectors; `demo` for the demo's test pictures.
        folder: the index, created if missing. Default: the setting, else `image-index/`.
        vectors: a `.npy` file beside a list of paths, or the vector column of a parquet file.
        base: `demo`, a model folder or a hub id. Default: the index's base, else the registry's, else the demo base.
        registry: the registry's folder. Default: the setting, else `adapters/` in the current folder.
        device: `cpu`, `cuda`, `mps`, or `auto` for the best there is.
        exclude: globs of names, or of paths below the folder, to leave out.
        default_excludes: leave out hidden files, thumbnails, recycle bins and the like too.
        progress: told of what is done.

    Raises:
        DataError: there is nothing to index, a file of vectors is wrong, or the index cannot be used.
        BaseMismatchError: the index was made with another base.
        BaseError: the base cannot be opened, or has no image tower.
    """
    source, folder = user_path(source), index_folder(folder)
    if str(source) == DEMO and not source.exists():
        source = demo_images(progress) / TEST_STYLE
    excludes = Excludes(exclude, defaults=default_excludes)
    parts = recognise(source, vectors)
    if exclude and (parts or source.is_file()):
        raise DataError(f"{source} is not a folder of images, so --exclude has no effect. Leave it out.")
    if not parts and not source.is_dir():
        find_images(source, excludes)  # a wrong path is said before the base is opened
    root = Registry(registry)
    wanted = base or _own(folder, root)
    where, native = find_base(root, wanted, progress)
    opened = open_base(where, device=device, native=native, progress=progress)
    if parts:
        return take_in(parts, folder, opened, stated=base is not None, progress=progress)
    return index_images(source, folder, opened, progress, excludes=excludes)


def _own(folder: Path, root: Registry) -> str | None:
    """Return where an index's own base is opened from; `None` where there is no index yet."""
    if not (folder / FILE).exists():
        return None
    about = read_about(folder)
    return root.open(about.name).base.source if about.name in root.bases() else about.source
