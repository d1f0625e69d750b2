"""A new method's folder, from the templates in `fasbench/templates/method`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from string import Template

from fasbench.errors import ConfigError
from fasbench.registry import methods
from fasbench.resources import write_atomic

_TEMPLATES = Path(__file__).parent / "templates" / "method"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*(\+\+)?")
# The class must not have a name that method.py uses already.
_TAKEN = {"none", "true", "false", "method", "batch", "inputs", "modelconfig", "tensor", "f"}


@dataclass(frozen=True)
class Written:
    folder: Path
    class_name: str
    files: tuple[str, ...]


def new_method(name: str, folder: Path | None = None) -> Written:
    """Write a method that fulfils the contract, its settings, its card and its test.

    Args:
        name: what `--method` will call it.
        folder: where to; None = the name in the working directory, with `_` for `-` and `pp` for `++`.
    Raises:
        ConfigError: an illegal or taken name, or a file that exists; nothing is written then.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"'{name}' cannot name a method: lower-case letters, digits and single hyphens between them, a letter "
            "first, ++ last if at all. For example my-method, flip-v, mmdg++"
        )
    class_name = "".join(part.capitalize() for part in name.replace("++", "pp").split("-"))
    clash = {name, class_name.lower()} & (methods().keys() | _TAKEN)
    if clash:
        raise ConfigError(
            f"'{name}' is taken: {clash.pop()} is a method or a word of Python or fasbench. Choose another"
        )
    short = name.replace("++", "pp").replace("-", "_")
    folder = folder or Path(short)
    templates = {
        "method.py": "method.py.txt",
        "config.yaml": "config.yaml.txt",
        "README.md": "README.md.txt",
        f"test_{short}.py": "test.py.txt",
    }
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: choose a folder with --folder")
    if existing := [file for file in templates if (folder / file).exists()]:
        raise ConfigError(
            f"{folder} has {', '.join(existing)} already: nothing is overwritten. Choose another --folder"
        )
    for file, template in templates.items():
        text = Template((_TEMPLATES / template).read_text(encoding="utf-8"))
        write_atomic(folder / file, text.substitute(name=name, cls=class_name))
    return Written(folder, class_name, tuple(templates))
