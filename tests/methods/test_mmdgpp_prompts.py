"""Asymmetric Domain Prompts of MMDG++: sentences, slots, text classes."""

import copy

import pytest
import torch
from fasbench.baselines.mmdgpp.prompts import SLOT_TOKEN, PromptedText, TextClasses, sentences
from mmdgpp_samples import batch_of, build, inputs_of, step
from torch.nn import functional as F

from fasbench.layers.clip import build_clip


def test_the_slots_hold_the_learnable_words():
    text = PromptedText(("spoof", "real"), misplaced=False)
    assert text.tokens.shape == (3, 2, 9, 26)  # 54 sentences; the longest ends at position 25
    assert bool((text.tokens.gather(3, text.slots) == SLOT_TOKEN).all())
    assert torch.equal(text.slots[..., -1] + 1, text.last)
    assert bool((text.tokens.gather(3, text.last[..., None]) == 49407).all())  # end of text


def test_released_slots_are_misplaced():
    """B13: 42 of 54 sentences, by 1 to 3 tokens; aligned are form 7 of spoof and 5, 8, 9 of real."""
    right, wrong = PromptedText(("spoof", "real"), False), PromptedText(("spoof", "real"), True)
    early = (right.slots - wrong.slots)[..., 0]  # (3, 2, 9)
    assert int((early > 0).sum()) == 42
    assert set(early.flatten().tolist()) == {0, 1, 2, 3}
    for m in range(3):
        assert [form + 1 for form in range(9) if early[m, 0, form] == 0] == [7]
        assert [form + 1 for form in range(9) if early[m, 1, form] == 0] == [5, 8, 9]


def test_the_sentences():
    slots = " within the deployment environment of X X X X X"
    spoof, real = sentences("infrared", "spoof"), sentences("RGB", "real")
    assert spoof[0] == "This is an example of a spoof face in infrared modality" + slots
    assert spoof[1] == "This is an example of an attack face in infrared modality" + slots
    assert spoof[2] == "This is not a real face in infrared modality" + slots
    assert spoof[6] == "This is not a real face captured by infrared camera" + slots
    assert real[1] == "This is an example of a bonafide face in RGB modality" + slots
    assert real[3] == "This is how a real face looks like in RGB modality" + slots
    assert real[4] == "a RGB photo of a real face" + slots
    assert real[5] == "a photo of a real face in RGB modality" + slots
    assert real[7] == "This is an example of a real face captured by RGB camera" + slots
    assert real[8] == "a photo of a real face captured by RGB camera" + slots


@pytest.mark.parametrize("modality", range(3))
@pytest.mark.parametrize("row", range(4))
def test_a_row_of_prompts_changes_its_own_class_only(modality, row):
    method = build()
    prompts = [stream.prompts for stream in method.streams]
    with torch.no_grad():
        before = method.text(method.clip, [0, 1, 2], prompts)
        prompts[modality][row] += 1
        after = method.text(method.clip, [0, 1, 2], prompts)
    changed = (before != after).any(-1).nonzero().tolist()
    assert changed == [[modality, row]]


def test_the_order_of_the_forms_does_not_matter():
    method = build()
    prompts = [stream.prompts for stream in method.streams]
    with torch.no_grad():
        before = method.text(method.clip, [0, 1, 2], prompts)
        order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
        for name in ("tokens", "last", "slots"):
            setattr(method.text, name, getattr(method.text, name)[:, :, order])
        assert torch.allclose(method.text(method.clip, [0, 1, 2], prompts), before, atol=1e-6)


def test_the_text_may_be_cut_to_its_longest_sentence():
    """26 of 77 positions, with CLIP's real sizes."""
    torch.manual_seed(0)
    clip = build_clip("ViT-B-16-quickgelu", None, 224)
    text = PromptedText(("spoof",), misplaced=False)
    whole = copy.deepcopy(text)
    whole.tokens = F.pad(text.tokens, (0, 77 - 26))
    prompts = [torch.randn(1, 5, 512)]
    with torch.no_grad():
        assert torch.allclose(text(clip, [2], prompts), whole(clip, [2], prompts), atol=1e-5)


@pytest.mark.parametrize(
    ("sources", "words", "spoof", "live"),
    [
        (("a", "b", "c"), ("spoof", "real", "spoof", "spoof"), (0, 2, 3), (1, 1, 1)),
        (("a", "b"), ("spoof", "real", "spoof"), (0, 2), (1, 1)),
    ],
)
def test_text_classes(sources, words, spoof, live):
    assert TextClasses.of(sources, "asymmetric", released=False) == TextClasses(words, (spoof, live))


@pytest.mark.parametrize(
    ("sources", "spoof"),
    [
        # WMCA 0, CeFA 2, SURF 3, PADISI 4, whatever is trained on
        (("cefa", "padisi", "surf"), (2, 4, 3)),
        (("cefa", "padisi", "wmca"), (2, 4, 0)),
        (("padisi",), (4,)),
        (("cefa", "padisi", "surf", "wmca"), (2, 4, 3, 0)),
        # others in the free places, in order
        (("casia", "surf"), (0, 3)),
        (("a", "surf", "wmca", "z"), (2, 3, 0, 4)),
        (("a", "b", "c"), (0, 2, 3)),
        # and after them when there is none left
        (("a", "b", "c", "d", "e", "f"), (0, 2, 3, 4, 5, 6)),
        (("a", "b", "cefa", "d", "e", "wmca"), (3, 4, 2, 5, 6, 0)),
    ],
)
def test_released_text_classes_keep_the_held_out_domain(sources, spoof):
    """B15"""
    words = ("spoof", "real", *["spoof"] * (max(4, len(sources)) - 1))
    expected = TextClasses(words, (spoof, (1,) * len(sources)))
    assert TextClasses.of(sources, "asymmetric", released=True) == expected


def test_symmetric_and_fixed_text_classes():
    symmetric = TextClasses.of(("a", "b"), "symmetric", released=False)
    assert symmetric == TextClasses(("spoof", "real", "spoof", "real"), ((0, 2), (1, 3)))
    method = build(prompts="fixed")
    assert method.classes == TextClasses(("spoof", "real"), ((0, 0, 0), (1, 1, 1)))
    assert not any(stream.prompts.requires_grad for stream in method.streams)
    step(method, batch_of(inputs_of()))
    # Without learnable words the sentence is the literal one.
    tokens = method.text.tokens[0].flatten(0, 1)
    features = method.clip.encode_text(F.pad(tokens, (0, 77 - tokens.shape[1]))).unflatten(0, (2, 9)).mean(1)
    assert torch.allclose(method.text(method.clip, [0], [method.streams[0].prompts])[0], features, atol=1e-5)
