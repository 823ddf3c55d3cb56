"""Plots as pictures inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

from .blocks import Figure

DPI = 140  # sharp on most screens; a page of a dozen stays far below 3 MB


def picture(
    draw: Callable[..., Any], size: tuple[float, float], alt: str, caption: str, *, axes: Any = None, **how: Any
) -> Figure:
    """What `draw(ax=..., **how)` draws, as PNG of `size` inches; `axes` makes the axes of a figure, where not one."""
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with matplotlib.style.context("default"):
        canvas = Canvas(figsize=size, layout="constrained")
        FigureCanvasAgg(canvas)
        draw(ax=canvas.subplots() if axes is None else axes(canvas), **how)
        data = io.BytesIO()
        canvas.savefig(data, format="png", dpi=DPI)
    uri = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")
    return Figure(uri, round(size[0] * 96), round(size[1] * 96), alt, caption)
