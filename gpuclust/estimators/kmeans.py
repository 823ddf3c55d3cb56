"""K-Means."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions

from ..backends.frame import Frame
from ..backends.select import select
from ..data.source import Source
from ..objectives.mean import Mean
from ..solvers.iterate import Fit, iterate
from ..solvers.scan import scan
from ..validation import open_source, refusing
from .base import CenterEstimator
from .start import check_init, first_centers, starts


class KMeans(CenterEstimator):
    """K-Means clustering: centres are means, the cost is the sum of squared Euclidean distances (Lloyd, 1982).

    Parameters
    ----------
    n_clusters : int, default=8
    init : {'k-means++', 'k-means||', 'random'}, array of shape (n_clusters, n_features) or callable
        Default 'k-means++'.
        'k-means++' is greedy (2 + log k trials; Arthur and Vassilvitskii, SODA 2007) and takes one pass over the data
        per centre. 'k-means||' (Bahmani et al., VLDB 2012) takes seven passes for any k: prefer it for streams and
        large k. A callable takes ``(X, n_clusters, random_state=...)``.
    n_init : 'auto' or int, default='auto'
        Starts; the one of least inertia is kept. 'auto' is 10 for 'random' and callables, else 1.
    max_iter : int, default=300
    tol : float, default=1e-4
        Stop when the sum of squared moves of the centres is at most `tol` times the mean variance of the features.
        0: when no label changes.
    verbose : int, default=0
    random_state : int, RandomState or None, default=None
    copy_x : bool, default=True
        Accepted for compatibility; the data are never changed.
    algorithm : {'lloyd', 'elkan', 'auto'}, default='lloyd'
        Accepted for compatibility; all name the same exact, pruned iteration.
    device : {'auto', 'cpu', 'cuda', 'cuda:N'}, default='auto'
    chunk_size : int, optional
        Rows per chunk. The result does not depend on it.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), float32 for float32 data, else float64
    labels_ : int32 array of shape (n_samples,)
        Always equal to ``predict(X)``: the nearest centre summed directly in float64, lowest index on ties.
    inertia_ : float
        Weighted sum of squared distances of the rows to `cluster_centers_`.
    n_iter_ : int
    converged_ : bool
    inertia_history_ : float64 ndarray of shape (n_iter_,)
        Cost of each iteration's assignment against the centres that it was made with; it never rises.
    n_passes_ : int
        Reads of the whole data, seeding included.
    device_ : str
    n_features_in_ : int
    feature_names_in_ : ndarray of str, where X has names

    Examples
    --------
    >>> from gpuclust import KMeans
    >>> KMeans(2, random_state=0).fit_predict([[0.0], [0.1], [9.0], [9.1]])
    array([1, 1, 0, 0], dtype=int32)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **CenterEstimator._parameter_constraints,
        "copy_x": ["boolean"],
        "algorithm": [StrOptions({"lloyd", "elkan", "auto"})],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: Any = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        algorithm: str = "lloyd",
        device: str = "auto",
        chunk_size: int | None = None,
    ):
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.algorithm = algorithm
        self.device = device
        self.chunk_size = chunk_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> KMeans:
        """Cluster X.

        Parameters
        ----------
        X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        y : ignored
        sample_weight : array-like of shape (n_samples,), optional
            A weight is a number of repetitions; rows of weight 0 count for nothing.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For what scikit-learn rejects too, in its words.
        DataError
            If a file is missing, truncated, empty or not numeric.
        DeviceUnavailableError, DeviceMemoryError
            If the device cannot be used, or the memory budget is too small.
        """
        choice = select(self.device)
        source = open_source(
            self, X, sample_weight, choice.backend, reset=True, chunk_size=self.chunk_size, clusters=self.n_clusters,
            finite=False,
        )  # fmt: skip
        if source.n_rows < self.n_clusters:
            raise ValueError(f"n_samples={source.n_rows} should be >= n_clusters={self.n_clusters}.")
        init = check_init(self.init, self.n_clusters, source)
        n_init = starts(init, self.n_init, 10, type(self).__name__)
        self._n_init = n_init
        if self.algorithm == "elkan" and self.n_clusters == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.",
                RuntimeWarning,
                stacklevel=2,
            )
        with refusing(self, X, choice.backend):
            frame = scan(source, centre=not source.sparse)
        random_state = check_random_state(self.random_state)
        best, labels = self._best(source, frame, init, n_init, random_state)
        self._keep(source, best, labels)
        self.device_ = choice.backend.name
        return self

    def _best(self, source: Source, frame: Frame, init: Any, n_init: int, random_state: Any) -> tuple[Fit, Any]:
        """The start of least inertia and its labels (a copy where another start may overwrite them)."""
        best: Fit | None = None
        labels = None
        tol = self.tol * frame.variance
        for run in range(n_init):
            centers = first_centers(source, frame, init, self.n_clusters, random_state)
            if self.verbose:
                print("Initialization complete")
            objective, params = Mean.start(source, frame, centers)
            fit = iterate(source, objective, params, max_iter=self.max_iter, tol=tol, run=run, verbose=self.verbose)
            if best is None or fit.cost.total.value() < best.cost.total.value():
                best = fit
                labels = source.rows("label") if run == n_init - 1 else source.rows("label").copy()
        assert best is not None
        return best, labels

    def _keep(self, source: Source, fit: Fit, labels: Any) -> None:
        self.cluster_centers_ = fit.params.centers.astype(source.dtype)
        self.labels_ = source.placed(labels)
        self.inertia_ = float(fit.cost.total.value())
        self.n_iter_ = fit.n_iter
        self.converged_ = fit.converged
        self.inertia_history_ = fit.history
        self.n_passes_ = source.n_passes
        distinct = int(np.count_nonzero(fit.cost.rows))
        if distinct < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({distinct}) found smaller than n_clusters ({self.n_clusters})."
                " Possibly due to duplicate points in X.",
                ConvergenceWarning,
                stacklevel=3,
            )
