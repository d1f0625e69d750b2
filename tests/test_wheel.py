"""The wheel: it holds the data files, is the same from the sdist, and works away from the repository."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUICK = ["train.epochs=1", "train.steps_per_epoch=2", "train.batch_size=8", "model.image_size=32"]

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout to tell what belongs to it")


def call(*command, cwd, **environment):
    """Output of a command that knows nothing of this process's imports."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, f"{command}:\n{result.stdout}\n{result.stderr}"
    return result.stdout


def build(tree, out):
    """(sdist, wheel) of a source tree, by the build back end alone: no network and no environment of its own."""
    call(sys.executable, "-m", "hatchling", "build", "-d", out, cwd=tree)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("wheel")


@pytest.fixture(scope="module")
def built(folder):
    """(sdist, wheel) of the files that git tracks or would: a folder that a clone lacks is lacking here too."""
    listing = call("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():  # deleted ones are listed until they are committed
            (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / "tree" / name)
    return build(folder / "tree", folder / "dist")


def names(wheel):
    with zipfile.ZipFile(wheel) as file:
        return sorted(file.namelist())


def test_the_wheel_holds_methods_and_protocols_and_no_tests(built):
    held = names(built[1])
    for name in (
        "fasbench/py.typed",
        "fasbench/baselines/erm/config.yaml",
        "fasbench/baselines/erm/method.py",
        "fasbench/protocols/synth/fixed.yaml",
    ):
        assert name in held
    assert {name.split("/")[0].split("-")[0] for name in held} == {"fasbench"}
    assert not [name for name in held if "tests/" in name or "/test_" in name or "__pycache__" in name or "/." in name]
    assert len(set(held)) == len(held)


def test_every_bundled_file_of_the_checkout_is_in_the_wheel(built, folder):
    held = set(names(built[1]))
    for top in ("baselines", "protocols", "leaderboards", "fasbench"):
        files = [path.relative_to(folder / "tree") for path in (folder / "tree" / top).rglob("*") if path.is_file()]
        expected = {f"fasbench/{path.as_posix()}".replace("fasbench/fasbench/", "fasbench/") for path in files}
        assert expected and expected <= held


def test_the_wheel_from_the_sdist_is_the_wheel_from_the_tree(built, folder):
    sdist, wheel = built
    with tarfile.open(sdist) as file:
        file.extractall(folder / "unpacked", filter="data")
    (tree,) = (folder / "unpacked").iterdir()
    _, again = build(tree, folder / "dist-of-sdist")
    assert again.name == wheel.name
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert [(i.filename, i.CRC) for i in first.infolist()] == [(i.filename, i.CRC) for i in second.infolist()]


@pytest.fixture(scope="module")
def installed(built, folder):
    """Folder of programs of an environment with the wheel, which borrows all else from the environment of the tests."""
    home = folder / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    programs = home / "bin"
    options = ["--no-deps", "--no-index", "--no-cache-dir", "--disable-pip-version-check", "--quiet"]
    call(sys.executable, "-m", "pip", "--python", programs / "python", "install", *options, built[1], cwd=folder)
    # Only now: pip must not find the checkout's installation. A path in a .pth file comes after the environment's own
    # packages, and the .pth files it holds are not read, so the checkout is on no path.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    own = Path(
        call(programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip()
    )
    (own / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    return programs


def test_the_installed_package_is_the_wheel_s(installed, folder, tmp_path):
    code = (
        "import json, fasbench; from importlib.util import find_spec; "
        "print(json.dumps([fasbench.__file__, find_spec('fasbench.baselines.erm.method').origin, *fasbench.__path__]))"
    )
    package, method, *path = json.loads(call(installed / "python", "-c", code, cwd=tmp_path))
    home = folder / "environment"
    assert Path(package).is_relative_to(home) and Path(method).is_relative_to(home)
    assert path == [str(Path(package).parent)]


def test_the_installed_command_lists_what_is_bundled(installed, tmp_path):
    assert "synth/fixed@1" in call(installed / "fasbench", "list", "protocols", cwd=tmp_path)
    assert "erm" in call(installed / "fasbench", "list", "methods", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_runs_a_protocol_file(installed, tiny_protocol, tmp_path):
    sets = [argument for setting in QUICK for argument in ("--set", setting)]
    command = ["run", "-m", "erm", "-p", f"{tiny_protocol.name}/lm-k/full", "--device", "cpu", "--json", *sets]
    (outcome,) = json.loads(call(installed / "fasbench", *command, cwd=tmp_path))
    results = outcome["results"]
    assert [result["evaluation"]["selection"] for result in results] == ["source-val", "last"]
    for result in results:
        assert result["evaluation"]["protocol"] == "test/tiny"
        assert result["provenance"]["git_sha"] is None and result["provenance"]["git_dirty"] is None
        assert 0 <= result["metrics"]["levels"]["frame"]["policies"]["source-eer"]["hter"] <= 1
    assert len(list((tmp_path / "runs").rglob("report.md"))) == 1
