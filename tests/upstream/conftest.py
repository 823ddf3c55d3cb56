"""What scikit-learn's conftest gives its tests: seeds, dtypes, warning filters; and our exclusions."""

from __future__ import annotations

import os

import numpy as np
import pytest
from sklearn.utils._testing import get_pytest_filterwarning_lines

from .exclusions import EXCLUDED
from .loader import reasons

UPSTREAM_FILES = {
    "test_scikit_learn_k_means.py": "test_k_means",
    **{f"test_scikit_learn_metrics_{name}.py": f"test_{name}" for name in ("supervised", "unsupervised", "common")},
}
SEED_VARIABLE = "SKLEARN_TESTS_GLOBAL_RANDOM_SEED"


def pytest_configure(config):
    config.addinivalue_line("markers", "thread_unsafe: scikit-learn's; nothing here runs tests in threads")


def upstream_seeds() -> list[int]:
    """Return the seeds that scikit-learn's variable asks for: ``42`` (default), ``7``, ``3-9`` or ``all``."""
    asked = os.environ.get(SEED_VARIABLE, "42")
    first, _, last = ("0-99" if asked == "all" else asked).partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.fixture(params=[np.float32, np.float64])
def global_dtype(request):
    """Both precisions, always; scikit-learn runs float32 on request only."""
    return request.param


@pytest.fixture(params=upstream_seeds())
def global_random_seed(request):
    return request.param


@pytest.hookimpl(wrapper=True)
def pytest_pycollect_makeitem(collector, name, obj):
    """Mark the items of each upstream function as soon as it is parametrised, before any ``-k`` selects."""
    made = yield
    if collector.path.name not in UPSTREAM_FILES or not isinstance(made, list):
        return made
    excused = reasons(EXCLUDED[UPSTREAM_FILES[collector.path.name]], name, [item.name for item in made])
    for item in made:
        # On top of this project's "error": scikit-learn's exceptions for noise that is not its own.
        item.add_marker(pytest.mark.filterwarnings(*get_pytest_filterwarning_lines()))
        if item.name in excused:
            item.add_marker(pytest.mark.skip(reason=f"cannot apply: {excused[item.name]}"))
    return made
