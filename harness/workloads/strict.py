"""Parameters of a workload, checked against frozen data; a wrong key or source names the nearest right one."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from harness.errors import ConfigError

T = TypeVar("T")


def convert(params: dict[str, Any], kind: type[T]) -> T:
    """Return the checked parameters.

    Raises: ConfigError: a key or value is not valid; names its path and the nearest valid one.
    """
    try:
        parsed: T = msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), params, kind)) from error
    return parsed


def spelled(params: dict[str, Any], kind: type[Any]) -> dict[str, Any]:
    """Return checked parameters as plain data, every default written out.

    Raises: ConfigError: as `convert`.
    """
    plain: dict[str, Any] = msgspec.to_builtins(convert(params, kind))
    return plain


def _explain(message: str, params: dict[str, Any], kind: type[Any]) -> str:
    where = re.search(r" - at `\$\.?(.*?)`$", message)
    path = where[1] if where else ""
    what = message[: where.start()] if where else message
    full = "workload" + (f".{path}" if path else "")
    unknown = re.search(r"unknown field `(.*?)`", what)
    if unknown:
        return f"{full}: unknown key {unknown[1]!r}{_hint(unknown[1], _keys(path, params, kind))}"
    value = re.search(r"Invalid value '(.*?)'", what)
    parent, _, last = path.rpartition(".")
    if value and last == "source":
        return f"{full}: there is no source {value[1]!r}{_hint(value[1], _sources(parent, params, kind))}"
    if "missing required field `source`" in what:
        return f"{full}: say which `source`; valid: {', '.join(_sources(path, params, kind))}"
    return f"{full}: {what[0].lower()}{what[1:]}"


def _hint(wrong: str, valid: list[str]) -> str:
    near = difflib.get_close_matches(wrong, valid, n=1, cutoff=0.5)
    return (f"; did you mean {near[0]!r}?" if near else ";") + f" Valid: {', '.join(valid) or 'none'}"


def _sources(path: str, params: dict[str, Any], kind: type[Any]) -> list[str]:
    return [str(each.__struct_config__.tag) for each in _structs_at(path, params, kind)]


def _keys(path: str, params: dict[str, Any], kind: type[Any]) -> list[str]:
    value = _value_at(path, params)
    named = value.get("source") if isinstance(value, dict) else None
    for each in _structs_at(path, params, kind):
        tag = each.__struct_config__.tag
        if tag is None or str(tag) == named:
            keys = [field.name for field in msgspec.structs.fields(each)]
            return keys if tag is None else ["source", *keys]
    return []


def _value_at(path: str, params: dict[str, Any]) -> Any:
    value: Any = params
    for key in filter(None, path.split(".")):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _structs_at(path: str, params: dict[str, Any], kind: type[Any]) -> list[type[Any]]:
    """Return the frozen classes that may stand at a path, the one that `source` names where one is named."""
    found = [kind]
    walked = ""
    for key in filter(None, path.split(".")):
        value = _value_at(walked, params)
        named = value.get("source") if isinstance(value, dict) else None
        fitting = [each for each in found if named is None or each.__struct_config__.tag in (None, named)]
        hints = [field.type for each in fitting for field in msgspec.structs.fields(each) if field.name == key]
        found = [struct for hint in hints for struct in _structs(hint)]
        walked = f"{walked}.{key}" if walked else key
    return found


def _structs(hint: Any) -> Iterator[type[Any]]:
    if get_origin(hint) in (Annotated, Union, types.UnionType):
        for each in get_args(hint):
            yield from _structs(each)
    elif isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
