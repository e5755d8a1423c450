"""Sending a language to the hub and taking one from there, with the hub's own client and a small hub on loopback."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from mla_extend import load_model
from mla_extend.errors import BaseMismatchError, DataError, LanguageError, MlaExtendError, RegistryError
from mla_extend.registry import contents
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import verify
from mla_extend.share import download as sharing
from mla_extend.share.hub import VERSION_README, hub_card, pull, push
from mla_extend.share.take_in import read_received
from tests.test_cli_end_to_end import run, tree
from tests.test_pack import EVIL, add, files_of, make_registry, sealed, without_swahili

# The hub's client sends large files in a way that its own HTTP library warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TOKEN, REPO = "hf_writes", "karibu/demo-sw"
LARGE = (".safetensors", ".model", ".png")


@dataclass
class Repo:
    """One model repository: its commits, each with all its files, and its branches."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Put a new commit on a branch and return its hash."""
        names = sorted((name, hashlib.sha1(content).hexdigest()) for name, content in files.items())
        commit = hashlib.sha1(f"{self.branches.get(branch)}{names}".encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.branches[branch] = commit
        return commit

    def find(self, revision: str) -> str | None:
        """Return the commit of a branch or of itself."""
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class Hub(ThreadingHTTPServer):
    """As much of the hub as a model repository needs: it keeps all in memory and writes down what it is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.failing = ""
        self.cut = ""
        self.sizes: dict[str, int | None] = {}
        self.slow = ""
        self.slow_to_begin = ""
        self.junk = b""
        self.sha: str | None = None

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def elsewhere(self) -> str:
        """Return where large files are fetched from: another host, as the hub has it."""
        return f"http://localhost:{self.server_address[1]}/large/"


def git_oid(content: bytes) -> str:
    """Return what git calls a file of that content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answer one connection."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def answer(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Send JSON, or bytes as they are."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        body = (self.server.junk if "/api/models" in self.path and self.command == "GET" else b"") or body
        if self.server.slow_to_begin and self.server.slow_to_begin in self.path:
            with suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.1)
            self.close_connection = True
            return
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.slow and self.server.slow in self.path and self.command == "GET":
            with suppress(OSError):
                for byte in body[:100]:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.1)
        elif self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        """Read what was sent, whole or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def handle_one(self) -> None:
        """Find what is asked for."""
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        sent = self.body()
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.server.failing and re.search(self.server.failing, path):
            self.answer({"error": f"Internal{EVIL}"}, 500)
        elif path.startswith("/large/"):
            self.large(path.removeprefix("/large/"), sent)
        elif self.command == "POST" and token != TOKEN:
            self.answer(
                {"error": "Invalid credentials"},
                401,
                {"X-Error-Message": "Invalid credentials in Authorization header"},
            )
        elif path == "/api/repos/create":
            asked = json.loads(sent)
            name = f"{asked['organization']}/{asked['name']}"
            repo = self.server.repos.setdefault(name, Repo(private=asked.get("visibility") == "private"))
            repo.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
            self.answer({"url": f"{self.server.url}/{name}", "name": name, "id": name})
        elif path == "/api/validate-yaml":
            text = json.loads(sent)["content"].split("---\n")[1]
            good = isinstance(yaml.safe_load(text), dict)
            self.answer({"errors": [] if good else [{"message": "no"}], "warnings": []}, 200 if good else 400)
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/.*)?", path):
            self.model(found[1], found[2] or "", sent, token)
        elif found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            objects = [self.upload(item) for item in json.loads(sent)["objects"]]
            self.answer({"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.file(found[1], found[2], found[3], token)
        else:
            self.answer({"error": "no such page"}, 404)

    do_GET = do_HEAD = do_POST = do_PUT = handle_one  # noqa: N815 - the library's names

    def repo(self, name: str, token: str) -> Repo | None:
        """Return a repository that the token may see; answer that there is none otherwise."""
        repo = self.server.repos.get(name)
        if repo is None or (repo.private and token != TOKEN):
            self.answer({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
            return None
        return repo

    def upload(self, item: dict[str, Any]) -> dict[str, Any]:
        """Say where a large file is to be sent, if it is not there."""
        if item["oid"] in self.server.large:
            return item
        there = f"{self.server.url}/large/{item['oid']}"
        return {**item, "actions": {"upload": {"href": there}, "verify": {"href": there}}}

    def large(self, oid: str, sent: bytes) -> None:
        """Take or give a large file."""
        if self.command == "PUT":
            assert hashlib.sha256(sent).hexdigest() == oid
            self.server.large[oid] = sent
        content = self.server.large[oid] if self.command == "GET" else b"{}"
        self.answer(content, headers={"ETag": f'"{oid}"'})

    def model(self, name: str, rest: str, sent: bytes, token: str) -> None:
        """Answer what is asked of a repository."""
        repo = self.repo(name, token)
        if repo is None:
            return
        verb, _, revision = rest.lstrip("/").partition("/")
        commit = repo.find(revision or "main")
        if verb == "branch":
            repo.branches.setdefault(revision, repo.branches["main"])
            self.answer({})
        elif commit is None:
            self.answer({"error": "no such revision"}, 404, {"X-Error-Code": "RevisionNotFound"})
        elif verb in {"", "revision"}:
            siblings = [
                {"rfilename": path, "size": self.server.sizes.get(path, len(content)), "blobId": git_oid(content)}
                for path, content in repo.commits[commit].items()
            ]
            shown = self.server.sha or commit
            self.answer({"id": name, "sha": shown, "private": repo.private, "siblings": siblings, "tags": []})
        elif verb == "tree":
            self.answer([self.entry(path, content) for path, content in repo.commits[commit].items()])
        elif verb == "preupload":
            asked = json.loads(sent)["files"]
            old = repo.commits[commit]
            self.answer({"files": [
                {
                    "path": item["path"],
                    "uploadMode": "lfs" if item["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                    "oid": self.entry(item["path"], old[item["path"]])["oid"] if item["path"] in old else None,
                }
                for item in asked
            ]})  # fmt: skip
        elif verb == "commit":
            self.take(name, revision, commit, [json.loads(line) for line in sent.splitlines()])

    def entry(self, path: str, content: bytes) -> dict[str, Any]:
        """Describe a file."""
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
        if path.endswith(LARGE):
            oid = hashlib.sha256(content).hexdigest()
            entry |= {"oid": oid, "lfs": {"oid": oid, "size": len(content), "pointerSize": 130}}
        return entry

    def take(self, name: str, branch: str, commit: str, lines: list[dict[str, Any]]) -> None:
        """Make a commit."""
        repo = self.server.repos[name]
        content = dict(repo.commits[commit])
        for line in lines:
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit", commit) != commit:
                self.answer({"error": "not on top"}, 412)
                return
            if line["key"] == "file":
                content[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content[value["path"]] = self.server.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del content[value["path"]]
        made = repo.commit(content, branch)
        self.answer({"commitUrl": f"{self.server.url}/{name}/commit/{made}", "commitOid": made})

    def file(self, name: str, revision: str, path: str, token: str) -> None:
        """Give a file; a large one lies elsewhere."""
        repo = self.repo(name, token)
        commit = repo.find(revision) if repo else None
        if repo is None:
            return
        if commit is None or path not in repo.commits[commit]:
            self.answer({"error": "no such file"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        content = repo.commits[commit][path]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{self.entry(path, content)["oid"]}"'}
        if self.server.cut == path and self.command == "GET":
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        elif path.endswith(LARGE):
            oid = hashlib.sha256(content).hexdigest()
            self.server.large[oid] = content
            more = {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))}
            self.answer(b"", 302, {**headers, **more, "Location": self.server.elsewhere + oid})
        else:
            self.answer(content, headers=headers)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, dual_folder: Path) -> Path:
    """Give a registry of three languages; tests copy it before they change it."""
    return make_registry(tmp_path_factory.mktemp("made"), dual_folder)


@pytest.fixture(scope="module")
def files(made: Path) -> dict[str, bytes]:
    """Give the files of the Swahili version."""
    return files_of(made, "sw")


@pytest.fixture
def here(made: Path, tmp_path: Path) -> Path:
    """Give a copy of the registry without Swahili."""
    return without_swahili(made, tmp_path / "here")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """Run a hub, and let the client know it: its address, a token, and its older way of sending large files."""
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    for name, value in {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "NO_PROXY": "127.0.0.1,localhost"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    assert not list(temporary.iterdir())


def stored(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return a version's files as they lie in a repository."""
    return {VERSION_README if name == "README.md" else name: content for name, content in files.items()}


