"""Metrics of presentation attack detection as pure functions of numpy arrays. No torch; usable alone.

Convention everywhere: `scores` (N,), higher = more live; `labels` (N,) 1 = bona fide (live), 0 = attack; a sample is
accepted as live iff `score >= threshold`. Errors follow ISO/IEC 30107-3 where it defines them.

>>> from fasbench.metrics import auc, eer, hter, threshold
>>> validation, test = ([0.1, 0.4, 0.6, 0.8], [0, 0, 1, 1]), ([0.2, 0.7, 0.6, 0.9], [0, 0, 1, 1])
>>> hter(*test, threshold("source-eer", *validation).value)
0.25
"""

from fasbench.metrics.curve import auc, curve, eer, roc
from fasbench.metrics.errors import acer, acer_max, apcer, apcer_max, bpcer, bpcer_at_apcer, hter, tpr_at_fpr
from fasbench.metrics.evaluate import METRICS_VERSION, evaluate
from fasbench.metrics.policies import POLICIES, threshold
from fasbench.metrics.scores import Scores

__all__ = [
    "METRICS_VERSION",
    "POLICIES",
    "Scores",
    "acer",
    "acer_max",
    "apcer",
    "apcer_max",
    "auc",
    "bpcer",
    "bpcer_at_apcer",
    "curve",
    "eer",
    "evaluate",
    "hter",
    "roc",
    "threshold",
    "tpr_at_fpr",
]
