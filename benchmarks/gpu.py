"""On a GPU: iterations from the same first centres on resident data against flash-kmeans, fastkmeans, PyTorch, cuVS and
cuML; our own passes one by one; seeding; either way to few centres; upload; a stream from pinned memory; whole fits
with upload and seeding.

``python -m benchmarks.gpu [--cases A,B] [--peers flash-fp16,torch]`` where there is a GPU, CuPy, and what is to be
compared. Times are medians between CUDA events after a call to warm up, each on fresh random data. Beside every time
stands the quality, in float64, of SAMPLE rows: their cost, and the share of labels that name the nearest centre. What a
peer computes in is said with its name. With ``--quick`` sizes shrink until an emulator can run it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from .record import Recorder, parser
from .tables import markdown


class Case(NamedTuple):
    """Rows, features, centres; the least and the hoped-for milliseconds of an iteration on an H200."""

    n: int
    d: int
    k: int
    floor: float
    target: float
    l1: bool = False


CASES = {
    "A": Case(10_000_000, 128, 1024, 3.3, 7.5),
    "B": Case(1_000_000, 512, 4096, 5.3, 9.0),
    "C": Case(50_000_000, 14, 127, 1.4, 2.5),
    "D": Case(1_000_000, 128, 10_000, 3.2, 6.0),
    "M": Case(10_000_000, 128, 1024, 78.0, 105.0, l1=True),
    "S": Case(10_000_000, 16, 16, 0.15, 0.4, l1=True),
}
ITERATIONS = 25
SAMPLE = 10_000
CROSSOVER = [(k, d) for d in (2, 8, 16, 32, 64) for k in (8, 16, 32, 64)]  # centres, features
STREAMED = (1 << 24, 128, 4096)

Fit = Callable[[Any, Any, int], tuple[Any, Any]]  # device rows, first centres, iterations -> centres, labels


def toy(case: Case) -> Case:
    """The same case, small."""
    return case._replace(n=600, d=min(case.d, 40), k=min(case.k, 20))


def draw(cupy: Any, n: int, d: int, seed: int) -> Any:
    """Fresh rows on the device, f32 [n, d]."""
    if hasattr(cupy, "random"):
        return cupy.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)
    out = cupy.empty((n, d), np.float32)
    out.set(np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32))
    return out


def milliseconds(cupy: Any, call: Callable[[], Any]) -> tuple[float, Any]:
    """Time of a call on the current stream, and what it returned."""
    if not hasattr(cupy.cuda, "get_elapsed_time"):
        start = time.perf_counter()
        found = call()
        return 1e3 * (time.perf_counter() - start), found
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    begin.record()
    found = call()
    end.record()
    end.synchronize()
    return cupy.cuda.get_elapsed_time(begin, end), found


# --- contestants ---


def ours(l1: bool) -> Fit:
    """Exact labels, whatever arithmetic finds them."""
    import gpuclust

    def fit(X: Any, init: Any, iterations: int) -> tuple[Any, Any]:
        kind = gpuclust.KMedians if l1 else gpuclust.KMeans
        model = kind(len(init), init=init, n_init=1, max_iter=iterations, tol=0, device="cuda").fit(X)
        return model.cluster_centers_, model.labels_

    return fit


def _flash(dtype: str) -> Fit:
    import torch
    from flash_kmeans.kmeans_triton_impl import batch_kmeans_Euclid

    def fit(X: Any, init: Any, iterations: int) -> tuple[Any, Any]:
        rows = torch.from_dlpack(X).to(getattr(torch, dtype))[None]
        first = torch.as_tensor(init, device=rows.device, dtype=rows.dtype)[None]
        labels, centers, _ = batch_kmeans_Euclid(rows, len(init), max_iters=iterations, tol=-1.0, init_centroids=first)
        return centers[0].float().cpu().numpy(), labels[0]

    return fit


def flash_fp16() -> Fit:
    """flash-kmeans, rows and centres rounded to fp16 (the conversion is timed)."""
    return _flash("float16")


def flash_tf32() -> Fit:
    """flash-kmeans on float32 rows; its products are TF32."""
    return _flash("float32")


def fastkmeans() -> Fit:
    """fastkmeans, fp16 products; takes host rows (their way there and back is timed), draws its own first centres and
    returns no labels."""
    from fastkmeans import FastKMeans

    def fit(X: Any, init: Any, iterations: int) -> tuple[Any, Any]:
        model = FastKMeans(X.shape[1], len(init), niter=iterations, tol=-1.0, device="cuda")
        model.train(X.get())
        return model.centroids, None

    return fit


def torch_matmul() -> Fit:
    """PyTorch: blocks of rows by matrix products in TF32, sums by index_add_ in float32."""
    import torch

    def fit(X: Any, init: Any, iterations: int) -> tuple[Any, Any]:
        torch.backends.cuda.matmul.allow_tf32 = True
        rows = torch.from_dlpack(X)
        centers, block = torch.as_tensor(init, device=rows.device), max(1, (1 << 28) // len(init))
        label = torch.empty(len(rows), dtype=torch.int64, device=rows.device)
        for _ in range(iterations):
            half = 0.5 * (centers * centers).sum(1)
            for at in range(0, len(rows), block):
                label[at : at + block] = (half - rows[at : at + block] @ centers.T).argmin(1)
            sums = torch.zeros_like(centers).index_add_(0, label, rows)
            count = torch.bincount(label, minlength=len(centers))[:, None]
            centers = torch.where(count > 0, sums / count.clamp(min=1), centers)
        return centers.cpu().numpy(), label

    return fit


def cuvs() -> Fit:
    """cuVS, 3xTF32 or TF32 products as it chooses."""
    from cuvs.cluster.kmeans import KMeansParams
    from cuvs.cluster.kmeans import fit as cuvs_fit

    def fit(X: Any, init: Any, iterations: int) -> tuple[Any, Any]:
        import cupy

        how = KMeansParams(n_clusters=len(init), max_iter=iterations, tol=0.0, init_method="Array")
        return cupy.asnumpy(cuvs_fit(how, X, cupy.asarray(init))[0]), None

    return fit


def cuml() -> Fit:
    """cuML, the arithmetic of cuVS."""
    from cuml.cluster import KMeans

    def fit(X: Any, init: Any, iterations: int) -> tuple[Any, Any]:
        model = KMeans(len(init), init=init, n_init=1, max_iter=iterations, tol=0.0, output_type="numpy").fit(X)
        return model.cluster_centers_, model.labels_

    return fit


PEERS: dict[str, Callable[[], Fit]] = {
    "flash-fp16": flash_fp16,
    "flash-tf32": flash_tf32,
    "fastkmeans": fastkmeans,
    "torch": torch_matmul,
    "cuvs": cuvs,
    "cuml": cuml,
}


# --- quality ---


def quality(X: Any, init: Any, centers: np.ndarray, labels: Any, l1: bool) -> dict[str, float | None]:
    """Mean cost of the first SAMPLE rows at their nearest centre in float64, and the share of labels that name it.

    Labels are held against the centres that the contestant returned: one that returns labels of the centres before the
    last update gets a share below 1 for that, too.
    """
    rows, centers = X[:SAMPLE].get().astype(np.float64), np.asarray(centers, np.float64)
    scores = cdist(rows, centers, "cityblock") if l1 else (centers**2).sum(axis=1) - 2 * rows @ centers.T
    at = scores.argmin(axis=1)
    apart = rows - centers[at]
    best = (np.abs(apart) if l1 else apart**2).sum(axis=1)
    named = None
    if labels is not None:
        first = labels[:SAMPLE]
        named = float(np.mean((first.get() if hasattr(first, "get") else np.asarray(first.cpu())) == at))
    return {"inertia_of_sample": float(best.mean()), "nearest": named}


# --- measurements ---


def contests(
    cupy: Any, name: str, case: Case, peers: list[str], repeats: int, iterations: int
) -> Iterator[dict[str, Any]]:
    """So many iterations from the same first centres, in turn; a peer that fails is left out, and why is told."""
    makers: dict[str, Callable[[], Fit]] = {"gpuclust": lambda: ours(case.l1)}
    makers |= {} if case.l1 else {peer: PEERS[peer] for peer in peers}
    for who, make in makers.items():
        row: dict[str, Any] = {"what": "iterations", "case": name, **case._asdict(), "who": who}
        try:
            fit, times, found = make(), [], None
            for turn in range(repeats + 1):
                X = draw(cupy, case.n, case.d, seed=turn)
                init = X[: case.k].get()
                took, found = milliseconds(cupy, functools.partial(fit, X, init, iterations))
                times += [took / iterations] if turn else []
            row |= quality(X, init, *found, case.l1)
            yield row | {"ms": float(np.median(times)), "runs": times}
        except Exception as error:  # whatever a peer raises: it is not installed, or cannot do this
            yield row | {"failed": f"{type(error).__name__}: {error}"[:300]}
            if who == "gpuclust":
                raise


def ladder(cupy: Any, name: str, case: Case, repeats: int) -> Iterator[dict[str, Any]]:
    """Our passes one by one: labels, the sums or medians of all rows, seeding."""
    import gpuclust
    from gpuclust.backends import cuda_labels, cuda_medians, cuda_memory, cuda_moves, cuda_tensor
    from gpuclust.backends.frame import Frame
    from gpuclust.backends.metric import Metric

    X = draw(cupy, case.n, case.d, seed=7)
    init = X[: case.k].get().astype(np.float64)
    metric = Metric.MANHATTAN if case.l1 else Metric.EUCLIDEAN
    packed = cuda_labels.pack(cuda_memory.send(init), Frame.around(init, X.dtype, metric))
    halves = packed.halves
    kept = None if halves is None else cuda_tensor.image(X, halves.plan, packed.shift, packed.scale)
    label = cuda_labels.nearest(X, packed, kept)
    sums, middles = cupy.zeros((case.k, 1, case.d + 1)), cupy.empty((2, case.k, case.d))

    def update() -> Any:
        if case.l1:
            return cuda_medians.middles(X, label, cupy.full(case.k, True, bool), middles)
        anchors = cupy.full((1, case.d + 1), 1.5 * 2.0**28, np.float64)  # multiples of 2^-24
        return cuda_moves.add_sums(
            cuda_moves.group(label, None, case.k), X, None, anchors, sums
        )

    def seed() -> Any:
        kind = gpuclust.KMedians if case.l1 else gpuclust.KMeans
        return kind(case.k, n_init=1, max_iter=1, device="cuda", random_state=0).fit(X)

    passes: dict[str, Callable[[], Any]] = {
        "labels": lambda: cuda_labels.nearest(X, packed, kept),
        "update of all rows": update,
    }
    if kept is not None:
        passes["labels and half precision of rows"] = lambda: cuda_labels.nearest(X, packed)
        undecided = cuda_tensor.label(kept, case.n, halves, case.k, label)
        left = cuda_tensor.narrow(kept, X, undecided, halves, packed.given, label)
        for what, rest in (("undecided by half precision", undecided), ("of more than a few candidates", left)):
            yield {"what": what, "case": name, "share": int(rest.count.get()[0]) / case.n}
    if case.n * case.k <= 1 << 31:
        passes["greedy seeding and one iteration"] = seed
    for what, call in passes.items():
        milliseconds(cupy, call)
        if call is update and not case.l1:
            assert float(sums[:, 0, case.d].sum()) == case.n
        times = [milliseconds(cupy, call)[0] for _ in range(repeats)]
        yield {"what": what, "case": name, **case._asdict(), "ms": float(np.median(times)), "runs": times}


def crossover(cupy: Any, n: int, d: int, k: int, repeats: int) -> dict[str, Any]:
    """Labels by either way to few centres, and which of them `cuda_labels.few` takes."""
    from gpuclust.backends import cuda_labels, cuda_memory, cuda_tensor
    from gpuclust.backends.frame import Frame
    from gpuclust.backends.metric import Metric

    X, chosen, found = draw(cupy, n, d, seed=1), cuda_labels.few, {}
    init = X[:k].get().astype(np.float64)
    frame = Frame.around(init, X.dtype, Metric.EUCLIDEAN)
    for few in (True, False):
        cuda_labels.few = lambda *shape, few=few: few
        try:
            packed = cuda_labels.pack(cuda_memory.send(init), frame)
            kept = None if few else cuda_tensor.kept(X, frame)
            call = functools.partial(cuda_labels.nearest, X, packed, kept)
            milliseconds(cupy, call)
            found[few] = float(np.median([milliseconds(cupy, call)[0] for _ in range(repeats)]))
        finally:
            cuda_labels.few = chosen
    row = {"what": "few centres", "n": n, "d": d, "k": k, "ms": found[True], "halves_ms": found[False]}
    return row | {"chosen": chosen(Metric.EUCLIDEAN, k, d)}


def upload(cupy: Any, n: int, d: int, repeats: int) -> dict[str, Any]:
    """Bytes a second of rows in ordinary host memory on their way to the device, and of one copy of them by CuPy."""
    from gpuclust.backends import cuda_memory

    rows = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    there = cupy.empty(rows.shape, rows.dtype)

    def rate(call: Callable[[], Any]) -> float:
        call()
        return rows.nbytes / float(np.median([milliseconds(cupy, call)[0] for _ in range(repeats)])) / 1e6

    return {
        "what": "upload", "n": n, "d": d, "gb_per_s": rate(lambda: cuda_memory.send(rows)),
        "plain_gb_per_s": rate(lambda: there.set(rows)),
    }  # fmt: skip


def streamed(cupy: Any, n: int, d: int, k: int, repeats: int) -> dict[str, Any]:
    """Bytes a second of one more iteration over rows in pinned host memory, and of a bare copy of them."""
    from gpuclust import KMeans
    from gpuclust.backends.cuda_staging import pinned, uploads
    from gpuclust.data.stream import stream

    rows = pinned(np.random.default_rng(0).standard_normal((n, d), dtype=np.float32), np.float32)
    step = max(1, min(n, (64 << 20) // (4 * d)))
    chunks = [rows[at : at + step] for at in range(0, n, step)]

    def fit(iterations: int) -> float:
        model = KMeans(k, init=rows[:k].copy(), n_init=1, max_iter=iterations, tol=0, device="cuda", chunk_size=step)
        return milliseconds(cupy, lambda: model.fit(stream(chunks)))[0]

    def copy() -> None:
        for _ in uploads(0, ((chunk, None) for chunk in chunks)):
            pass

    fit(1), copy()
    more = float(np.median([fit(4) - fit(1) for _ in range(repeats)])) / 3
    bare = float(np.median([milliseconds(cupy, copy)[0] for _ in range(repeats)]))
    return {
        "what": "stream", "n": n, "d": d, "k": k, "ms": more, "copy_ms": bare, "share_of_link": bare / more,
        "gb_per_s": rows.nbytes / more / 1e6,
    }  # fmt: skip


def whole(cupy: Any, name: str, case: Case) -> dict[str, Any]:
    """A fit as a user makes it: from host memory, seeded by k-means||, ten iterations."""
    import gpuclust

    X = draw(cupy, case.n, case.d, seed=3).get()
    kind = gpuclust.KMedians if case.l1 else gpuclust.KMeans
    start = time.perf_counter()
    model = kind(case.k, init="k-means||", n_init=1, max_iter=10, device="cuda", random_state=0).fit(X)
    return {"what": "fit", "case": name, "seconds": time.perf_counter() - start, "iterations": model.n_iter_}


def main() -> None:
    """Run the benchmark."""
    made = parser("gpu", __doc__)
    made.set_defaults(device="cuda")
    made.add_argument("--cases", default=",".join(CASES))
    made.add_argument("--peers", default=",".join(PEERS))
    made.add_argument("--repeats", type=int, default=3)
    options = made.parse_args()
    import cupy

    recorder = Recorder(options, repeats=options.repeats, iterations=ITERATIONS, sample=SAMPLE)
    for name in options.cases.split(","):
        case = toy(CASES[name]) if options.quick else CASES[name]
        iterations = 2 if options.quick else ITERATIONS
        for row in contests(cupy, name, case, options.peers.split(","), options.repeats, iterations):
            recorder.add(row)
            print(row, flush=True)
        for row in ladder(cupy, name, case, options.repeats):
            recorder.add(row)
            print(row, flush=True)
        recorder.add(whole(cupy, name, case))
    for k, d in CROSSOVER:
        recorder.add(crossover(cupy, 600 if options.quick else 10_000_000, d, k, options.repeats))
    recorder.add(upload(cupy, *((600, 8) if options.quick else STREAMED[:2]), options.repeats))
    recorder.add(streamed(cupy, *((2000, 16, 20) if options.quick else STREAMED), options.repeats))
    columns = ("what", "case", "who", "ms")
    timed = [row for row in recorder.content["rows"] if "ms" in row]
    print(markdown(columns, ([row.get(column, "") for column in columns] for row in timed)))
    recorder.finish({})


if __name__ == "__main__":
    main()
