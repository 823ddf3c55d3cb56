"""Model files: one safetensors file with JSON metadata; loading one runs no code from it."""

from gpuclust.persistence.model_file import FORMAT_VERSION, load_model, model_bytes, save_model

__all__ = ["FORMAT_VERSION", "load_model", "model_bytes", "save_model"]
