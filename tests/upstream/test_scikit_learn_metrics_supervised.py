"""``sklearn/metrics/cluster/tests/test_supervised.py`` of the installed scikit-learn, against our functions."""

from .exclusions import EXCLUDED
from .loader import METRICS, functions_of, load, require_known

UPSTREAM = functions_of(load(METRICS["test_supervised"]))
require_known(EXCLUDED["test_supervised"], set(UPSTREAM))
globals().update(UPSTREAM)
