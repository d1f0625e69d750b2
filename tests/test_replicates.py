"""Replicates in a result: they come out as they went in, and means of them need all of them."""

import numpy as np
import pytest
from made_scores import made_scores

from fasbench.metrics import bootstrap
from fasbench.replicates import mean_interval, pack, unpack

DRAWN = bootstrap(made_scores(1, 12), made_scores(2, 24), replicates=50)


def test_what_goes_in_comes_out_to_the_nearest_step():
    packed = pack(DRAWN, "fixed@0.5")
    assert sorted(packed) == ["frame/auc", "frame/hter", "video/auc", "video/hter"]
    assert all(type(text) is str and text.isascii() for text in packed.values())
    np.testing.assert_allclose(unpack(packed, "video/auc"), DRAWN.arrays["video", "auc"], atol=0.5001 / 65_520)
    hter = DRAWN.arrays["frame", "policies", "fixed@0.5", "hter"]
    np.testing.assert_allclose(unpack(packed, "frame/hter"), hter, atol=0.5001 / 65_520)
    assert unpack({}, "frame/auc") is None


def test_a_mean_needs_the_same_replicates_of_every_result():
    packed = pack(DRAWN, "source-eer")
    shorter = pack(bootstrap(made_scores(1, 12), made_scores(2, 24), replicates=20), "source-eer")
    found = mean_interval([[packed, packed], [packed]], "frame/auc", "few units")
    alone = DRAWN.interval("frame", "auc")
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=1e-5)
    assert found.unreliable == "few units"
    assert mean_interval([[packed], [shorter]], "frame/auc", None) is None
    assert mean_interval([[packed], [{}]], "frame/auc", None) is None
