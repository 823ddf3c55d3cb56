"""What clusters are: profiles, what separates them, which features matter, typical and odd rows, checks."""

from .cluster_checks import ClusterCheck, check_clusters
from .data_checks import DataCheck, check_data
from .held_out import separation_held_out
from .importance import ablation_importance, permutation_importance
from .profiles import Profile, profile
from .separating import pairwise_tests, separation
from .typical import AnomalyScores, anomaly_scores, typical_rows

__all__ = [
    "profile", "Profile", "separation", "separation_held_out", "pairwise_tests", "permutation_importance",
    "ablation_importance", "typical_rows", "anomaly_scores", "AnomalyScores", "check_data", "DataCheck",
    "check_clusters", "ClusterCheck",
]  # fmt: skip
