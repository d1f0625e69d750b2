"""A method that trains in milliseconds: logistic regression on 8 x 8 thumbnails. Also the smallest example of one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.method import Batch, Inputs, Method, live_probability


class Linear(Method):
    """z = W [pool(x_rgb); pool(x_depth); pool(x_ir)] + b; an absent modality is zeros."""

    def __init__(self, config, sources):
        super().__init__(config, sources)
        self.head = nn.Linear(3 * 3 * 8 * 8, 2)

    def logits(self, inputs: Inputs) -> Tensor:
        pooled = [F.adaptive_avg_pool2d(image, 8).flatten(1) for image in inputs.images()]  # (B, 192) each
        return self.head(torch.cat(pooled, dim=1))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"total": F.cross_entropy(self.logits(batch.inputs), batch.label)}

    def score(self, inputs: Inputs) -> Tensor:
        return live_probability(self.logits(inputs))
