"""Protocol files: what they hold, what contradicts itself, and what `include:` does."""

from pathlib import Path

import pytest

from fasbench.errors import ConfigError
from fasbench.protocol import Condition, Part, Split, load_protocol
from fasbench.registry import protocols

SOUND = """\
id: test/one
version: 1
title: a test
datasets:
  synth-k: {size: tiny}
  synth-l: {size: tiny}
  mine: {csv: faces.csv, image_size: 32}
splits:
  l-k:
    train: [synth-l/train, mine/train]
    validation: [synth-l/validation]
    test: [synth-k/test]
  k-l:
    train: [synth-k/train]
    validation: [synth-k/validation]
    test: [synth-l/test]
conditions:
  full: {}
  no-ir: {absent: [ir]}
"""


@pytest.fixture
def write(tmp_path: Path):
    """Write a protocol file, SOUND unless told otherwise, with some of its text replaced."""

    def write(*replacements: tuple[str, str], text: str = SOUND, name: str = "one.yaml") -> Path:
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def problems_of(path: Path) -> list[str]:
    """The problems of a file as `line: text`."""
    with pytest.raises(ConfigError) as caught:
        load_protocol(path)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{path}: {len(rest)} problem(s)"
    assert all(line.startswith(f"  - {path}:") for line in rest)
    return [line.removeprefix(f"  - {path}:") for line in rest]


# --- bundled ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("identifier", sorted(protocols()))
def test_a_bundled_protocol_loads_under_the_name_of_its_file(identifier):
    assert load_protocol(protocols()[identifier]).id == identifier


@pytest.mark.parametrize("target", "klmn")
def test_synth_fixed_leaves_one_data_set_out(target):
    protocol = load_protocol(protocols()["synth/fixed"])
    others = "klmn".replace(target, "")
    split = protocol.splits[f"{others}-{target}"]
    sources = tuple(f"synth-{letter}" for letter in others)
    assert split.sources == sources
    for role in ("train", "validation"):
        assert split.parts(role) == tuple(Part(source, role) for source in sources)
    assert split.parts("test") == (Part(f"synth-{target}", "test"),)


def test_synth_fixed_has_four_splits_under_the_full_condition_on_rendered_data():
    protocol = load_protocol(protocols()["synth/fixed"])
    assert [f"{split}/{condition}" for split, condition in protocol.evaluations()] == [
        "lmn-k/full",
        "kmn-l/full",
        "kln-m/full",
        "klm-n/full",
    ]
    assert protocol.preset == "tiny"
    assert all(spec.synthetic for spec in protocol.datasets.values())


# --- a sound file -----------------------------------------------------------------------------------------------------


def test_a_sound_file_is_read(write):
    protocol = load_protocol(write())
    assert str(protocol) == "test/one@1"
    assert protocol.conditions["no-ir"] == Condition(absent=("ir",), validation="same")
    assert (protocol.preset, protocol.training, protocol.known_issues) == ("paper", {}, ())
    assert (protocol.headline.level, protocol.headline.policy) == ("frame", "source-eer")
    assert protocol.datasets["synth-k"].synthetic
    assert not protocol.datasets["mine"].synthetic


def test_sources_are_sorted_and_named_once():
    split = Split(train=("b/train", "a/train", "b/validation"), validation=("c/train",), test=("d/test",))
    assert split.sources == ("a", "b")


def test_a_data_set_name_may_hold_a_slash_before_the_part():
    assert Split(train=("a/b/train",), validation=("c/test",), test=("d/test",)).parts("train") == (
        Part("a/b", "train"),
    )


def test_datasets_of_splits_are_those_of_all_their_parts(write):
    protocol = load_protocol(write())
    assert protocol.datasets_of(["l-k"]) == ["mine", "synth-k", "synth-l"]
    assert protocol.datasets_of(["k-l"]) == ["synth-k", "synth-l"]
    assert protocol.datasets_of(["k-l", "l-k"]) == ["mine", "synth-k", "synth-l"]


def test_evaluations_come_split_by_split_in_the_order_of_the_file(write):
    assert list(load_protocol(write()).evaluations()) == [
        ("l-k", "full"),
        ("l-k", "no-ir"),
        ("k-l", "full"),
        ("k-l", "no-ir"),
    ]


