"""A real data set that ships with the package, so that a first run needs no download."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SKIN_COLUMNS", "load_skin"]

SKIN_COLUMNS = ("blue", "green", "red")


def load_skin() -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """Load the UCI Skin Segmentation data: colours of 245,057 pixels sampled from photographs of faces.

    Returns
    -------
    X : ndarray of shape (245057, 3), uint8
        Blue, green and red of each pixel (`SKIN_COLUMNS`).
    y : ndarray of shape (245057,), int8
        1 where the pixel is skin (50,859 of them), 2 where it is not.

    Notes
    -----
    Licence: CC BY 4.0 (see ``LICENSE-DATA.txt`` beside this file). Cite as: Bhatt, R. and Dhall, A. (2012).
    Skin Segmentation [Dataset]. UCI Machine Learning Repository. https://doi.org/10.24432/C5T30C

    Examples
    --------
    >>> from gpuclust.datasets import load_skin
    >>> X, y = load_skin()
    >>> X.shape, X.dtype
    ((245057, 3), dtype('uint8'))
    """
    import numpy as np

    with (files(__package__) / "skin.npz").open("rb") as handle:
        archive: Any = np.load(handle, allow_pickle=False)
        return archive["X"], archive["y"]
