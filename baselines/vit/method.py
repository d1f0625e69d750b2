"""ViT: a fine-tuned ViT-B/16 as a multimodal baseline, in the three forms that are in use."""

from __future__ import annotations

from typing import Literal

from fasbench.baselines.vit.cross_attention import CrossAttention
from fasbench.baselines.vit.joint import Joint
from fasbench.baselines.vit.three_branch import ThreeBranch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from fasbench.data.record import MODALITIES
from fasbench.layers.vit import build_vit
from fasbench.method import Batch, Inputs, Method, ModelConfig, live_probability

VARIANTS = {"joint": Joint, "cross-attention": CrossAttention, "three-branch": ThreeBranch}


class ViTConfig(ModelConfig):
    variant: Literal["joint", "cross-attention", "three-branch"] = "joint"
    backbone: str = Field("vit_base_patch16_224", description="a plain vision transformer of timm")
    pretrained: bool = True
    train_trunk: bool | None = Field(
        None, description="train the blocks; null = as published: all of them, three-branch the last one only"
    )


class ViT(Method):
    """ViT (Dosovitskiy et al., ICLR 2021) fine-tuned for face anti-spoofing (George and Marcel, IJCB 2021), on three
    modalities. Each variant is a network that gives logits z; its own docstring says which.

    joint            one sequence of the tokens of all modalities: the trunk of AMA (Yu et al., IJCV 2024)
    cross-attention  one trunk for each modality, channels of RGB chosen by depth and infrared: Flex-Modal (Yu et al.,
                     CVPRW 2023)
    three-branch     tokens and adapters for each modality, nothing exchanged: beside the releases of MMDG and DADM

    L = CE(z, y), and in three-branch + CE(z_m, y) for the head of each modality m, over the samples that have it.
    """

    Config = ViTConfig

    def __init__(self, config: ViTConfig, sources: tuple[str, ...]) -> None:
        super().__init__(config, sources)
        vit = build_vit(config.backbone, config.pretrained, config.image_size)
        trained = config.variant != "three-branch" if config.train_trunk is None else config.train_trunk
        self.network = VARIANTS[config.variant](vit.requires_grad_(trained))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        joint, *own = self.network(batch.inputs).float()  # (B, 2) each
        losses = {"classification": F.cross_entropy(joint, batch.label)}
        for name, logits, present in zip(MODALITIES, own, batch.inputs.present.T, strict=False):
            each = F.cross_entropy(logits, batch.label, reduction="none")
            losses[f"classification_{name}"] = (each * present).sum() / present.sum().clamp_min(1)
        losses["total"] = sum(losses.values(), joint.new_zeros(()))
        return losses

    def score(self, inputs: Inputs) -> Tensor:
        return live_probability(self.network(inputs)[0])
