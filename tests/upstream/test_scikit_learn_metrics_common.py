"""``sklearn/metrics/cluster/tests/test_common.py`` of the installed scikit-learn, against our functions."""

from .exclusions import EXCLUDED
from .loader import METRICS, functions_of, load, require_known

UPSTREAM = functions_of(load(METRICS["test_common"]))
require_known(EXCLUDED["test_common"], set(UPSTREAM))
globals().update(UPSTREAM)
