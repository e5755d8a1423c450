"""The server: its routes, its limits, whom it answers, what it holds back, and that rubbish costs nobody an answer."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import numpy as np
import pytest
from PIL import Image
from served import QUERIES, Site, add, build, serving
from typer.testing import CliRunner

from mla_extend.cli.app import app as cli
from mla_extend.errors import DataError, LanguageError, RegistryError
from mla_extend.images.open import open_image
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.load import RegistryModel, load_model
from mla_extend.registry.store import Registry
from mla_extend.search.searcher import Answer, Query, Searcher
from mla_extend.serve import app as serving_app
from mla_extend.serve.languages import languages_of
from mla_extend.serve.limits import Limits
from mla_extend.serve.queries import PendingQuery, Queries
from mla_extend.serve.server import allowed_hosts, listen, open_service

SECRET = b"root:x:0:0:nobody may read this"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, dual_folder: Path) -> Site:
    """Give a registry of three languages and an index."""
    return build(tmp_path_factory.mktemp("site"), dual_folder)


@pytest.fixture(scope="module")
def searcher(site: Site) -> Searcher:
    """Open them."""
    return site.searcher()


@pytest.fixture(scope="module")
def url(searcher: Searcher) -> Iterator[str]:
    """Serve them."""
    with serving(searcher) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    """Give a client of the server."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as opened:
        yield opened


@pytest.fixture
def own(site: Site, tmp_path: Path) -> Site:
    """Give a registry and an index that a test may change."""
    shutil.copytree(site.registry, tmp_path / "adapters")
    shutil.copytree(site.index, tmp_path / "index")
    return Site(site.base, tmp_path / "adapters", site.pictures, tmp_path / "index")


def refused(response: httpx.Response, status: int) -> str:
    """Return why a request was refused, after checking that it was so in one line of JSON."""
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    text: str = response.json()["error"]
    assert text
    assert "\n" not in text
    return text


def png(width: int = 64, height: int = 48) -> bytes:
    """Return a picture as a file."""
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def home_of(site: Site) -> BaseRegistry:
    """Open the registry of the tiny base."""
    root = Registry(site.registry)
    return root.open(root.bases()[0])


# Searching -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", QUERIES)
def test_a_text_finds_what_the_library_finds(client: httpx.Client, searcher: Searcher, tag: str) -> None:
    """The server is the library behind a route."""
    answer = client.get("/search", params={"q": QUERIES[tag], "lang": tag, "top": 7}).raise_for_status().json()
    expected = searcher.search(QUERIES[tag], tag, 7)
    assert [hit["key"] for hit in answer["hits"]] == [hit.key for hit in expected.hits]
    assert [hit["score"] for hit in answer["hits"]] == pytest.approx([hit.score for hit in expected.hits], abs=1e-5)
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4, 5, 6, 7]
    assert (answer["languages"], answer["confidence"], answer["sure"]) == ([tag], None, True)
    hit = answer["hits"][0]
    assert hit["name"].startswith("picture ")  # no folder of this machine is told
    assert (hit["width"], hit["height"]) == (320, 240)


@pytest.mark.parametrize("tag", ["am", "ar"])
def test_the_language_is_found_out_and_said(client: httpx.Client, tag: str) -> None:
    """A script that one language has leaves no doubt."""
    answer = client.get("/search", params={"q": QUERIES[tag]}).raise_for_status().json()
    assert answer["languages"][0] == tag
    assert 0 < answer["confidence"] <= 1
    assert len(answer["languages"]) == (1 if answer["sure"] else 2)
    assert len(answer["hits"]) == 24


def test_queries_that_come_together_are_answered_as_alone(client: httpx.Client, searcher: Searcher) -> None:
    """Thirty-two at once share passes of the tower, and none sees another's answer."""
    asked = [(f"{text} {number}", tag) for number in range(8) for tag, text in QUERIES.items()]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda one: client.get("/search", params={"q": one[0], "lang": one[1]}).json(), asked))
    for (text, tag), answer in zip(asked, answers, strict=True):
        expected = searcher.search(text, tag, 24).hits
        assert answer["query"] == text
        assert [hit["score"] for hit in answer["hits"]] == pytest.approx([hit.score for hit in expected], abs=1e-5)


def test_a_query_that_fails_fails_alone(searcher: Searcher) -> None:
    """Of queries that are answered together, each has its own answer or its own error."""
    with serving(searcher) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        asked = ["kubwa", "\0", "  ", "mbwa"] * 8
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda text: client.get("/search", params={"q": text, "lang": "sw"}), asked))
    assert [answer.status_code for answer in answers] == [200, 422, 422, 200] * 8


class Panic(BaseException):
    """As a native library raises it."""


