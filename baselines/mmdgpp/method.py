"""MMDG++: a frozen CLIP shared by three modalities, uncertainty-aware adapters between them, prompts per domain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from fasbench.baselines.mmdgpp.adapter import UAdapterPlusPlus
from fasbench.baselines.mmdgpp.prompts import SLOT_TOKEN, SLOTS, PromptedText, Prompts, TextClasses
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.data.record import MODALITIES
from fasbench.layers.clip import CLIP_MEAN, CLIP_STD, build_clip, image_tokens, self_attention
from fasbench.layers.regrad import RELEASED_EPSILON, Rule, add_rebalanced
from fasbench.method import Batch, Inputs, Method, ModelConfig, live_probability

if TYPE_CHECKING:
    from accelerate import Accelerator


class MMDGppConfig(ModelConfig):
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    clip: str = Field("ViT-B-16-quickgelu", description="an open_clip model with a vision transformer")
    pretrained: str | None = Field("openai", description="open_clip tag, file of weights, or null for random ones")
    train_visual: bool = Field(False, description="train the visual trunk too: for random weights only")
    adapter: bool = Field(True, description="U-Adapter++ in every block")
    samples: int | None = Field(50, ge=2, description="K; null = closed form in training too")
    rate: float = Field(2.5, ge=0, description="r; 0 = no uncertainty: every certainty is 1, the auxiliary asks")
    selection: Literal["certainty", "auxiliary"] = "certainty"
    theta: float = Field(0.5, ge=0, le=1, description="of the central difference convolution")
    prompts: Prompts = "asymmetric"
    prompt_std: float = Field(1.0, gt=0, description="of the initial prompts; 0.02 is the spread of CLIP's words (B14)")
    regrad: Rule = Field("4", description="rule of ReGrad; off adds the gradients of the losses as they are")
    beta: float = Field(0.5, ge=0, lt=1, description="momentum of the losses that tell the fast modality")
    modulated: Literal["all", "tokens"] | None = Field(
        None, description="what ReGrad reaches; tokens = defect B3; null = all if intended, tokens if released"
    )


class Stream(nn.Module):
    """What belongs to one modality: ReGrad's owner of these parameters."""

    def __init__(self, config: MMDGppConfig, clip: nn.Module, classes: int, number: int) -> None:
        super().__init__()
        visual, released = clip.visual, config.fidelity == "released"
        blocks = visual.transformer.resblocks if config.adapter else []
        self.class_token = nn.Parameter(visual.class_embedding.detach().clone())  # (D,)
        self.position = nn.Parameter(visual.positional_embedding.detach().clone())  # (N, D)
        self.projection = nn.Parameter(visual.proj.detach().clone())  # P_m (D, E)
        self.adapters = nn.ModuleList(
            UAdapterPlusPlus(
                width=visual.conv1.out_channels,
                samples=config.samples,
                rate=config.rate,
                theta=config.theta,
                selection=config.selection,
                released=released,
                seed=len(blocks) * number + block,
            )
            for block in range(len(blocks))
        )
        self.prompts = nn.Parameter(torch.empty(classes, SLOTS, clip.token_embedding.embedding_dim))  # (C, 5, W)
        if config.prompts == "fixed":
            self.prompts.requires_grad_(False).copy_(clip.token_embedding.weight[SLOT_TOKEN])


Gradients = dict[nn.Parameter, Tensor]


class Losses(dict[str, Tensor]):
    """The losses of a step, with the text features they share: `backward` passes the text tower once."""

    text: Tensor  # (A, C, E), in the graph


@dataclass(frozen=True)
class Encoded:
    """The visual side of a batch."""

    active: list[int]  # modalities that any sample has
    features: Tensor  # v_m / |v_m|, (A, B, E)
    reliability: dict[int, Tensor]  # kappa_m, scalars without gradient


