"""A tiny index, a registry of languages in three scripts, and a server over them, for the tests of the server."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import NATIVE_WORDS, TARGET_WORDS, sentences
from PIL import Image

from mla_extend.add.job import add_language
from mla_extend.search.index.make import make_index
from mla_extend.search.searcher import Searcher, open_index
from mla_extend.serve.limits import Limits
from mla_extend.serve.server import listen, serve_searcher

AMHARIC = ["አንድ", "ቀይ", "አረንጓዴ", "ሰማያዊ", "ድመት", "ውሻ", "ወፍ", "ዛፍ", "ቤት", "ጀልባ"]
AMHARIC += ["ይሮጣል", "ይተኛል", "ይቀመጣል", "ስር", "በላይ", "አጠገብ", "ያ", "ትልቅ", "ትንሽ", "አሮጌ"]
ARABIC = ["واحد", "أحمر", "أخضر", "أزرق", "قط", "كلب", "طائر", "شجرة", "بيت", "قارب"]
ARABIC += ["يركض", "ينام", "يجلس", "تحت", "فوق", "قرب", "ال", "كبير", "صغير", "قديم"]
WORDS = {"sw": TARGET_WORDS, "am": AMHARIC, "ar": ARABIC}
QUERIES = {"sw": "mbwa kubwa nyekundu", "am": "ትልቅ ቀይ ውሻ", "ar": "كلب كبير أحمر", "en": "a big red dog"}


@dataclass(frozen=True)
class Site:
    """Where the parts lie: the tiny base, its registry of sw, am and ar, sixty pictures, and their index."""

    base: Path
    registry: Path
    pictures: Path
    index: Path

    def searcher(self) -> Searcher:
        """Open the index with the model."""
        return open_index(self.index, registry=self.registry, device="cpu")


def add(tag: str, base: Path, registry: Path, folder: Path, *, seed: int = 0, replace: bool = False) -> None:
    """Add a language in no time: aligned, not trained; with another seed its words mean other things."""
    native, _ = sentences(400, seed)
    words = WORDS.get(tag, TARGET_WORDS)
    swap = dict(zip(NATIVE_WORDS, [*words[seed:], *words[:seed]], strict=True))
    path = folder / f"{tag}-{seed}.tsv"
    rows = [f"{text}\t{' '.join(swap[word] for word in text.split())}\n" for text in native]
    path.write_text("".join(rows), encoding="utf-8")
    add_language(
        tag,
        parallel_data=[str(path)],
        base=str(base),
        registry=registry,
        recipe="instant",
        seed=seed,
        replace=replace,
        licence="CC-BY-4.0",
    )


def build(folder: Path, base: Path) -> Site:
    """Make everything in an empty folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLA_EXTEND_CACHE", str(folder / "cache"))
        patch.delenv("MLA_EXTEND_REGISTRY", raising=False)
        site = Site(base, folder / "adapters", folder / "pictures", folder / "index")
        site.pictures.mkdir()
        generator = np.random.default_rng(0)
        for i in range(60):
            pixels = generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((320, 240)).save(site.pictures / f"picture {i:02}.png")
        for tag in WORDS:
            add(tag, base, site.registry, folder)
        make_index(site.pictures, site.index, base=str(base), registry=site.registry)
    return site


@contextlib.contextmanager
def serving(searcher: Searcher, limits: Limits | None = None, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve while the context lasts; gives the address, without a slash at its end."""
    service = serve_searcher(searcher, listen(host, 0), host, limits or Limits())
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield service.url.rstrip("/")
    finally:
        service.server.should_exit = True
        thread.join()
