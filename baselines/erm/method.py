"""ERM: the plainest multimodal baseline. One backbone per modality, concatenated features, cross-entropy."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.method import Batch, Inputs, Method, ModelConfig, live_probability


class ERMConfig(ModelConfig):
    backbone: str = "resnet18"
    pretrained: bool = True
    dropout: float = 0.0


class ERM(Method):
    """Empirical risk minimisation over the pooled sources (Vapnik, 1998), late fusion by concatenation.

    f_m = backbone_m(x_m), 0 where modality m is absent;  z = W [f_rgb; f_depth; f_ir] + b;  L = CE(z, y).
    """

    Config = ERMConfig

    def __init__(self, config: ERMConfig, sources: tuple[str, ...]) -> None:
        super().__init__(config, sources)
        self.backbones = nn.ModuleList(
            timm.create_model(config.backbone, pretrained=config.pretrained, num_classes=0) for _ in range(3)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(3 * self.backbones[0].num_features, 2)

    def logits(self, inputs: Inputs) -> Tensor:
        """(B, 2), index 1 = live."""
        features = [
            torch.where(inputs.present[:, m, None], backbone(image), 0.0)  # (B, D)
            for m, (backbone, image) in enumerate(zip(self.backbones, inputs.images(), strict=True))
        ]
        return self.head(self.dropout(torch.cat(features, dim=1)))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"total": F.cross_entropy(self.logits(batch.inputs), batch.label)}

    def score(self, inputs: Inputs) -> Tensor:
        return live_probability(self.logits(inputs))
