"""Public data for a language: a table of this package, and the parallel text that mtdata's index knows."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mla_extend.data.codes import SAME_SCRIPT, closest, fit, language_name, language_tag
from mla_extend.data.licences import is_noncommercial
from mla_extend.errors import DataError
from mla_extend.extras import install
from mla_extend.progress import SILENT, Progress

TABLE = Path(__file__).with_name("sources.tsv")
"""One source a line. In `fetch` and `use`, `{lang}` is the language and `{code}` what the source calls it."""
ANY = "*"
"""Codes of a source that does not list its languages."""
UNKNOWN = "unknown"
ENGLISH = "eng"
LICENCES = {"globalvoices": "CC BY 3.0", "nllb": "ODC-By 1.0", "tatoeba": "CC BY 2.0 FR"}
"""Licences of corpora by their names in mtdata's index, which holds none. The others' pages say theirs, or nothing."""
IN_TABLE = ("Flores", "Microsoft")
"""Groups of that index whose data stand in the table."""


def public_sources(language: str, progress: Progress = SILENT) -> dict[str, Any]:
    """Return the public data that there are for a language, with English on the other side.

    Args:
        language: its code.
        progress: told of long work: the first use of mtdata builds its index.

    Returns:
        `{"language", "language_name", "sources": [...], "index": [...], "notes": [...]}`: the table's sources, each
        with `name`, `kind`, `size`, `licence`, `noncommercial`, `page`, `fetch` (the command, or what to do) and `use`
        (the command that reads what was fetched, or "" where it has to be put into another form first); those of
        mtdata's index alike; and what is missing, and why.

    Raises:
        LanguageError: it is no language code.
        DataError: it is English.
    """
    tag = language_tag(language)
    if tag.partition("-")[0] == "en":
        raise DataError(f"{tag!r} is English, which is the other side of all data here. Give the language to add.")
    notes: list[str] = []
    try:
        index = _indexed(tag, progress)
    except DataError as error:
        index = []
        notes.append(str(error))
    return {
        "language": tag,
        "language_name": language_name(tag),
        "sources": _in_table(tag),
        "index": index,
        "notes": notes,
    }


def _in_table(tag: str) -> list[dict[str, Any]]:
    found = []
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            codes = row.pop("codes").split()
            best = closest(codes, tag)
            if codes != [ANY] and not (best and fit(best[0], tag) >= SAME_SCRIPT):
                continue
            code = best[0] if best else ""
            filled = {key: value.replace("{lang}", tag).replace("{code}", code) for key, value in row.items()}
            found.append({**filled, "noncommercial": is_noncommercial(row["licence"])})
    return found


def _indexed(tag: str, progress: Progress) -> list[dict[str, Any]]:
    """Return the newest version of each parallel corpus of mtdata's index.

    Raises:
        DataError: mtdata is not installed, or refuses.
    """
    places = os.pathsep.join((os.environ.get("PATH", ""), str(Path(sys.executable).parent)))
    program = shutil.which("mtdata", path=places)
    if program is None:
        raise DataError(f"mtdata, which lists hundreds of parallel corpora, is not installed: {install('mtdata')}")
    progress.start("Reading mtdata's index (built at its first use, in about a minute)")
    # An empty folder, since mtdata runs what it finds under certain names in the current one.
    with TemporaryDirectory() as empty:
        command = [program, "list", "--langs", f"{ENGLISH}-{tag.replace('-', '_')}"]
        done = subprocess.run(command, cwd=empty, capture_output=True, encoding="utf-8", errors="replace", check=False)
    progress.finish()
    if done.returncode:
        said = " ".join(done.stderr.split())[-200:] or f"exit code {done.returncode}"
        raise DataError(f"mtdata's index could not be searched for {tag!r}: ...{said}")
    newest: dict[tuple[str, ...], tuple[tuple[bool, list[int]], dict[str, Any]]] = {}
    for line in done.stdout.splitlines():
        name, _, rest = line.partition("\t")
        group, corpus, version, *codes = name.split("-")
        if group in IN_TABLE or len(codes) != 2:
            continue
        english = [code.partition("_")[0] == ENGLISH for code in codes]
        # English of one country stands beside plain English only where there is none.
        rank = (codes[english.index(True)] == ENGLISH, [int(number) for number in re.findall(r"\d+", version)])
        key = (group, corpus, *(code for code, one in zip(codes, english, strict=True) if not one))
        if key not in newest or rank > newest[key][0]:
            newest[key] = (rank, _entry(name, corpus, rest.partition("\t")[0], tag, english.index(True)))
    return [entry for _, entry in newest.values()]


def _entry(name: str, corpus: str, url: str, tag: str, native: int) -> dict[str, Any]:
    columns = f"--columns native={native},target={1 - native}"
    return {
        "name": name,
        "kind": "parallel text",
        "size": UNKNOWN,
        "licence": LICENCES.get(corpus, UNKNOWN),
        "noncommercial": False,
        "page": url,
        "fetch": f"mtdata echo {name} > {name}.tsv",
        "use": f"mla-extend add-language {tag} --parallel-data {name}.tsv {columns}",
    }
