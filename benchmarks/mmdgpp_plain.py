"""MMDG++ written down as plainly as it is defined: the slow side of `mmdgpp_step.py`, and a reference to compare with.

Nothing is shared, cached or simplified here. Every Gaussian query is drawn K times, the adapters' attention
probabilities are materialised, the three modalities pass the trunk one after the other, every adapter is called once
for each auxiliary modality, all 77 text positions are encoded in every step, and the four losses have a backward pass
each. Batch norm or dropout do not exist, so `model.eval()` with gradients enabled is deterministic (`closed_form`) and
can be compared number by number with a faster implementation. Modalities that are absent are not supported.

Where the published code differs from the method's evident intention, the intention is implemented: the auxiliary query
is taken with probability c_A / (c_A + c_O), momentum losses are exponential means, gradients are paired by name, kappa
is the certainty of a modality's own queries in all blocks, and the prompts replace exactly the five X of a sentence.
Parameters have the names of the published state dict. Modality m is 1 = RGB, 2 = depth, 3 = IR.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WORDS = ("RGB", "depth", "infrared")  # what the sentences call modalities 1, 2, 3
FORMS = (
    "This is an example of a {own} face in {word} modality",
    "This is an example of {article} face in {word} modality",
    "This is not a {opposite} face in {word} modality",
    "This is how a {own} face looks like in {word} modality",
    "a {word} photo of a {own} face",
    "a photo of a {own} face in {word} modality",
    "This is not a {opposite} face captured by {word} camera",
    "This is an example of a {own} face captured by {word} camera",
    "a photo of a {own} face captured by {word} camera",
)
SLOTS = 5  # learnable context tokens of a sentence, the X of its suffix
SUFFIX = " within the deployment environment of X X X X X"
LIVE = 1  # text class of all live faces; the others are the spoof classes of the domains
LOGIT_SCALE = 100.0  # exp of the logit scale every published CLIP has, also when the weights are random


def sentences(word: str, live: bool) -> list[str]:
    """The 9 sentences of one class in the modality called `word`."""
    own, opposite, article = ("real", "spoof", "a bonafide") if live else ("spoof", "real", "an attack")
    return [form.format(word=word, own=own, opposite=opposite, article=article) + SUFFIX for form in FORMS]


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


class CentralDifferenceConv(nn.Module):
    """3x3 convolution w * x - theta (sum of w) x."""

    def __init__(self, channels: int, theta: float = 0.5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.theta = theta

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C, H, W)
        kernel_sum = self.conv.weight.sum((2, 3), keepdim=True)  # (C, C, 1, 1)
        return self.conv(x) - self.theta * F.conv2d(x, kernel_sum)


class CrossAttention(nn.Module):
    """Attention whose query is, for each token, one of two Gaussians: `_1` of the auxiliary, `_2` of the own tokens."""

    def __init__(self, width: int, samples: int, rate: float, closed_form: bool) -> None:
        super().__init__()
        self.samples, self.rate, self.closed_form = samples, rate, closed_form
        for name in ("q_linear", "mean_mlp", "std_mlp"):  # std_mlp gives the logarithm of the variance
            for candidate in (1, 2):
                setattr(self, f"{name}_{candidate}", nn.Linear(width, width, bias=False))
        self.k_linear = nn.Linear(width, width, bias=False)
        self.v_linear = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)

    def candidate(self, tokens: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """Query value (B, N, d) and certainty (B, N, 1) of a candidate."""
        q = getattr(self, f"q_linear_{index}")(tokens)
        mean = getattr(self, f"mean_mlp_{index}")(q).float()  # sampling stays in fp32 under autocast
        log_variance = getattr(self, f"std_mlp_{index}")(q).float()
        if self.closed_form and not self.training:
            value, variance = mean, log_variance.exp()
        else:
            noise = torch.randn(self.samples, *mean.shape, device=mean.device)
            drawn = mean + (log_variance / 2).exp() * noise  # (K, B, N, d)
            value, variance = drawn.mean(0), drawn.var(0, unbiased=True)
        uncertainty = variance.mean(-1, keepdim=True).detach()
        return value, torch.exp(-self.rate * uncertainty)

    def forward(self, own: Tensor, aux: Tensor) -> tuple[Tensor, Tensor]:
        """Attended tokens (B, N, d), and the certainty (B, N, 1) of the own candidate, chosen or not."""
        value_a, certainty_a = self.candidate(aux, 1)
        value_o, certainty_o = self.candidate(own, 2)
        if self.training:
            take_a = torch.rand_like(certainty_a) < certainty_a / (certainty_a + certainty_o)
        else:
            take_a = certainty_a > certainty_o
        q = torch.where(take_a, value_a, value_o)
        certainty = torch.where(take_a, certainty_a, certainty_o)

        q, k, v = (x.transpose(1, 2) for x in (q, self.k_linear(own), self.v_linear(own)))  # (B, heads, N), 1 wide
        logits = certainty[:, None] * q[:, :, :, None] * k[:, :, None, :]  # (B, heads, N, N)
        attended = logits.softmax(-1) @ v[..., None].to(logits.dtype)  # (B, heads, N, 1)
        return self.proj(attended.squeeze(-1).transpose(1, 2)), certainty_o


class PlainAdapter(nn.Module):
    """U-Adapter++: what one modality takes from another one, beside the MLP of a block. Zero at initialisation."""

    def __init__(
        self, width: int, bottleneck: int = 8, samples: int = 50, rate: float = 2.5, closed_form: bool = True
    ) -> None:
        super().__init__()
        self.adapter_down_k_v = nn.Linear(width, bottleneck)  # own tokens
        self.adapter_down_q = nn.Linear(width, bottleneck)  # auxiliary tokens
        self.ln_k_v = nn.LayerNorm(bottleneck)
        self.ln_q = nn.LayerNorm(bottleneck)
        self.cross_attention = CrossAttention(bottleneck, samples, rate, closed_form)
        self.adapter_mlp = nn.Linear(bottleneck, bottleneck)
        self.adapter_conv = CentralDifferenceConv(bottleneck)
        self.adapter_up = nn.Linear(bottleneck, width)
        for linear in (self.adapter_down_k_v, self.adapter_down_q, self.adapter_mlp):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.adapter_up.weight)
        nn.init.zeros_(self.adapter_up.bias)

    def forward(self, own: Tensor, aux: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Output (B, N, D) and the certainty (B, N, 1) of the own candidate; N = 1 + patches of `grid`."""
        z_own = self.ln_k_v(quick_gelu(self.adapter_down_k_v(own)))
        z_aux = self.ln_q(quick_gelu(self.adapter_down_q(aux)))
        attended, certainty = self.cross_attention(z_own, z_aux)
        t = attended + z_own
        t = t + self.adapter_mlp(self.ln_q(t))  # the auxiliary's norm, used a second time

        maps = t.transpose(1, 2)  # (B, d, N)
        class_map = self.adapter_conv(maps[:, :, :1].unflatten(2, (1, 1)))
        patch_map = self.adapter_conv(maps[:, :, 1:].unflatten(2, grid))
        t = torch.cat([class_map.flatten(2), patch_map.flatten(2)], dim=2).transpose(1, 2)
        return self.adapter_up(quick_gelu(t)), certainty


