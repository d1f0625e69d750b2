"""YAML strangers write: what a plain value means, what is refused, and how problems are reported."""

from pathlib import Path

import pytest
from pydantic import Field, model_validator

from fasbench.errors import ConfigError
from fasbench.yamlfile import Strict, load_yaml, merge, parse_scalar, validate, where


@pytest.fixture
def read(tmp_path: Path):
    """Load text (or bytes) as `a.yaml`."""

    def load(content: str | bytes):
        path = tmp_path / "a.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load_yaml(path)

    return load


SCALARS = {
    "1e-4": 1e-4,
    "1E+5": 1e5,
    "-2.5e-3": -2.5e-3,
    ".5": 0.5,
    "1.": 1.0,
    "7": 7,
    "-7": -7,
    "0": 0,
    "true": True,
    "false": False,
    "null": None,
    "": None,
    "yes": "yes",
    "no": "no",
    "on": "on",
    "off": "off",
    "y": "y",
    "True": "True",
    "1_01": "1_01",  # a WMCA instrument, not 101
    "017": "017",  # a WMCA identity, not 15
    "1:30": "1:30",
    "2024-01-02": "2024-01-02",
    "2024-13-45": "2024-13-45",
    "e4": "e4",
    ".": ".",
    "'1'": "1",
    "[1, 1e-3, on]": [1, 1e-3, "on"],
}


@pytest.mark.parametrize(("text", "expected"), SCALARS.items())
def test_a_plain_value_means_the_same_in_a_file_and_on_the_command_line(read, text, expected):
    for value in (read(f"key: {text}")[0]["key"], parse_scalar(text)):
        assert value == expected
        assert type(value) is type(expected)


@pytest.mark.parametrize("text", ["{", "[1", "!!int x", "!!python/object:os.system x"])
def test_parse_scalar_refuses_what_yaml_cannot_read(text):
    with pytest.raises(ConfigError, match="is not a value YAML can read") as caught:
        parse_scalar(text)
    assert text in str(caught.value)


def test_load_yaml_knows_the_line_of_every_key(read):
    data, lines = read("# comment\na: 1\nb:\n  c: [x,\n    y]\n  d:\n    - {e: 1}\n")
    assert data == {"a": 1, "b": {"c": ["x", "y"], "d": [{"e": 1}]}}
    assert lines == {
        (): 2,
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "c", 0): 4,
        ("b", "c", 1): 5,
        ("b", "d"): 6,
        ("b", "d", 0): 7,
        ("b", "d", 0, "e"): 7,
    }


