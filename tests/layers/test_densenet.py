"""The truncated DenseNet: what is cut off, how many parameters are left, and what other input channels start from."""

import pytest
import timm
import torch
from timm.models.densenet import DenseNet

from fasbench.errors import FasbenchError
from fasbench.layers.densenet import num_channels, truncated_densenet

SMALL = {"growth": 4, "blocks": (2, 3)}


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("channels", "count"), [(None, 3_198_144), (1, 3_188_736), (4, 3_202_848)])
def test_parameter_counts_and_shape_of_densenet161(channels, count):
    with torch.device("meta"):
        front = truncated_densenet(False, channels)
        assert parameters(front) == count
        assert front(torch.zeros(2, channels or 3, 224, 224)).shape == (2, 384, 14, 14)
    assert num_channels() == 384


def test_it_is_the_front_of_timms_model():
    with torch.device("meta"):
        whole, front = timm.create_model("densenet161").features.state_dict(), truncated_densenet(False).state_dict()
    kept = [n for n in whole if not n.startswith(("denseblock3", "transition3", "denseblock4", "norm5"))]
    assert list(front) == kept
    assert all(front[name].shape == whole[name].shape for name in kept)


def test_small_ones_for_tests():
    front = truncated_densenet(False, 2, **SMALL)
    assert front(torch.randn(1, 2, 64, 64)).shape == (1, num_channels(**SMALL), 4, 4)
    assert num_channels(**SMALL) == ((8 + 8) // 2 + 12) // 2


def test_other_channels_start_from_the_mean_of_the_rgb_kernels():
    fronts = []
    for channels in (None, 5):
        torch.manual_seed(0)
        fronts.append(truncated_densenet(False, channels, **SMALL))
    rgb, five = fronts
    for channel in range(5):
        assert torch.allclose(five.conv0.weight[:, channel], rgb.conv0.weight.sum(1) / 3, atol=1e-7)
    assert torch.equal(five.denseblock2.denselayer1.conv1.weight, rgb.denseblock2.denselayer1.conv1.weight)
    assert five.conv0.weight.requires_grad and five.conv0.bias is None
    grey = torch.randn(2, 1, 32, 32)  # C equal channels: C/3 of the response to a grey RGB image
    expected = 5 / 3 * rgb.conv0(grey.expand(-1, 3, -1, -1))
    assert torch.allclose(five.conv0(grey.expand(-1, 5, -1, -1)), expected, atol=1e-5)


def test_pretrained_weights_are_timms(monkeypatch):
    def create_model(name, **settings):
        assert (name, settings["pretrained"]) == ("densenet161", True)
        network = DenseNet(growth_rate=48, block_config=(6, 12, 1), num_classes=0)
        torch.nn.init.constant_(network.features.conv0.weight[:, 1], 7.0)
        return network

    monkeypatch.setattr(timm, "create_model", create_model)
    assert bool((truncated_densenet(True).conv0.weight[:, 1] == 7).all())
    assert truncated_densenet(True, 1).conv0.weight.mean().item() == pytest.approx(7 / 3, abs=0.05)


def test_weights_that_do_not_exist(monkeypatch):
    with pytest.raises(FasbenchError, match="growth 4 and blocks"):
        truncated_densenet(True, **SMALL)

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(FasbenchError, match="no network"):
        truncated_densenet(True)