class PlainMMDGpp(nn.Module):
    """The whole method on an open_clip model with a ViT and a text transformer.

    Args:
        clip_model, tokenizer: from `open_clip.create_model` and `open_clip.get_tokenizer`. The model is frozen.
        domains: how many domains have a spoof class; text classes are one more, index 1 is live.
        closed_form: in evaluation mode, use mean and variance of the Gaussians instead of samples.
    """

    epsilon = 1e-8  # of the projections in ReGrad
    beta = 0.5  # of the momentum losses

    def __init__(
        self,
        clip_model: nn.Module,
        tokenizer: Callable[[list[str]], Tensor],
        domains: int = 4,
        samples: int = 50,
        rate: float = 2.5,
        closed_form: bool = True,
    ) -> None:
        super().__init__()
        self.model = clip_model.requires_grad_(False)
        visual = clip_model.visual
        width, embedding = visual.proj.shape
        self.classes = domains + 1
        for m, word in enumerate(WORDS, 1):  # own copies: training them must not change CLIP
            setattr(self, f"class_token_{m}", nn.Parameter(visual.class_embedding.detach().clone()))
            setattr(self, f"pos_{m}", nn.Parameter(visual.positional_embedding.detach().clone()))
            setattr(self, f"visual_proj_{m}", nn.Parameter(visual.proj.detach().clone()))
            text_width = clip_model.token_embedding.weight.shape[1]
            setattr(self, f"prompts_{m}", nn.Parameter(torch.randn(self.classes, SLOTS, text_width)))
            blocks = range(len(visual.transformer.resblocks))
            adapters = [PlainAdapter(width, samples=samples, rate=rate, closed_form=closed_form) for _ in blocks]
            setattr(self, f"conv_pass_{m}", nn.ModuleList(adapters))
            texts = [text for row in range(self.classes) for text in sentences(word, live=row == LIVE)]
            self.register_buffer(f"tokens_{m}", tokenizer(texts), persistent=False)  # (classes * 9, 77)
        self.fc_all = nn.Sequential(nn.Linear(3 * embedding, 2))
        self.momentum: list[float] | None = None  # exponential means of the three modality losses

    def features(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> tuple[list[Tensor], Tensor]:
        """Embeddings f_m (B, E), not normalised, and the reliabilities kappa (3,) without gradient."""
        visual = self.model.visual
        streams = [self._embed(image, m) for m, image in enumerate((rgb, depth, ir), 1)]
        certainties: list[list[Tensor]] = [[], [], []]
        for index, block in enumerate(visual.transformer.resblocks):
            attended = [x + block.ls_1(block.attention(block.ln_1(x))) for x in streams]
            normed = [block.ln_2(h) for h in attended]
            streams = []
            for m in range(3):
                x = attended[m] + block.ls_2(block.mlp(normed[m]))
                adapter = getattr(self, f"conv_pass_{m + 1}")[index]
                for aux in others(m):
                    output, certainty = adapter(normed[m], normed[aux], visual.grid_size)
                    x = x + output
                    certainties[m].append(certainty[:, 0].mean())  # class token, mean over the batch
                streams.append(x)
        embeddings = [visual.ln_post(x[:, 0]) @ getattr(self, f"visual_proj_{m}") for m, x in enumerate(streams, 1)]
        return embeddings, torch.stack([torch.stack(blocks).mean() for blocks in certainties]).detach()

    def _embed(self, image: Tensor, m: int) -> Tensor:
        """Tokens (B, N, D) of modality m in front of the first block."""
        patches = self.model.visual.conv1(image).flatten(2).transpose(1, 2)  # (B, N - 1, D)
        token = getattr(self, f"class_token_{m}").expand(len(image), 1, -1).to(patches.dtype)
        return self.model.visual.ln_pre(torch.cat([token, patches], dim=1) + getattr(self, f"pos_{m}"))

    def logits(self, features: Sequence[Tensor]) -> Tensor:
        """Spoof and live logits (B, 2)."""
        return self.fc_all(torch.cat([F.normalize(f, dim=-1) for f in features], dim=-1))

    def text_features(self, m: int) -> Tensor:
        """One feature a text class (classes, E), not normalised: the mean over its 9 sentences."""
        clip, tokens = self.model, getattr(self, f"tokens_{m}")
        prompts = getattr(self, f"prompts_{m}").repeat_interleave(len(FORMS), dim=0)  # (classes * 9, 5, D)
        rows = torch.arange(len(tokens), device=tokens.device)
        end = tokens.argmax(-1)  # the end-of-text token has the largest id
        slots = end[:, None] + torch.arange(-SLOTS, 0, device=tokens.device)  # the five positions before the end
        x = clip.token_embedding(tokens).clone()  # (classes * 9, 77, D)
        x[rows[:, None], slots] = prompts
        x = clip.transformer(x + clip.positional_embedding, attn_mask=clip.attn_mask)
        encoded = clip.ln_final(x)[rows, end] @ clip.text_projection
        return encoded.unflatten(0, (self.classes, len(FORMS))).mean(1)

    def alignment(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Logits s_m (B, classes) of every modality against its own text classes."""
        texts = [F.normalize(self.text_features(m), dim=-1) for m in (1, 2, 3)]
        return [LOGIT_SCALE * F.normalize(f, dim=-1) @ t.T for f, t in zip(features, texts, strict=True)]

    def losses(
        self, images: Sequence[Tensor], labels: Tensor, domain_labels: Tensor
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """L, [L_1, L_2, L_3] and kappa. `domain_labels` are text classes: 1 = live, else the domain's spoof class."""
        features, kappa = self.features(*images)
        total = F.cross_entropy(self.logits(features), labels)
        return total, [F.cross_entropy(s, domain_labels) for s in self.alignment(features)], kappa

    def train_step(
        self,
        optimizer: torch.optim.Optimizer,
        images: Sequence[Tensor],
        labels: Tensor,
        domain_labels: Tensor,
        bf16: bool = False,
    ) -> Tensor:
        """One step of the optimiser with ReGrad; returns L."""
        with torch.autocast(labels.device.type, torch.bfloat16, enabled=bf16):
            total, parts, kappa = self.losses(images, labels, domain_labels)
        self.update_momentum([part.item() for part in parts])
        gradients = []
        for loss in (*parts, total):
            optimizer.zero_grad(set_to_none=True)
            loss.backward(retain_graph=loss is not total)
            gradients.append({name: p.grad for name, p in self.named_parameters() if p.grad is not None})
        combined = self.combine(gradients[:3], gradients[3], kappa)
        for name, parameter in self.named_parameters():
            parameter.grad = combined.get(name)
        optimizer.step()
        return total.detach()

    def update_momentum(self, values: list[float]) -> None:
        before = self.momentum or values
        self.momentum = [self.beta * old + (1 - self.beta) * new for old, new in zip(before, values, strict=True)]

    def combine(self, parts: list[dict[str, Tensor]], total: dict[str, Tensor], kappa: Tensor) -> dict[str, Tensor]:
        """Gradients for the optimiser: that of L, plus the modulated ones for tensors that a modality owns."""
        if self.momentum is None:
            raise RuntimeError("combine needs momentum losses: call update_momentum first")
        combined = dict(total)
        for name, parameter in self.named_parameters():
            m = owner(name)
            if m is None or not any(name in part for part in (*parts, total)):
                continue
            zero = torch.zeros_like(parameter)
            fast = all(self.momentum[m] < self.momentum[j] for j in others(m))
            modulated = regrad([part.get(name, zero) for part in parts], kappa, m, fast, self.epsilon)
            combined[name] = total.get(name, zero) + modulated
        return combined

    def forward(self, rgb: Tensor, depth: Tensor, ir: Tensor) -> Tensor:
        """Score of every sample (B,), higher = more live. No text is encoded."""
        return self.logits(self.features(rgb, depth, ir)[0]).softmax(-1)[:, 1]


def others(m: int) -> list[int]:
    """The two other modalities, counted from 0."""
    return [j for j in range(3) if j != m]


def owner(name: str) -> int | None:
    """Modality (from 0) that owns a parameter: the first integer in the first component of its name."""
    first = name.split(".")[0]
    number = None if first == "model" else re.search(r"\d+", first)
    return int(number.group()) - 1 if number else None


def regrad(gradients: Sequence[Tensor], kappa: Tensor, m: int, fast: bool, epsilon: float = 1e-8) -> Tensor:
    """G_m of one tensor (variant 4) from its gradients by L_1, L_2, L_3; `m` counts from 0."""
    j, k = others(m)
    if fast:
        rest = gradients[j] + gradients[k]
        return kappa[m] * agreeing_part(gradients[m], rest, epsilon) + rest
    pulls = [kappa[i] * agreeing_part(gradients[i], gradients[m], epsilon) for i in (j, k)]
    return gradients[m] + pulls[0] + pulls[1]


def agreeing_part(a: Tensor, b: Tensor, epsilon: float) -> Tensor:
    """P(a|b): the part of a along b when they agree, the part orthogonal to b when they conflict."""
    dot = (a * b).sum()
    projection = dot / ((b * b).sum() + epsilon) * b
    return projection if dot > 0 else a - projection
