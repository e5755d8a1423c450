"""Write docs/cli.md from the commands themselves, so that it cannot drift: `make docs`."""

from pathlib import Path
from typing import Any

import typer

from mla_extend.cli.app import app

PAGE = Path(__file__).parent / "cli.md"


def reference() -> str:
    """Return the reference of every command as Markdown."""
    group: Any = typer.main.get_command(app)
    lines = ["# Command line", "", "Made by `make docs`; do not edit.", "", f"{group.help}", ""]
    for name, command in group.commands.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join(["mla-extend", name, *(str(p.metavar) for p in arguments), "[OPTIONS]"])
        lines += [f"## {name}", "", str(command.help), "", f"    {usage}", "", "| option | meaning |", "| --- | --- |"]
        for parameter in [*arguments, *options]:
            lines.append(f"| {_name(parameter)} | {_meaning(parameter)} |")
        lines.append("")
    return "\n".join(lines)


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar}`"
    names = ", ".join(f"`{option}`" for option in parameter.opts)
    metavar = str(parameter.metavar).replace("|", "\\|")
    return f"{names} `{metavar}`" if parameter.metavar and not getattr(parameter, "is_flag", False) else names


def _meaning(parameter: Any) -> str:
    text = str(parameter.help or "").replace("|", "\\|")
    if parameter.required and parameter.param_type_name == "option":
        return f"{text} Required."
    if parameter.show_default and not getattr(parameter, "is_flag", False) and isinstance(parameter.default, str | int):
        return f"{text} Default: `{parameter.default}`."
    return text


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
