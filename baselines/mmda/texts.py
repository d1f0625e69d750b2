"""The sentences of MMDA's two classes. The authors' are not ours to repeat: these 24 + 24 are our own."""

from __future__ import annotations

import open_clip
import torch
from torch import Tensor, nn

from fasbench.layers.clip import encode_text

FORMS = (
    "a photo of {}",
    "an image of {}",
    "a close-up of {}",
    "this is {}",
    "this is an example of {}",
    "the camera sees {}",
    "a frame that shows {}",
    "what the sensors captured is {}",
)
NAMES = (
    ("a spoof face", "a fake face", "a presentation attack"),
    ("a live face", "a real face", "a bona fide presentation"),
)  # index 1 = live


def sentences(released: bool) -> tuple[list[str], list[str]]:
    """24 spoof and 24 live sentences; 4: in the released live list a missing comma makes one of two, so it has 23."""
    spoof, live = ([form.format(name) for form in FORMS for name in names] for names in NAMES)
    if released:
        live[:2] = [live[0] + live[1]]
    return spoof, live


class ClassTexts(nn.Module):
    """Tokens of the sentences. Holds no parameter."""

    tokens: Tensor
    last: Tensor

    def __init__(self, released: bool) -> None:
        super().__init__()
        classes = sentences(released)
        self.counts = [len(texts) for texts in classes]
        with torch.device("cpu"):  # also where the weights are elsewhere
            tokens = open_clip.tokenize([text for texts in classes for text in texts])  # (S, 77)
        last = tokens.argmax(dim=1)  # end of text has the largest id
        self.register_buffer("tokens", tokens[:, : int(last.max()) + 1], persistent=False)  # (S, T)
        self.register_buffer("last", last, persistent=False)  # (S,)

    def forward(self, clip: open_clip.CLIP) -> list[Tensor]:
        """t: text features of spoof (24, E) and live (24, E), fp32, not normalised."""
        features = encode_text(clip, clip.token_embedding(self.tokens), self.last)
        return list(features.float().split(self.counts))
