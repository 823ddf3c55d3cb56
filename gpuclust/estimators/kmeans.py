"""K-Means."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np
from sklearn import cluster
from sklearn.utils._param_validation import StrOptions

from ..backends.frame import Frame
from ..config import Device
from ..data.source import Source
from ..objectives.mean import Mean, Means
from .lloyd import LloydEstimator
from .twins import from_twin, to_twin


class KMeans(LloydEstimator):
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
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'
        Rows are spread over all the GPUs that are named; the result does not depend on how many. Of a dask collection:
        what each worker uses, one GPU at most.
    chunk_size : int, optional
        Rows per chunk. The result does not depend on it.
    checkpoint : path or gpuclust.Checkpoint, optional
        A file to which the state is written while the fit goes on: every minute, or as a `Checkpoint` says. Where the
        file is there already, a fit that was killed goes on from it and ends with the same attributes, bit for bit
        (`n_passes_` apart). It is removed when the fit ends well.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, n_features), float32 for float32 data, else float64
    labels_ : int32 array of shape (n_samples,)
        Always equal to ``predict(X)``: the nearest centre summed directly in float64, lowest index on ties.
    inertia_ : float
        Weighted sum of squared distances of the rows to `cluster_centers_`; inf where float64 cannot hold it.
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
        **LloydEstimator._parameter_constraints,
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
        device: Device = "auto",
        chunk_size: int | None = None,
        checkpoint: Any = None,
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
        self.checkpoint = checkpoint

    def to_sklearn(self) -> Any:
        """The fitted ``sklearn.cluster.KMeans`` with the same parameters, centres and labels.

        `init='k-means||'` becomes 'k-means++'. Where two centres are as near as rounding, its `predict` may choose the
        other one.

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        """
        return to_twin(self, cluster.KMeans)

    @classmethod
    def from_sklearn(cls, model: Any) -> Self:
        """The estimator with the parameters, centres and labels of a fitted ``sklearn.cluster.KMeans``.

        Raises
        ------
        TypeError
            If `model` is of another class.
        NotFittedError
            If it was not fitted.
        """
        return from_twin(cls, model, cluster.KMeans)

    def _objective(self, source: Source, frame: Frame, centers: np.ndarray) -> tuple[Mean, Means]:
        return Mean.start(source, frame, centers)

    def _tolerance(self, frame: Frame) -> float:
        return self.tol * frame.variance

    def _check_choice(self) -> None:
        if self.algorithm == "elkan" and self.n_clusters == 1:
            warnings.warn(
                "algorithm='elkan' doesn't make sense for a single cluster. Using 'lloyd' instead.",
                RuntimeWarning,
                stacklevel=3,
            )