def refused(registry: Path, base: Path, kind: type[MlaExtendError] = DataError, repo: str = REPO, **more: Any) -> str:
    """Assert that nothing is taken from a repository, with one printable line; return the line."""
    before = tree(registry) if registry.exists() else {}
    with pytest.raises(kind) as caught:
        pull(repo, registry=registry, base=str(base), **more)
    assert (tree(registry) if registry.exists() else {}) == before
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def test_what_is_sent_comes_back_as_it_was(made: Path, here: Path, hub: Hub) -> None:
    sent = push("sw", REPO, registry=made)
    repo = hub.repos[REPO]
    assert sent["commit"] == repo.branches["main"]
    assert not repo.private
    old = Registry(made).open().current("sw")
    there = repo.commits[sent["commit"]]
    for path in old.folder.iterdir():
        assert there[VERSION_README if path.name == "README.md" else path.name] == path.read_bytes()
    assert hub.large  # large files went their own way

    found = pull(REPO, registry=here)
    assert found["published"]
    new = Registry(here).open().current("sw")
    assert {path.name: path.read_bytes() for path in new.folder.iterdir() if path.name[0] != "."} == {
        path.name: path.read_bytes() for path in old.folder.iterdir()
    }
    received = read_received(new)
    assert received is not None
    assert {key: received[key] for key in ("from", "repo", "revision", "commit")} == {
        "from": "hub", "repo": REPO, "revision": "main", "commit": sent["commit"],
    }  # fmt: skip
    assert set(received["isolation"]["languages"]) == {"en", "am", "ar"}
    assert verify(here) == []
    texts = ["paka moja", "mbwa nyekundu"]
    vectors = [load_model(registry=root).encode_text(texts, "sw").numpy().tobytes() for root in (made, here)]
    assert vectors[0] == vectors[1]

    hub.asked.clear()
    assert not pull(REPO, registry=here)["published"]
    assert not any("safetensors" in line for line in hub.asked)


