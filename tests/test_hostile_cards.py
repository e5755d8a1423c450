"""Cards from elsewhere: what no publish writes is refused in one line, and every command can show what is taken."""

import contextlib
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from test_registry_store import make_base, make_card, stage
from test_report import realistic, record, split, text_split

from mla_extend.cli import app as cli
from mla_extend.cli.console import BarProgress, PlainConsole, print_json
from mla_extend.cli.tables import evaluation_table, plan_table, problems_table
from mla_extend.errors import MlaExtendError
from mla_extend.plain import MAX_DEPTH, odd_values, plain
from mla_extend.plain import ODD as ODD_CHARACTERS
from mla_extend.registry.card import Card
from mla_extend.registry.foreign_card import foreign_card
from mla_extend.registry.languages import BaseRegistry
from mla_extend.registry.store import Registry
from mla_extend.registry.verify import verify

EVIL = "\x1b]0;owned\x07\x9b31m"
MARKUP = "[bold]ደማቅ[/nothing]:cat:\\"
FOLDER = "[bold]ደማቅ[nothing]:cat:"
COMMANDS = (["list"], ["list", "--json"], ["show", "de"], ["show", "de", "--json"], ["verify"], ["verify", "--json"])
COMMANDS += (["list", "de"], ["list", "de", "--json"])


def is_plain(text: str) -> bool:
    """Say whether a text may reach a terminal and a file as it is."""
    return ODD_CHARACTERS.search(text) is None


def full_card(language: str, name: str) -> Card:
    """Return a card with every kind of value that a command reads."""
    card = realistic(language, name, {"unseen": split(), "text": text_split()})
    stages = [
        {
            "stage": "build",
            "pieces": 2636,
            "aligned": 2366,
            "seconds": 0.6,
            "table": {"source": "owner/bert", "fingerprint": "a" * 64, "width": 768},
            "start_from": {"language": "nl", "version": "2026-11-24T10-15-03Z-3f9a"},
        },
        {"stage": "transfer", "steps": 900, "kept_step": 800, "step0_score": 0.61, "best_score": 0.84, "seconds": 93.0,
         "stopped": "no better for 5 looks"},
    ]  # fmt: skip
    data = [*card.data, record("parallel", kept=3002, dropped={"wrong_script": 157}, noncommercial=True, format="tsv")]
    about = {**card.metrics, "language": language, "base": "demo"}
    return replace(card, stages=stages, data=data, recipe={"name": "quick"}, metrics=about)


def proof(_: Path) -> dict[str, Any]:
    line = {"files": "", "vectors": "0" * 64, "files_equal": True, "vectors_equal": True, "as_recorded": True}
    return {"ok": True, "seconds": 0.2, "languages": {"en": line, "sw": line}}


def write(folder: Path, values: dict[str, Any]) -> None:
    """Write a card with a digest that fits it, whatever it holds: the package's own writer refuses some of these."""
    empty = '\n  "digest": ""'
    text = json.dumps({**values, "digest": ""}, indent=2)
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = folder / "card.json"
    path.chmod(0o644)
    path.write_bytes(text.replace(empty, f'\n  "digest": "{digest}"').encode())


def make_registry(root: Path) -> BaseRegistry:
    home = make_base(root)
    for language, name in (("sw", "Swahili"), ("de", "German")):
        home.publish(language, stage(home, language), full_card(language, name), prove=proof)
    return home


@pytest.fixture
def home(tmp_path: Path) -> BaseRegistry:
    """Give a registry of Swahili, which stays whole, and German."""
    return make_registry(tmp_path / "adapters")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> BaseRegistry:
    """Give such a registry for many damages, each of which writes the card anew."""
    return make_registry(tmp_path_factory.mktemp("shared") / "adapters")


def values_of(home: BaseRegistry) -> dict[str, Any]:
    return full_values(home.current("de").folder)


