"""How many clusters, and are they real."""

from .agreement import Stability, stability
from .alignment import align_labels
from .choice import ChoiceOfK
from .choose import choose_k

__all__ = ["choose_k", "ChoiceOfK", "stability", "Stability", "align_labels"]
