"""Exceptions and warnings; every message says what to do."""

from typing import Final

# of rows, where their number stands before it
TURNED: Final = "hold NaN or infinity that was not there at the first read. Do not change the data during a fit."


class GpuclustError(Exception):
    """Base of gpuclust's own errors."""


class DeviceUnavailableError(GpuclustError, RuntimeError):
    """A device was asked for by name and cannot be used; the message gives the line that installs what is missing."""


class DeviceMemoryError(MemoryError, GpuclustError):  # in this order Dask's workers can send it
    """The work does not fit the device or the memory budget; the message gives needed and free bytes and what fits."""


class DataError(GpuclustError, ValueError):
    """The data cannot be clustered as they are; the message says which part and why."""


class NotFiniteError(ValueError):
    """A value of the data is NaN or infinite; the message says where."""


class ModelFileError(GpuclustError, ValueError):
    """A model file is damaged, of another kind or of a newer format; the message says which."""


class WorkersLostError(GpuclustError, RuntimeError):
    """A cluster has no worker left, or lost several that held the same rows; the message says which."""


class DeviceFallbackWarning(UserWarning):
    """Work runs on less than it might: `device='auto'` found a GPU that it cannot use and takes the CPU, or data cannot
    be spread over several GPUs; given once, with the reason."""
