"""``sklearn/cluster/tests/test_k_means.py`` of the installed scikit-learn, against our classes."""

from .exclusions import EXCLUDED
from .loader import K_MEANS, functions_of, load, require_known

UPSTREAM = functions_of(load(K_MEANS))
require_known(EXCLUDED["test_k_means"], set(UPSTREAM))
globals().update(UPSTREAM)
