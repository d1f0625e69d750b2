"""AMA: a frozen ViT reads the patches of all modalities in one sequence; adapters beside it mix their maps."""

from __future__ import annotations

from fasbench.baselines.ama.adapter import AdaptiveMultimodalAdapter
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.layers.vit import JointTokens, attention_mask, build_vit
from fasbench.method import Batch, Inputs, Method, ModelConfig, live_probability


class AMAConfig(ModelConfig):
    backbone: str = Field("vit_base_patch16_224", description="a plain vision transformer of timm")
    pretrained: bool = True
    train_trunk: bool = Field(False, description="train the ViT too: for random weights only")
    channels: int = Field(64, ge=1, description="d, the adapters' bottleneck; 8 = the light setting")
    dropout: float = Field(0.1, ge=0, lt=1)
    flexible: bool = Field(False, description="the release's adapter for missing modalities; see the class")


class AMA(Method):
    """Yu, Cai, Cui, Liu, Hu, Kot: Rethinking Vision Transformer and Masked Autoencoder in Multimodal Face
    Anti-Spoofing. IJCV 2024, arXiv 2302.05744. The network ("ViT + AMA"), without the M2A2E pre-training.

    One sequence x = [class; patches of rgb; of depth; of ir], a block of the frozen ViT, and two adapters beside it:

        n = LN_1(x),   x <- x + MHSA(n) + AMA(n)
        n' = LN_2(x),  x <- x + FFN(n') + AMA'(n')

    z = W LN(x_class) + b;  L = CE(z, y). Infrared comes as [grey, HOG, PLGF]. Trained are adapters, head and one
    embedding a modality. The order of the modalities (the paper's is rgb, ir, depth) only numbers the weights.

    Tokens of absent modalities are left out of the sequence, or hidden from every query where others of the batch have
    them; the adapters read zeros in their place.
    """

    Config = AMAConfig
    fidelities = ("intended", "released")

    def __init__(self, config: AMAConfig, sources: tuple[str, ...]) -> None:
        super().__init__(config, sources)
        vit = build_vit(config.backbone, config.pretrained, config.image_size)
        self.vit = vit.requires_grad_(config.train_trunk)
        self.tokens = JointTokens(vit.embed_dim)
        self.adapters = nn.ModuleList(nn.ModuleList(self._adapter() for _ in range(2)) for _ in vit.blocks)
        for adapter in self.adapters[-1]:
            adapter.freeze_unread()
        self.head = nn.Linear(vit.embed_dim, 2)

    def _adapter(self) -> AdaptiveMultimodalAdapter:
        c = self.config
        return AdaptiveMultimodalAdapter(
            self.vit.embed_dim, c.channels, c.dropout, c.flexible, released=c.fidelity == "released"
        )

    def features(self, inputs: Inputs) -> Tensor:
        """The class token behind the last norm, (B, D)."""
        sequence = self.tokens(self.vit, inputs)
        x, active, mask = sequence.tokens, sequence.active, attention_mask(sequence.kept)  # (B, 1 + A P, D)
        present = inputs.present[:, active]  # (B, A)
        for block, (beside_attention, beside_mlp) in zip(self.vit.blocks, self.adapters, strict=True):
            n = block.norm1(x)
            x = x + block.attn(n, attn_mask=mask) + beside_attention(n, active, present)
            n = block.norm2(x)
            x = x + block.mlp(n) + beside_mlp(n, active, present)
        return self.vit.norm(x[:, 0])

    def logits(self, inputs: Inputs) -> Tensor:
        """(B, 2), index 1 = live."""
        return self.head(self.features(inputs))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"total": F.cross_entropy(self.logits(batch.inputs).float(), batch.label)}

    def score(self, inputs: Inputs) -> Tensor:
        return live_probability(self.logits(inputs))
