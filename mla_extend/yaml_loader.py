"""YAML as people write it: small, flat, and of plain values. What is more is an error with its line."""

import re
from typing import Any

import yaml

MOST_NODES = 100_000
"""Keys, values and lists, what stands for an anchor counted each time: a plan of two hundred languages has 2,000."""
DEEPEST = 30
MOST_BITS = 63


class Loader(yaml.SafeLoader):
    """Read YAML within bounds; a date is a text, and so are `no` and `off`: `no` is Norwegian.

    Anchors that stand for one another multiply, and nesting takes the stack: both are counted while the file is read.
    Raises yaml.YAMLError for whatever is wrong.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._count = self._depth = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Count a node and what is in it, and refuse a key that stands twice."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        alias = self.check_event(yaml.AliasEvent)
        before = self._count
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"it is nested more than {DEEPEST} levels deep", mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        self._count += self._sizes.get(id(node), 1) if alias else 1
        if self._count > MOST_NODES:
            raise yaml.composer.ComposerError(None, None, f"it holds more than {MOST_NODES:,} values", mark)
        if not alias:
            self._sizes[id(node)] = self._count - before
            lines: dict[str, int] = {}
            for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                if (name := str(key.value)) in lines:
                    said = f"{key.value!r} stands in line {lines[name]} already"
                    raise yaml.composer.ComposerError(None, None, said, key.start_mark)
                lines[name] = key.start_mark.line + 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return a node's value."""
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, int) and value.bit_length() > MOST_BITS:
                raise ValueError(f"a number of more than {MOST_BITS} bits")
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
            # A number of 5,000 digits, or a tag that does not fit.
            raise yaml.constructor.ConstructorError(
                None, None, f"a value cannot be read ({error})", node.start_mark
            ) from error
        return value


Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in ("bool", "timestamp")]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), [*"tTfF"])


def read_yaml(text: str) -> Any:
    """Return the value of a YAML text.

    Raises:
        yaml.YAMLError: it is no YAML, or too large.
    """
    try:
        return yaml.load(text, Loader)
    except (ValueError, OverflowError) as error:  # an escape that stands for no character
        raise yaml.YAMLError(str(error)) from error
