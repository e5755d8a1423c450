"""Change the code in small ways and see which changes no test notices: `make mutants`.

mutmut makes the mutants, runs for each the tests that reach its function, and leaves the outcomes in `mutants/`. This
tells how many were killed, against `tests/mutants.toml`, which holds those that may survive and why. It ends with 1 if
a place has fewer than 90 % killed or a survivor is not explained. docs/contributing.md says how to read it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mutmut.mutation.diff_apply import get_diff_for_mutant

WANTED = 0.9
MADE = Path("mutants")
ACCEPTED = Path("tests/mutants.toml")
SURVIVED, UNTESTED, UNCHECKED = 0, 33, None
"""How mutmut writes the outcome of a mutant; all other exit codes of pytest are kills."""


class Change(NamedTuple):
    """Say what a mutant is, whatever its number and line: its function, and its lines before and after."""

    function: str
    was: str
    now: str


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Put the quickest tests first: most mutants are killed by any of them. pytest loads this file for it."""
    stats = Path("mutmut-stats.json")
    if stats.is_file():
        seconds = json.loads(stats.read_text())["duration_by_test"]
        items.sort(key=lambda item: seconds.get(item.nodeid, 0))


def mutate(only: list[str], jobs: int) -> None:
    """Let mutmut run all mutants, or those of some files and folders."""
    shutil.rmtree(MADE / "tests" if only else MADE, ignore_errors=True)
    (MADE / "mutmut-stats.json").unlink(missing_ok=True)  # which tests reach what may have changed with the tests
    MADE.mkdir(exist_ok=True)  # Python remembers of a folder on its path that it is not there
    names = [".".join(Path(path).with_suffix("").parts) + ".*" for path in only]
    # Processes that tests start must import the mutants as well. With CI, Hypothesis draws the same examples each time.
    environment = os.environ | {"PYTHONPATH": str(MADE.resolve()), "OMP_NUM_THREADS": "1", "CI": "1"}
    program = Path(sys.executable).with_name("mutmut")
    subprocess.run([program, "run", "--max-children", str(jobs), *names], env=environment, check=True)


def change(mutant: str, module: str) -> Change:
    """Read what a mutant changed."""
    lines = get_diff_for_mutant(mutant, path=module).splitlines()[3:]
    was, now = (" ".join(line[1:].strip() for line in lines if line[:1] == sign).strip() for sign in "-+")
    function = mutant.rpartition(".")[2].partition("__mutmut_")[0]
    name = function.removeprefix("x_") if function.startswith("x_") else ".".join(function.split("ǁ")[1:])
    return Change(f"{module}::{name}", was, now)


def outcomes(only: list[str]) -> Iterator[tuple[str, str, int | None]]:
    """Give the module, the mutant and its outcome, of all that were made in some files and folders."""
    for path in sorted(MADE.rglob("*.meta")):
        module = path.relative_to(MADE).with_suffix("")
        if not only or any(module.is_relative_to(one) for one in only):
            for mutant, outcome in json.loads(path.read_text())["exit_code_by_key"].items():
                yield str(module), mutant, outcome


def report(only: list[str]) -> int:
    """Print a table and what is not explained; return the exit code."""
    places = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutmut"]["only_mutate"]
    entries = tomllib.loads(ACCEPTED.read_text())["accepted"]
    accepted = {Change(*one) for entry in entries for one in entry["mutants"]}
    counts: dict[str, list[int]] = {}
    survivors: dict[Change, str] = {}
    for module, mutant, outcome in outcomes(only):
        place = next(one.removesuffix("/*") for one in places if Path(module).is_relative_to(one.removesuffix("/*")))
        index = 1
        if outcome in {SURVIVED, UNTESTED, UNCHECKED}:
            changed = change(mutant, module)
            survivors[changed] = mutant
            index = 2 if changed in accepted and outcome == SURVIVED else 3
        for row in {place, module}:
            counts.setdefault(row, [0, 0, 0, 0])
            counts[row][0] += 1
            counts[row][index] += 1
    for found in sorted(survivors.keys() - accepted):
        print(f"\n{survivors[found]}\n  - {found.was}\n  + {found.now}\n{json.dumps(found, ensure_ascii=False)},")
    for entry in sorted(accepted - survivors.keys()):
        if Path(entry.function.partition("::")[0]).as_posix() in counts:
            print(f"\nIn {ACCEPTED}, but killed or no longer made: {json.dumps(entry, ensure_ascii=False)}")
    print(f"\n{'module':44} {'mutants':>8} {'killed':>7} {'accepted':>9} {'unexplained':>12} {'killed %':>9}")
    wrong = not counts
    for row, (made, killed, known, unknown) in sorted(counts.items()):
        print(f"{row:44} {made:8} {killed:7} {known:9} {unknown:12} {100 * killed / made:9.1f}")
        wrong |= unknown > 0 or (killed < WANTED * made and any(row == one.removesuffix("/*") for one in places))
    return int(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="files or folders; without any, all that pyproject.toml names")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants at once")
    parser.add_argument("--report", action="store_true", help="tell about the last run again")
    arguments = parser.parse_args()
    if not arguments.report:
        mutate(arguments.only, arguments.jobs)
    sys.exit(report(arguments.only))