def test_without_conditions_everything_is_present(write):
    text = SOUND.partition("conditions:")[0]
    assert load_protocol(write(text=text)).conditions == {"full": Condition()}


def test_the_folder_is_that_of_the_file_however_it_was_named(write, monkeypatch):
    path = write()
    assert load_protocol(path).folder == path.parent.resolve()
    monkeypatch.chdir(path.parent)
    assert load_protocol(Path("one.yaml")).folder == path.parent.resolve()


# --- the hash ---------------------------------------------------------------------------------------------------------


def test_the_hash_ignores_spelling_order_and_place(write):
    first = load_protocol(write())
    shuffled = SOUND.replace("id: test/one\nversion: 1\n", "# remark\nversion:  1\nid: 'test/one'\n")
    other = load_protocol(write(text=shuffled, name="elsewhere/two.yaml"))
    assert other.sha256 == first.sha256
    assert len(first.sha256) == 64


CHANGES = {
    "version": ("version: 1", "version: 2"),
    "size": ("synth-k: {size: tiny}", "synth-k: {size: demo}"),
    "csv": ("faces.csv", "others.csv"),
    "rows": ("[synth-l/train, mine/train]", "[synth-l/train]"),
    "split name": ("l-k:", "l-to-k:"),
    "condition": ("absent: [ir]", "absent: [ir], validation: full"),
    "rows kept": ("    test: [synth-k/test]", "    test: [synth-k/test]\n    keep: {test: {race: [AF]}}"),
    "training rule": ("title: a test", "title: a test\ntraining: {train: {epochs: 3}}"),
    "headline": ("title: a test", "title: a test\nheadline: {level: video}"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_hash_follows_the_content(write, change):
    before = load_protocol(write()).sha256
    assert load_protocol(write(change)).sha256 != before


# --- what is wrong ----------------------------------------------------------------------------------------------------

ERRORS = {
    "unknown data set": (
        ("mine: {csv: faces.csv, image_size: 32}", "synth-z: {size: tiny}\n  mine: {csv: faces.csv}"),
        "7: unknown data set 'synth-z'. Did you mean 'synth-",
    ),
    "folder without csv": (("csv: faces.csv, image_size: 32", ""), "7: unknown data set 'mine'."),
    "embedded data without a size": (
        ("synth-k: {size: tiny}", "synth-k: {}"),
        "5: 'synth-k' is rendered: say how much of it, 'size: tiny', 'demo' or 'full'",
    ),
    "undeclared data set": (
        ("[synth-l/validation]", "[synht-l/validation]"),
        "11: 'synht-l/validation': no data set 'synht-l' under datasets. Did you mean 'synth-l'?",
    ),
    "wrong part": (
        ("[synth-l/validation]", "[synth-l/val]"),
        "11: 'synth-l/val': expected <data set>/<split> with split one of train, validation, test",
    ),
    "no part": (("[synth-l/validation]", "[synth-l]"), "11: 'synth-l': no data set '' under datasets."),
    "trained and tested on": (
        ("[synth-k/test]", "[synth-l/train]"),
        "12: 'synth-l/train' is already used for train: train, validation and test must differ",
    ),
    "listed twice": (
        ("[synth-k/test]", "[synth-k/test, synth-k/test]"),
        "12: 'synth-k/test' is already used for test: ",
    ),
    "every modality absent": (
        ("absent: [ir]", "absent: [ir, rgb, depth]"),
        "19: conditions.no-ir: every modality is absent: at least one must remain",
    ),
    "unknown modality": (("absent: [ir]", "absent: [thermal]"), "19: conditions.no-ir.absent.0: "),
    "image_size without csv": (
        ("synth-k: {size: tiny}", "synth-k: {image_size: 32}"),
        "5: datasets.synth-k: image_size and range belong to a data set with a csv",
    ),
    "range without csv": (
        ("synth-k: {size: tiny}", "synth-k: {range: {depth: [0, 9]}}"),
        "5: datasets.synth-k: image_size and range belong to a data set with a csv",
    ),
    "size with csv": (
        ("csv: faces.csv,", "csv: faces.csv, size: tiny,"),
        "7: datasets.mine: size belongs to an embedded data set, not to one with a csv",
    ),
    "data set name": (
        ("mine: {csv", "Mine: {csv"),
        "7: data set name 'Mine': use lower-case letters, digits, '-', '_', '.'",
    ),
    "split name": (("k-l:", "K-l:"), "13: name 'K-l': use lower-case letters, digits, '-', '_', '.'"),
    "split name with a slash": (("k-l:", "k/l:"), "13: name 'k/l': use lower-case letters"),
    "condition name": (("no-ir:", "-no-ir:"), "19: name '-no-ir': use lower-case letters"),
    "id": (("id: test/one", "id: Test/one"), "1: id: "),
    "id ending in a slash": (("id: test/one", "id: test/"), "1: id: "),
    "version": (("version: 1", "version: 0"), "2: version: "),
    "unknown key": (
        ("title: a test", "title: a test\nheadlin: {}"),
        "4: headlin: unknown key. Did you mean 'headline'?",
    ),
    "unknown key of a split": (
        ("    test: [synth-k/test]", "    test: [synth-k/test]\n    tset: []"),
        "13: splits.l-k.tset: ",
    ),
    "unknown policy": (
        ("title: a test", "title: a test\nheadline: {policy: test-eer}"),
        "4: headline.policy: ",
    ),
    "no test data": (("[synth-k/test]", "[]"), "12: splits.l-k.test: "),
    "rows of an unknown role": (
        ("    test: [synth-k/test]", "    test: [synth-k/test]\n    keep: {tests: {race: [AF]}}"),
        "13: splits.l-k.keep.tests",
    ),
    "rows by an unknown column": (
        ("    test: [synth-k/test]", "    test: [synth-k/test]\n    keep: {test: {rase: [AF]}}"),
        "13: splits.l-k.keep.test.rase",
    ),
    "rows by no value": (
        ("    test: [synth-k/test]", "    test: [synth-k/test]\n    keep: {test: {race: []}}"),
        "13: splits.l-k.keep.test.race: ",
    ),
    "rows by an unknown attack": (
        ("    test: [synth-k/test]", "    test: [synth-k/test]\n    keep: {test: {attack: [live, repaly]}}"),
        "13: unknown attack 'repaly'. Did you mean 'replay'?",
    ),
}


LISTED = """\
id: test/listed
version: 1
title: a test
lists_source: {repository: someone/lists, commit: cccccccccccccccccccccccccccccccccccccccc}
datasets:
  wmca:
    lists:
      train: {file: Bench/W-train.txt, sha256: HASH}
      validation: {file: Bench/W-val.txt, sha256: HASH}
    drop: {duplicates: true, rows: {train: [wmca/902_01_000_0_00/12]}}
  synth-k: {size: tiny}
splits:
  w-k:
    train: [wmca/train]
    validation: [wmca/validation]
    test: [synth-k/test]
    rows_sha256: {test: HASH}
""".replace("HASH", "a" * 64)

LIST_ERRORS = {
    "data set without a grammar": (
        ("  wmca:\n", "  wcma:\n"),
        "6: no list grammar for 'wcma'. Did you mean 'wmca'? Known: cefa, padisi, surf, wmca",
    ),
    "licensed data set without lists": (
        ("  synth-k: {size: tiny}", "  synth-k: {size: tiny}\n  surf: {}"),
        "12: 'surf' is defined by its lists: say 'lists: {test: {file: ..., sha256: ...}}'",
    ),
    "part without a list": (
        ("[wmca/validation]", "[wmca/test]"),
        "15: 'wmca/test': datasets.wmca.lists names no list for 'test'",
    ),
    "dropped from a list that is not named": (
        ("rows: {train:", "rows: {test:"),
        "10: datasets.wmca.lists names no list for 'test' to drop rows from",
    ),
    "row of another data set": (
        ("[wmca/902", "[surf/902"),
        "10: id 'surf/902_01_000_0_00/12' does not start with 'wmca/'",
    ),
    "lists and a size": (
        ("{size: tiny}", "{size: tiny, lists: {test: {file: a.txt, sha256: " + "a" * 64 + "}}}"),
        "11: datasets.synth-k: lists belong to a licensed data set, not to one with a csv or a size",
    ),
    "lists and a csv": (
        ("    drop:", "    csv: faces.csv\n    drop:"),
        "6: datasets.wmca: lists belong to a licensed data set, not to one with a csv or a size",
    ),
    "drop without lists": (
        ("{size: tiny}", "{size: tiny, drop: {duplicates: true}}"),
        "11: datasets.synth-k: drop belongs to a data set with lists",
    ),
    "list outside the folder": (("Bench/W-train.txt", "../W-train.txt"), "8: datasets.wmca.lists.train.file: "),
    "absolute list": (("Bench/W-train.txt", "/W-train.txt"), "8: datasets.wmca.lists.train.file: "),
    "hash of a list": (("sha256: aaaa", "sha256: xaaa"), "8: datasets.wmca.lists.train.sha256: "),
    "hash of rows": (("{test: aaaa", "{test: xaaa"), "17: splits.w-k.rows_sha256.test: "),
    "hash of training rows": (("rows_sha256: {test:", "rows_sha256: {train:"), "17: splits.w-k.rows_sha256.train"),
    "commit": (("commit: cccc", "commit: main"), "4: lists_source.commit: "),
    "repository": (("someone/lists", "lists"), "4: lists_source.repository: "),
    "unknown key of a list": (
        ("{file: Bench/W-val", "{path: x, file: Bench/W-val"),
        "9: datasets.wmca.lists.validation.path: unknown key.",
    ),
    "unknown key of drop": (
        ("duplicates: true", "duplicate: true"),
        "10: datasets.wmca.drop.duplicate: unknown key. Did you mean 'duplicates'?",
    ),
}


@pytest.mark.parametrize(("change", "start"), LIST_ERRORS.values(), ids=LIST_ERRORS)
def test_a_contradiction_about_lists_is_an_error_with_its_line(write, change, start):
    found = problems_of(write(change, text=LISTED))
    assert any(problem.startswith(start) for problem in found), found


def test_a_licensed_data_set_is_named_by_its_lists(write):
    protocol = load_protocol(write(text=LISTED))
    spec = protocol.datasets["wmca"]
    assert not spec.synthetic
    assert spec.lists["validation"].file == "Bench/W-val.txt"
    assert spec.drop.rows == {"train": ("wmca/902_01_000_0_00/12",)}
    assert protocol.splits["w-k"].rows_sha256 == {"test": "a" * 64}
    assert str(protocol.lists_source) == "https://github.com/someone/lists at commit cccccccccccc"


def test_a_licensed_name_may_be_given_to_a_folder_of_one_s_own(write):
    text = SOUND.replace("mine", "wmca")
    assert load_protocol(write(text=text)).datasets["wmca"].csv == "faces.csv"


@pytest.mark.parametrize(("change", "start"), ERRORS.values(), ids=ERRORS)
def test_a_contradiction_is_an_error_with_its_line(write, change, start):
    assert any(problem.startswith(start) for problem in problems_of(write(change)))


def test_contradictions_are_reported_together(write):
    changes = [ERRORS[name][0] for name in ("unknown data set", "split name", "condition name")]
    assert len(problems_of(write(*changes))) == 3


def test_the_same_part_may_serve_two_splits(write):
    load_protocol(write(("[synth-k/train]", "[synth-l/train]"), ("[synth-l/test]", "[synth-k/test]")))


# --- include ----------------------------------------------------------------------------------------------------------


def test_an_included_file_is_laid_under_the_including_one(write):
    write()
    child = load_protocol(
        write(text="include: one.yaml\nid: test/two\nconditions: {no-rgb: {absent: [rgb]}}\n", name="b.yaml")
    )
    assert (child.id, child.title) == ("test/two", "a test")
    assert list(child.conditions) == ["full", "no-ir", "no-rgb"]  # mappings merge
    assert list(child.splits) == ["l-k", "k-l"]


def test_lists_of_an_included_file_are_replaced(write):
    write()
    child = load_protocol(write(text="include: one.yaml\nsplits: {l-k: {train: [synth-l/train]}}\n", name="b.yaml"))
    assert child.splits["l-k"].train == ("synth-l/train",)
    assert child.splits["l-k"].test == ("synth-k/test",)


def test_a_chain_of_includes_and_one_of_another_folder(write):
    write(name="base/_common.yaml")
    write(text="include: base/_common.yaml\ntitle: middle\n", name="b.yaml")
    child = load_protocol(write(text="include: b.yaml\nversion: 3\n", name="c.yaml"))
    assert (child.title, child.version, child.preset) == ("middle", 3, "paper")


def test_a_written_out_file_equals_one_that_includes(write):
    whole = load_protocol(write(("version: 1", "version: 2")))
    write(name="base.yaml")
    assert load_protocol(write(text="include: base.yaml\nversion: 2\n", name="b.yaml")).sha256 == whole.sha256


@pytest.mark.parametrize("files", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "b"}])
def test_a_file_cannot_include_itself(write, files, monkeypatch):
    for name, other in files.items():
        write(text=f"include: {other}.yaml\n", name=f"{name}.yaml")
    with pytest.raises(ConfigError, match=r"[ab]\.yaml: includes itself$"):
        load_protocol(write(text="include: a.yaml\n", name="start.yaml"))
    monkeypatch.chdir(write().parent)
    with pytest.raises(ConfigError, match=r"[ab]\.yaml: includes itself$"):
        load_protocol(Path("a.yaml"))


