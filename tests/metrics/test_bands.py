"""The band around a ROC is what the bootstrap says of TPR at every FPR."""

import numpy as np
import pytest
from made_scores import made_scores

from fasbench.errors import ConfigError, DataError
from fasbench.metrics import Scores, bootstrap, roc, roc_band


def test_the_band_is_the_interval_of_tpr_at_fpr():
    validation, test = made_scores(1, 12), made_scores(2, 60)
    found = bootstrap(validation, test, ["source-eer"], 100, ["frame"]).interval("frame", "tpr_at_fpr", "10%")
    low, tpr, high = roc_band(test, [0.05, 0.1, 0.3], replicates=100)
    assert (low[1], high[1]) == pytest.approx((found.low, found.high))
    fpr, rates, _ = roc(test.scores, test.labels)
    assert tpr.tolist() == pytest.approx([rates[fpr <= goal].max() for goal in (0.05, 0.1, 0.3)])
    assert (low <= tpr).all() and (tpr <= high).all() and (np.diff(low) >= 0).all()


def test_what_has_no_band():
    with pytest.raises(ConfigError, match="between 0 and 1"):
        roc_band(made_scores(1), [1.5])
    live = Scores([0.2], [1], ["a"], ["v"], ["k"], ["live"])
    with pytest.raises(DataError, match="both classes"):
        roc_band(live, [0.1])
