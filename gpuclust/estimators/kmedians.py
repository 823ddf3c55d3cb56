"""K-Medians."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import StrOptions

from ..backends.frame import Frame
from ..backends.metric import Metric
from ..config import Device
from ..data.source import Source
from ..objectives.median import Median, Medians
from .lloyd import LloydEstimator


class KMedians(LloydEstimator):
    """K-Medians clustering: centres are medians, feature by feature, the cost is the sum of Manhattan distances.

    Gross outliers hardly move the centres. Medians are exact in every iteration, in memory and in streams alike.

    Parameters
    ----------
    n_clusters : int, default=8
    init : {'k-means++', 'k-means||', 'random'}, array of shape (n_clusters, n_features) or callable
        Default 'k-means++'.
        'k-means++' is greedy and draws rows in proportion to their Manhattan distance (D^1 sampling; Arthur and
        Vassilvitskii, SODA 2007, section 5), one pass over the data per centre. 'k-means||' (Bahmani et al., VLDB 2012)
        takes seven passes for any k. A callable takes ``(X, n_clusters, random_state=...)``.
    n_init : 'auto' or int, default='auto'
        Starts; the one of least inertia is kept. 'auto' is 10 for 'random' and callables, else 1.
    max_iter : int, default=300
    tol : float, default=1e-4
        Stop when an iteration's inertia is less than `tol` (relative) below that of the one before. 0: when no label
        changes.
    median : {'midpoint', 'lower'}, default='midpoint'
        Of an even number of values: the mean of the two in the middle, or the lower one, which keeps integers integers.
        By weight: where the weights below and above split evenly.
    verbose : int, default=0
    random_state : int, RandomState or None, default=None
    copy_x : bool, default=True
        Accepted for compatibility; the data are never changed.
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
        Always equal to ``predict(X)``: the centre of least Manhattan distance, summed directly in float64, lowest index
        on ties.
    inertia_ : float
        Weighted sum of Manhattan distances of the rows to `cluster_centers_`; inf where float64 cannot hold it.
    n_iter_ : int
    converged_ : bool
    inertia_history_ : float64 ndarray of shape (n_iter_,)
        Cost of each iteration's assignment against the centres that it was made with; it never rises, up to rounding.
    n_passes_ : int
        Reads of the whole data, seeding included.
    device_ : str
    n_features_in_ : int
    feature_names_in_ : ndarray of str, where X has names

    Notes
    -----
    Sparse rows are made dense chunk by chunk. The iteration is Lloyd's; medians as centres for the Manhattan distance
    are Bradley, Mangasarian and Street, "Clustering via concave minimization" (NIPS 1996).

    Examples
    --------
    >>> from gpuclust import KMedians
    >>> model = KMedians(2, random_state=0).fit([[0.0], [1.0], [2.0], [100.0], [101.0], [900.0]])
    >>> sorted(model.cluster_centers_.ravel().tolist())
    [1.0, 101.0]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **LloydEstimator._parameter_constraints,
        "median": [StrOptions({"midpoint", "lower"})],
    }
    _metric: ClassVar[Metric] = Metric.MANHATTAN

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: Any = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        median: str = "midpoint",
        verbose: int = 0,
        random_state: Any = None,
        copy_x: bool = True,
        device: Device = "auto",
        chunk_size: int | None = None,
        checkpoint: Any = None,
    ):
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.median = median
        self.verbose = verbose
        self.random_state = random_state
        self.copy_x = copy_x
        self.device = device
        self.chunk_size = chunk_size
        self.checkpoint = checkpoint

    def _objective(self, source: Source, frame: Frame, centers: np.ndarray) -> tuple[Median, Medians]:
        return Median.start(source, frame, centers, lower=self.median == "lower")

    def _depends_on(self) -> dict[str, Any]:
        return {"median": self.median}

    def _tolerance(self, frame: Frame) -> float:
        return self.tol
