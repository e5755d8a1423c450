"""Write docs/cli.md from the commands themselves, so that it cannot drift: `make docs`.

It reads the parameters of each command and not the drawn help, which depends on the terminal; and it imports no torch.
"""

from pathlib import Path
from typing import Any

import typer

from mla_extend.cli.app import app

PAGE = Path(__file__).parent / "cli.md"
TYPERS_OWN = {"install_completion", "show_completion"}


def reference() -> str:
    """Return the reference of every command as Markdown."""
    group: Any = typer.main.get_command(app)
    common = [parameter for parameter in group.params if parameter.name not in TYPERS_OWN]
    lines = ["# Command line", "", "Made by `make docs`; do not edit.", "", _line(group.help), ""]
    lines += ["    mla-extend [OPTIONS] COMMAND [ARGUMENTS]", "", *_table(common)]
    lines += [
        "Options that you repeat can be set in a [settings file](settings.md).",
        "`-h` or `--help` explains a command. `--install-completion` and `--show-completion` are for the shell.",
        "Exit codes: 0 for success, 1 for an error, 2 for a command that cannot be parsed, 130 after an interruption.",
        "",
        "| to | command | what it does |",
        "| --- | --- | --- |",
        *(
            f"| {command.rich_help_panel.lower()} | [{name}](#{name}) | {_cell(_line(command.help))} |"
            for name, command in group.commands.items()
        ),
        "",
    ]
    for name, command in group.commands.items():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join(["mla-extend", name, *(str(p.metavar) for p in arguments), "[OPTIONS]"])
        lines += [f"## {name}", "", _line(command.help), "", f"    {usage}", "", *_table([*arguments, *options])]
    return "\n".join(lines)


def _table(parameters: list[Any]) -> list[str]:
    rows = [f"| {_name(parameter)} | {_cell(_meaning(parameter))} |" for parameter in parameters]
    return ["| option | meaning |", "| --- | --- |", *rows, ""]


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_cell(parameter.metavar)}`"
    names = ", ".join(f"`{option}`" for option in [*parameter.opts, *parameter.secondary_opts])
    return names if _is_flag(parameter) or not parameter.metavar else f"{names} `{_cell(parameter.metavar)}`"


def _meaning(parameter: Any) -> str:
    parts = [_line(parameter.help).replace("][", "]\\[")]  # no link
    if parameter.required and parameter.param_type_name == "option":
        parts.append("Required.")
    if parameter.show_default and not _is_flag(parameter) and isinstance(parameter.default, str | int):
        parts.append(f"Default: `{parameter.default}`.")
    if parameter.envvar:
        parts.append(f"Environment variable: `{parameter.envvar}`.")
    return " ".join(parts)


def _is_flag(parameter: Any) -> bool:
    return bool(getattr(parameter, "is_flag", False))


def _line(text: str | None) -> str:
    """Return a help text on one line, its brackets as they are read and not as rich is told of them."""
    return " ".join(str(text or "").replace("\\[", "[").split())


def _cell(text: str) -> str:
    """Return a text that may stand in a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
