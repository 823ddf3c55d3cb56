"""``sklearn/cluster/tests/test_k_means.py`` of the installed scikit-learn, against our classes."""

from .exclusions import EXCLUDED
from .loader import functions_of, load, require_known

UPSTREAM = functions_of(load("sklearn.cluster.tests.test_k_means"))
require_known(EXCLUDED, set(UPSTREAM))
globals().update(UPSTREAM)