def test_the_hubs_model_card_has_what_the_hub_reads(made: Path, hub: Hub) -> None:
    commit = push("am", "karibu/am", registry=made)["commit"]
    readme = hub.repos["karibu/am"].commits[commit]["README.md"].decode()
    _, front, body = readme.split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["language"] == ["am"]
    assert about["license"] == "other"  # the base's is unknown
    assert about["library_name"] == "mla-extend"
    assert about["pipeline_tag"] == "feature-extraction"
    assert "peft" in about["tags"]
    results = about["model-index"][0]["results"]
    figures = {metric["type"]: metric["value"] for metric in results[0]["metrics"]}
    card = Registry(made).open().card("am")
    split = card.metrics["splits"][results[0]["dataset"]["split"]]
    assert figures["to_native_accuracy"] == round(split["to_native_accuracy"], 4)
    assert body.count("# Amharic for tiny-dual") == 1
    assert "mla-extend pull karibu/am" in body
    assert "language:" not in body


def test_base_licence_and_data_sets_stand_in_the_card_where_they_are_known(made: Path) -> None:
    card = Registry(made).open().card("am")
    data = [
        {"role": "parallel", "path": "org/pairs/am", "format": "hf", "pairs": 3, "licence": "Apache 2.0"},
        {"role": "test_set", "path": "org/tests", "format": "hf", "pairs": 3, "licence": "Apache-2.0"},
    ]
    base = {**card.base, "source": "org/clip", "licence": "Apache-2.0 (text tower); Apache-2.0 (image tower)"}
    known = type(card)(**{**vars(card), "data": data, "base": base})
    about = yaml.safe_load(hub_card(known, REPO, "# Title\n\nText\n").split("---\n")[1])
    assert about["license"] == "apache-2.0"
    assert about["base_model"] == "org/clip"
    assert about["base_model_relation"] == "adapter"
    assert about["datasets"] == ["org/pairs"]


