"""Time a warm server and a search on the command line, and weigh a process that holds many languages.

    python benchmarks/serve.py --registry DIR --index DIR [--seconds 20] [--write]

The server runs in a process of its own, the clients in threads of this one, on the same cores. Queries are the test
captions of the demo, drawn from all languages of the registry in equal parts; each is asked with its language said, and
again to be guessed. `together` is how many waiting queries go through the text tower in one pass: with 1, each goes
alone. The registry is one of demo languages; without `--index` an index of the demo's test images is
made first.
"""

import argparse
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from common import ROOT, machine, markdown, put, save

PAGE = ROOT / "docs" / "serve.md"
HELD = 50
"""Languages of one process."""
COLD = 5
"""Searches on the command line."""
CLIENTS = 8
TOGETHER = (1, 32)
Query = tuple[str, str]
"""A text and the tag of its language."""


def main() -> None:
    """Measure and print; write results and the table if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", type=Path, required=True, help="demo languages")
    parser.add_argument("--index", type=Path, help="an index of the demo's test images")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/serve.json and docs/serve.md")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--together", type=int, default=32, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part == "server":
        run_server(arguments.registry, arguments.index, arguments.together)
        return
    if arguments.part == "memory":
        print(json.dumps(weigh(arguments.registry)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        index = arguments.index or make_index(Path(temporary) / "index")
        queries = read_queries(arguments.registry)
        cold = [search_once(arguments.registry, index) for _ in range(COLD)]
        served = [measure(arguments.registry, index, queries, together, arguments.seconds) for together in TOGETHER]
    found = {
        "machine": machine(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "images": served[0].pop("images"),
        "languages": len({tag for _, tag in queries}),
        "queries": len(queries),
        "clients": CLIENTS,
        "seconds": arguments.seconds,
        "cold_seconds": round(statistics.median(cold), 2),
        "served": [{key: value for key, value in one.items() if key != "images"} for one in served],
        "memory": json.loads(child("memory", arguments.registry, None, 1).communicate()[0]),
    }
    print(json.dumps(found, indent=2))
    if arguments.write:
        save("serve", found)
        put("serve", table(found), PAGE)


def child(part: str, registry: Path, index: Path | None, together: int) -> "subprocess.Popen[str]":
    """Start a part of this script in a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--registry", str(registry), "--together", str(together)]
    command += ["--index", str(index)] if index else []
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def run_server(registry: Path, index: Path, together: int) -> None:
    """Serve, and print the address."""
    from mla_extend.serve.limits import Limits
    from mla_extend.serve.server import open_service

    service = open_service(index, port=0, registry=registry, limits=Limits(batch=together))
    print(service.url, flush=True)
    service.run()


def make_index(folder: Path) -> Path:
    """Index the demo's test images."""
    from mla_extend import load_model
    from mla_extend.demo.base import demo_images
    from mla_extend.demo.icons import TEST_STYLE
    from mla_extend.search.index.build import index_images

    index_images(demo_images() / TEST_STYLE, folder, load_model("demo").base)
    return folder


def read_queries(registry: Path) -> list[Query]:
    """Return test captions of each language, in an order that mixes them."""
    from mla_extend.demo.data import demo_data
    from mla_extend.registry.store import Registry

    draw = random.Random(0)
    queries: list[Query] = []
    for tag in Registry(registry).open("demo").tags():
        rows = (demo_data(tag).test_set / "all.jsonl").read_text(encoding="utf-8").splitlines()
        queries += [(json.loads(row)["caption"], tag) for row in draw.sample(rows, 200)]
    draw.shuffle(queries)
    return queries


def measure(registry: Path, index: Path, queries: list[Query], together: int, seconds: float) -> dict[str, Any]:
    """Start a server, warm it, and time one client and several."""
    server = child("server", registry, index, together)
    try:
        assert server.stdout is not None
        address = urlsplit(server.stdout.readline().strip()).netloc
        health = Client(address).get("/health")
        for said in (True, False):
            ask_all(address, queries[:200], said, 1, seconds=60.0)  # every language is loaded, all code has run
        result: dict[str, Any] = {"together": together, "images": health["images"]}
        for name, said in (("said", True), ("guessed", False)):
            one = ask_all(address, queries, said, 1, seconds)
            many = ask_all(address, queries, said, CLIENTS, seconds)
            result[name] = {
                "median_ms": round(1000 * statistics.median(one), 1),
                "p95_ms": round(1000 * statistics.quantiles(one, n=20)[-1], 1),
                "queries_per_second": round(len(many) / seconds, 1),
                "median_ms_of_many": round(1000 * statistics.median(many), 1),
                "p95_ms_of_many": round(1000 * statistics.quantiles(many, n=20)[-1], 1),
            }
        return result
    finally:
        server.terminate()
        server.wait()


