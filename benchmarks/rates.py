"""On a GPU: what its multiprocessors can do at most, which decides between designs of kernels (`kernels/rates.cu`).

``python -m benchmarks.rates`` where there is a GPU and CuPy. Element pairs a second of Manhattan tiles by float, by
fp16 and by bytes (VABSDIFF4); multiply-adds a second of fp16 products by `mma.sync`; bytes a second read from memory.
Times are medians between CUDA events after a call to warm up. With ``--quick`` sizes shrink until an emulator can run
it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .gpu import milliseconds
from .record import Recorder, parser
from .tables import markdown

SOURCE = Path(__file__).parent / "kernels" / "rates.cu"
THREADS = 256
TILE = 2 * 16 * 128 * 4  # bytes of shared memory
PAIRS = 8 * 8 * 16  # of registers, a round and thread
PER_PAIR = {"tile_float": 1, "tile_halves": 2, "tile_bytes": 4}
PRODUCTS = 8 * 16 * 8 * 16  # multiply-adds of a round and warp


def source() -> str:
    """The kernels with the header that they include."""
    from gpuclust.backends import cuda_kernels

    common = (cuda_kernels.SOURCES / "common.cuh").read_text(encoding="utf-8")
    return SOURCE.read_text(encoding="utf-8").replace('#include "common.cuh"', common)


def measured(cupy: Any, names: list[str], blocks: int, rounds: int, quads: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each kernel."""
    from gpuclust.backends import cuda_kernels

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rates.cubin"
        path.write_bytes(cuda_kernels.compiled(source(), "rates", cuda_kernels.target(0)))
        module = cupy.RawModule(path=str(path))
        out, values = cupy.empty(blocks * THREADS, np.float32), cupy.zeros(4 * quads, np.float32)
        rows = []
        for name in names:
            args = (values, quads, out) if name == "read_once" else (out, rounds)
            work, unit = _work(name, blocks, rounds, quads)
            call = _launch(module.get_function(name), blocks, args, TILE if name in PER_PAIR else 0)
            milliseconds(cupy, call)
            times = [milliseconds(cupy, call)[0] for _ in range(repeats)]
            ms = float(np.median(times))
            rows.append({"what": name, "ms": ms, "runs": times, "per_second": work / ms * 1e3, "unit": unit})
    return rows


def _launch(function: Any, blocks: int, args: tuple[Any, ...], shared: int) -> Any:
    return lambda: function((blocks, 1), (THREADS,), args, shared_mem=shared)


def _work(name: str, blocks: int, rounds: int, quads: int) -> tuple[int, str]:
    """What a launch does, and in which unit."""
    if name == "read_once":
        return 16 * quads, "bytes"
    if name == "products":
        return blocks * THREADS // 32 * rounds * PRODUCTS, "multiply-adds"
    return blocks * THREADS * rounds * PAIRS * PER_PAIR[name], "element pairs"


def main() -> None:
    """Run the benchmark."""
    made = parser("rates", __doc__)
    made.set_defaults(device="cuda")
    made.add_argument("--kernels", default=",".join([*PER_PAIR, "products", "read_once"]))
    made.add_argument("--repeats", type=int, default=5)
    options = made.parse_args()
    import cupy

    recorder = Recorder(options, repeats=options.repeats)
    sizes = (1, 2, 1000) if options.quick else (2048, 4096, 1 << 28)
    rows = measured(cupy, options.kernels.split(","), *sizes, options.repeats)
    for row in rows:
        recorder.add(row)
    columns = ("what", "ms", "per_second", "unit")
    print(markdown(columns, ([row[column] for column in columns] for row in rows)))
    recorder.finish({})


if __name__ == "__main__":
    main()
