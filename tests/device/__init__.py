"""The CUDA backend, on a stand-in for CuPy and, where there is one, on a GPU."""