def test_of_several_included_files_the_last_lies_uppermost(write):
    write()
    write(text="title: second\nversion: 2\n", name="b.yaml")
    write(text="version: 3\n", name="c.yaml")
    child = load_protocol(write(text="include: [one.yaml, b.yaml, c.yaml]\nid: test/d\n", name="d.yaml"))
    assert (child.id, child.title, child.version, list(child.splits)) == ("test/d", "second", 3, ["l-k", "k-l"])


def test_two_included_files_may_include_the_same_one(write):
    write()
    write(text="include: one.yaml\n", name="b.yaml")
    write(text="include: one.yaml\nversion: 2\n", name="c.yaml")
    assert load_protocol(write(text="include: [b.yaml, c.yaml]\n", name="d.yaml")).version == 2


@pytest.mark.parametrize("value", ["3", "[3]", "{a: b}"])
def test_include_takes_paths(write, value):
    with pytest.raises(ConfigError, match=r"one\.yaml:2: include takes a relative path or a list of them"):
        load_protocol(write(text=f"id: x\ninclude: {value}\n"))


def test_a_missing_included_file_is_named(write):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_protocol(write(text="include: nowhere.yaml\n"))


def test_an_error_in_the_including_file_has_its_line(write):
    write()
    path = write(text="include: one.yaml\nsplits:\n  l-k:\n    test: [synth-l/train]\n", name="b.yaml")
    assert problems_of(path) == ["4: 'synth-l/train' is already used for train: train, validation and test must differ"]


