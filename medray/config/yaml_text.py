"""YAML as this project reads what people write: plain data, and no key twice in one mapping."""

from __future__ import annotations

from typing import Any

import yaml

# PyYAML raises its own errors, ValueError for bad dates and numbers, RecursionError for nesting.
YAML_ERRORS = (yaml.YAMLError, ValueError, RecursionError)


class UniqueKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a mapping in which a key is written twice.

    PyYAML keeps the last one, so that a section written twice loses the first in silence.
    """

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