def test_what_nobody_expects_fails_one_request_and_health_tells_of_it(
    own: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher = own.searcher()
    real = searcher.search_all

    def search_all(queries: Sequence[Query]) -> list[Answer]:
        if any(query.text == "boom" for query in queries):
            raise Panic("index out of range")
        return real(queries)

    monkeypatch.setattr(searcher, "search_all", search_all)
    monkeypatch.setattr(searcher, "search_image", lambda image, top: search_all([Query("boom")]))
    with serving(searcher) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        assert client.get("/health").json()["restarts"] == 0
        hung_up = {"connection": "close"}  # as the server does after what it did not expect
        refused(client.get("/search", params={"q": "boom", "lang": "sw"}, headers=hung_up), 500)
        refused(client.post("/search", files={"image": png()}, headers=hung_up), 500)
        assert client.get("/search", params={"q": QUERIES["sw"], "lang": "sw"}).json()["hits"]
        health = client.get("/health").json()
        assert (health["status"], health["restarts"]) == ("ok", 1)


def test_health_tells_that_nothing_is_answered(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(own.searcher()) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        monkeypatch.setattr(Queries, "alive", False)
        assert client.get("/health").json()["status"] == "failing"


def test_a_language_whose_tokenizer_panics_costs_that_language_alone(own: Site) -> None:
    searcher = own.searcher()
    searcher.model.require("am")
    broken = searcher.model.language("am").tokenizer
    assert broken is not None
    parts = json.loads(broken.content)
    parts["post_processor"]["special_tokens"] = {}  # over which the library panics
    broken._packed = zlib.compress(json.dumps(parts).encode())
    with serving(searcher) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        problem = refused(client.get("/search", params={"q": QUERIES["am"], "lang": "am"}), 503)
        assert "The language's tokenizer fails (PanicException: no entry found for key)" in problem
        told = {row["language"]: row["problem"] for row in client.get("/languages").json()["languages"]}
        assert "tokenizer fails" in told["am"]
        for tag in ("sw", "ar", "en"):
            for lang in (tag, "auto"):
                assert client.get("/search", params={"q": QUERIES[tag], "lang": lang}).json()["hits"]
        texts = {"texts": [QUERIES["am"], QUERIES["sw"]]}
        guessed = client.post("/embed", json=texts).raise_for_status().json()["languages"]
        assert guessed[0] != "am"
        assert guessed[1] == "sw"
        refused(client.post("/embed", json={**texts, "languages": ["am", "sw"]}), 503)
        found = client.get("/search", params={"q": QUERIES["am"]}).json()  # by what is left
        assert found["hits"]
        assert "am" not in found["languages"]
        told = {row["language"]: row["problem"] for row in client.get("/languages").json()["languages"]}
        assert "tokenizer fails" in told["am"]
        assert told["sw"] is None
        assert client.get("/health").json()["restarts"] == 0


def test_pieces_that_fail_cost_the_routing_to_their_language_alone(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    router = own.searcher().router
    part = next(part for part in router._parts if part.language == "am")

    def scores(texts: Sequence[str]) -> None:
        raise Panic("index out of range")

    assert part.pieces is not None
    monkeypatch.setattr(part.pieces, "scores", scores)
    for tag in ("sw", "ar"):
        assert router.route([QUERIES[tag]])[0].languages[0] == tag
    assert "am" not in router.route([QUERIES["am"]])[0].languages
    assert "tokenizer fails (Panic" in router.problems["am"]


def test_a_language_that_cannot_be_found_out_is_told_of(own: Site) -> None:
    searcher = own.searcher()
    searcher.router.problems["am"] = "The language's tokenizer fails."
    told = {row.language: row.problem for row in languages_of(searcher)}
    assert told == {"en": None, "am": "The language's tokenizer fails.", "ar": None, "sw": None}


def test_a_base_whose_tokenizer_panics_costs_the_native_language_alone(
    own: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    searcher = own.searcher()

    def panic(*_args: object) -> None:
        raise Panic("index out of range")

    monkeypatch.setattr(type(searcher.model.base.family), "native_encoding", panic)
    searcher.router._vocabulary = Mock(scores=panic)
    with serving(searcher) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        told = refused(client.get("/search", params={"q": "dog", "lang": "en"}), 503)
        assert told.startswith("The tokenizer of the base 'tiny-dual' fails (Panic: index out of range).")
        for lang in ("sw", "auto"):
            assert client.get("/search", params={"q": QUERIES["sw"], "lang": lang}).json()["hits"]
        problems = {row["language"]: row["problem"] for row in client.get("/languages").json()["languages"]}
        assert "tokenizer of the base" in problems["en"]
        assert problems["sw"] is None


def test_a_query_that_cannot_be_looked_at_ends_nothing(own: Site) -> None:
    queries = Queries(own.searcher(), Limits())
    answered: Future[Answer] = Future()
    answered.set_exception(ValueError())  # which makes it an error to begin with it
    queries._waiting.put(PendingQuery(Query("x"), answered))
    while not queries.restarts and queries.alive:
        time.sleep(0.01)
    assert queries.alive
    assert queries.ask(QUERIES["sw"], "sw", 3).result(60).hits
    queries.close()


def test_few_pictures_are_held_decoded_at_once(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    searcher, held, most = own.searcher(), [0], [0]
    real = serving_app.read_query

    def read_query(content: bytes, pixels: int) -> Image.Image:
        held[0] += 1
        most[0] = max(most[0], held[0])
        return real(content, pixels)

    def search_image(image: Image.Image, top: int) -> Answer:
        time.sleep(0.05)
        held[0] -= 1
        return Answer("", (), None, True, [], 0.0)

    monkeypatch.setattr(serving_app, "read_query", read_query)
    monkeypatch.setattr(searcher, "search_image", search_image)
    with serving(searcher, Limits(opened=2)) as url, ThreadPoolExecutor(8) as threads:
        sent = list(threads.map(lambda _: httpx.post(f"{url}/search", files={"image": png()}, timeout=60), range(8)))
    assert [answer.status_code for answer in sent] == [200] * 8
    assert most[0] <= 2


@pytest.mark.parametrize(
    "sent",
    [
        {"url": "/embed", "content": b'{"texts": ["\\ud800"], "languages": "sw"}'},
        {"url": "/embed", "content": b'{"texts": ["x"], "languages": ["\\ud800"]}'},
        {"url": "/embed", "content": b'{"texts": ["x\\u0000"], "languages": "sw\\u0000"}'},
        {"url": "/embed", "content": b'{"\\ud800": 1}'},
    ],
)
def test_halves_of_characters_are_refused(client: httpx.Client, sent: dict[str, Any]) -> None:
    answer = client.post(sent["url"], content=sent["content"], headers={"content-type": "application/json"})
    refused(answer, 422)


def test_a_picture_finds_itself(client: httpx.Client, site: Site) -> None:
    """A picture of the index is nearest to itself."""
    content = (site.pictures / "picture 07.png").read_bytes()
    answer = client.post("/search?top=3", files={"image": ("مرحبا.png", content)}).raise_for_status().json()
    assert answer["hits"][0]["name"] == "picture 07.png"
    assert answer["hits"][0]["score"] == pytest.approx(1, abs=1e-4)
    assert answer["languages"] == []


def test_embed_gives_the_vectors_of_the_library(client: httpx.Client, searcher: Searcher) -> None:
    """One language for all, one a text, or found out; and many texts in passes of their own."""
    texts, tags = list(QUERIES.values()), list(QUERIES)
    expected = searcher.model.encode_text(texts, tags)
    answer = client.post("/embed", json={"texts": texts, "languages": tags}).raise_for_status().json()
    assert np.array(answer["vectors"]) == pytest.approx(expected.numpy(), abs=1e-5)
    assert (answer["dimension"], answer["languages"]) == (expected.shape[1], tags)
    assert answer["fingerprint"] == searcher.model.base.identity.fingerprint
    guessed = client.post("/embed", json={"texts": [QUERIES["am"], QUERIES["ar"]]}).raise_for_status().json()
    assert guessed["languages"] == ["am", "ar"]
    many = client.post("/embed", json={"texts": [f"mbwa {i}" for i in range(100)], "languages": "sw"}).json()
    assert many["languages"] == ["sw"] * 100
    assert np.linalg.norm(many["vectors"], axis=1) == pytest.approx(np.ones(100), abs=1e-5)


def test_languages_are_told_with_what_their_cards_say(client: httpx.Client, site: Site) -> None:
    """The native one comes first; quality, data, licence and version are the card's."""
    answer = client.get("/languages").raise_for_status().json()
    assert [one["language"] for one in answer["languages"]] == ["en", "am", "ar", "sw"]
    assert answer["images"] == 60
    assert answer["languages"][0]["native"]
    amharic, card = answer["languages"][1], home_of(site).card("am")
    assert (amharic["name"], amharic["version"]) == ("Amharic", card.version)
    assert {record["licence"] for record in amharic["data"]} == {"CC-BY-4.0"}
    assert amharic["quality"][0]["split"] in card.metrics["splits"]
    assert amharic["problem"] is None
    health = {"status": "ok", "base": "tiny-dual", "images": 60, "languages": 4, "restarts": 0}
    assert client.get("/health").json() == health


def test_openapi_describes_every_route_and_no_page_is_loaded_from_elsewhere(client: httpx.Client) -> None:
    """FastAPI's own page of the routes would be."""
    paths = client.get("/openapi.json").raise_for_status().json()["paths"]
    assert paths.keys() == {"/search", "/embed", "/languages", "/health", "/images/{key}", "/thumbnails/{key}"}
    assert set(paths["/search"]) == {"get", "post"}
    for path in ("/docs", "/redoc"):
        refused(client.get(path), 404)


# Pictures --------------------------------------------------------------------------------------------------------


def test_pictures_are_given_by_key_whole_and_small(client: httpx.Client, site: Site) -> None:
    """A file comes as it lies there, and cannot run anything; a small one is made."""
    hit = client.get("/search", params={"q": "mbwa", "lang": "sw"}).json()["hits"][0]
    whole = client.get(hit["image"]).raise_for_status()
    assert whole.content == (site.pictures / hit["name"]).read_bytes()
    assert whole.headers["content-type"] == "image/png"
    assert "sandbox" in whole.headers["content-security-policy"]
    for _ in range(2):
        small = client.get(hit["thumbnail"]).raise_for_status()
        with Image.open(io.BytesIO(small.content)) as image:
            assert (image.format, image.size) == ("WEBP", (320, 240))


@pytest.mark.parametrize(
    "path",
    ["/images/999", "/thumbnails/999", "/images/-1", "/images/99999999999999999999", "/images/..%2f..%2fetc%2fpasswd",
     "/thumbnails/%2e%2e/pyproject.toml", "/images/", "/page.js/../server.py", "/%2e%2e/server.py"],
)  # fmt: skip
def test_nothing_outside_the_index_is_given(client: httpx.Client, path: str) -> None:
    """A key leads to a file of the index, or to nothing."""
    response = client.get(path)
    assert response.status_code in (404, 422), path
    assert list(response.json()) == ["error"]


def test_what_has_come_to_lie_under_a_picture_s_name_is_not_given(site: Site, tmp_path: Path) -> None:
    """Neither a link to a secret, nor text, nor a file that is gone."""
    pictures = tmp_path / "pictures"
    shutil.copytree(site.pictures, pictures)
    from mla_extend.search.index.make import make_index

    make_index(pictures, tmp_path / "index", base=str(site.base), registry=site.registry)
    (tmp_path / "passwd").write_bytes(SECRET)
    moved = Site(site.base, site.registry, pictures, tmp_path / "index")
    with serving(moved.searcher()) as url, httpx.Client(base_url=url, trust_env=False) as client:
        hits = {hit["name"]: hit for hit in client.get("/search?q=mbwa&lang=sw&top=60").json()["hits"]}
        for name in ("picture 00.png", "picture 01.png", "picture 02.png"):
            (pictures / name).unlink()
        (pictures / "picture 00.png").symlink_to(tmp_path / "passwd")
        (pictures / "picture 01.png").write_bytes(SECRET)
        for name in ("picture 00.png", "picture 01.png", "picture 02.png"):
            for route in ("image", "thumbnail"):
                response = client.get(hits[name][route])
                assert SECRET not in response.content
                assert "Index the folder again" in refused(response, 404)
        assert client.get(hits["picture 03.png"]["image"]).is_success


def test_a_video_is_found_and_given_whole_in_parts_and_small(site: Site, tmp_path: Path) -> None:
    """A player asks for parts; what has come to lie under the name of a video is no video and is not given."""
    from clips import encode

    from mla_extend.search.index.make import make_index

    folder = tmp_path / "clips"
    folder.mkdir()
    frames = [open_image(picture) for picture in sorted(site.pictures.iterdir())[:3] for _ in range(10)]
    for name in ("one.mp4", "two.mp4", "three.mp4", "four.mp4"):
        encode(folder / name, frames)
    make_index(folder, tmp_path / "index", base=str(site.base), registry=site.registry)
    (tmp_path / "passwd").write_bytes(SECRET)
    clips = Site(site.base, site.registry, folder, tmp_path / "index")
    with serving(clips.searcher()) as url, httpx.Client(base_url=url, trust_env=False) as client:
        hits = {hit["name"]: hit for hit in client.get("/search?q=mbwa&lang=sw").json()["hits"]}
        content = (folder / "one.mp4").read_bytes()
        whole = client.get(hits["one.mp4"]["image"]).raise_for_status()
        assert (whole.content, whole.headers["content-type"]) == (content, "video/mp4")
        part = client.get(hits["one.mp4"]["image"], headers={"range": "bytes=10-99"})
        assert (part.status_code, part.content) == (206, content[10:100])
        small = client.get(hits["one.mp4"]["thumbnail"]).raise_for_status()
        with Image.open(io.BytesIO(small.content)) as image:
            assert (image.format, image.size) == ("WEBP", (320, 240))
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "av", None)
            for route in ("image", "thumbnail"):
                assert "pip install 'mla-extend[video]'" in refused(client.get(hits["two.mp4"][route]), 404)
        for name in ("two.mp4", "three.mp4", "four.mp4"):
            (folder / name).unlink()
        (folder / "two.mp4").symlink_to(tmp_path / "passwd")
        (folder / "three.mp4").write_bytes(SECRET)
        for name in ("two.mp4", "three.mp4", "four.mp4"):
            for route in ("image", "thumbnail"):
                response = client.get(hits[name][route])
                assert SECRET not in response.content
                assert str(tmp_path) not in response.text
                assert "Index the folder again" in refused(response, 404)


def test_small_pictures_are_kept_within_their_bound(searcher: Searcher) -> None:
    """What does not fit is made again."""
    from mla_extend.serve.pictures import Pictures

    kept = Pictures(searcher.index, Limits(thumbnails_bytes=4000))
    keys = [hit.key for hit in searcher.search("mbwa", "sw", 60).hits]
    first = [kept.small(key) for key in keys]
    assert sum(map(len, first)) > 4000
    assert 0 < kept._bytes <= 4000
    assert kept._bytes == sum(map(len, kept._small.values()))
    assert [kept.small(key) for key in keys] == first


# Limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({}, "q: "),
        ({"q": ""}, "The query is empty"),
        ({"q": "a\0b"}, "NUL"),
        ({"q": "ا" * 2001}, "2000"),
        ({"q": "mbwa", "lang": "xx"}, "xx"),
        ({"q": "mbwa", "lang": "de"}, "'de' is not in the registry"),
        ({"q": "mbwa", "lang": "../../etc"}, "etc"),
        ({"q": "mbwa", "top": "0"}, "top: "),
        ({"q": "mbwa", "top": "201"}, "200"),
        ({"q": "mbwa", "top": "many"}, "top: "),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(client: httpx.Client, parameters: dict[str, str], why: str) -> None:
    """With the value, and what to do."""
    assert why in refused(client.get("/search", params=parameters), 422)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"texts": []}, "texts: "),
        ({"texts": ["a"] * 257, "languages": "en"}, "257 texts"),
        ({"texts": ["a" * 2001], "languages": "en"}, "2,001 characters"),
        ({"texts": ["a", "b"], "languages": ["en"]}, "2 texts and 1 languages"),
        ({"texts": ["a"], "languages": "tlh"}, "tlh"),
        ({"texts": "a"}, "texts: "),
        ({"texts": [1]}, "texts.0: "),
        ([1, 2], "body"),
    ],
)
def test_texts_that_cannot_be_encoded_are_refused(client: httpx.Client, body: Any, why: str) -> None:
    """With the value, and what to do."""
    assert why in refused(client.post("/embed", json=body), 422)


