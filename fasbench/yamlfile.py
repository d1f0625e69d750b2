"""YAML files strangers write: read safely, checked against a pydantic model, errors with file and line."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from fasbench.errors import ConfigError, problem_list, suggest

Key = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


class Strict(BaseModel):
    """Base of all configuration: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_BOOL, _INT, _FLOAT, _DATE = (f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "timestamp"))


class _Loader(yaml.SafeLoader):
    """SafeLoader with the plain values of YAML 1.2: 1e-4 is a number, only true/false are booleans.

    Codes such as 1_01 and 017 stay text (YAML 1.1 reads 101 and 15), and so do 1:30 and dates.
    """


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag not in (_BOOL, _INT, _FLOAT, _DATE)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(_INT, re.compile("^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+0123456789."),
)
# What the loader raises for text it cannot read; the last three by explicit tags (!!int x) and endless nesting.
_UNREADABLE = (yaml.YAMLError, ValueError, AttributeError, RecursionError)


def load_yaml(path: Path) -> tuple[dict[str, Any], dict[Key, int]]:
    """The mapping in a YAML file, and the line of every key path in it.

    Raises:
        ConfigError: unreadable, not YAML, not a mapping, a repeated key, or an alias (refused: they can explode).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    lines: dict[Key, int] = {}
    try:
        for token in yaml.scan(text, Loader=_Loader):
            if isinstance(token, yaml.AliasToken):
                raise ConfigError(
                    f"{path}:{token.start_mark.line + 1}: YAML aliases (*name) are not accepted; write it out"
                )
        node, data = _parse(text)
    except _UNREADABLE as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict) or node is None:
        raise ConfigError(f"{path}: expected a mapping of keys to values, found {type(data).__name__}")
    problems: list[str] = []
    _collect_lines(node, (), lines, problems)
    if problems:
        raise ConfigError(problem_list(f"{path}: repeated keys", problems))
    return data, lines


def _parse(text: str) -> tuple[yaml.Node | None, Any]:
    """The node tree, which knows its lines, and the data."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def parse_scalar(text: str) -> Any:
    """One value as YAML reads it: a number, true/false, a [list] or text."""
    try:
        return _parse(text)[1]
    except _UNREADABLE:
        raise ConfigError(f"'{text}' is not a value YAML can read") from None


def _collect_lines(node: yaml.Node, key: Key, lines: dict[Key, int], problems: list[str]) -> None:
    lines.setdefault(key, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            child = (*key, key_node.value)
            if child in lines:
                problems.append(
                    f"line {key_node.start_mark.line + 1}: '{key_node.value}' (first on line {lines[child]})"
                )
            lines[child] = key_node.start_mark.line + 1
            _collect_lines(value_node, child, lines, problems)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _collect_lines(item, (*key, position), lines, problems)


def merge(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """`base` with `override` laid over it: mappings merge, everything else (lists too) is replaced."""
    merged = dict(base)
    for key, value in override.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def where(file: str, lines: dict[Key, int], key: Key) -> str:
    """`file:line` of a key, or of the nearest key above it that stands in the file."""
    while key and key not in lines:
        key = key[:-1]
    return f"{file}:{lines[key]}" if key in lines else file


def validate(
    model: type[Model],
    data: dict[str, Any],
    file: str,
    lines: dict[Key, int] | None = None,
    contradictions: Callable[[Model], Iterable[tuple[Key, str]]] = lambda _: (),
) -> Model:
    """`data` as a `model`.

    Args:
        contradictions: finds what is well-formed but cannot be meant. With malformed keys about, it looks at the rest.

    Raises:
        ConfigError: every problem, each with file, line, key, and the nearest legal key for an unknown one.
    """
    problems: list[str] = []
    found: Model | None = None
    try:
        found = model.model_validate(data)
    except ValidationError as error:
        problems += [_describe(model, item, file, lines or {}) for item in error.errors()]
        rest = copy.deepcopy(data)
        for item in error.errors():
            _remove(rest, item["loc"])
        with suppress(ValidationError):  # what is missing cannot be removed
            found = model.model_validate(rest)
    if found is not None:
        problems += [f"{where(file, lines or {}, key)}: {text}" for key, text in contradictions(found)]
    if problems or found is None:
        raise ConfigError(problem_list(f"{file}: {len(problems)} problem(s)", problems)) from None
    return found


def _describe(model: type[BaseModel], item: Any, file: str, lines: dict[Key, int]) -> str:
    """One of pydantic's errors, with its place and what would be legal."""
    key = tuple(item["loc"])
    dotted = ".".join(str(part) for part in key)
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        legal = _fields_at(model, key[:-1])
        message = f"unknown key.{suggest(str(key[-1]), legal)} Legal keys: {', '.join(legal)}"
    elif item["type"] != "missing" and not isinstance(item["input"], dict):
        message += f" (found {item['input']!r})"
    return f"{where(file, lines, key)}: {dotted}: {message}" if dotted else f"{file}: {message}"


def _remove(data: Any, key: Key) -> None:
    """Delete what lies at `key`, if it is there; of a list, the whole list."""
    for depth, part in enumerate(key, start=1):
        if not isinstance(data, dict):
            return
        if depth == len(key) or not isinstance(data.get(part), dict):
            data.pop(part, None)
            return
        data = data[part]


def _fields_at(model: type[BaseModel], key: Key) -> list[str]:
    """Field names of the model that lies at `key` inside `model`."""
    current: Any = model
    for part in key:
        if _is_model(current):
            field = current.model_fields.get(str(part))
            current = field.annotation if field else None
        else:  # dict[str, X], list[X], tuple[X, ...]: what it holds
            held = [argument for argument in get_args(current) if argument is not ...]
            current = held[-1] if held else None
        if get_origin(current) in (Union, UnionType):  # X | None
            current = next(argument for argument in get_args(current) if argument is not NoneType)
    return sorted(current.model_fields) if _is_model(current) else []


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
