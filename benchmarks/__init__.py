"""Benchmarks of gpuclust against other libraries; each file runs as ``python -m benchmarks.<name>``."""
