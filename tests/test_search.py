"""Search: queries of several languages over one index, what is refused, and what does not move."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from mla_extend.add.job import add_language
from mla_extend.cli import app as cli
from mla_extend.cli import search as command
from mla_extend.cli.app import app
from mla_extend.cli.search import answer_table, how, preview
from mla_extend.errors import BaseMismatchError, DataError, LanguageError
from mla_extend.search.index import Entry, ImageIndex
from mla_extend.search.index.make import make_index
from mla_extend.search.route import Route
from mla_extend.search.searcher import Answer, Hit, Searcher, best_ranks, open_index


def add(language: str, data: dict[str, Path], base: Path, registry: Path) -> None:
    """Add a language in no time: aligned, not trained."""
    add_language(language, parallel_data=[str(data["parallel"])], base=str(base), registry=registry, recipe="instant")


@pytest.fixture
def registry(data: dict[str, Path], dual_folder: Path, tmp_path: Path) -> Path:
    """Give a registry with one language."""
    add("sw", data, dual_folder, tmp_path / "adapters")
    return tmp_path / "adapters"


@pytest.fixture
def index(pictures: list[Path], dual_folder: Path, tmp_path: Path) -> Path:
    """Give an index of sixty pictures."""
    make_index(pictures[0].parent, tmp_path / "index", base=str(dual_folder), registry=tmp_path / "none")
    return tmp_path / "index"


class Told:
    """Route as told, whatever the text."""

    def __init__(self, *languages: str, confidence: float) -> None:
        self.languages = languages
        self.confidence = confidence

    def route(self, texts: Sequence[str]) -> list[Route]:
        """Return the same for each."""
        return [Route(self.languages, self.confidence, len(self.languages) == 1) for _ in texts]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def found(answer: Answer) -> list[tuple[int, float, str]]:
    return [(hit.key, hit.score, hit.entry.name) for hit in answer.hits]


def test_a_query_is_searched_in_the_language_named(registry: Path, index: Path) -> None:
    searcher = open_index(index, registry=registry)
    answer = searcher.search("  paka nyekundu ", "sw", 5)
    assert (answer.query, answer.languages, answer.confidence, answer.sure) == ("paka nyekundu", ("sw",), None, True)
    vector = searcher.model.encode_text(["paka nyekundu"], "sw").numpy()[0]
    stored = searcher.model.encode_images([hit.entry.path for hit in answer.hits if hit.entry.path])
    assert [hit.rank for hit in answer.hits] == [1, 2, 3, 4, 5]
    assert [hit.score for hit in answer.hits] == pytest.approx((stored @ vector).tolist(), abs=1e-5)
    assert {hit.language for hit in answer.hits} == {"sw"}
    assert searcher.search("red cat", "en", 5).languages == ("en",)
    # An ISO 639-2 code of the same language.
    assert found(searcher.search("paka nyekundu", "swa", 5)) == found(answer)
    with pytest.raises(LanguageError, match="de"):
        searcher.search("rote Katze", "de")


def test_an_image_finds_itself(registry: Path, index: Path, pictures: list[Path]) -> None:
    searcher = open_index(index, registry=registry)
    answer = searcher.search_image(pictures[7], 3)
    assert answer.hits[0].entry.path == pictures[7]
    assert answer.hits[0].score == pytest.approx(1, abs=1e-5)
    assert (answer.query, answer.languages, answer.confidence) == (str(pictures[7]), (), None)
    with pytest.raises(DataError, match="does not exist"):
        searcher.search_image(pictures[0].parent / "nowhere.png")


def test_adding_languages_moves_no_byte_of_an_index_and_no_english_result(
    data: dict[str, Path], dual_folder: Path, tmp_path: Path, index: Path
) -> None:
    registry = tmp_path / "adapters"
    queries = ["a red cat", "the old house near the tree", "boat", "big dog sleeps under the tree"]
    bare = open_index(index, base=str(dual_folder), registry=registry)
    before, stored = [found(bare.search(query, "en", 60)) for query in queries], tree(index)
    for language in ("sw", "de", "cy", "fi", "zu"):
        add(language, data, dual_folder, registry)
    after = open_index(index, registry=registry)
    assert after.model.languages == ["en", "cy", "de", "fi", "sw", "zu"]
    for language in after.model.languages[1:]:
        assert len(after.search("paka nyekundu", language, 3).hits) == 3
    assert [found(after.search(query, "en", 60)) for query in queries] == before
    assert tree(index) == stored


def test_auto_says_what_it_took_and_how_sure_it_was(registry: Path, index: Path) -> None:
    model = open_index(index, registry=registry).model
    opened = ImageIndex.open(index)
    sure = Searcher(model, opened, Told("sw", confidence=0.97)).search("paka", top=4)  # type: ignore[arg-type]
    assert (sure.languages, sure.confidence, sure.sure) == (("sw",), 0.97, True)
    assert found(sure) == found(Searcher(model, opened).search("paka", "sw", 4))
    assert how(sure).startswith("Detected as Swahili (sw), 97 % sure. 4 images in ")
    unsure = Searcher(model, opened, Told("sw", "en", confidence=0.55)).search("paka", top=6)  # type: ignore[arg-type]
    assert (unsure.languages, unsure.sure) == (("sw", "en"), False)
    apart = {tag: found(Searcher(model, opened).search("paka", tag, 6)) for tag in ("sw", "en")}
    assert {hit.key for hit in unsure.hits[:2]} == {apart["sw"][0][0], apart["en"][0][0]}
    for hit in unsure.hits:
        assert (hit.key, hit.score, hit.entry.name) in apart[hit.language]
    assert "Unsure of the language (Swahili (sw): 55 %), so searched as Swahili (sw) and as English (en)" in how(unsure)


def test_the_registrys_own_router_is_taken(registry: Path, index: Path) -> None:
    answer = open_index(index, registry=registry).search("mbwa kubwa lala chini", top=3)
    assert set(answer.languages) <= {"en", "sw"}
    assert answer.confidence is not None
    assert 0 <= answer.confidence <= 1
    assert len(answer.hits) == 3


def test_an_image_takes_the_better_of_its_ranks() -> None:
    merged = best_ranks(("sw", "en"), [[(1, 0.4), (2, 0.3), (3, 0.2)], [(4, 0.5), (3, 0.1), (1, 0.05)]])
    assert merged == [(4, 0.5, "en"), (1, 0.4, "sw"), (2, 0.3, "sw"), (3, 0.1, "en")]
    same = best_ranks(("sw", "en"), [[(1, 0.2)], [(1, 0.3)]])
    assert same == [(1, 0.3, "en")]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("", "The query is empty"),
        (" \t\n\u3000", "The query is empty"),
        ("a" * 10_001, "The query has 10,001 characters, and at most 10,000 are searched"),
        ("red\0cat", r"holds a NUL character \(U\+0000\)"),
        ("red \ud83d cat", "not valid Unicode"),
    ],
)
def test_queries_that_cannot_be_searched_are_refused(registry: Path, index: Path, query: str, error: str) -> None:
    with pytest.raises(DataError, match=error):
        open_index(index, registry=registry).search(query, "sw")


def test_odd_queries_are_answered(registry: Path, index: Path) -> None:
    searcher = open_index(index, registry=registry)
    for query in (
        "🐕",
        "\N{MAN}\N{ZERO WIDTH JOINER}\N{ROCKET} 🇹🇿",
        "كلب أسود",
        "\N{RIGHT-TO-LEFT MARK}שלום\N{RIGHT-TO-LEFT OVERRIDE}",
        "paka\nnyekundu",
        "'; DROP TABLE entries; --",
        "x" * 10_000,
        "ውሻ",
        "ｐａｋａ",
    ):
        for language in ("sw", "en", "auto"):
            assert len(searcher.search(query, language, 3).hits) == 3
    assert len(searcher.search("paka", "sw", 1000).hits) == 60
    for top in (0, -1, 1001):
        with pytest.raises(DataError, match=f"Cannot return {top} hits"):
            searcher.search("paka", "sw", top)


def test_what_is_dropped_meanwhile_is_left_out(registry: Path, index: Path, pictures: list[Path]) -> None:
    searcher = open_index(index, registry=registry)
    first = searcher.search("paka", "sw", 10)
    gone = first.hits[0].entry.path
    assert gone is not None
    gone.unlink()
    make_index(pictures[0].parent, index, registry=registry)
    after = searcher.search("paka", "sw", 9)
    assert [hit.key for hit in after.hits] == [hit.key for hit in first.hits[1:]]
    assert [hit.rank for hit in after.hits] == list(range(1, 10))


def test_an_index_of_another_base_is_refused_with_both_names(
    data: dict[str, Path], registry: Path, index: Path, clip_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(BaseMismatchError, match=r"base 'tiny-dual' .* this is 'tiny-clip'"):
        open_index(index, base=str(clip_folder), registry=tmp_path / "none")
    add("sw", data, clip_folder, tmp_path / "other")
    with pytest.raises(BaseMismatchError, match=r"base 'tiny-dual' .* this is 'tiny-clip'"):
        open_index(index, registry=tmp_path / "other")
    # Of a registry with several bases, the index's is taken.
    add("sw", data, clip_folder, registry)
    assert open_index(index, registry=registry).model.base.identity.name == "tiny-dual"


# The command ------------------------------------------------------------------------------------------------------


def run(*arguments: str, registry: Path) -> tuple[int, str, str]:
    """Run the command line as `main` does."""
    result = CliRunner().invoke(app, [*arguments], env={"MLA_EXTEND_REGISTRY": str(registry), "COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_command_prints_a_table_or_json(registry: Path, index: Path) -> None:
    given = ["search", "paka", "nyekundu", "--index", str(index), "--top", "3"]
    code, out, _ = run(*given, "--lang", "sw", registry=registry)
    assert code == 0
    assert "Searched as Swahili (sw). 3 images in" in out
    assert "rank" in out
    assert "▀" not in out
    answer = json.loads(run(*given, "--lang", "sw", "--json", registry=registry)[1])
    assert answer["query"] == "paka nyekundu"
    assert answer["languages"] == ["sw"]
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
    assert all(Path(hit["path"]).is_file() and Path(hit["path"]).name in out for hit in answer["hits"])
    assert "▀" in run(*given, "--lang", "sw", "--previews", registry=registry)[1]
    assert json.loads(run(*given, "--json", registry=registry)[1])["confidence"] is not None


def test_several_queries_are_put_on_one_page(registry: Path, index: Path, pictures: list[Path], tmp_path: Path) -> None:
    page, queries = tmp_path / "found.html", tmp_path / "queries.txt"
    queries.write_text("paka\n\n <b>a cat</b>\n")
    given = ["search", "--queries", str(queries), "--index", str(index), "--top", "2", "--language", "sw", "--json"]
    code, out, err = run(*given, "--html", str(page), registry=registry)
    assert code == 0
    assert str(page) in err
    assert [answer["query"] for answer in json.loads(out)] == ["paka", "<b>a cat</b>"]
    html = page.read_text(encoding="utf-8")
    assert html.count('<img src="data:image/jpeg') == 4
    assert "<bdi>&lt;b&gt;a cat&lt;/b&gt;</bdi>" in html
    for path in pictures:
        path.unlink(missing_ok=True)
    run(*given, "--html", str(page), registry=registry)
    assert page.read_text(encoding="utf-8").count("no picture here") == 4
    with pytest.raises(DataError, match=r"does not end in \.html"):
        run(*given, "--html", str(tmp_path / "found.png"), registry=registry)


def test_queries_come_from_standard_input_too(registry: Path, index: Path) -> None:
    given = ["search", "--queries", "-", "--index", str(index), "--language", "sw", "--json"]
    environment = {"MLA_EXTEND_REGISTRY": str(registry)}
    found = CliRunner().invoke(app, given, input="paka nyekundu\n", env=environment)
    assert [answer["query"] for answer in json.loads(found.stdout)] == ["paka nyekundu"]
    assert "- has no query" in str(CliRunner().invoke(app, given, input=" \n", env=environment).exception)


def test_an_image_is_searched_by(registry: Path, index: Path, pictures: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "found.html"
    given = ["search", "--image", str(pictures[7]), "--index", str(index), "--top", "2"]
    code, out, _ = run(*given, "--html", str(page), registry=registry)
    assert code == 0
    assert f"Searched with the image {pictures[7]}. 2 images in" in out
    assert "searched as" not in page.read_text(encoding="utf-8")
    answer = json.loads(run(*given, "--json", registry=registry)[1])
    assert answer["hits"][0]["path"] == str(pictures[7])
    for more in ("paka",), ("--queries", "-"):
        code, _, err = run(*given, *more, registry=registry)
        assert code == 2
        assert "one of three" in err
    assert run("search", registry=registry)[0] == 2


def test_open_shows_the_best_image_that_is_there(
    registry: Path, index: Path, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(command.typer, "launch", shown.append)
    given = ["search", "paka", "--lang", "sw", "--index", str(index), "--open", "--json"]
    hits = json.loads(run(*given, registry=registry)[1])["hits"]
    assert shown == [hits[0]["path"]]
    Path(hits[0]["path"]).unlink()
    run(*given, registry=registry)
    assert shown[1:] == [hits[1]["path"]]
    for path in pictures:
        path.unlink(missing_ok=True)
    assert "Nothing to open" in run(*given, registry=registry)[2]


def test_an_index_of_unknown_base_is_searched_with_a_word_about_it(registry: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(16, dtype=np.float32))
    (tmp_path / "p.txt").write_text("".join(f"https://example.org/{row}.jpg\n" for row in range(16)))
    make_index(tmp_path / "p.txt", tmp_path / "taken", vectors=str(tmp_path / "v.npy"), registry=registry)
    code, out, err = run("search", "paka", "--lang", "sw", "--index", str(tmp_path / "taken"), registry=registry)
    assert code == 0
    assert "https://example.org/" in out
    assert "tiny-dual is assumed" in err


def test_wrong_queries_and_indexes_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, error in ((["search", " "], "The query is empty"), (["search", "paka"], "There is no image index")):
        monkeypatch.setattr(sys, "argv", ["mla-extend", *arguments, "--index", str(tmp_path / "none")])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        printed = capsys.readouterr().err
        assert stopped.value.code == 1
        assert f"Error: {error}" in printed
        assert "Traceback" not in printed


def test_previews_are_drawn_where_there_is_a_picture(pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"bad")
    assert len(preview(pictures[0]).plain.splitlines()) == 7
    assert preview(tmp_path / "bad.png").plain == "unreadable"
    assert preview(tmp_path / "none.png").plain == "gone"
    assert preview(tmp_path / "clip.mp4").plain == "video"
    assert preview(None).plain == ""
    entries = [Entry(1, pictures[0], str(pictures[0]), 16, 16, 9), Entry(2, None, "[bold]كلب[/bold].jpg", 0, 0, 0)]
    hits = [Hit(rank, entry.key, 0.5, "sw", entry) for rank, entry in enumerate(entries, 1)]
    console = Console(width=120, record=True, force_terminal=True, color_system="truecolor")
    console.print(answer_table(Answer("mbwa", ("sw",), None, True, hits, 0.01), previews=True))
    shown = console.export_text()
    assert "▀" in shown
    # A name is shown as it is, not read as markup.
    assert "[bold]كلب[/bold].jpg" in shown


def test_search_loads_no_torch_before_a_model_is_needed(tmp_path: Path) -> None:
    import subprocess

    program = (
        "import sys\nfrom mla_extend.cli import app\n"
        "sys.argv = ['mla-extend', 'search', 'paka', '--index', sys.argv[1]]\n"
        "try:\n    app.main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True)
    assert "There is no image index" in done.stderr