def test_bad_json_is_refused(client: httpx.Client) -> None:
    """Whatever it is."""
    for content in (b"{", b"\xff\xfe", b"[" * 100_000, b"NaN", b""):
        refused(client.post("/embed", content=content, headers={"content-type": "application/json"}), 422)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"<svg/>", png()[:200]])
def test_a_broken_picture_is_refused(client: httpx.Client, content: bytes) -> None:
    """It is said what can be read."""
    assert "Send a JPEG" in refused(client.post("/search", files={"image": ("a.png", content)}), 422)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(client: httpx.Client) -> None:
    """A few kilobytes may claim gigabytes."""
    for side in (9_000, 30_000):
        buffer = io.BytesIO()
        Image.new("1", (16, 16)).save(buffer, "PNG")
        content = bytearray(buffer.getvalue())
        content[16:24] = side.to_bytes(4, "big") * 2
        import zlib

        content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
        assert "pixels" in refused(client.post("/search", files={"image": ("a.png", bytes(content))}), 413)


def test_a_body_that_is_too_large_is_refused(searcher: Searcher) -> None:
    """Whether it says so or not, and whether it ends or not."""
    with serving(searcher, Limits(body_bytes=100_000)) as url:
        for size in (100_001, 390_000):
            assert "larger than" in refused(httpx.post(f"{url}/embed", content=b"x" * size, trust_env=False), 413)
            pieces = (b"x" * 1000 for _ in range(size // 1000 + 1))
            refused(httpx.post(f"{url}/embed", content=pieces, trust_env=False), 413)
        head = b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
        assert talk(url, head).startswith(b"HTTP/1.1 413 ")


def talk(url: str, sent: bytes) -> bytes:
    """Send bytes, and return all that comes until the server hangs up."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(sent)
        got = b""
        while part := connection.recv(65536):
            got += part
        return got


def test_who_does_not_finish_a_request_is_hung_up_on(searcher: Searcher) -> None:
    """Whether nothing comes, half of the headers, or half of a body."""
    with serving(searcher, Limits(seconds=0.5, header_seconds=0.5)) as url:
        assert talk(url, b"") == b""
        assert talk(url, b"GET /search?q=mbwa HT") == b""
        assert talk(url, b"GET /health HTTP/1.1\r\nHost: localhost\r\n") == b""
        half = b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"
        answer = talk(url, half)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.5 s" in answer


def test_a_server_at_its_limit_says_so(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers what it has begun, and the next one comes again later; what takes too long is given up."""
    going = threading.Event()
    encode = searcher.model.encode_text

    def slow(*arguments: Any) -> Any:
        going.wait(30)
        return encode(*arguments)

    with serving(searcher, Limits(requests=2, seconds=2)) as url, httpx.Client(trust_env=False, timeout=30) as client:
        monkeypatch.setattr(searcher.model, "encode_text", slow)
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: client.get(f"{url}/search?q=mbwa&lang=sw"), range(6)))
        texts = [refused(answer, 503) for answer in answers]
        assert sum("busy" in text for text in texts) == 4
        assert sum("took longer than 2 s" in text for text in texts) == 2
        assert all(answer.headers["retry-after"] == "1" for answer in answers)
        going.set()
        assert client.get(f"{url}/search?q=mbwa&lang=sw").is_success


