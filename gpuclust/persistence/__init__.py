"""Fitted models as files: gpuclust's own, which run no code when they are loaded, ONNX, and scikit-learn's objects.

A model is a clustering estimator, or a scikit-learn Pipeline that ends in one; `kinds` lists the transformers that a
model file may hold.
"""

from gpuclust.persistence.model_file import (
    FORMAT_VERSION,
    ModelFile,
    load_model,
    model_bytes,
    read_model,
    save_model,
)
from gpuclust.persistence.onnx import OnnxCheck, check_onnx, export_onnx
from gpuclust.persistence.twins import to_sklearn

__all__ = [
    "FORMAT_VERSION", "ModelFile", "load_model", "model_bytes", "read_model", "save_model", "to_sklearn",
    "OnnxCheck", "check_onnx", "export_onnx",
]  # fmt: skip
