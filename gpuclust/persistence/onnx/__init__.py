"""Models as ONNX graphs, and a check that they give the same labels."""

from .check import OnnxCheck, check_onnx
from .export import export_onnx, onnx_bytes

__all__ = ["OnnxCheck", "check_onnx", "export_onnx", "onnx_bytes"]
