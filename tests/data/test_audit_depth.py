"""The audit of which way depth runs: inverted data sets and rows, and what is said where nothing can be told."""

from __future__ import annotations

import pytest
from audited import Faces, protocol_of, seen, table_of

from fasbench.data.audit import audit_tables


def upside_down(images, index):
    return {**images, "depth": 255 - images["depth"]}


def notes(root, *sources) -> str:
    tables = {source.name: table_of(source, root) for source in sources}
    return "\n".join(audit_tables(protocol_of(), tables, deep=True).notes)


def test_the_only_data_set_against_its_documentation(tmp_path):
    (finding,) = seen(tmp_path, Faces(spoil=upside_down)).values()
    assert (finding.id, finding.new) == ("depth-is-inverted/synth-k", True)
    assert finding.parts == ("synth-k/train", "synth-k/validation", "synth-k/test")
    assert "Near is dark in the depth" in finding.explanation and "documentation" in finding.explanation


def test_one_data_set_against_two_others(tmp_path):
    for name in ("synth-m", "mine"):  # one is documented, the other is compared with the others alone
        findings = seen(tmp_path / name, Faces("synth-k"), Faces("synth-l"), Faces(name, upside_down))
        (finding,) = findings.values()
        assert finding.id == f"depth-is-inverted/{name}" and len(finding.parts) == 3


@pytest.mark.parametrize("every", [2, 3])
@pytest.mark.parametrize("name", ["synth-k", "mine"])
def test_half_or_a_third_of_the_rows_of_one_part(tmp_path, every, name):
    def spoil(images, index):
        return upside_down(images, index) if index < 20 and index // 2 % every == 0 else images

    finding = seen(tmp_path, Faces(name, spoil))[f"depth-is-mixed/{name}/train"]
    assert (finding.severity, finding.parts) == ("pixels", (f"{name}/train",))
    assert finding.count == len(range(0, 10, every)) and finding.counted == "rows"
    inverted = {f"{name}/s{person}-1/0" for person in range(0, 10, every)}
    if every == 3:  # of two halves, which one is wrong is not known
        assert set(finding.examples) <= inverted


def test_black_borders_that_became_white_do_not_hide_an_inversion(tmp_path):
    """Near is dark on a black border: inverted, the border is brighter than the face."""

    def framed(images, index):
        images["depth"] = 255 - images["depth"]
        images["depth"][:5] = images["depth"][-5:] = 0
        return images

    sources = Faces("mine-a", framed), Faces("mine-b", framed)
    other = Faces("mine-c", lambda images, index: upside_down(framed(images, index), index))
    assert seen(tmp_path, *sources) == {}
    assert set(seen(tmp_path, *sources, other)) == {"depth-is-inverted/mine-c"}


def test_what_cannot_be_told_is_said(tmp_path):
    text = notes(tmp_path / "a", Faces("mine", upside_down))
    assert "near is dark in the depth of mine/train, mine/validation, mine/test; which way is right is not" in text
    assert "depth and infrared swapped with each other were not looked for" in text
    assert "could not be told" not in text
    flat = Faces("mine", lambda images, index: {**images, "depth": images["depth"] % 40 + 60})
    text = notes(tmp_path / "b", flat)
    assert "which way depth runs could not be told in mine/train, mine/validation, mine/test" in text
    assert "near is" not in text
    assert "which way" not in notes(tmp_path / "c", Faces("synth-k"))
