"""Send a server what should hurt it: a tokenizer that panics, pictures that unfold, rubbish from 32 clients.

    python benchmarks/hostile.py --registry DIR [--languages sw de] [--broken am] [--minutes 10] [--write]

The registry is copied, and one language's tokenizer in the copy is made such that the library panics over every text. A
server with the demo's index answers 32 clients meanwhile: good queries said and guessed, pictures, texts to encode, and
empty, endless, broken and half-sent ones; 60 times a picture of 8000 x 8000 in one bit comes, all at once.
"""

import argparse
import io
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
from common import machine, save
from PIL import Image

from mla_extend.data.formats.format import ColumnMapping
from mla_extend.data.source import open_source
from mla_extend.demo.data import demo_data
from mla_extend.files import sha256_file
from mla_extend.registry.card import card_text, read_card
from mla_extend.registry.layout import files_in
from mla_extend.registry.store import Registry

CLIENTS, BOMBS = 32, 60


def break_language(registry: Path, tag: str) -> None:
    """Make a language's tokenizer panic over every text; the card's hashes are put right."""
    version = Registry(registry).open().current(tag)
    path = version.folder / "tokenizer.json"
    values = json.loads(path.read_text())
    values["post_processor"]["special_tokens"] = {}
    for name in ("tokenizer.json", "card.json"):
        (version.folder / name).chmod(0o644)
    path.write_text(json.dumps(values))
    card = read_card(version.folder)
    card.files["tokenizer.json"] = sha256_file(files_in(version.folder)["tokenizer.json"])
    (version.folder / "card.json").write_text(card_text(card.to_json()))


def picture(side: int, mode: str) -> bytes:
    """Return a PNG of one colour."""
    stream = io.BytesIO()
    Image.new(mode, (side, side)).save(stream, "PNG")
    return stream.getvalue()


def requests_of(languages: list[str], broken: str) -> list[tuple[str, dict[str, Any]]]:
    """Return what a client may send: the kind, and the arguments of a request."""
    texts = {
        tag: open_source(demo_data(tag).parallel, ColumnMapping(tag)).parallel().target[:200]
        for tag in [*languages, broken]
    }
    sent: list[tuple[str, dict[str, Any]]] = []
    for tag in languages:
        for lang in (tag, "auto"):
            sent += [("good", {"params": {"q": text, "lang": lang}}) for text in texts[tag]]
        sent += [
            ("good", {"method": "POST", "url": "/embed", "json": {"texts": list(texts[tag][:20]), "languages": tag}})
        ]
    sent += [("good", {"method": "POST", "files": {"image": picture(300, "RGB")}})] * 20
    sent += [("broken language", {"params": {"q": text, "lang": broken}}) for text in texts[broken][:60]]
    bad: list[dict[str, Any]] = [
        {"params": {"q": ""}},
        {"params": {"q": "x" * 5_000}},
        {"params": {"q": "x", "lang": "zz"}},
        {"params": {"q": "x", "top": "999999999999999999999999"}},
        {"method": "POST", "files": {"image": b"no picture"}},
        {"method": "POST", "files": {"image": picture(300, "RGB")[:200]}},
        {"method": "POST", "url": "/embed", "content": b'{"texts": ["\\ud800"], "languages": "sw"}'},
        {"method": "POST", "url": "/embed", "content": b"[" * 100_000},
        {"url": "/images/99999999999999999999"},
    ]
    return [*sent, *[("bad", one) for one in bad * 40]]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the server and the clients."""
    counts: Counter[tuple[str, int]] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        registry, index = Path(temporary) / "adapters", Path(temporary) / "index"
        shutil.copytree(arguments.registry, registry)
        break_language(registry, arguments.broken)
        command = [sys.executable, "-m", "mla_extend"]
        common = ["--registry", str(registry), "--index", str(index)]
        subprocess.run([*command, "index", "demo", *common], check=True, capture_output=True)
        quiet: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        server = subprocess.Popen([*command, "serve", *common, "--port", "0"], **quiet)
        assert server.stdout is not None
        url = next(word for line in server.stdout for word in line.split() if word.startswith("http://")).rstrip("/.")
        threading.Thread(target=server.stdout.read, daemon=True).start()
        process, peak, ending = psutil.Process(server.pid), [0], threading.Event()
        client = httpx.Client(base_url=url, timeout=90, trust_env=False)
        for tag in arguments.languages:
            client.get("/search", params={"q": "x", "lang": tag}).raise_for_status()
        idle = process.memory_info().rss

        def watch() -> None:
            while not ending.wait(0.1):
                peak[0] = max(peak[0], process.memory_info().rss)

        def send(kind: str, method: str = "GET", url: str = "/search", **more: Any) -> int:
            try:
                code = own.client.request(method, url, **more).status_code
            except httpx.HTTPError:
                code = 0
            counts[kind, code] += 1
            return code

        class Own(threading.local):
            def __init__(self) -> None:
                self.client = httpx.Client(base_url=url, timeout=90, trust_env=False)

        own, watcher = Own(), threading.Thread(target=watch)
        watcher.start()
        bomb, sent = picture(8_000, "1"), requests_of(arguments.languages, arguments.broken)
        with ThreadPoolExecutor(BOMBS) as pool:
            list(pool.map(lambda _: send("bomb", "POST", files={"image": bomb}), range(BOMBS)))
        bombed = peak[0] - idle
        until = time.monotonic() + 60 * arguments.minutes

        def run(seed: int) -> None:
            draw = random.Random(seed)
            while time.monotonic() < until:
                kind, what = draw.choice(sent)
                send(kind, **what)

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(run, range(CLIENTS)))
        after = {tag: client.get("/search", params={"q": "x", "lang": tag}).status_code for tag in arguments.languages}
        health, rows = client.get("/health").json(), client.get("/languages").json()["languages"]
        ending.set()
        watcher.join()
        server.terminate()
        server.wait(60)
    return {
        "minutes": arguments.minutes,
        "statuses": {f"{kind}: {code}": count for (kind, code), count in sorted(counts.items())},
        "idle_mib": round(idle / 2**20),
        "bombs_above_idle_mib": round(bombed / 2**20),
        "peak_above_idle_mib": round((peak[0] - idle) / 2**20),
        "after": after,
        "health": health,
        "problem": next(row["problem"] for row in rows if row["language"] == arguments.broken),
        "machine": machine(),
    }


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", type=Path, required=True)
    parser.add_argument("--languages", nargs="+", default=["sw", "de"])
    parser.add_argument("--broken", default="am")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--write", action="store_true", help="write results/hostile.json")
    arguments = parser.parse_args()
    result = measure(arguments)
    print(json.dumps(result, indent=2, ensure_ascii=False))
    if arguments.write:
        save("hostile", result)


if __name__ == "__main__":
    main()
