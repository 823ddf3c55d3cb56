"""Upstream tests that cannot apply to another implementation, each with its reason.

A key is a test function's name, or ``name[parameters]`` for one parametrisation. `loader` and `conftest` fail
the run when a key is not in the installed scikit-learn, so this table cannot outlive what it excuses. Public
behaviour never belongs here; a test that checks private state *and* public behaviour runs.
"""

# These call no estimator and no function of ours: they feed arrays to scikit-learn's own helpers, so they
# would pass whatever we do. `test_harness` proves from the source that none names anything we replace.
HELPER_ONLY = {
    "test_relocate_empty_clusters": "tests the Cython helper _relocate_empty_clusters_* only",
    "test_minibatch_update_consistency": "tests the helpers _mini_batch_step, _labels_inertia only",
    "test_minibatch_reassign": "tests the helpers _mini_batch_step, _labels_inertia only",
    "test_euclidean_distance": "tests the Cython helper _euclidean_*_dense_wrapper only",
    "test_inertia": "tests the Cython helper _inertia_dense, _inertia_sparse only",
    "test_is_same_clustering": "tests the Cython helper _is_same_clustering only",
}

# These call a private method of scikit-learn's base class with its private argument list. The behaviour
# behind each is tested through the public interface by the test of tests/test_sklearn_contract.py named here.
PRIVATE_METHOD = {
    "test_sample_weight_init": "calls the private _init_centroids; instead: test_seeding_uses_the_weights",
    "test_sample_weight_zero": (
        "calls the private _init_centroids; instead: test_seeding_never_takes_a_row_of_weight_zero"
    ),
}

METRIC_HELPERS = {
    "test_supervised": {
        "test_public_entropy_deprecation": "tests a deprecated function that is not replaced, entropy, only",
        "test_entropy": "tests the private function _entropy only",
        "test_entropy_array_api": "tests the private function _entropy only",
        "test_check_clustering_error": "tests the private function check_clusterings only",
    },
    "test_unsupervised": {
        "test_silhouette_reduce": "tests the private function _silhouette_reduce only",
    },
    "test_common": {
        "test_array_api_compliance": "needs the array API of scikit-learn, which is off unless SCIPY_ARRAY_API is set",
    },
}

EXCLUDED = {"test_k_means": HELPER_ONLY | PRIVATE_METHOD, **METRIC_HELPERS}  # by the installed file