def test_a_version_is_pinned_by_its_commit(made: Path, here: Path, dual_folder: Path, tmp_path: Path, hub: Hub) -> None:
    first = push("sw", REPO, registry=made)
    assert push("sw", REPO, registry=made)["commit"] == first["commit"]  # nothing has changed
    add("sw", dual_folder, here, tmp_path, seed=1)
    repo = hub.repos[REPO]
    repo.commit({**repo.commits[first["commit"]], "old.json": b"{}"})
    second = push("sw", REPO, registry=here)
    assert second["commit"] != first["commit"]
    branch = push("sw", REPO, registry=made, revision="v-first")
    assert branch["commit"] == repo.branches["v-first"]
    assert repo.branches["main"] == second["commit"]
    elsewhere = tmp_path / "elsewhere"
    found = pull(REPO, registry=elsewhere, base=str(dual_folder), revision=first["commit"])
    assert found["version"] == first["version"]
    assert found["received"]["commit"] == first["commit"]
    newer = pull(REPO, registry=elsewhere, replace=True)
    assert newer["version"] == second["version"]
    assert newer["received"]["commit"] == second["commit"]
    assert (
        pull(REPO, registry=tmp_path / "third", base=str(dual_folder), revision="v-first")["version"]
        == first["version"]
    )


def test_files_of_the_version_before_are_taken_away(made: Path, files: dict[str, bytes], hub: Hub) -> None:
    repo = hub.repos[REPO] = Repo()
    old = sealed({**files, "extra.json": b"{}"})
    repo.commit({**stored(old), "README.md": b"edited by hand", "picture.png": b"x"})
    commit = push("sw", REPO, registry=made)["commit"]
    names = repo.commits[commit].keys()
    assert "extra.json" not in names
    assert "picture.png" in names


def test_a_repository_of_something_else_is_left_alone(made: Path, hub: Hub) -> None:
    push("am", "karibu/am", registry=made)
    before = hub.repos["karibu/am"].branches["main"]
    with pytest.raises(DataError, match=r"karibu/am holds the language 'am', and 'sw' is to be sent"):
        push("sw", "karibu/am", registry=made)
    assert hub.repos["karibu/am"].branches["main"] == before
    hub.repos["karibu/bert"] = Repo()
    hub.repos["karibu/bert"].commit({"config.json": b"{}", "README.md": b"BERT", ".gitattributes": b""})
    with pytest.raises(DataError, match=r"karibu/bert holds 'config\.json' and no card\.json"):
        push("sw", "karibu/bert", registry=made)
    with pytest.raises(DataError, match="exists and is public"):
        push("am", "karibu/am", registry=made, private=True)
    with pytest.raises(DataError, match="OWNER/NAME"):
        push("am", "am", registry=made)


