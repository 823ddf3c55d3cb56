"""What all plots share: axes, colours that colour-blind readers tell apart, and text that is shown as it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..extras import require

# Okabe and Ito, "Color universal design" (2008); grey for their black, in which lines and labels are drawn.
OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#6e6e6e")
MARKERS = "o^sDvPX<>p"
LINE, ACCENT = "#0072b2", "#d55e00"
MOST_LETTERS = 28
MOST_INCHES = 24.0
MOST_COLUMNS, MOST_ROWS = 12, 40  # of a heat map with numbers in its cells


class Display:
    """A plot that was computed; `plot` draws it. Drawing sets `ax_` (Axes, or an array of them) and `figure_`."""

    ax_: Any
    figure_: Any

    @property
    def figsize(self) -> tuple[float, float]:
        """Inches of a figure in which everything can be read."""
        return 6.4, 4.8

    def _begin(self, ax: Any) -> Any:
        """The axes to draw on: those given, or a new figure of pyplot's."""
        if ax is None:
            ax = pyplot().subplots(figsize=self.figsize, layout="constrained")[1]
        self.ax_, self.figure_ = ax, ax.figure
        return ax


def pyplot() -> Any:
    """matplotlib's pyplot.

    Raises
    ------
    ImportError
        With the line that installs it.
    """
    return require("matplotlib.pyplot", "A plot")


def cluster_colors(n_clusters: int) -> np.ndarray:
    """Colours of clusters that readers with any kind of colour vision tell apart.

    Up to eight: the palette of Okabe and Ito (2008). More: the map viridis, whose colours differ in lightness,
    in steps so that clusters of neighbouring numbers differ much. No map of 30 colours can be told apart by colour
    alone: the plots number the clusters, too.

    Parameters
    ----------
    n_clusters : int

    Returns
    -------
    colors : float64 array of shape (n_clusters, 4)
        Red, green, blue and alpha from 0 to 1.
    """
    pyplot()
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba_array

    if n_clusters <= len(OKABE_ITO):
        return np.asarray(to_rgba_array(OKABE_ITO[:n_clusters]))
    return np.asarray(colormaps["viridis"](np.arange(n_clusters) * _stride(n_clusters) % n_clusters / (n_clusters - 1)))


def _stride(n: int) -> int:
    """A step near 0.38 n that visits all of n places."""
    return next(step for step in range(round(0.382 * n), n + 1) if math.gcd(step, n) == 1)


def marker(cluster: int, n_clusters: int) -> str:
    """The marker of a cluster: one for all where colours suffice."""
    return "o" if n_clusters <= len(OKABE_ITO) else MARKERS[cluster % len(MARKERS)]


def plain(name: Any) -> str:
    """A name of the user's on one line, shortened in the middle. Draw it with `parse_math=False`: it may hold $."""
    text = " ".join(str(name).split())
    if len(text) <= MOST_LETTERS:
        return text
    half = (MOST_LETTERS - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def number_clusters(axis: Any, positions: Any, clusters: Sequence[Any]) -> None:
    """Ticks that name the clusters."""
    size = 10 if len(clusters) <= 12 else 8 if len(clusters) <= 40 else 5
    axis.set_ticks(positions, labels=[plain(cluster) for cluster in clusters], fontsize=size, parse_math=False)
    axis.set_tick_params(length=0)


def name_features(axis: Any, names: Sequence[Any], **style: Any) -> None:
    """Ticks that name the features of a heat map."""
    size = 9 if len(names) <= 20 else 7
    labels = [plain(name) for name in names]
    axis.set_ticks(range(len(names)), labels=labels, fontsize=size, parse_math=False, **style)


def within(wanted: float, least: float) -> float:
    """Inches that grow with the number of clusters, up to what a screen holds."""
    return float(np.clip(wanted, least, MOST_INCHES))


def title(ax: Any, text: str, note: str = "") -> None:
    """A title and, below it and smaller, what the reader must know about the rows."""
    ax.set_title(f"{text}\n{note}" if note else text, fontsize=11, parse_math=False)


def quiet(ax: Any, *sides: str) -> None:
    """Take away the frame's sides that carry nothing."""
    for side in sides or ("top", "right"):
        ax.spines[side].set_visible(False)


def readable(rgba: Any) -> str:
    """Black or white, whichever is read better on a colour (WCAG 2 relative luminance)."""
    channel = np.asarray(rgba[:3], float)
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"


def write_numbers(ax: Any, image: Any, values: np.ndarray) -> None:
    """The numbers of a heat map in its cells, where there is room."""
    if values.shape[0] > MOST_ROWS or values.shape[1] > MOST_COLUMNS:
        return
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        color = readable(image.cmap(image.norm(value)))
        ax.text(column, row, f"{value:.3g}", ha="center", va="center", color=color, fontsize=8)
