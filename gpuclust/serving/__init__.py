"""The prediction service: a model file behind HTTP, for requests of one row and of a million.

``gpuclust serve MODEL`` starts it; `create_app` makes the ASGI application alone, for a server of your own; if that
one has several workers with counts in PROMETHEUS_MULTIPROC_DIR, it calls `mark_process_dead` for each that ends.
"""

from gpuclust.extras import require as _require

for _name in ("fastapi", "uvicorn", "pyarrow", "prometheus_client", "orjson"):
    _require(_name, "The prediction service", "serve")

from gpuclust.serving.app import create_app  # noqa: E402
from gpuclust.serving.series import mark_process_dead  # noqa: E402
from gpuclust.serving.server import serve  # noqa: E402
from gpuclust.serving.settings import Settings  # noqa: E402

__all__ = ["Settings", "create_app", "mark_process_dead", "serve"]