class MMDGpp(Method):
    """MMDG++ (Lin et al., TPAMI 47(9), 2025). Section numbers are those of the model card.

    Trunk, for every modality m with a, b the others:
        h_m = x_m + MHSA(LN1(x_m));  n_m = LN2(h_m);  x_m' = h_m + MLP(n_m) + A_m(n_m <- n_a) + A_m(n_m <- n_b)
        f_m = ln_post(x_m[cls]) P_m;  v_m = f_m / |f_m|
    Losses:  L = CE(W [v_1; v_2; v_3] + b, y);  L_m = CE(100 v_m t_m^T, domain class) with the text features t_m.
    Gradients:  g_L + G_m(g_1, g_2, g_3) for what modality m owns (ReGrad), g_L for the rest.
    """

    Config = MMDGppConfig
    fidelities = ("intended", "released")
    custom_backward = True
    momentum: Tensor
    text_class: Tensor

    def __init__(self, config: MMDGppConfig, sources: tuple[str, ...]) -> None:
        super().__init__(config, sources)
        self.released = config.fidelity == "released"
        self.epsilon = RELEASED_EPSILON if self.released else 0.0  # B21
        self.clip = build_clip(config.clip, config.pretrained, config.image_size)
        self.classes = TextClasses.of(sources, config.prompts, self.released)
        self.register_buffer("text_class", torch.tensor(self.classes.index), persistent=False)  # (label, domain)
        self.text = PromptedText(self.classes.words, misplaced=self.released)  # B13
        # B16: the released RGB class token *is* CLIP's; a copy keeps CLIP frozen (+ 1 token).
        self.streams = nn.ModuleList(Stream(config, self.clip, len(self.classes.words), m) for m in range(3))
        self.head = nn.Linear(3 * self.clip.visual.output_dim, 2)
        if config.prompts != "fixed":
            for stream in self.streams:  # last, so that their number changes no other draw
                nn.init.normal_(stream.prompts, std=config.prompt_std)
        # Averaged L_m; not yet seen: infinite, so never the fastest. B2: the release starts at 0 and adds.
        start = 0.0 if self.released else float("inf")
        self.register_buffer("momentum", torch.full((3,), start, dtype=torch.float64))
        if config.train_visual:
            visual = self.clip.visual
            for part in (visual.conv1, visual.ln_pre, visual.transformer, visual.ln_post):
                part.requires_grad_(True)

    # --- forward ------------------------------------------------------------------------------------------------------

    def encode(self, inputs: Inputs) -> Encoded:
        """The three streams through the trunk in one batch; a modality that no sample has is left out."""
        visual, blocks = self.clip.visual, self.clip.visual.transformer.resblocks
        active = [m for m in range(3) if bool(inputs.present[:, m].any())]
        images = torch.stack([inputs.images()[m] for m in active])  # (A, B, 3, H, W)
        streams = [self.streams[m] for m in active]
        class_token, position = (torch.stack([getattr(s, n) for s in streams]) for n in ("class_token", "position"))
        x = image_tokens(visual, images, class_token, position)  # (A, B, N, D)
        certainties: dict[int, list[Tensor]] = {m: [] for m in active}
        # B23: what no sample of m has beside m is not even computed, or its weights would get gradients of zero.
        together = (inputs.present.T.float() @ inputs.present.float()).tolist()  # samples that have both, (3, 3)
        heard = {m: [j for j in active if together[m][j]] for m in active}
        for number, block in enumerate(blocks):
            # Only the class token leaves the last block, and there it asks for nothing but the others' class tokens.
            tokens = 1 if number == len(blocks) - 1 else x.shape[2]
            h = x + self_attention(block.attn, block.ln_1(x).flatten(0, 1)).view_as(x)
            n = block.ln_2(h)
            x = h[:, :, :tokens] + block.mlp(n[:, :, :tokens])
            if self.config.adapter:
                adapted = []
                for place, m in enumerate(active):
                    auxiliaries = [
                        n[active.index(j)][:, :tokens] if j in heard[m] else None for j in range(3) if j != m
                    ]
                    available = [inputs.present[:, j] for j in range(3) if j != m]
                    output, certainty = self.streams[m].adapters[number](n[place], auxiliaries, available, tokens)
                    adapted.append(output)
                    certainties[m].append(certainty)
                x = x + torch.stack(adapted)
        class_tokens = visual.ln_post(x[:, :, 0])  # (A, B, D)
        projections = torch.stack([s.projection for s in streams])  # (A, D, E)
        with torch.autocast(x.device.type, enabled=False):  # logits are 100 times their cosines
            features = F.normalize(class_tokens.float() @ projections, dim=-1)
        return Encoded(active, features, {m: self._reliability(certainties[m], inputs.present[:, m]) for m in active})

    def _reliability(self, certainties: list[Tensor], present: Tensor) -> Tensor:
        """kappa_m: certainty of the class token, averaged over the blocks and the samples that have the modality."""
        if not certainties:  # no adapter, no uncertainty
            return torch.ones((), device=present.device)
        each = certainties[-1] if self.released else torch.stack(certainties).mean(0)  # B6
        return (each.detach() * present).sum() / present.sum()

    def logits(self, encoded: Encoded, present: Tensor) -> Tensor:
        """W [v_1; v_2; v_3] + b, v_m = 0 where sample and modality do not meet; (B, 2), index 1 = live."""
        parts = [torch.zeros_like(encoded.features[0]) for _ in range(3)]  # (B, E) each
        for m, v in zip(encoded.active, encoded.features, strict=True):
            parts[m] = torch.where(present[:, m, None], v, 0.0)
        return self.head(torch.cat(parts, dim=1))

    def loss(self, batch: Batch) -> Losses:
        """L, L_m of the modalities present and their reliabilities. `total` is the sum of the losses; with ReGrad, its
        gradient is not what is followed."""
        present = batch.inputs.present
        encoded = self.encode(batch.inputs)
        prompts = [self.streams[m].prompts for m in encoded.active]
        losses = Losses()
        losses.text = self.text(self.clip, encoded.active, prompts).float()
        target = self.text_class[batch.label, batch.domain]  # (B,)
        with torch.autocast(present.device.type, enabled=False):
            losses["classification"] = F.cross_entropy(self.logits(encoded, present), batch.label)
            for m, v, t in zip(encoded.active, encoded.features, F.normalize(losses.text, dim=-1), strict=True):
                s = self.clip.logit_scale.exp() * v @ t.T  # (B, C)
                losses[f"alignment_{MODALITIES[m]}"] = F.cross_entropy(s[present[:, m]], target[present[:, m]])
        losses["total"] = torch.stack(list(losses.values())).sum()
        losses.update({f"reliability_{MODALITIES[m]}": kappa for m, kappa in encoded.reliability.items()})
        return losses

    def score(self, inputs: Inputs) -> Tensor:
        return live_probability(self.logits(self.encode(inputs), inputs.present))

    # --- backward -----------------------------------------------------------------------------------------------------

    def backward(self, losses: dict[str, Tensor], accelerator: Accelerator) -> None:
        """ReGrad: the gradients of L_m, balanced between the modalities, are added to that of L.

        The text tower is passed once, with the gradients of all L_m: prompts of m get theirs from L_m alone.
        """
        assert isinstance(losses, Losses), "backward takes what loss returned"
        alignment = {
            m: losses[f"alignment_{name}"] for m, name in enumerate(MODALITIES) if f"alignment_{name}" in losses
        }
        self._average({m: float(loss.detach()) for m, loss in alignment.items()})
        modulated = {m: self._modulated(m, set(alignment)) for m in alignment}
        gradients = self._gradients(alignment, modulated, losses.text)
        accelerator.backward(losses["classification"])  # g_L; last, as it frees the graph
        reliability = [losses.get(f"reliability_{name}", 0.0) for name in MODALITIES]
        for m, owned in modulated.items():
            self._balance(m, owned, gradients, reliability)
        if self.released:  # B23: zeros, not none, so that the optimiser moves what a missing modality owns
            for m in {0, 1, 2} - set(alignment):
                for p in self.streams[m].parameters():
                    if p is not self.streams[m].prompts:
                        p.grad = torch.zeros_like(p)

    def _gradients(
        self, alignment: dict[int, Tensor], modulated: dict[int, list[nn.Parameter]], text: Tensor
    ) -> dict[int, Gradients]:
        """g_j: the gradient of each L_j for every tensor it reaches."""
        shared = [p for m, owned in modulated.items() for p in owned if p is not self.streams[m].prompts]
        wanted = [*shared, text] if text.requires_grad else shared  # the text is not passed yet
        gradients: dict[int, Gradients] = {}
        at_text = torch.zeros_like(text)
        for j, loss in alignment.items():
            found = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
            gradients[j] = {p: g for p, g in zip(shared, found, strict=False) if g is not None}
            if text.requires_grad:
                at_text += found[-1]
        if text.requires_grad:
            prompts = [self.streams[m].prompts for m in alignment]
            for m, p, g in zip(alignment, prompts, torch.autograd.grad(text, prompts, at_text), strict=True):
                gradients[m][p] = g
        return gradients

    def _balance(
        self, owner: int, owned: list[nn.Parameter], gradients: dict[int, Gradients], reliability: list[Tensor | float]
    ) -> None:
        """Add G_m to the gradients of a modality's tensors."""
        if self.released and len(gradients) > 1:  # B24: what is missing is compared as well
            gradients = {j: gradients.get(j, {}) for j in range(3)}
        momentum, rule = self.momentum.tolist(), self.config.regrad
        add_rebalanced(owned, owner, gradients, momentum, reliability, rule, self.epsilon)

    def _average(self, losses: dict[int, float]) -> None:
        """mu_m <- beta mu_m + (1 - beta) L_m, L_m at first sight; untouched where the modality is missing."""
        beta = self.config.beta
        for m in range(3):
            mu = float(self.momentum[m])
            if self.released:  # B2: added to the old value, so that it grows without end. B24: missing ones only decay
                self.momentum[m] = mu + beta * mu + (1 - beta) * losses[m] if m in losses else beta * mu
            elif m in losses:
                self.momentum[m] = losses[m] if math.isinf(mu) else beta * mu + (1 - beta) * losses[m]

    def _modulated(self, owner: int, available: set[int]) -> list[nn.Parameter]:
        """Tensors of a modality that ReGrad reaches; the others keep the gradient of L alone."""
        stream = self.streams[owner]
        if self.released and len(available) < 3:
            # B4: the released loop stops at the first tensor without a gradient, a missing modality's class token.
            return [stream.class_token] if owner < min({0, 1, 2} - available) else []
        reach = self.config.modulated or ("tokens" if self.released else "all")
        # B3: it never comes past the class tokens, positions, projections and prompts, so never to an adapter.
        return [p for name, p in stream.named_parameters() if p.requires_grad and (reach == "all" or "." not in name)]