class Client:
    """Ask over one connection that stays open."""

    def __init__(self, address: str) -> None:
        self.connection = http.client.HTTPConnection(address)

    def get(self, path: str) -> Any:
        """Return the answer to a request; anything but an answer ends the benchmark."""
        self.connection.request("GET", path)
        response = self.connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise SystemExit(f"{path}: {response.status} {content.decode()}")
        return json.loads(content)


def ask_all(address: str, queries: list[Query], said: bool, clients: int, seconds: float) -> list[float]:
    """Return how long each query took, all of them once or for so long as is given."""
    times: list[float] = []
    end = time.monotonic() + seconds
    warming = len(queries) <= 200

    def client(number: int) -> None:
        connection = Client(address)
        at = number
        while time.monotonic() < end and not (warming and at >= len(queries)):
            text, tag = queries[at % len(queries)]
            path = "/search?" + urlencode({"q": text, "lang": tag if said else "auto"})
            began = time.perf_counter()
            connection.get(path)
            times.append(time.perf_counter() - began)
            at += clients

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def search_once(registry: Path, index: Path) -> float:
    """Return the seconds of one search on the command line, whose language is to be guessed."""
    program = [sys.executable, "-m", "mla_extend", "search", "mbwa mweusi", "--registry", str(registry)]
    began = time.monotonic()
    subprocess.run([*program, "--index", str(index), "--json"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def weigh(registry: Path) -> dict[str, Any]:
    """Return what a process weighs with the base, and with many languages beside it, each used once.

    A registry with fewer is loaded again and again under tags of private use: nothing is shared between them.
    """
    import psutil

    from mla_extend import load_model

    model = load_model(registry=registry)
    assert model.registry is not None
    model.base.encode_native(["a black dog"])
    process = psutil.Process()
    before = process.memory_info().rss
    cards = [model.registry.card(tag) for tag in model.registry.tags()]
    adapters = versions = 0
    for number in range(HELD):
        card, tag = cards[number % len(cards)], f"qaa-x-{number}"
        folder = model.registry.current(card.language).folder
        adapters += (folder / "adapter_model.safetensors").stat().st_size
        versions += card.bytes
        model.load(tag, folder)
        model.encode_text(["a black dog"], tag)
    return {
        "languages": HELD,
        "base_bytes": before,
        "above_bytes": process.memory_info().rss - before,
        "adapter_files_bytes": adapters,
        "version_files_bytes": versions,
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    rows = []
    for one in found["served"]:
        for name in ("said", "guessed"):
            line = one[name]
            rows.append(
                [
                    f"{name}, at most {one['together']} together",
                    f"{line['median_ms']:.1f} ms",
                    f"{line['p95_ms']:.1f} ms",
                    f"{line['queries_per_second']:.0f}",
                    f"{line['p95_ms_of_many']:.1f} ms",
                ]
            )
    head = ["language", "one client: median", "p95", f"{found['clients']} clients: queries a second", "p95"]
    memory = found["memory"]
    mib = 1 << 20
    return "\n\n".join(
        (
            markdown(head, rows),
            f"{found['images']:,} images, {found['languages']} languages, {found['queries']:,} captions; "
            f"{found['machine']}. Clients and server share the cores.",
            f"A search on the command line, which starts afresh, takes {found['cold_seconds']:.1f} s (median of "
            f"{COLD}).",
            f"A process with the demo base takes {memory['base_bytes'] / mib:.0f} MiB; {memory['languages']} languages "
            f"add {memory['above_bytes'] / mib:.0f} MiB. Their adapter files have "
            f"{memory['adapter_files_bytes'] / mib:.0f} MiB together, all files of their versions "
            f"{memory['version_files_bytes'] / mib:.0f} MiB.",
        )
    )


if __name__ == "__main__":
    main()
