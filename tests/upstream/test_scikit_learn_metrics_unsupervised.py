"""``sklearn/metrics/cluster/tests/test_unsupervised.py`` of the installed scikit-learn, against our functions."""

from .exclusions import EXCLUDED
from .loader import METRICS, functions_of, load, require_known

UPSTREAM = functions_of(load(METRICS["test_unsupervised"]))
require_known(EXCLUDED["test_unsupervised"], set(UPSTREAM))
globals().update(UPSTREAM)