def test_too_many_large_bodies_at_once_are_refused(searcher: Searcher) -> None:
    """Memory is bounded, whatever comes."""
    with serving(searcher, Limits(bodies_bytes=10)) as url:
        body = {"texts": ["mbwa"], "languages": "sw"}
        assert "too many large requests" in refused(httpx.post(f"{url}/embed", json=body, trust_env=False), 503)
        assert httpx.get(f"{url}/health", trust_env=False).is_success


def test_what_fails_in_the_server_is_one_line_too(searcher: Searcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client learns that it was not its fault; the log says why."""

    def broken(*_: Any) -> Any:
        raise RuntimeError("a tower fell over")

    with serving(searcher) as url:
        monkeypatch.setattr(searcher.model, "encode_text", broken)
        assert "Its log says what" in refused(httpx.get(f"{url}/search?q=mbwa&lang=sw", trust_env=False), 500)


# Whom it answers -------------------------------------------------------------------------------------------------


def test_every_answer_has_the_headers_that_keep_other_pages_out(client: httpx.Client) -> None:
    """Refusals too."""
    for path in ("/", "/page.js", "/search?q=mbwa&lang=sw", "/search", "/nothing", "/thumbnails/1"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


def test_only_this_machine_s_names_are_answered_on_the_loopback(client: httpx.Client, url: str) -> None:
    """A name that somebody pointed to the loopback is not."""
    port = url.rpartition(":")[2]
    for host in ("localhost", f"localhost:{port}", "127.0.0.1", f"LOCALHOST.:{port}"):
        assert client.get("/health", headers={"host": host}).is_success
    for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "", "[::2]"):
        assert "does not answer to the host name" in refused(client.get("/health", headers={"host": host}), 421)
    assert allowed_hosts("0.0.0.0") is None
    assert allowed_hosts("::1") == {"localhost", "127.0.0.1", "[::1]", "::1"}


def test_another_site_s_page_may_not_use_the_server(client: httpx.Client) -> None:
    """Its requests are refused; a link on it to this page is not."""
    for site_ in ("cross-site", "same-site"):
        headers = {"sec-fetch-site": site_, "sec-fetch-mode": "no-cors"}
        refused(client.post("/search", files={"image": ("a.png", png())}, headers=headers), 403)
        refused(client.get("/thumbnails/1", headers=headers), 403)
    assert client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).is_success
    assert client.get("/health", headers={"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}).is_success


def test_the_page_names_no_other_host(client: httpx.Client) -> None:
    """Whatever it loads is here."""
    for path in ("/", "/style.css", "/page.js", "/icon.svg"):
        text = client.get(path).raise_for_status().text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text
        assert "//cdn" not in text


# Many at once ----------------------------------------------------------------------------------------------------


def test_of_thirty_two_clients_one_that_sends_rubbish_costs_no_other_an_answer(searcher: Searcher, site: Site) -> None:
    """Thirty-one ask in four languages, by picture and for vectors; each gets each answer, and it is the right one."""
    done = threading.Event()
    content = (site.pictures / "picture 30.png").read_bytes()
    expected = {tag: [hit.key for hit in searcher.search(text, tag, 5).hits] for tag, text in QUERIES.items()}

    def good(number: int) -> int:
        count = 0
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
            for turn in range(6):
                tag = list(QUERIES)[(number + turn) % 4]
                answer = client.get("/search", params={"q": QUERIES[tag], "lang": tag, "top": 5})
                assert [hit["key"] for hit in answer.raise_for_status().json()["hits"]] == expected[tag]
                if number % 8 == 0:
                    found = client.post("/search?top=1", files={"image": ("a.png", content)}).raise_for_status()
                    assert found.json()["hits"][0]["name"] == "picture 30.png"
                if number % 8 == 1:
                    body = {"texts": [QUERIES[tag]] * 40, "languages": tag}
                    assert len(client.post("/embed", json=body).raise_for_status().json()["vectors"]) == 40
                count += 1
        return count

    def rubbish() -> int:
        host, _, port = url.removeprefix("http://").partition(":")
        open_, sent = [], 0
        bad = [
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET",
            b"\0" * 5000,
            b"GET / HTTP/9\r\n\r\n",
            b"A" * 70_000,
            b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{",
            b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000000000\r\n\r\n",
            b"POST /embed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n" + b"x" * 9000,
            b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{",
            b"GET /search?q=%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /search?q=%ff%fe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ]
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            while not done.is_set():
                connection = socket.create_connection((host, int(port)), timeout=30)
                connection.sendall(bad[sent % len(bad)])
                open_.append(connection)  # and neither read nor closed
                if sent % 10 == 0:
                    assert client.post("/search", files={"image": ("a", b"\xff\xd8rubbish")}).status_code == 422
                    assert client.post("/embed", content=b"{" * 1000).status_code == 422
                if len(open_) > 100:
                    open_.pop(0).close()
                sent += 1
                time.sleep(0.002)
        for connection in open_:
            connection.close()
        return sent

    with serving(searcher) as url, ThreadPoolExecutor(32) as pool:
        worst = pool.submit(rubbish)
        try:
            assert sum(pool.map(good, range(31))) == 31 * 6
        finally:
            done.set()
        assert worst.result() > 0


# A registry that changes -----------------------------------------------------------------------------------------


def test_what_changes_in_the_registry_is_picked_up_while_the_server_runs(own: Site, tmp_path: Path) -> None:
    """A language that is replaced, rolled back, added or removed is so in the next answer."""
    searcher, home = own.searcher(), home_of(own)
    limits = Limits(refresh_seconds=0)
    with serving(searcher, limits) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:

        def vector(tag: str = "sw") -> list[float]:
            body = {"texts": ["mbwa kubwa"], "languages": tag}
            found: list[float] = client.post("/embed", json=body).raise_for_status().json()["vectors"][0]
            return found

        def version(tag: str = "sw") -> str | None:
            told = {one["language"]: one["version"] for one in client.get("/languages").json()["languages"]}
            return told.get(tag)

        first, old, native = vector(), home.current("sw").name, vector("en")
        assert version() == old
        add("sw", own.base, own.registry, tmp_path, seed=5, replace=True)
        assert vector() != pytest.approx(first, abs=1e-3)
        assert version() == home.current("sw").name != old
        home.use("sw", old)
        assert vector() == pytest.approx(first, abs=1e-6)
        assert version() == old

        add("de", own.base, own.registry, tmp_path)
        assert client.get("/search", params={"q": "paka", "lang": "de"}).is_success
        assert version("de") == home.current("de").name
        home.remove("de")
        assert "'de' is not in the registry" in refused(client.get("/search", params={"q": "paka", "lang": "de"}), 422)
        assert version("de") is None
        home.remove("am")
        guessed = client.get("/search", params={"q": QUERIES["am"]}).raise_for_status().json()
        assert "am" not in guessed["languages"]
        assert vector("en") == pytest.approx(native, abs=1e-6)


def test_a_damaged_version_leaves_the_one_that_is_loaded_in_use(own: Site, tmp_path: Path) -> None:
    """The server goes on with what it has, and says what is wrong; a language that was never loaded is refused."""
    searcher, home = own.searcher(), home_of(own)
    with serving(searcher, Limits(refresh_seconds=0)) as url, httpx.Client(base_url=url, trust_env=False) as client:
        before = client.get("/search?q=mbwa&lang=sw").raise_for_status().json()["hits"]
        old = home.current("sw").name
        add("sw", own.base, own.registry, tmp_path, seed=5, replace=True)
        for tag in ("sw", "ar"):
            weights = home.current(tag).folder / "adapter_model.safetensors"
            weights.chmod(0o644)
            weights.write_bytes(weights.read_bytes()[:-1] + b"x")
        assert client.get("/search?q=mbwa&lang=sw").raise_for_status().json()["hits"] == before
        told = {one["language"]: one for one in client.get("/languages").json()["languages"]}
        assert told["sw"]["version"] == old
        assert "adapter_model.safetensors" in told["sw"]["problem"]
        assert "adapter_model.safetensors" in refused(client.get("/search?q=mbwa&lang=ar"), 503)
        assert client.get("/search?q=mbwa&lang=am").is_success


def test_a_model_follows_its_registry(own: Site, tmp_path: Path) -> None:
    """`refresh` says what changed, and leaves alone what does not come from the registry."""
    model = load_model(registry=own.registry, device="cpu")
    home = home_of(own)
    assert model.refresh() == []
    model.encode_text(["mbwa"], "sw")
    model.load("x-own", home.current("ar").folder)
    assert model.version("sw") == home.current("sw").name
    assert model.version("x-own") is None
    home.remove("sw")
    home.remove("am")
    assert model.refresh() == ["am", "sw"]
    assert not model.is_loaded("sw")
    assert model.is_loaded("x-own")
    with pytest.raises(LanguageError, match="'sw' is not in the registry"):
        model.encode_text(["mbwa"], "sw")
    add("sw", own.base, own.registry, tmp_path)
    assert model.refresh() == ["sw"]
    assert model.encode_text(["mbwa"], "sw").shape == (1, 16)
    (home.folder / "sw" / "current").write_text("2020-01-01T00-00-00Z-0000\n")
    assert model.refresh() == ["sw"]
    assert "names the version" in model.problems["sw"]
    assert model.is_loaded("sw")


def test_a_language_that_was_loaded_between_two_looks_is_followed_too(own: Site, tmp_path: Path) -> None:
    """The registry may be as it was at the last look, and the model not."""
    model, home = load_model(registry=own.registry, device="cpu"), home_of(own)
    old = home.current("sw").name
    add("sw", own.base, own.registry, tmp_path, seed=5, replace=True)
    model.require("sw")
    assert model.version("sw") != old
    home.use("sw", old)
    assert model.refresh() == ["sw"]
    assert model.version("sw") == old
    assert model.refresh() == []


def test_a_registry_that_cannot_be_read_keeps_no_loaded_language_from_answering(own: Site) -> None:
    """The server goes on with what it has, and logs why it cannot follow."""
    with (
        serving(own.searcher(), Limits(refresh_seconds=0)) as url,
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        before = client.get("/search?q=mbwa&lang=sw").raise_for_status().json()["hits"]
        own.registry.rename(own.registry.with_name("moved"))
        assert client.get("/search?q=mbwa&lang=sw").raise_for_status().json()["hits"] == before


def test_a_model_without_a_registry_finds_one_that_comes_later(site: Site, tmp_path: Path) -> None:
    """The first language may be added while the model is open."""
    model = load_model(str(site.base), tmp_path / "adapters", device="cpu")
    assert model.registry is None
    assert model.refresh() == []
    add("sw", site.base, tmp_path / "adapters", tmp_path)
    assert model.refresh() == ["sw"]
    assert model.encode_text(["mbwa"], "sw").shape == (1, 16)


def test_threads_encode_while_languages_come_and_go(own: Site, tmp_path: Path) -> None:
    """Each vector is of one version or of the other, never of something between."""
    model, home = load_model(registry=own.registry, device="cpu"), home_of(own)
    texts = ["mbwa kubwa", "paka", "ndege ndogo"]
    old = home.current("sw").name
    add("sw", own.base, own.registry, tmp_path, seed=5, replace=True)
    new = home.current("sw").name
    allowed = []
    for name in (old, new):
        home.use("sw", name)
        model.refresh()
        allowed.append(model.encode_text(texts, "sw").numpy())
    english = model.encode_text(["a red dog"], "en").numpy()
    done = threading.Event()

    def encode(number: int) -> int:
        count = 0
        while not done.is_set():
            got = model.encode_text([*texts, "a red dog"], ["sw"] * 3 + ["en"]).numpy()
            assert min(np.abs(got[:3] - one).max() for one in allowed) < 1e-5
            assert np.abs(got[3:] - english).max() < 1e-5
            count += 1
        return count

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(encode, number) for number in range(4)]
        try:
            for turn in range(10):
                home.use("sw", (old, new)[turn % 2])
                assert model.refresh() == ["sw"]
        finally:
            done.set()
        assert all(one.result() > 0 for one in running)


def test_a_version_that_cannot_be_loaded_after_all_is_said_and_tried_again(
    own: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its check and its loading anything may happen to a file."""
    model, home = load_model(registry=own.registry, device="cpu"), home_of(own)
    model.require("sw")
    add("sw", own.base, own.registry, tmp_path, seed=5, replace=True)

    def fails(*_: Any) -> Any:
        raise RegistryError("The adapter is not to be had.")

    with monkeypatch.context() as patch:
        patch.setattr(RegistryModel, "load", fails)
        assert model.refresh() == ["sw"]
        assert model.problems["sw"] == "The adapter is not to be had."
        with pytest.raises(RegistryError, match="not to be had"):
            model.encode_text(["mbwa"], "sw")
    assert model.encode_text(["mbwa"], "sw").shape == (1, 16)
    assert model.version("sw") == home.current("sw").name


# The command -----------------------------------------------------------------------------------------------------


def test_a_taken_port_and_an_unknown_host_are_said(site: Site) -> None:
    """With what to do."""
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DataError, match=rf"127\.0\.0\.1, port {port}, cannot be listened on .* another --port"):
            open_service(site.index, port=port, registry=site.registry)
        command = ["serve", "--index", str(site.index), "--port", str(port)]
        result = CliRunner().invoke(cli, command, env={"MLA_EXTEND_REGISTRY": str(site.registry)})
        assert isinstance(result.exception, DataError)
    with pytest.raises(DataError, match="Cannot listen on the host 'no such host'"):
        listen("no such host", 0)
    with pytest.raises(DataError, match="index"):
        open_service(site.index / "nothing", port=0, registry=site.registry)


