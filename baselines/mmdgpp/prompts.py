"""Asymmetric Domain Prompts: sentences about a live or a spoof face, ending in five learnable words per domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import open_clip
import torch
from torch import Tensor, nn

from fasbench.layers.clip import encode_text
from fasbench.layers.domains import LIVE, domain_classes

MODALITY_WORDS = ("RGB", "depth", "infrared")
SLOTS = 5
SUFFIX = " within the deployment environment of" + SLOTS * " X"
SLOT_TOKEN = 343  # " x" in CLIP's vocabulary

Word = Literal["spoof", "real"]
Prompts = Literal["asymmetric", "symmetric", "fixed"]


def sentences(modality: str, word: Word) -> list[str]:
    """The nine forms, with the slots as literal X."""
    other = "spoof" if word == "real" else "real"
    described = "a bonafide" if word == "real" else "an attack"
    forms = [
        f"This is an example of a {word} face in {modality} modality",
        f"This is an example of {described} face in {modality} modality",
        f"This is not a {other} face in {modality} modality",
        f"This is how a {word} face looks like in {modality} modality",
        f"a {modality} photo of a {word} face",
        f"a photo of a {word} face in {modality} modality",
        f"This is not a {other} face captured by {modality} camera",
        f"This is an example of a {word} face captured by {modality} camera",
        f"a photo of a {word} face captured by {modality} camera",
    ]
    return [form + SUFFIX for form in forms]


@dataclass(frozen=True)
class TextClasses:
    """The classes of the alignment losses, in logit order; prompts have a row for each.

    `words[j]` is what class j says. `index[label][domain]` is the class of a sample, domain counting the sources.
    """

    words: tuple[Word, ...]
    index: tuple[tuple[int, ...], tuple[int, ...]]

    @classmethod
    def of(cls, sources: Sequence[str], prompts: Prompts, released: bool) -> TextClasses:
        """Asymmetric: one live class shared by all domains (index 1), a spoof class for each domain (0, 2, 3, ...).

        Symmetric: live and spoof of each domain. Fixed: one spoof and one live class, without learnable words.
        """
        count = len(sources)
        if prompts == "fixed":
            return cls(("spoof", "real"), ((0,) * count, (1,) * count))
        if prompts == "symmetric":
            return cls(("spoof", "real") * count, (tuple(range(0, 2 * count, 2)), tuple(range(1, 2 * count, 2))))
        classes = domain_classes(sources, released)  # B15: the held-out domain keeps its spoof class
        words: tuple[Word, ...] = tuple("real" if j == LIVE else "spoof" for j in range(classes.count))
        return cls(words, classes.index)


class PromptedText(nn.Module):
    """Token embeddings of every sentence, and where the learnable words go. Holds no parameter.

    Args:
        misplaced: defect B13: the slots start after as many *words* as the sentence has, which is 1 to 3 tokens early
            wherever a word is split into several tokens.
    """

    tokens: Tensor
    last: Tensor
    slots: Tensor

    def __init__(self, words: Sequence[Word], misplaced: bool) -> None:
        super().__init__()
        texts = [sentence for m in MODALITY_WORDS for word in words for sentence in sentences(m, word)]
        tokens = open_clip.tokenize(texts)  # (3 C 9, 77)
        last = tokens.argmax(dim=1)  # end of text has the largest id
        first = last - SLOTS
        if misplaced:
            first = 1 + torch.tensor([len(text.split()) - SLOTS for text in texts])
        shape = (len(MODALITY_WORDS), len(words), -1)
        length = int(last.max()) + 1
        self.register_buffer("tokens", tokens[:, :length].unflatten(0, shape), persistent=False)  # (3, C, 9, T)
        self.register_buffer("last", last.unflatten(0, shape), persistent=False)  # (3, C, 9)
        slots = first[:, None] + torch.arange(SLOTS)
        self.register_buffer("slots", slots.unflatten(0, shape), persistent=False)  # (3, C, 9, 5)

    def forward(self, clip: open_clip.CLIP, modalities: Sequence[int], prompts: Sequence[Tensor]) -> Tensor:
        """t: text features of every class, averaged over the nine forms; not normalised.

        Args:
            modalities: M of 0, 1, 2.
            prompts: for each of them the learnable words, (C, 5, W).
        Returns:
            (M, C, E)
        """
        chosen = list(modalities)
        tokens, slots = self.tokens[chosen], self.slots[chosen]  # (M, C, 9, T), (M, C, 9, 5)
        words = torch.stack(list(prompts))[:, :, None].expand(-1, -1, tokens.shape[2], -1, -1)  # (M, C, 9, 5, W)
        embedded = clip.token_embedding(tokens)
        embedded = embedded.scatter(3, slots[..., None].expand_as(words), words.to(embedded.dtype))
        features = encode_text(clip, embedded.flatten(0, 2), self.last[chosen].flatten())
        return features.unflatten(0, tokens.shape[:3]).mean(2)