def test_a_bundled_protocol_s_id_is_not_for_others(write):
    with pytest.raises(ConfigError, match=r"one\.yaml:1: 'synth/fixed' is a bundled protocol's id"):
        load_protocol(write(text=SOUND.replace("id: test/one", "id: synth/fixed")))


def test_prose_is_not_part_of_the_hash_and_what_changes_numbers_is(write):
    before = load_protocol(write()).sha256
    assert load_protocol(write(("title: a test", "title: another title"))).sha256 == before
    assert load_protocol(write(("version: 1", "version: 2"))).sha256 != before


def test_what_is_degraded_is_not_noticed_unless_the_protocol_says_so():
    assert Condition(degrade={"blur": 1}).validation == "full"
    assert Condition(degrade={"blur": 1}, validation="same").validation == "same"
    assert Condition(absent=("depth",)).validation == "same"


def test_malformed_keys_do_not_hide_contradictions(write):
    text = SOUND.replace("title: a test", "title: a test\nprest: tiny")
    text = text.replace("absent: [ir]", "absent: [ir], degrade: {blurr: 1}")
    text = text.replace("size: tiny}\n  synth-l", "size: tiny}\n  synth-q", 1)
    found = "\n".join(problems_of(write(text=text)))
    assert "prest: unknown key. Did you mean 'preset'?" in found
    assert "unknown 'blurr'. Did you mean 'blur'?" in found
    assert "unknown data set 'synth-q'" in found
