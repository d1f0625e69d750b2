"""Metrics of presentation attack detection as pure functions of numpy arrays. No torch; usable alone.

Convention everywhere: `scores` (N,), higher = more live; `labels` (N,) 1 = bona fide (live), 0 = attack; a sample is
accepted as live iff `score >= threshold`. Errors follow ISO/IEC 30107-3 where it defines them.

>>> from fasbench.metrics import auc, eer, hter, threshold
>>> validation, test = ([0.1, 0.4, 0.6, 0.8], [0, 0, 1, 1]), ([0.2, 0.7, 0.6, 0.9], [0, 0, 1, 1])
>>> hter(*test, threshold("source-eer", *validation).value)
0.25
"""

from fasbench.metrics.bands import roc_band
from fasbench.metrics.bootstrap import Bootstrap, bootstrap
from fasbench.metrics.compare import Comparison, compare
from fasbench.metrics.curve import auc, curve, det, eer, roc
from fasbench.metrics.errors import acer, acer_max, apcer, apcer_max, bpcer, bpcer_at_apcer, hter, tpr_at_fpr
from fasbench.metrics.evaluate import METRICS_VERSION, evaluate, evaluate_with_replicates
from fasbench.metrics.intervals import Interval, interval, mean_replicates
from fasbench.metrics.policies import POLICIES, threshold
from fasbench.metrics.ranking import Ranking, holm, rank_methods, verdict
from fasbench.metrics.scores import Scores
from fasbench.metrics.variants import EER_VARIANTS, TPR_VARIANTS, eer_variant, tpr_variant

__all__ = [
    "EER_VARIANTS",
    "METRICS_VERSION",
    "POLICIES",
    "TPR_VARIANTS",
    "Bootstrap",
    "Comparison",
    "Interval",
    "Ranking",
    "Scores",
    "acer",
    "acer_max",
    "apcer",
    "apcer_max",
    "auc",
    "bootstrap",
    "bpcer",
    "bpcer_at_apcer",
    "compare",
    "curve",
    "det",
    "eer",
    "eer_variant",
    "evaluate",
    "evaluate_with_replicates",
    "holm",
    "hter",
    "interval",
    "mean_replicates",
    "rank_methods",
    "roc",
    "roc_band",
    "threshold",
    "tpr_at_fpr",
    "tpr_variant",
    "verdict",
]
