"""YAML files that people write: read strictly, and explained by file, line and path where they are wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from harness.errors import ConfigError


def read_mapping(path: Path, what: str, keys: Sequence[str]) -> tuple[dict[str, Any], yaml.Node]:
    """Return the mapping in a YAML file, and its nodes, which know the lines.

    Raises: ConfigError: unreadable, not YAML, no mapping, a key that stands twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the {what} {path}: {error}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict) or node is None:
        raise ConfigError(f"{path} must be a mapping with the keys {', '.join(keys)}")
    _refuse_duplicates(node, path)
    return document, node


def path_of(message: str) -> tuple[str, ...]:
    """Return ("train", "0", "params") from msgspec's `$.train[0].params`."""
    found = re.search(r"at `\$(.*)`$", message)
    return tuple(re.findall(r"[^.\[\]]+", found[1])) if found else ()


def line_of(node: yaml.Node, where: tuple[str, ...]) -> str:
    """Return `:12`, the line of a path in the file; empty where the path came from an override."""
    line: int | None = None
    for key in where:
        if isinstance(node, yaml.MappingNode):
            match = [(k, v) for k, v in node.value if k.value == key]
        elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            match = [(node.value[int(key)], node.value[int(key)])]
        else:
            match = []
        if not match:
            break
        line = match[0][0].start_mark.line + 1
        node = match[0][1]
    return f":{line}" if line else ""


def override(document: dict[str, Any], text: str) -> None:
    """Set one value of a document: `dotted.path=value`, list items by their number from 0.

    Raises: ConfigError: it is not of that form, or its path does not fit the document.
    """
    dotted, equals, written = text.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"override {text!r} is not of the form dotted.path=value, for example measure.forks=3")
    *parents, last = dotted.split(".")
    place: Any = document
    for depth, key in enumerate(parents):
        if isinstance(place, dict):
            place = place.setdefault(key, {})
        elif isinstance(place, list) and key.isdigit() and int(key) < len(place):
            place = place[int(key)]
        else:
            raise ConfigError(f"override {text!r}: {'.'.join(parents[: depth + 1])} is not in the suite")
    value = yaml.safe_load(written)
    if isinstance(place, dict):
        place[last] = value
    elif isinstance(place, list) and last.isdigit() and int(last) < len(place):
        place[int(last)] = value
    else:
        raise ConfigError(f"override {text!r}: {dotted} is not in the suite")


def _refuse_duplicates(node: yaml.Node, path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigError(f"{path}:{key.start_mark.line + 1}: the key {key.value!r} stands twice; keep one")
            seen.add(key.value)
            _refuse_duplicates(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicates(value, path)