def test_a_private_repository_needs_the_token(
    made: Path, here: Path, dual_folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    push("sw", REPO, registry=made, private=True)
    assert hub.repos[REPO].private
    monkeypatch.delenv("HF_TOKEN")
    assert "There is no model repository karibu/demo-sw on the hub, or your token gives no access" in refused(
        here, dual_folder
    )
    with pytest.raises(DataError, match=r"needs a token\. Set HF_TOKEN"):
        push("sw", REPO, registry=made)
    monkeypatch.setenv("HF_TOKEN", "hf_reads")
    with pytest.raises(DataError, match="HF_TOKEN"):
        push("sw", REPO, registry=made)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert pull(REPO, registry=here)["published"]


@pytest.mark.parametrize("name", ["adapter_model.bin", "modeling.py", "model.pkl", "a/weights.PT", f"x{EVIL}.sh"])
def test_a_repository_with_what_could_run_code_is_refused_before_anything_is_fetched(
    name: str,
    files: dict[str, bytes],
    here: Path,
    dual_folder: Path,
    hub: Hub,
) -> None:
    hub.repos[REPO] = Repo()
    hub.repos[REPO].commit({**stored(files), name: b"\x80\x04\x95"})
    assert "Nothing was fetched" in refused(here, dual_folder)
    assert not any("/resolve/" in line for line in hub.asked)


def test_other_lawful_files_of_a_repository_are_not_fetched(
    files: dict[str, bytes],
    here: Path,
    dual_folder: Path,
    hub: Hub,
) -> None:
    hub.repos[REPO] = Repo()
    extras = {
        "README.md": b"<script>alert(1)</script>",
        "LICENSE": b"",
        ".gitattributes": b"",
        "photo.png": b"x",
        "a/b.json": b"{}",
    }
    hub.repos[REPO].commit({**stored(files), **extras})
    assert pull(REPO, registry=here, base=str(dual_folder))["published"]
    assert {path.name for path in Registry(here).open().current("sw").folder.iterdir()} == {*files, ".received.json"}
    fetched = {line.rpartition("/")[2] for line in hub.asked if "/resolve/" in line}
    assert not fetched & {"README.md", "LICENSE", "photo.png", "b.json"}


def test_a_version_sent_by_other_means_is_taken(
    files: dict[str, bytes],
    here: Path,
    dual_folder: Path,
    hub: Hub,
) -> None:
    hub.repos[REPO] = Repo()
    hub.repos[REPO].commit(files)  # its README.md in its own place
    assert pull(REPO, registry=here, base=str(dual_folder))["published"]


def test_what_an_adapter_must_not_be_is_refused(
    files: dict[str, bytes],
    here: Path,
    dual_folder: Path,
    hub: Hub,
) -> None:
    def attempt(content: dict[str, bytes], kind: type[MlaExtendError] = DataError) -> str:
        hub.repos[REPO] = Repo()
        hub.repos[REPO].commit(stored(content))
        return refused(here, dual_folder, kind)

    assert "tokenizer.json: it was changed" in attempt({**files, "tokenizer.json": b"{}"}, RegistryError)
    lacking = {name: content for name, content in files.items() if name != "adapter_model.safetensors"}
    assert "holds no 'adapter_model.safetensors'" in attempt(lacking)
    assert "holds no card.json" in attempt({"README.md": b"x", "adapter_config.json": b"{}"})
    assert "holds the character" in attempt(sealed(files, language_name=f"Swahili{EVIL}"))
    assert "'../x.json'" in attempt(sealed(files, files={"../x.json": "0" * 64}))
    assert "holds '*.json'" in attempt(sealed(files, files={"*.json": "0" * 64}))
    pickle = {**files, "adapter_model.safetensors": b"\x80\x04\x95\x05pickle"}
    assert "not a readable safetensors" in attempt(sealed(pickle), RegistryError)
    hub.sizes["adapter_model.safetensors"] = 10**12
    assert "above the limit" in attempt(files)
    hub.sizes = {"card.json": 10**9}
    hub.asked.clear()
    assert "above the limit" in attempt(files)
    assert not any("/resolve/" in line for line in hub.asked)
    hub.sizes = {}
    hub.sha = "../../main"
    assert "names no commit" in attempt(files)


def test_another_base_or_language_is_refused_before_the_weights_are_fetched(
    made: Path, clip_folder: Path, dual_folder: Path, here: Path, tmp_path: Path, hub: Hub
) -> None:
    push("sw", REPO, registry=made)
    add("am", clip_folder, tmp_path / "clip", tmp_path)
    hub.asked.clear()
    line = refused(tmp_path / "clip", clip_folder, BaseMismatchError)
    assert "'tiny-dual'" in line
    assert "'tiny-clip'" in line
    assert "holds the language 'sw', not 'yo'" in refused(here, dual_folder, language="yo")
    with pytest.raises(LanguageError):
        pull(REPO, registry=here, language="no language")
    assert not any("safetensors" in line for line in hub.asked)
    assert "'tiny-clip'" in refused(tmp_path / "empty", clip_folder, BaseMismatchError)
    assert pull(REPO, registry=here, language="SW")["published"]


def test_what_goes_wrong_on_the_way_is_told_in_one_line(
    made: Path, here: Path, dual_folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "There is no model repository nobody/nothing" in refused(here, dual_folder, repo="nobody/nothing")
    assert "OWNER/NAME" in refused(here, dual_folder, repo="../x")
    push("sw", REPO, registry=made)
    assert "no branch, tag or commit 'v9'" in refused(here, dual_folder, revision="v9")
    hub.failing = "/api/models"
    assert "HTTP 500" in refused(here, dual_folder)
    with pytest.raises(DataError, match=r"HTTP 500.*Try again later"):
        push("sw", REPO, registry=made)
    hub.failing = "/commit/"
    with pytest.raises(DataError, match="HTTP 500"):
        push("am", "karibu/am", registry=made)
    assert list(hub.repos["karibu/am"].commits[hub.repos["karibu/am"].branches["main"]]) == [".gitattributes"]
    hub.failing, hub.cut = "", "tokenizer.json"
    assert "The hub cannot be reached" in refused(here, dual_folder)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "The hub cannot be reached" in refused(here, dual_folder)
    with pytest.raises(DataError, match="The hub cannot be reached"):
        push("sw", REPO, registry=made)


def test_what_arrives_is_bounded_whatever_is_stated(
    made: Path, here: Path, dual_folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    push("sw", REPO, registry=made)
    before = tree(here)
    hub.sizes = {"card.json": 100}
    assert "sends more than the 100 bytes" in refused(here, dual_folder)
    hub.sizes = {"tokenizer.json": 10**6}
    assert re.search(r"tokenizer\.json sent [\d,]+ of 1,000,000 bytes", refused(here, dual_folder))
    hub.sizes = {}
    with monkeypatch.context() as patch:
        patch.setattr(contents, "MAX_SMALL", 1000)
        assert "sends more than the 1,000 bytes" in refused(here, dual_folder)  # of what the repository holds
    monkeypatch.setattr(sharing, "PATIENCE", 1.0)
    hub.slow = "tokenizer.json"
    assert re.search(r"tokenizer\.json sent only \d+ bytes in [1-9]\d* s", refused(here, dual_folder))
    hub.slow = "/api/models"
    assert re.search(r"sent only \d+ bytes in [1-9]\d* s", refused(here, dual_folder))
    hub.slow, hub.slow_to_begin = "", "tokenizer.json"
    assert "tokenizer.json did not answer within 1 s" in refused(here, dual_folder)
    hub.slow_to_begin, hub.junk = "", b'["no", "answer"]'
    assert "The hub's answer about karibu/demo-sw cannot be read (TypeError" in refused(here, dual_folder)
    hub.junk = b"{" * 100_000
    assert "The hub's answer about karibu/demo-sw cannot be read" in refused(here, dual_folder)
    assert tree(here) == before


def test_a_server_that_states_no_sizes_serves_too(made: Path, here: Path, hub: Hub) -> None:
    push("sw", REPO, registry=made)
    hub.sizes = dict.fromkeys(hub.repos[REPO].commits[hub.repos[REPO].branches["main"]])
    assert pull(REPO, registry=here)["published"]


def test_the_commands_push_and_pull(made: Path, here: Path, hub: Hub) -> None:
    code, text, _ = run("push", "sw", REPO, "--json", registry=made)
    assert code == 0
    sent = json.loads(text)
    assert f"as commit {sent['commit']}" in run("push", "sw", REPO, registry=made)[1]
    code, text, _ = run("pull", REPO, "--revision", sent["commit"], "--language", "sw", "--json", registry=here)
    assert code == 0
    assert json.loads(text)["received"]["commit"] == sent["commit"]
    assert "Was there already: sw" in run("pull", REPO, registry=here)[1]


def test_without_a_network_the_command_says_so_in_one_line(made: Path, here: Path, hub: Hub, tmp_path: Path) -> None:
    def command(*arguments: str, **environment: str) -> tuple[int, list[str]]:
        surroundings = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", **environment}
        done = subprocess.run(
            [sys.executable, "-m", "mla_extend", *arguments],
            capture_output=True,
            text=True,
            env=surroundings,
            check=False,
        )
        lines = [
            line for line in done.stderr.splitlines() if line.strip() and not line.startswith(("Loading", "Sending"))
        ]
        return done.returncode, lines

    code, lines = command("push", "sw", REPO, "--registry", str(made))
    assert (code, lines) == (0, [])
    code, lines = command("pull", REPO, "--registry", str(here), HF_HUB_OFFLINE="1")
    assert code == 1
    assert lines == [f"Error: The hub was not asked for {REPO}: HF_HUB_OFFLINE is set. Unset it."]
