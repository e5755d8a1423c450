"""`mla-extend sources`: which public data there are for a language."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from mla_extend.cli.console import OUT, print_json, progress
from mla_extend.cli.options import Json, NewLanguage


def sources(language: NewLanguage, json: Json = False) -> None:
    """List public parallel text and captioned images for a language: size, licence, commands to fetch and use them."""
    from mla_extend.data.sources import UNKNOWN, public_sources  # noqa: PLC0415

    with progress() as bars:
        found = public_sources(language, bars)
    if json:
        print_json(found)
        return
    _say(f"Public data for {found['language_name']} ({found['language']}), English on the other side")
    if index := found["index"]:
        named = [one["name"] + (f" ({one['licence']})" if one["licence"] != UNKNOWN else "") for one in index]
        _say(f"\n[bold]mtdata's index[/]: {len(index)} parallel corpora; sizes unknown, licences where named")
        OUT.print(escape(", ".join(named)), highlight=False)
        _commands({**index[0], "page": ""})
    for one in found["sources"]:
        about = f"{one['name']}[/]: {one['kind']}; {one['size']}; licence {one['licence']}"
        _say(f"\n[bold]{about}")
        _commands(one)
    for note in found["notes"]:
        _say(f"\n{escape(note)}")


def _commands(one: Mapping[str, Any]) -> None:
    for what in ("page", "fetch", "use"):
        if one[what]:
            _say(f"  [dim]{what:5}[/]  {escape(one[what])}")


def _say(text: str) -> None:
    OUT.print(text, highlight=False, soft_wrap=True)  # a command is copied as one line
