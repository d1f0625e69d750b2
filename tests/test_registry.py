"""Names: prefixes of evaluations, methods bundled, plugged in and in files, and what is suggested for a wrong name."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import fasbench.registry
from fasbench.errors import ConfigError
from fasbench.registry import dataset_names, find_evaluations, find_method, methods, protocols

SPLITS = ["lmn-k", "kmn-l", "kln-m", "klm-n"]
METHOD = "from fasbench.method import Method\n\n\nclass Mine(Method):\n    pass\n\n\nclass Unrelated:\n    pass\n"
PROTOCOL = """
id: {0}
version: 1
title: {0}
datasets: {{synth-k: {{size: tiny}}}}
splits:
  a: &
""".replace("&", "{{train: [synth-k/train], validation: [synth-k/validation], test: [synth-k/test]}}")


def names(query: str) -> list[str]:
    return [
        f"{protocol.id}/{split}/{condition}"
        for protocol, pairs in find_evaluations(query)
        for split, condition in pairs
    ]


# --- protocols --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "splits"),
    [
        ("synth/fixed", SPLITS),
        ("synth/fixed/", SPLITS),
        ("synth/fixed/lmn-k", ["lmn-k"]),
        ("synth/fixed/klm-n/full", ["klm-n"]),
    ],
)
def test_a_name_stands_for_all_evaluations_below_it(query, splits):
    assert names(query) == [f"synth/fixed/{split}/full" for split in splits]


def test_a_family_stands_for_all_its_protocols():
    found = [protocol.id for protocol, _ in find_evaluations("synth")]
    assert found == [identifier for identifier in protocols() if identifier.startswith("synth/")]
    assert "synth/fixed" in found


@pytest.mark.parametrize("query", ["synth/fix", "syn", "synth/fixed2", "fixed", "ynth/fixed"])
def test_a_prefix_matches_whole_components_only(query):
    with pytest.raises(ConfigError, match=f"unknown protocol '{query}'"):
        find_evaluations(query)


def test_an_unknown_protocol_gets_a_suggestion_and_the_next_command():
    with pytest.raises(ConfigError) as caught:
        find_evaluations("synth/fix")
    assert str(caught.value) == (
        "unknown protocol 'synth/fix'. Did you mean 'synth/fixed'? See: fasbench list protocols (or give ./file.yaml)"
    )


@pytest.mark.parametrize("query", ["", "/"])
def test_no_name_stands_for_nothing(query):
    with pytest.raises(ConfigError, match="unknown protocol"):
        find_evaluations(query)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("synth/fixed/lmn-q", "synth/fixed has no split 'lmn-q'. Did you mean 'lmn-k'? It has: " + ", ".join(SPLITS)),
        ("synth/fixed/lmn", "synth/fixed has no split 'lmn'. Did you mean "),
        ("synth/fixed/lmn-k/ful", "synth/fixed has no condition 'ful'. Did you mean 'full'? It has: full"),
        ("synth/fixed/lmn-k/full/x", "is too long: after synth/fixed come a split and a condition"),
    ],
)
def test_what_is_wrong_below_a_protocol_is_named(query, message):
    with pytest.raises(ConfigError) as caught:
        find_evaluations(query)
    assert message in str(caught.value)


@pytest.fixture
def library(tmp_path: Path, monkeypatch):
    """A stand-in for the bundled protocols: mmdg/fixed, mmdg/fixed-plus, mmdg/missing and a fragment."""
    for name in ("mmdg/fixed", "mmdg/fixed-plus", "mmdg/missing"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(PROTOCOL.format(name))
    (tmp_path / "mmdg" / "_common.yaml").write_text("title: shared\n")
    monkeypatch.setattr(fasbench.registry, "bundled", lambda folder: tmp_path)
    protocols.cache_clear()
    yield tmp_path
    protocols.cache_clear()


def test_protocols_are_found_by_their_files_without_the_fragments(library):
    assert set(protocols()) == {"mmdg/fixed", "mmdg/fixed-plus", "mmdg/missing"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("mmdg", ["mmdg/fixed/a/full", "mmdg/fixed-plus/a/full", "mmdg/missing/a/full"]),
        ("mmdg/fixed", ["mmdg/fixed/a/full"]),
        ("p1", ["mmdg/fixed/a/full"]),
        ("p1/a", ["mmdg/fixed/a/full"]),
        ("p2/a/full", ["mmdg/missing/a/full"]),
    ],
)
@pytest.mark.usefixtures("library")
def test_aliases_and_families(query, found):
    assert sorted(names(query)) == sorted(found)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("query", ["p3", "p3/a"])
def test_an_alias_of_a_protocol_that_is_not_bundled_says_what_it_stands_for(query):
    with pytest.raises(ConfigError, match="'p3' stands for mmdg/limited, which is not bundled"):
        find_evaluations(query)


@pytest.mark.usefixtures("library")
def test_an_unknown_split_of_an_alias_names_the_protocol():
    with pytest.raises(ConfigError, match="mmdg/fixed has no split 'b'"):
        find_evaluations("p1/b")


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        ("", ["lm-k", "kl-m"]),
        ("/kl-m", ["kl-m"]),
    ],
)
def test_a_file_may_be_followed_by_a_split(tiny_protocol, monkeypatch, rest, found):
    monkeypatch.chdir(tiny_protocol.parent)
    for query in (f"./{tiny_protocol.name}{rest}", f"{tiny_protocol}{rest}"):
        conditions = ("full", "no-depth", "depth-hidden")
        assert names(query) == [f"test/tiny/{split}/{condition}" for split in found for condition in conditions]


def test_a_file_may_be_followed_by_split_and_condition(tiny_protocol):
    assert names(f"{tiny_protocol}/lm-k/no-depth") == ["test/tiny/lm-k/no-depth"]
    with pytest.raises(ConfigError, match=r"test/tiny has no condition 'no-depht'\. Did you mean 'no-depth'"):
        find_evaluations(f"{tiny_protocol}/lm-k/no-depht")


def test_a_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"no file nowhere\.yaml$"):
        find_evaluations("./nowhere.yaml/a")


def test_the_embedded_data_sets_are_built_in():
    assert dataset_names() == ("synth-k", "synth-l", "synth-m", "synth-n")


# --- methods ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def plugins(monkeypatch):
    """Pretend that packages with these entry points are installed."""

    def install(*points: tuple[str, str]) -> None:
        found = [EntryPoint(name, value, "fasbench.methods") for name, value in points]
        monkeypatch.setattr(
            fasbench.registry, "entry_points", lambda group: found if group == "fasbench.methods" else []
        )
        methods.cache_clear()

    yield install
    methods.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch) -> Path:
    """An installed package `other_lab` with a module `method` and a configuration."""
    folder = tmp_path / "other_lab"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "method.py").write_text(METHOD)
    (folder / "config.yaml").write_text("presets: {paper: {}, huge: {}}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "other_lab"]:
        del sys.modules[name]


def test_a_bundled_method_is_found_by_its_name():
    entry = find_method("erm")
    assert (entry.name, entry.module, entry.class_name) == ("erm", "fasbench.baselines.erm.method", "ERM")
    assert entry.origin == "bundled"
    assert {"paper", "tiny"} <= set(entry.config()["presets"])
    assert entry.load().__name__ == "ERM"


@pytest.mark.parametrize(("name", "near"), [("emr", True), ("ERM", True), ("zzzz", False)])
def test_an_unknown_method_gets_a_suggestion_and_the_next_command(name, near, plugins):
    plugins(("erm-two", "json:Two"))
    with pytest.raises(ConfigError) as caught:
        find_method(name)
    message = str(caught.value)
    assert message.startswith(f"unknown method '{name}'.")
    assert message.endswith("See: fasbench list methods (or give path/to/file.py:Class)")
    assert ("Did you mean 'erm'?" in message) == near


def test_a_method_of_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    entry = find_method(f"{path}:Mine")
    assert (entry.name, entry.origin) == ("mine", "file")
    assert entry.load().__name__ == "Mine"
    assert entry.config() == {"presets": {"paper": {}, "tiny": {}}}
    (tmp_path / "config.yaml").write_text("presets: {small: {}}\n")
    assert entry.config() == {"presets": {"small": {}}}


def test_a_relative_file_still_loads_after_a_change_of_folder(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(METHOD)
    (tmp_path / "config.yaml").write_text("presets: {small: {}}\n")
    monkeypatch.chdir(tmp_path)
    entry = find_method("mine.py:Mine")
    monkeypatch.chdir("/")
    assert entry.load().__name__ == "Mine"
    assert entry.config() == {"presets": {"small": {}}}


def test_a_file_may_define_a_dataclass_and_its_own_configuration(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "from fasbench.method import Method, ModelConfig\n\n@dataclass\nclass Part:\n    size: int\n\n"
        "class Wide(ModelConfig):\n    width: int = 7\n\nclass Mine(Method):\n    Config = Wide\n"
    )
    assert find_method(f"{path}:Mine").load().Config().width == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py:Mine", "--method nowhere.py:Mine: no file nowhere.py"),
        ("mine.py", "--method mine.py: say which class, e.g. mine.py:MyMethod"),
    ],
)
def test_a_file_needs_to_exist_and_a_class(tmp_path, monkeypatch, name, message):
    (tmp_path / "mine.py").write_text(METHOD)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        find_method(name)
    assert str(caught.value) == message


@pytest.mark.parametrize("class_name", ["Mien", "Unrelated", "Absent", "Method"])
def test_a_class_that_is_no_method_is_refused_with_those_that_are(tmp_path, class_name):
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    with pytest.raises(ConfigError) as caught:
        find_method(f"{path}:{class_name}").load()
    message = str(caught.value)
    assert f"mine.py has no Method class '{class_name}'." in message
    assert message.endswith("It defines: Mine")
    assert ("Did you mean 'Mine'?" in message) == (class_name == "Mien")


def test_a_plugin_is_found_with_the_configuration_beside_it(plugins, package):
    plugins(("theirs", "other_lab.method:Mine"))
    entry = find_method("theirs")
    assert entry.origin == "plugin"
    assert set(entry.config()["presets"]) == {"paper", "huge"}
    assert "other_lab.method" not in sys.modules  # listing imports no method
    assert entry.load().__name__ == "Mine"


def test_a_plugin_with_extras_in_its_entry_point(plugins, package):
    plugins(("theirs", "other_lab.method:Mine [gpu]"))
    assert find_method("theirs").load().__name__ == "Mine"


def test_a_broken_plugin_does_not_hide_the_other_methods(plugins):
    plugins(("gone", "removed_package.method:Gone"))
    assert find_method("erm").origin == "bundled"
    with pytest.raises(ConfigError, match=r"method 'gone': module removed_package\.method has no source file"):
        find_method("gone").source_sha256()


@pytest.mark.parametrize(
    ("points", "name"),
    [
        ([("erm", "other_lab.method:Mine")], "erm"),
        ([("theirs", "other_lab.method:Mine"), ("theirs", "other_lab:Mine")], "theirs"),
    ],
)
@pytest.mark.usefixtures("package")
def test_two_methods_of_one_name_are_refused(plugins, points, name):
    plugins(*points)
    with pytest.raises(ConfigError, match=rf"two methods are named '{name}': \S+ and other_lab"):
        methods()


# --- the hash of a method's sources -----------------------------------------------------------------------------------


def test_the_hash_of_a_file_method_follows_that_file_only(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    entry = find_method(f"{path}:Mine")
    before = entry.source_sha256()
    (tmp_path / "other.py").write_text("x = 1\n")
    assert entry.source_sha256() == before
    path.write_text(METHOD + "# changed\n")
    assert entry.source_sha256() != before


def test_the_hash_of_a_package_follows_all_its_python_files(plugins, package):
    plugins(("theirs", "other_lab.method:Mine"))
    entry = find_method("theirs")
    hashes = [entry.source_sha256()]
    (package / "notes.txt").write_text("no code\n")
    assert entry.source_sha256() == hashes[0]
    for name in ("helper.py", "layers/attention.py", "method.py"):
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_text(f"# {name}\n")
        hashes.append(entry.source_sha256())
    assert len(set(hashes)) == 4


def test_the_hash_of_a_single_module_leaves_its_neighbours_out(plugins, tmp_path, monkeypatch):
    (tmp_path / "lonely_method.py").write_text(METHOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins(("lonely", "lonely_method:Mine"))
    entry = find_method("lonely")
    before = entry.source_sha256()
    (tmp_path / "unrelated.py").write_text("x = 1\n")
    assert entry.source_sha256() == before
    (tmp_path / "lonely_method.py").write_text(METHOD + "# changed\n")
    assert entry.source_sha256() != before
