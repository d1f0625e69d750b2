"""CLIP: its image encoder on each modality, with a linear head or the similarity to sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import open_clip
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.layers.clip import CLIP_MEAN, CLIP_STD, build_clip
from fasbench.method import Batch, Inputs, Method, ModelConfig, live_probability

# FLIP's (Srivatsan et al., ICCV 2023). Only the spoof class names a kind of attack: harmless, but not symmetric.
SPOOF_SENTENCES = (
    "This is an example of a spoof face",
    "This is an example of an attack face",
    "This is not a real face",
    "This is how a spoof face looks like",
    "a photo of a spoof face",
    "a printout shown to be a spoof face",
)
LIVE_SENTENCES = (
    "This is an example of a real face",
    "This is a bonafide face",
    "This is a real face",
    "This is how a real face looks like",
    "a photo of a real face",
    "This is not a spoof face",
)


class CLIPConfig(ModelConfig):
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    clip: str = Field("ViT-B-16-quickgelu", description="an open_clip model with a vision transformer")
    pretrained: str | None = Field("openai", description="open_clip tag, file of weights, or null for random ones")
    head_lr_scale: float = Field(20, gt=0, description="the head's learning rate over optim.lr; clip-text has no head")


class CLIPProbeConfig(CLIPConfig):
    head_lr_scale: float = Field(200, gt=0, description="the head's learning rate over optim.lr")


class CLIPEncoder(Method):
    """What the methods of this folder share: v_m, the embedding of each modality by one image encoder."""

    Config = CLIPConfig

    def __init__(self, config: CLIPConfig, sources: tuple[str, ...]) -> None:
        super().__init__(config, sources)
        clip = build_clip(config.clip, config.pretrained, config.image_size)
        self.visual: Any = clip.visual
        self.add_classifier(clip)

    def add_classifier(self, clip: open_clip.CLIP) -> None:
        raise NotImplementedError  # abstract

    def embed(self, inputs: Inputs) -> Tensor:
        """v_m / |v_m|, exactly 0 where modality m is absent: (B, 3, E), fp32. Absent images are not encoded."""
        v = self.visual(torch.stack(inputs.images(), dim=1)[inputs.present])  # (number of images, E)
        embedded = v.new_zeros(len(inputs), 3, v.shape[-1], dtype=torch.float32)
        embedded[inputs.present] = F.normalize(v.float(), dim=-1)
        return embedded

    def logits(self, inputs: Inputs) -> Tensor:
        """(B, 2), index 1 = live."""
        raise NotImplementedError  # abstract

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"total": F.cross_entropy(self.logits(batch.inputs).float(), batch.label)}

    def score(self, inputs: Inputs) -> Tensor:
        return live_probability(self.logits(inputs))


class CLIP(CLIPEncoder):
    """`clip`: CLIP (Radford et al., ICML 2021), fine-tuned. Our definition: the published rows' is unknown.

    z = W [v_rgb; v_depth; v_ir] + b, v_m the unit embedding of modality m, 0 where it is absent;  L = CE(z, y).
    """

    trains_encoder: ClassVar[bool] = True

    def add_classifier(self, clip: open_clip.CLIP) -> None:
        self.visual.requires_grad_(self.trains_encoder)
        self.head = nn.Linear(3 * self.visual.output_dim, 2)

    def logits(self, inputs: Inputs) -> Tensor:
        return self.head(self.embed(inputs).flatten(1))

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        head = {"params": list(self.head.parameters()), "lr_scale": self.config.head_lr_scale}
        return [{"params": list(self.visual.parameters())}, head] if self.trains_encoder else [head]


class CLIPProbe(CLIP):
    """`clip-lp`: a linear probe. As `clip`, with a frozen encoder: MMDG++ without everything but its head."""

    Config = CLIPProbeConfig
    trains_encoder = False


class CLIPText(CLIPEncoder):
    """`clip-text`: fine-tuned against sentences, which stay as they are.

    z_c = scale x mean of cos(v_m, t_c) over the modalities that are there;  L = CE(z, y). t_c is the normalised mean of
    the embeddings of six sentences on class c by the frozen text encoder (as FLIP's: the mean is of raw embeddings).
    """

    text: Tensor
    scale: Tensor

    def add_classifier(self, clip: open_clip.CLIP) -> None:
        self.visual.requires_grad_(True)
        with torch.no_grad():  # once: nothing in it changes
            features = clip.encode_text(open_clip.tokenize([*SPOOF_SENTENCES, *LIVE_SENTENCES]))  # (12, E)
            self.register_buffer("text", F.normalize(features.unflatten(0, (2, -1)).mean(1), dim=-1))  # t (2, E)
            self.register_buffer("scale", clip.logit_scale.exp())  # 100 in OpenAI's weights

    def logits(self, inputs: Inputs) -> Tensor:
        v = self.embed(inputs)
        with torch.autocast(v.device.type, enabled=False):
            cosines = v @ self.text.T  # (B, 3, 2), 0 where absent
            return self.scale * cosines.sum(1) / inputs.present.sum(1, keepdim=True)