def full_values(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((folder / "card.json").read_bytes())
    del values["digest"]
    return values


def run(*arguments: str, registry: Path) -> tuple[int, str, str]:
    """Run the real command line, on streams that take UTF-8 alone: exit code, output, errors."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLA_EXTEND_REGISTRY", str(registry))
        patch.setenv("COLUMNS", "400")
        patch.setattr(sys, "argv", ["mla-extend", *arguments])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as done:
            cli.main()
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    code = done.value.code
    return (code if isinstance(code, int) else 0), texts[0], texts[1]


def metrics(split: Any) -> dict[str, Any]:
    return {"metrics": {"language": "de", "base": "demo", "test_set": "xtd", "splits": {"all": split}}}


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "control": ({"language_name": f"Deutsch{EVIL}"}, r"card.language_name holds the character '\x1b'"),
    "control-in-a-name": ({"recipe": {EVIL: 1}}, r"a name in card.recipe holds the character '\x1b'"),
    "turned": ({"language_name": "Deutsch\u202e"}, r"holds the character '\u202e'"),
    "surrogate": ({"created": "\ud800"}, r"card.created holds the character '\ud800'"),
    "not-a-number": ({"cost": {"seconds": float("nan")}}, "card.cost.seconds is nan"),
    "infinite": ({"cost": {"seconds": float("-inf")}}, "card.cost.seconds is -inf"),
    "large": ({"cost": {"seconds": 1e300}}, "card.cost.seconds is a number of more than 63 bits"),
    "huge": ({"parameters": 10**40}, "card.parameters is a number of more than 63 bits"),
    "nested": ({"recipe": {"a": deep(MAX_DEPTH)}}, "is nested too deeply"),
    "truth": ({"seed": True}, "seed: true is no whole number"),
    "negative": ({"bytes": -1}, "bytes: -1 is not at least 0"),
    "base": ({"base": {"fingerprint": "f" * 64, "family": "clip", "native": "en"}}, "base.name: it is missing"),
    "base-name": ({"base": {**make_card("de").base, "name": ["demo"]}}, "base.name: ['demo'] is no text"),
    "splits": ({"metrics": {"splits": []}}, "metrics.splits: [] is no mapping"),
    "no-splits": ({"metrics": {"splits": None}}, "metrics.splits: an empty value is no mapping"),
    "split": (metrics(3), "metrics.splits.all: 3 is no mapping"),
    "recall": (metrics({"mean_recall": "0.5"}), "metrics.splits.all.mean_recall: '0.5' is no number"),
    "interval": (metrics({"ci95": [0.1]}), "metrics.splits.all.ci95: [0.1] has 1 values, not at least 2"),
    "beyond": (metrics({"mean_recall": 5}), "metrics.splits.all.mean_recall: 5 is not at most 1"),
    "ratio": (metrics({"ratio": 1e7}), "metrics.splits.all.ratio: 10000000.0 is not at most"),
    "half": (metrics({"gallery": 5}), "metrics.splits.all: 'mean_recall' is missing"),
    "cost": ({"cost": {"seconds": "long"}}, "cost.seconds: 'long' is no number"),
    "proof": ({"isolation": {"ok": "yes", "languages": []}}, "isolation.ok: 'yes' is neither true nor false"),
    "data": ({"data": [{"role": "parallel"}]}, "data.0.path: it is missing"),
    "stage": ({"stages": ["build"]}, "stages.0: 'build' is no mapping"),
    "table": ({"stages": [{"stage": "build", "table": {"source": 5}}]}, "stages.0.table.source: 5 is no text"),
    "recipe": ({"recipe": {"name": 5}}, "recipe.name: 5 is no text"),
    "hash": ({"files": {"a.json": 5}}, "files.a.json: 5 is no text"),
    "path": ({"files": {"../../x": "0" * 64}}, "'../../x', which is not a plain name"),
    "later": ({"schema": 99, "versions": {"mla-extend": EVIL}}, r"needs mla-extend \x1b"),
}


def test_a_whole_card_is_taken(shared: BaseRegistry) -> None:
    assert foreign_card(shared.current("de").folder, "de.zip") == shared.card("de")


@pytest.mark.parametrize(("changes", "message"), HOSTILE.values(), ids=HOSTILE.keys())
def test_each_is_refused_in_one_line(changes: dict[str, Any], message: str, shared: BaseRegistry) -> None:
    folder = shared.current("de").folder
    kept = (folder / "card.json").read_bytes()
    write(folder, {**full_values(folder), **changes})
    try:
        with pytest.raises(MlaExtendError) as caught:
            foreign_card(folder, "de.zip")
    finally:
        (folder / "card.json").write_bytes(kept)
    line = str(caught.value)
    assert line.startswith("de.zip: ")
    assert line.endswith("Nothing was taken from it.")
    assert message in line
    assert line.isprintable()


def test_what_is_published_can_be_read_whatever_the_texts_are(tmp_path: Path) -> None:
    home = make_base(tmp_path)
    odd = [record("parallel", path=f"daten-\u202b{EVIL}\udc80.tsv", licence="a | b\nc")]
    home.publish("de", stage(home, "de"), replace(full_card("de", "Deutsch"), data=odd), prove=proof)
    assert home.card("de").data[0]["path"] == r"daten-\u202b\x1b]0;owned\x07\x9b31m\udc80.tsv"
    text = (home.current("de").folder / "README.md").read_text(encoding="utf-8")
    assert r"daten-\u202b" in text
    assert r"a \| b c" in text
    assert verify(tmp_path) == []


def test_names_of_files_and_folders_stay_off_the_terminal(home: BaseRegistry) -> None:
    (home.current("de").folder / f"note{EVIL}.json").write_text("{}")
    (home.folder / FOLDER).mkdir()
    (home.folder.parent / f"x{EVIL}").mkdir()
    (home.folder.parent / f"x{EVIL}" / "base.json").write_text("{}")
    for command in COMMANDS:
        _, out, err = run(*command, registry=home.folder.parent)
        assert is_plain(out + err)
    _, out, _ = run("verify", registry=home.folder.parent)
    assert r"note\x1b]0;owned\x07\x9b31m.json" in out.replace("\n", "")
    assert FOLDER in out


def test_mark_up_in_a_card_is_shown_as_it_is(home: BaseRegistry) -> None:
    values = values_of(home)
    card = Card(**{key: values[key] for key in vars(full_card("de", ""))})
    metrics = {**card.metrics, "test_set": MARKUP, "splits": {MARKUP: split(), f"{MARKUP} text": text_split()}}
    stages = [{"stage": MARKUP, "stopped": MARKUP}, {"stage": "build"}]
    data = [record(MARKUP, path=MARKUP, licence=MARKUP, kept=1, dropped={MARKUP: 2}), record("parallel", pairs=None)]
    changes = {"language_name": MARKUP, "metrics": metrics, "stages": stages, "data": data, "recipe": {"name": "x"}}
    changes["isolation"] = {**values["isolation"], "languages": {MARKUP: {}}}
    write(home.current("de").folder, {**values, **changes})
    for command, count in ((["list"], 2), (["show", "de"], 10)):
        code, out, _ = run(*command, registry=home.folder.parent)
        assert code == 0
        assert out.count(MARKUP) >= count


def test_figures_that_a_card_lacks_are_dashes(home: BaseRegistry) -> None:
    empty = {"gallery": 3, "mean_recall": None, "ci95": None, "metrics": None}
    lacking = {"to_native_accuracy": 0.5, "pairs": None}
    changes = {
        "metrics": {"splits": {"a": empty, "b": lacking}},
        "cost": {},
        "isolation": {},
        "stages": [{"stage": "x"}],
    }
    write(home.current("de").folder, {**values_of(home), **changes})
    for command in COMMANDS:
        assert run(*command, registry=home.folder.parent)[0] == 0
    out = run("show", "de", registry=home.folder.parent)[1]
    assert "not proven" in out
    assert "-, peak memory -" in out


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the way to every value in JSON values."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*before, name)
        yield from paths(item, (*before, name))


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", EVIL, MARKUP, "\ud800", "\u202eبيت", "x" * 3000, "../../x", "en", "sw", "0" * 64, "a\nb\tc"]),
    st.lists(st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.text(max_size=8), st.one_of(st.none(), st.integers(), st.floats(), st.text()), max_size=3),
    st.sampled_from([deep(5), deep(MAX_DEPTH), deep(300), {EVIL: {EVIL: 1}}, {MARKUP: {MARKUP: 1}}]),
)
GONE, RENAMED = object(), object()


def damage(values: dict[str, Any], way: tuple[Any, ...], new: Any, name: str) -> dict[str, Any]:
    """Return a card's values with one of them replaced, taken away, or put under another name."""
    changed = deepcopy(values)
    *path, last = way
    inside: Any = changed
    for step in path:
        inside = inside[step]
    if new is GONE or new is RENAMED:
        old = inside.pop(last)
        if new is RENAMED and isinstance(inside, dict):
            inside[name] = old
    else:
        inside[last] = new
    return changed


CHANGES = st.tuples(st.integers(0, 10**6), st.one_of(ODD, ODD, st.just(GONE), st.just(RENAMED)), st.text(max_size=8))


@pytest.fixture(scope="module")
def whole(shared: BaseRegistry) -> dict[str, Any]:
    """Give the values of the whole card of German."""
    return values_of(shared)


@settings(deadline=None, max_examples=60)
@given(change=CHANGES)
def test_a_card_that_is_taken_can_be_shown_by_each_command(
    shared: BaseRegistry, whole: dict[str, Any], change: tuple[int, Any, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With any one value damaged, a card is refused, or no command trips over it."""
    number, new, name = change
    ways = list(paths(whole))
    folder = shared.current("de").folder
    write(folder, damage(whole, ways[number % len(ways)], new, name))
    try:
        foreign_card(folder, "it")
    except MlaExtendError:
        return
    page = tmp_path_factory.mktemp("page") / "report.html"
    for command in (*COMMANDS, ["report", "--no-examples", "--out", str(page)]):
        code, out, err = run(*command, registry=shared.folder.parent)
        assert code in (0, 1)
        assert is_plain(out + err)
        assert "Traceback" not in err
        if command[-1] == "--json" and code == 0:
            json.loads(out)
    assert "Swahili" in run("list", registry=shared.folder.parent)[1]
    assert is_plain(page.read_text(encoding="utf-8"))


# What it rests on -----------------------------------------------------------------------------------------------------


@given(st.text())
def test_plain_text_stays_and_odd_text_becomes_plain(text: str) -> None:
    assert is_plain(plain(text))
    assert (plain(text) == text) is is_plain(text)
    assert bool(list(odd_values({"a": [text]}, "x"))) is not is_plain(text)


def test_texts_of_many_scripts_are_plain() -> None:
    for text in ("ሰላም ዓለም", "مرحبا\u200fبالعالم", "नमस्ते दुनिया", "👩🏽\u200d🚀", "שלום", "Ünïcödé\tx\ny"):
        assert plain(text) == text
    assert plain("a\x00\x1b\x7f\x9b\u202e\u2066\udcffz") == r"a\x00\x1b\x7f\x9b\u202e\u2066\udcffz"


def test_the_console_writes_odd_characters_out_wherever_they_stand() -> None:
    stream = io.StringIO()
    console = PlainConsole(file=stream, width=200, force_terminal=False)
    console.print(EVIL, markup=False)
    console.print(f"[bold]{EVIL}[/] :cat:", highlight=False)
    plan = {
        "language": MARKUP, "base": EVIL, "recipe": MARKUP, "pairs": 1, "kept": 1, "image_text": 1, "vocabulary": 1,
        "data": [{"role": EVIL, "path": MARKUP, "pairs": 1, "format": EVIL}], "parameters": 1,
        "stages": {MARKUP: 1}, "notes": [MARKUP], "seconds": 1, "memory_bytes": 1,
    }  # fmt: skip
    console.print(plan_table(plan))
    found = {
        "tokens": {"vocabulary": 1, "per_word": 1.0, "positions": 3, "positions_of": MARKUP}, "paths": [EVIL, MARKUP],
        "language_name": EVIL, "language": "de", "pairs": 3, "problems": {f"{EVIL}{MARKUP}": 1},
        "samples": {f"{EVIL}{MARKUP}": [{"native": EVIL, "target": MARKUP, "where": f"{MARKUP}, line 1"}]},
    }  # fmt: skip
    console.print(problems_table(found))
    metrics = {"language": MARKUP, "native": EVIL, "base": EVIL, "test_set": MARKUP, "splits": {EVIL: split()}}
    console.print(evaluation_table(metrics))
    text = stream.getvalue()
    assert is_plain(text)
    assert ":cat:" in text
    assert text.count("[bold]ደማቅ[/nothing]") >= 5
    assert r"\x1b]0;owned" in text


def test_notes_above_the_bars_are_no_mark_up() -> None:
    class Bars:
        """Hold the console alone."""

        console = PlainConsole(file=io.StringIO(), width=200)

    BarProgress(Bars()).note(f"{MARKUP}{EVIL}")  # type: ignore[arg-type]
    assert Bars.console.file.getvalue() == f"{MARKUP}\\x1b]0;owned\\x07\\x9b31m\n"  # type: ignore[attr-defined]


def test_json_holds_every_text_and_prints_none_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    values = {EVIL: ["\ud800\u202e", "ደማቅ\n"]}
    print_json(values)
    out = capsys.readouterr().out
    assert is_plain(out)
    assert "ደማቅ" in out
    assert json.loads(out) == values


def test_a_plain_console_draws_like_any_other() -> None:
    drawn = []
    for kind in (Console, PlainConsole):
        stream = io.StringIO()
        kind(file=stream, width=120, force_terminal=True).print("[red]✗[/] [bold]ደማቅ[/]", 3, highlight=True)
        drawn.append(stream.getvalue())
    assert drawn[0] == drawn[1]


def test_listing_imports_nothing_heavy(home: BaseRegistry) -> None:
    code = f"""
import sys
from pathlib import Path
from mla_extend.registry.summary import summaries
assert len(summaries(Path({str(home.folder.parent)!r}))[0]) == 2
assert not {{"torch", "numpy", "pydantic", "yaml", "transformers"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_registries_are_opened_by_name_whatever_lies_beside(home: BaseRegistry) -> None:
    (home.folder.parent / EVIL).mkdir()
    assert Registry(home.folder.parent).bases() == ["demo"]
