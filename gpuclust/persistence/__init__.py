"""Model files: one safetensors file with JSON metadata; loading one runs no code from it."""

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