def test_the_missing_libraries_are_named(site: Site) -> None:
    """And how to install them."""
    code = "import sys; sys.modules['fastapi'] = None; import mla_extend.serve.server"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingExtraError: The server needs fastapi" in result.stderr
    assert "pip install 'mla-extend[serve]'" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_the_command_serves_until_it_is_stopped(site: Site, tmp_path: Path) -> None:
    """It says where, answers, and ends without a trace."""
    command = [sys.executable, "-m", "mla_extend", "serve", "--index", str(site.index), "--port", "0"]
    environment = os.environ | {"MLA_EXTEND_REGISTRY": str(site.registry), "COLUMNS": "200"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.readline()
        assert said.startswith("60 images in 4 languages: http://127.0.0.1:")
        url = said.rpartition(" ")[2].strip()
        answer = httpx.get(f"{url}search", params={"q": QUERIES["ar"]}, timeout=60, trust_env=False)
        assert answer.raise_for_status().json()["languages"][0] == "ar"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert "Stopped." in process.stderr.read()


def test_help_of_the_command_imports_no_server() -> None:
    """It is shown at once."""
    code = (
        "import sys; import mla_extend.cli.app; "
        "print(json.dumps([m for m in ('torch', 'fastapi', 'uvicorn', 'numpy') if m in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", f"import json; {code}"], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []
