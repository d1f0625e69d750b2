"""Names -> methods, protocols, data sets. Bundled ones are found by their files, plugins by entry points."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasbench.errors import ConfigError, suggest
from fasbench.resources import bundled, sha256_files
from fasbench.yamlfile import load_yaml

if TYPE_CHECKING:
    from fasbench.method import Method
    from fasbench.protocol import Protocol

PROTOCOL_ALIASES = {"p1": "mmdg/fixed", "p2": "mmdg/missing", "p3": "mmdg/limited"}


def unknown(kind: str, name: str, known: Iterable[str], listing: str) -> ConfigError:
    """The one error for a name nobody knows."""
    known = list(known)
    return ConfigError(f"unknown {kind} '{name}'.{suggest(name, known)} See: {listing}")


# --- methods ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MethodEntry:
    """A method that can be loaded: where its class, its configuration and its sources are."""

    name: str
    module: str  # dotted name, or a path for a file
    class_name: str
    config_path: Path | None
    origin: str  # bundled | plugin | file

    def config(self) -> dict[str, Any]:
        """The method's config.yaml; a method without one gets the defaults as its presets `paper` and `tiny`."""
        if self.config_path is None or not self.config_path.is_file():
            return {"presets": {"paper": {}, "tiny": {}}}
        return load_yaml(self.config_path)[0]

    def load(self) -> type[Method]:
        """The method's class; torch is imported here.

        Raises:
            ConfigError: the module has no such class, or it is no `fasbench.method.Method`.
        """
        from fasbench.method import Method

        module = _import_file(Path(self.module)) if self.origin == "file" else importlib.import_module(self.module)
        found = getattr(module, self.class_name, None)
        if not (isinstance(found, type) and issubclass(found, Method)) or found is Method:
            classes = [
                n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, Method) and v is not Method
            ]
            raise ConfigError(
                f"{self.module} has no Method class '{self.class_name}'.{suggest(self.class_name, classes)} "
                f"It defines: {', '.join(classes) or 'none'}"
            )
        return found

    def source_sha256(self) -> str:
        """Hash of the Python files the method consists of: its folder, or the one file."""
        if self.origin == "file":
            path = Path(self.module)
            return sha256_files([path], path.parent)
        source = _source_file(self.module)
        if source is None:
            raise ConfigError(f"method '{self.name}': module {self.module} has no source file")
        alone = "." not in self.module and source.name != "__init__.py"  # the folder belongs to others too
        return sha256_files([source] if alone else source.parent.rglob("*.py"), source.parent)


def _source_file(module: str) -> Path | None:
    """The file a module would be imported from; None if it cannot be found."""
    try:
        spec = importlib.util.find_spec(module)
    except ImportError:  # its package is missing or broken: reported when the method is used
        return None
    return Path(spec.origin) if spec and spec.origin else None


def _import_file(path: Path) -> Any:
    name = f"fasbench_method_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a stranger's file may fail in any way
        del sys.modules[name]
        raise ConfigError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    return module


@cache
def methods() -> dict[str, MethodEntry]:
    """Every bundled and plugged-in method by name; nothing of them is imported."""
    found: dict[str, MethodEntry] = {}

    def add(entry: MethodEntry) -> None:
        if entry.name in found:
            other = found[entry.name]
            raise ConfigError(f"two methods are named '{entry.name}': {other.module} and {entry.module}")
        found[entry.name] = entry

    for path in sorted(bundled("baselines").glob("*/config.yaml")):
        for name, class_name in load_yaml(path)[0].get("methods", {}).items():
            add(MethodEntry(name, f"fasbench.baselines.{path.parent.name}.method", class_name, path, "bundled"))
    for plugin in entry_points(group="fasbench.methods"):
        source = _source_file(plugin.module)
        config = source.parent / "config.yaml" if source else None
        add(MethodEntry(plugin.name, plugin.module, plugin.attr, config, "plugin"))
    return found


def find_method(name: str) -> MethodEntry:
    """A method by its name, or by `path/to/file.py:Class` (with a config.yaml beside it, or the defaults).

    Raises:
        ConfigError: no such name or file.
    """
    text, _, class_name = name.rpartition(":")
    if text.endswith(".py") or name.endswith(".py"):
        path = Path(text if text.endswith(".py") else name)
        if not path.is_file():
            raise ConfigError(f"--method {name}: no file {path}")
        if not text.endswith(".py"):
            raise ConfigError(f"--method {name}: say which class, e.g. {path}:MyMethod")
        own_name = class_name.lower()
        if own_name in methods():
            raise ConfigError(f"--method {name}: '{own_name}' is a method already; give the class another name")
        path = path.resolve()
        return MethodEntry(own_name, str(path), class_name, path.parent / "config.yaml", "file")
    if name not in methods():
        raise unknown("method", name, methods(), "fasbench list methods (or give path/to/file.py:Class)")
    return methods()[name]


# --- protocols --------------------------------------------------------------------------------------------------------


@cache
def protocols() -> dict[str, Path]:
    """Bundled protocol files by id (= path below protocols/ without .yaml; names with a leading _ are fragments)."""
    root = bundled("protocols")
    paths = sorted(path for path in root.rglob("*.yaml") if not path.name.startswith("_"))
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in paths}


def find_evaluations(name: str) -> list[tuple[Protocol, list[tuple[str, str]]]]:
    """What a name stands for: protocols with the (split, condition) pairs chosen from each.

    `name` is any prefix, in whole components, of family/protocol/split/condition (`synth`, `synth/fixed`,
    `synth/fixed/lmn-k/full`), an alias (`p1`), or a file `./mine.yaml`, optionally followed by `/split/condition`.

    Raises:
        ConfigError: nothing of that name, or a broken protocol file.
    """
    from fasbench.protocol import load_protocol

    head, dot_yaml, rest = name.partition(".yaml")
    if dot_yaml:
        path = Path(head + dot_yaml)
        if not path.is_file():
            raise ConfigError(f"--protocol {name}: no file {path}")
        return [_choose(load_protocol(path), [part for part in rest.split("/") if part])]
    parts = [part for part in name.split("/") if part]
    alias = parts[0] if parts and parts[0] in PROTOCOL_ALIASES else None
    if alias:
        parts = [*PROTOCOL_ALIASES[alias].split("/"), *parts[1:]]
    chosen = []
    for identifier, path in protocols().items():
        components = identifier.split("/")
        shared = min(len(components), len(parts))
        if parts and components[:shared] == parts[:shared]:
            chosen.append(_choose(load_protocol(path), parts[len(components) :]))
    if not chosen:
        listing = "fasbench list protocols (or give ./file.yaml)"
        if alias:
            raise ConfigError(f"'{alias}' stands for {PROTOCOL_ALIASES[alias]}, which is not bundled. See: {listing}")
        raise unknown("protocol", name, [*protocols(), *PROTOCOL_ALIASES], listing)
    return chosen


def _choose(protocol: Protocol, rest: list[str]) -> tuple[Protocol, list[tuple[str, str]]]:
    """The evaluations of `protocol` whose split and condition are `rest` (empty = all)."""
    levels: list[tuple[str, Iterable[str]]] = [("split", protocol.splits), ("condition", protocol.conditions)]
    for (kind, known), name in zip(levels, rest, strict=False):
        if name not in known:
            raise ConfigError(f"{protocol.id} has no {kind} '{name}'.{suggest(name, known)} It has: {', '.join(known)}")
    if len(rest) > 2:
        raise ConfigError(f"'{'/'.join(rest)}' is too long: after {protocol.id} come a split and a condition")
    return protocol, [pair for pair in protocol.evaluations() if list(pair[: len(rest)]) == rest]


# --- data sets --------------------------------------------------------------------------------------------------------


def dataset_names() -> tuple[str, ...]:
    """Built-in data sets; any other is a folder with a CSV."""
    from fasbench.data.synthetic import NAMES

    return NAMES
