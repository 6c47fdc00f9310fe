"""How well an estimate of the sources agrees with the truth: of one source, and of several."""

from learnmm_esi.metrics.per_sample import PerSample
from learnmm_esi.metrics.per_seed import PerSeedEvaluator, PerSeedMetrics
from learnmm_esi.metrics.ranking import average_precision, roc_auc
from learnmm_esi.metrics.several import SeveralEvaluator, SeveralMetrics
from learnmm_esi.metrics.single import Evaluator, SourceMetrics
from learnmm_esi.metrics.transport import earth_movers_distance

__all__ = [
    "Evaluator",
    "PerSample",
    "PerSeedEvaluator",
    "PerSeedMetrics",
    "SeveralEvaluator",
    "SeveralMetrics",
    "SourceMetrics",
    "average_precision",
    "earth_movers_distance",
    "roc_auc",
]