REFUSED = {
    "text": ("just text", "expected a mapping of keys to values, found str"),
    "list": ("- a\n- b\n", "found list"),
    "empty": ("", "found NoneType"),
    "comment only": ("# nothing\n", "found NoneType"),
    "not UTF-8": (b"title: caf\xe9\n", "cannot be read as UTF-8 text"),
    "not YAML": ("a: [1, 2\nb: 3\n", "not valid YAML"),
    "two documents": ("a: 1\n---\nb: 2\n", "not valid YAML"),
    "tab": ("a:\n\tb: 1\n", "not valid YAML"),
    "python object": ("a: !!python/object:os.system x", "not valid YAML"),
    "wrong tag": ("a: !!timestamp noon", "not valid YAML"),
    "endless nesting": ("a: " + "[" * 600 + "]" * 600, "not valid YAML"),
    "unhashable key": ("? [a, b]\n: 1\n", "not valid YAML"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_load_yaml_refuses(read, content, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read(content)
    assert "a.yaml" in str(caught.value)


@pytest.mark.parametrize("content", ["a: &x 1\nb: 2\nc: *x\n", "a: &x {k: 1}\nb: 2\nc: {<<: *x}\n"])
def test_load_yaml_refuses_aliases_and_names_their_line(read, content):
    with pytest.raises(ConfigError, match=r"a\.yaml:3: YAML aliases"):
        read(content)


def test_load_yaml_reports_every_repeated_key_with_both_lines(read):
    with pytest.raises(ConfigError) as caught:
        read("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 4\n")
    assert str(caught.value).splitlines()[1:] == [
        "  - line 5: 'c' (first on line 3)",
        "  - line 6: 'a' (first on line 1)",
    ]


def test_the_same_key_in_two_mappings_is_no_repetition(read):
    assert read("a: {x: 1}\nb: {x: 2}\n")[0] == {"a": {"x": 1}, "b": {"x": 2}}


def test_load_yaml_of_a_missing_file_names_it(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_yaml(tmp_path / "nowhere.yaml")


MERGES = {
    "mappings merge": ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3, "z": 4}}, {"a": {"x": 1, "y": 3, "z": 4}}),
    "lists replace": ({"a": [1, 2, 3]}, {"a": [4]}, {"a": [4]}),
    "a value replaces a mapping": ({"a": {"x": 1}}, {"a": None}, {"a": None}),
    "a mapping replaces a value": ({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}),
    "an empty mapping changes nothing": ({"a": {"x": 1}}, {"a": {}}, {"a": {"x": 1}}),
    "deep": ({"a": {"b": {"c": 1, "d": 2}}}, {"a": {"b": {"c": 9}}}, {"a": {"b": {"c": 9, "d": 2}}}),
}


@pytest.mark.parametrize(("base", "override", "expected"), MERGES.values(), ids=MERGES)
def test_merge(base, override, expected):
    before = repr(base), repr(override)
    assert merge(base, override) == expected
    assert (repr(base), repr(override)) == before


class Leaf(Strict):
    weight: float = 1.0
    rows: int = Field(1, ge=1)


class Branch(Strict):
    leaf: Leaf = Leaf()
    maybe: Leaf | None = None
    by_name: dict[str, Leaf] = {}
    listed: tuple[Leaf, ...] = ()
    nested: dict[str, dict[str, Leaf]] = {}


class Tree(Strict):
    title: str
    branches: dict[str, Branch] = {}

    @model_validator(mode="after")
    def _no_bad_title(self):
        if self.title == "bad":
            raise ValueError("the title is bad")
        return self


def test_validate_returns_the_model():
    tree = validate(Tree, {"title": "t", "branches": {"b": {"leaf": {"weight": 2}}}}, "f.yaml")
    assert tree.branches["b"].leaf == Leaf(weight=2.0)


PLACES = {
    "mapping of models": ("by_name", "n", {"n": {"wieght": 1}}),
    "optional model": ("maybe", None, {"wieght": 1}),
    "model": ("leaf", None, {"wieght": 1}),
    "list of models": ("listed", 0, [{"wieght": 1}]),
    "mapping of mappings": ("nested", "n.m", {"n": {"m": {"wieght": 1}}}),
}


@pytest.mark.parametrize(("field", "inside", "value"), PLACES.values(), ids=PLACES)
def test_an_unknown_key_gets_the_nearest_legal_one_wherever_it_stands(field, inside, value):
    with pytest.raises(ConfigError) as caught:
        validate(Tree, {"title": "t", "branches": {"b": {field: value}}}, "f.yaml")
    dotted = ".".join(["branches.b", field, *([] if inside is None else [str(inside)]), "wieght"])
    expected = f"f.yaml: {dotted}: unknown key. Did you mean 'weight'? Legal keys: rows, weight"
    assert str(caught.value).splitlines()[1:] == [f"  - {expected}"]


def test_validate_reports_all_problems_with_file_line_and_dotted_key(read):
    data, lines = read("titel: t\nbranches:\n  b:\n    leaf:\n      rows: 0\n    listed:\n      - {weight: heavy}\n")
    with pytest.raises(ConfigError) as caught:
        validate(Tree, data, "f.yaml", lines)
    first, *problems = str(caught.value).splitlines()
    assert first == "f.yaml: 4 problem(s)"
    starts = ["f.yaml:1: title: Field required", "f.yaml:5: branches.b.leaf.rows: ", "f.yaml:1: titel: unknown key."]
    starts.append("f.yaml:7: branches.b.listed.0.weight: ")
    for start in starts:
        assert [line for line in problems if line.startswith(f"  - {start}")], start
    assert any(line.endswith("(found 0)") for line in problems)
    assert any(line.endswith("(found 'heavy')") for line in problems)


def test_validate_prints_a_rule_of_the_whole_model_without_jargon():
    with pytest.raises(ConfigError) as caught:
        validate(Tree, {"title": "bad"}, "f.yaml")
    assert str(caught.value).splitlines()[1] == "  - f.yaml: the title is bad"


def test_configuration_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        Leaf().weight = 2.0


@pytest.mark.parametrize(
    ("key", "expected"),
    [(("a", "b"), "f:3"), (("a", "missing", "deep"), "f:2"), (("other",), "f:1"), ((), "f:1")],
)
def test_where_falls_back_to_the_nearest_key_above(key, expected):
    assert where("f", {(): 1, ("a",): 2, ("a", "b"): 3}, key) == expected


def test_where_without_lines_is_the_file():
    assert where("f", {}, ("a",)) == "f"
