"""Time what grows with the registry: the isolation proof and `list`, with 100 small languages.

    python benchmarks/isolation.py [--languages 100]

The languages are copies of one small untrained adapter of the demo base (vocabulary 600, bottleneck 8), each published
under a tag of its own; the demo base is built first where it is not cached.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import machine, save

from mla_extend.bases.open import open_base
from mla_extend.language.tokenizer import LanguageTokenizer
from mla_extend.registry.card import Card
from mla_extend.registry.load import RegistryModel
from mla_extend.registry.prove import prove
from mla_extend.registry.recorded import native_probe
from mla_extend.registry.store import Registry

TEXTS = ["paka mweusi", "mbwa mwekundu chini ya mti", "nyumba kubwa kando ya ziwa"] * 50


def main() -> None:
    """Fill a registry, then time one more publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--languages", type=int, default=100)
    count = parser.parse_args().languages
    base = open_base("demo")
    model = RegistryModel(base, None)
    tokenizer = LanguageTokenizer.train(TEXTS, base.max_tokens, size=600)
    with tempfile.TemporaryDirectory() as folder:
        home = Registry(folder).create(base.identity)
        for number in range(count + 1):
            tag = f"x{chr(97 + number // 26)}{chr(97 + number % 26)}"
            staged = home.work_folder(tag) / "version"
            staged.mkdir()
            model.add(tag, tokenizer=tokenizer, bottleneck=8)
            model.save(tag, staged)
            model.remove(tag)
            card = Card(tag, tag, vars(base.identity), {}, [], {}, {}, 0, {"seconds": 0, "peak_memory_bytes": 0}, 0)
            if number < count:
                home.publish(tag, staged, card, prove=lambda _: {"ok": True})
        fresh = RegistryModel(base, home)
        bare = native_probe(fresh)
        proofs = []
        started = time.monotonic()
        home.publish(
            tag, staged, card, prove=lambda path: proofs.append(prove(fresh, home, tag, path, bare)) or proofs[0]
        )
        seconds = time.monotonic() - started
        started = time.monotonic()
        program = [sys.executable, "-m", "mla_extend", "list", "--registry", folder, "--json"]
        subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
        listing = time.monotonic() - started
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.safetensors"))
    compared = sum(bool(line["vectors_equal"]) for line in proofs[0]["languages"].values())
    result = {
        "languages": count,
        "compared": compared,
        "publish_seconds": round(seconds, 2),
        "list_seconds": round(listing, 2),
        "safetensors_bytes": size,
        "machine": machine(),
    }
    save("isolation", result)
    print(result)


if __name__ == "__main__":
    main()
