"""What is wrong with a value that a user wrote, in the user's words: the value first, then what it must be."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import BaseModel

LONGEST = 60
"""Characters of a value that are shown."""
_NO = {
    "int": "no whole number",
    "float": "no number",
    "finite": "no finite number",
    "string": "no text",
    "list": "no list",
    "tuple": "no list",
    "dict": "no mapping of keys to values",
    "mapping": "no mapping of keys to values",
    "model": "no mapping of keys to values",
    "bool": "neither true nor false",
}
"""What is wrong with a value's kind, by the first word of pydantic's name for the error."""
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def shown(value: object) -> str:
    """Return a value as a user would write it, cut where it is long."""
    if value is None:
        return "an empty value"
    text = str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def wrong(problem: Mapping[str, Any], known: Collection[str] = ()) -> str:
    """Return what is wrong with one value.

    Args:
        problem: one of pydantic's errors.
        known: the keys that may stand where an unknown one stands.
    """
    kind, value, told = str(problem["type"]), shown(problem["input"]), problem.get("ctx", {})
    first = kind.partition("_")[0]
    if kind == "extra_forbidden":
        text = f"there is no such key.{did_you_mean(str(problem['loc'][-1]), known)}"
    elif kind == "missing":
        listed = isinstance(problem["input"], list | tuple)
        text = f"it is missing in {value}" if listed else "it is missing"
    elif kind == "value_error":  # of a rule of our own, which names the value
        text = str(told["error"])
    elif kind == "literal_error":
        text = f"{value} is not {told['expected']}"
    elif kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        text = f"{value} is not {words} {told[name]:,g}"
    elif first == "too":
        words, name = ("least", "min_length") if kind == "too_short" else ("most", "max_length")
        text = f"{value} has {told['actual_length']} values, not at {words} {told[name]}"
    elif first in _NO and kind.endswith(("_type", "_parsing", "_from_float", "_number")):
        text = f"{value} is {_NO[first]}"
    else:
        text = f"{value}: {problem['msg']}"
    return text


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return the question after what may have been meant, else all that is known; nothing where that is nothing."""
    ends = [name for name in known if name.rpartition(".")[2] == word]  # it stands in another part
    near = ends or difflib.get_close_matches(word, [name for name in known if "." not in name], n=2)
    if near:
        return f" Did you mean {' or '.join(near)}?"
    here = [name for name in known if "." not in name]
    return f" Known here: {', '.join(here)}." if here else ""


def keys_for(model: type[BaseModel], loc: Iterable[object]) -> list[str]:
    """Return the keys that may stand in the part where one stands, then those of all parts, dotted from the top."""
    place = model
    for part in list(loc)[:-1]:
        held = place.model_fields.get(str(part))
        if held is None or not (isinstance(held.annotation, type) and issubclass(held.annotation, BaseModel)):
            break
        place = held.annotation
    return [*place.model_fields, *_dotted(model, "")]


def _dotted(model: type[BaseModel], before: str) -> list[str]:
    found = []
    for name, held in model.model_fields.items():
        if isinstance(held.annotation, type) and issubclass(held.annotation, BaseModel):
            found += _dotted(held.annotation, f"{before}{name}.")
        elif before:
            found.append(before + name)
    return found
