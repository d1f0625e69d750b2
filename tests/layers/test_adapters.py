"""The convolutional adapter against a plain transcription of its definition."""

import torch
from torch.nn import functional as F

from fasbench.layers.adapters import ConvolutionalAdapter, scalar_attention


def awake(width=12, channels=4, theta=0.7):
    torch.manual_seed(0)
    adapter = ConvolutionalAdapter(width, channels, theta)
    for p in adapter.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return adapter.eval()


def plain(adapter, x, theta):
    """U phi(CDC(phi(D x))): the class token, and each patch beside its neighbours on a 3 x 3 map, one by one."""

    def phi(z):
        return z * torch.sigmoid(1.702 * z)

    down, up, w = adapter.down, adapter.up, adapter.convolution.weight  # w (out, in, 3, 3)
    narrow = phi(x @ down.weight.T + down.bias)  # (B, N, d)
    padded = torch.zeros(len(x), 5, 5, narrow.shape[-1])
    padded[:, 1:4, 1:4] = narrow[:, 1:].reshape(len(x), 3, 3, -1)
    mixed = [narrow[:, 0] @ (w[:, :, 1, 1] - theta * w.sum((2, 3))).T]  # alone on its map
    for row in range(3):
        for column in range(3):
            window = padded[:, row : row + 3, column : column + 3]  # (B, 3, 3, d)
            centre = padded[:, row + 1, column + 1] @ w.sum((2, 3)).T
            mixed.append(torch.einsum("bhwi,oihw->bo", window, w) - theta * centre)
    return phi(torch.stack(mixed, dim=1)) @ up.weight.T + up.bias


def test_it_is_what_it_says():
    for theta in (0.0, 0.7):
        adapter, x = awake(theta=theta), torch.randn(2, 10, 12)
        assert torch.allclose(adapter(x), plain(adapter, x, theta), atol=1e-5)


def test_the_class_token_and_the_patches_pass_apart():
    adapter, x = awake(), torch.randn(2, 10, 12)
    assert torch.allclose(adapter(x[:, :1]), adapter(x)[:, :1], atol=1e-6)
    changed = x.clone()
    changed[:, 0] += 1.0
    assert torch.equal(adapter(changed)[:, 1:], adapter(x)[:, 1:])


def test_its_parameters_and_its_start():
    torch.manual_seed(0)
    adapter = ConvolutionalAdapter(768)
    assert sum(p.numel() for p in adapter.parameters()) == 13_640
    assert 13_640 == (768 * 8 + 8) + 8 * 8 * 9 + (8 * 768 + 768)
    assert not adapter(torch.randn(1, 197, 768)).any()
    bound = (6 / (768 + 8)) ** 0.5  # Xavier, uniform
    assert 0.95 * bound < float(adapter.down.weight.detach().abs().max()) <= bound
    assert not adapter.down.bias.any()
    assert adapter.convolution.theta == 0.7


def test_dropout_in_training_only():
    adapter, x = awake(), torch.randn(2, 10, 12)
    assert adapter.dropout.p == 0.1
    assert torch.equal(adapter(x), adapter(x))
    adapter.train()
    assert not torch.equal(adapter(x), adapter(x))


def test_scalar_attention_has_a_head_for_each_channel():
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 3, 4), torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    weights = F.softmax(query[:, :, None] * key[:, None], dim=2)  # (B, Q, N, d)
    assert torch.allclose(scalar_attention(query, key, value), (weights * value[:, None]).sum(2), atol=1e-6)
