"""How the files of the licensed data sets lie on disk: one module a data set, one class a variant people have."""

from __future__ import annotations

from pathlib import Path

from fasbench.data.layouts.base import Layout, MissingFiles
from fasbench.data.layouts.cefa import CefaColor, CefaProfile
from fasbench.data.layouts.padisi import PadisiByTransaction, PadisiByTrial
from fasbench.data.layouts.surf import SurfChallenge, SurfCrops
from fasbench.data.layouts.wmca import WmcaImages, WmcaPackages
from fasbench.errors import ConfigError, DataError, problem_list, suggest

__all__ = ["LAYOUTS", "Layout", "MissingFiles", "find_layout"]

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2")

LAYOUTS: dict[str, tuple[type[Layout], ...]] = {
    "cefa": (CefaProfile, CefaColor),
    "padisi": (PadisiByTrial, PadisiByTransaction),
    "surf": (SurfCrops, SurfChallenge),
    "wmca": (WmcaPackages, WmcaImages),
}


def find_layout(name: str, root: Path, variant: str | None = None) -> Layout:
    """The layout of a data set that lies below `root`; `variant` names one where several do.

    Raises:
        ConfigError: the data set has no such variant.
        DataError: there is no such folder, no layout in it, or several.
    """
    known = LAYOUTS[name]
    names = [layout.name for layout in known]
    if variant is not None and variant not in names:
        hint = suggest(variant, names)
        raise ConfigError(f"--layout {variant}: no such layout of {name}.{hint} Known: {', '.join(names)}")
    if root.is_file():
        raise DataError(f"{root} is a file. Unpack it, and give the folder")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. It should hold {name} as its owners deliver it")
    found = [layout for layout in known if layout.found(root) and variant in (None, layout.name)]
    if len(found) == 1:
        return found[0](root)
    expected = [f"{layout.name}: {layout.expects}{layout.searched}" for layout in known]
    if not found:
        wanted = f" as {variant}" if variant else ""
        archives = sorted(path.name for path in root.iterdir() if path.suffix in _ARCHIVES)
        packed = f" (it holds {', '.join(archives[:3])}: unpack first)" if archives else ""
        raise DataError(problem_list(f"{root}: {name} was not found there{wanted}{packed}. Expected one of", expected))
    several = ", ".join(layout.name for layout in found)
    raise DataError(f"{root} holds {name} in several ways: choose one of {several} with --layout")
