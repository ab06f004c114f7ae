"""YAML as this project reads what people write: plain data, and no key twice in one mapping."""

from __future__ import annotations

from typing import Any

import yaml

# PyYAML raises its own errors, ValueError for bad dates and numbers, RecursionError for nesting.
YAML_ERRORS = (yaml.YAMLError, ValueError, RecursionError)


class UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a mapping in which a key is written twice, and an alias within
    what it stands for.

    PyYAML keeps the last of two keys, so that a section written twice loses the first in silence,
    and makes of such an alias a value that contains itself.
    """

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """Raise ValueError with the line of an alias within what it stands for."""
        at = self.peek_event().start_mark
        node: yaml.Node | None = super().compose_node(parent, index)
        if node is not None and node.end_mark is None:  # it is not complete yet
            raise ValueError(f"an alias refers to itself, in line {at.line + 1}")
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Raise ValueError with the key and both lines; before `<<` adds the keys of others."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        first_lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in first_lines:
                first = first_lines[key.value]
                where = f"in line {line}" if first == line else f"in lines {first} and {line}"
                raise ValueError(f"{key.value[:80]} is given twice in one mapping, {where}")
            first_lines[key.value] = line
        return node
