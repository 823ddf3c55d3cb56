"""The benchmark cases: seeded synthetic mixtures and two real sets, float32, written to a scratch folder.

The mixtures overlap on purpose (centres about four standard deviations apart, anisotropic components of
unequal weight, 10 % uniform noise): on separated blobs K-Means stops after a handful of iterations, and
bounds prune nearly everything, which flatters whoever uses them.

The real sets are not part of the repository. Give their folder with ``--data`` or ``GPUCLUST_BENCH_DATA``:
``mnist70k.npz`` (``X`` uint8 [70000, 784]) and ``geolife_beijing2m.npz`` (``X`` int32 [2000000, 2], in
microdegrees).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

NOISE = 0.10
SEPARATION = 4.0  # typical distance of two component means, in component standard deviations
ROWS_PER_DRAW = (
    1 << 16
)  # one random stream per block, so that a file of any size can be written block by block


class Case(NamedTuple):
    """One data set and one number of clusters; ``file`` names the real set, None means a mixture."""

    name: str
    n: int
    d: int
    k: int
    file: str | None = None

    @property
    def title(self) -> str:
        what = "mixture" if self.file is None else self.file.split(".")[0]
        return f"{self.name}: {what} {self.n:,} x {self.d}, k={self.k}"


CASES = {
    case.name: case
    for case in (
        Case("A", 1_000_000, 16, 64),
        Case("B", 500_000, 64, 100),
        Case("C", 200_000, 128, 1000),
        Case("D", 1_000_000, 2, 50),
        Case("E10", 70_000, 784, 10, "mnist70k.npz"),
        Case("E100", 70_000, 784, 100, "mnist70k.npz"),
        Case("F", 2_000_000, 2, 100, "geolife_beijing2m.npz"),
    )
}
QUICK = ("A", "C", "F")


def quick(case: Case) -> Case:
    """Return the same case small enough for a smoke test."""
    return case._replace(n=max(case.n // 50, 4000), k=max(case.k // 5, 4))


class Mixture(NamedTuple):
    """Parameters of an overlapping anisotropic mixture."""

    means: np.ndarray  # f32 [k, d]
    scales: np.ndarray  # f32 [k, d]   axis lengths before the rotation
    mirrors: np.ndarray  # f32 [2, k, d] unit vectors: two reflections rotate without a d x d matrix
    weights: np.ndarray  # f64 [k]


def draw_mixture(d: int, k: int, seed: int) -> Mixture:
    """Draw the components."""
    rng = np.random.default_rng([seed, d, k])
    scales = rng.lognormal(0.0, 0.5, (k, d))
    scales /= np.sqrt(np.mean(scales**2))
    mirrors = rng.standard_normal((2, k, d))
    mirrors /= np.linalg.norm(mirrors, axis=2, keepdims=True)
    means = rng.standard_normal((k, d)) * (SEPARATION / np.sqrt(2 * d))
    return Mixture(*(a.astype(np.float32) for a in (means, scales, mirrors)), rng.dirichlet(np.full(k, 5.0)))


def mixture_blocks(n: int, d: int, k: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield the rows of the mixture in blocks; the rows depend on (n, d, k, seed) only."""
    model = draw_mixture(d, k, seed)
    reach = 3.0 * float(np.sqrt(1.0 + SEPARATION**2 / (2 * d)))
    for block, start in enumerate(range(0, n, ROWS_PER_DRAW)):
        rng = np.random.default_rng([seed, d, k, 1 + block])
        m = min(ROWS_PER_DRAW, n - start)
        label = rng.choice(k, size=m, p=model.weights)
        rows = rng.standard_normal((m, d), dtype=np.float32) * model.scales[label]
        for mirror in model.mirrors:
            u = mirror[label]
            rows -= 2 * np.einsum("ij,ij->i", rows, u)[:, None] * u
        rows += model.means[label]
        noise = rng.random(m) < NOISE
        rows[noise] = rng.uniform(-reach, reach, (int(noise.sum()), d))
        yield rows


def write_mixture(path: Path, n: int, d: int, k: int, seed: int = 0) -> None:
    """Write a mixture as .npy with ordinary writes, one block at a time."""
    with open(path, "wb") as out:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, d)}
        np.lib.format.write_array_header_1_0(out, header)
        for rows in mixture_blocks(n, d, k, seed):
            out.write(rows.data)


def data_folder(option: str | None) -> Path | None:
    """Return the folder of the real sets, or None."""
    given = option or os.environ.get("GPUCLUST_BENCH_DATA")
    return Path(given) if given else None


def load_real(folder: Path, case: Case) -> np.ndarray:
    """Return the first ``case.n`` rows of a real set as float32 (GPS microdegrees become degrees)."""
    assert case.file is not None
    with np.load(folder / case.file) as archive:
        X = archive["X"][: case.n]
    return np.asarray(X / 1e6 if X.dtype == np.int32 else X, dtype=np.float32)


def materialise(case: Case, scratch: Path, folder: Path | None) -> Path:
    """Write a case as .npy below ``scratch`` (once) and return the path."""
    path = scratch / f"{case.name[0]}-{case.n}.npy"
    if path.exists():
        return path
    if case.file is None:
        write_mixture(path, case.n, case.d, case.k)
        return path
    if folder is None or not (folder / case.file).exists():
        raise FileNotFoundError(f"{case.file} not found: give its folder with --data or GPUCLUST_BENCH_DATA")
    np.save(path, load_real(folder, case))
    return path


def initial_centres(X: np.ndarray, k: int, seed: int = 7) -> np.ndarray:
    """Return k random rows, all different (GPS traces repeat points; equal centres leave clusters empty)."""
    order = np.random.default_rng(seed).permutation(len(X))
    picked = X[order[: 4 * k]]
    _, first = np.unique(picked, axis=0, return_index=True)
    if len(first) < k:
        raise ValueError(f"fewer than {k} distinct rows among the first {4 * k} drawn")
    return np.ascontiguousarray(picked[np.sort(first)[:k]])


def select(names: str | None, small: bool, cases: dict[str, Case] = CASES) -> list[Case]:
    """Parse ``--cases A,B``."""
    few = [name for name in QUICK if name in cases]
    chosen = [cases[name] for name in (names.split(",") if names else few if small else cases)]
    return [quick(case) for case in chosen] if small else chosen


def available(
    options: argparse.Namespace, scratch: Path, cases: dict[str, Case] = CASES
) -> Iterator[tuple[Case, Path]]:
    """Yield each chosen case with its file; name the cases whose data set is not there."""
    for case in select(options.cases, options.quick, cases):
        try:
            path = materialise(case, scratch, data_folder(options.data))
        except FileNotFoundError as error:
            print(f"{case.title}: skipped, {error}", flush=True)
            continue
        yield case, path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the cases as .npy and print their shapes.")
    parser.add_argument("--cases")
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "gpuclust-bench")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for chosen_case in select(options.cases, small=False):
        written = materialise(chosen_case, options.out, data_folder(options.data))
        print(chosen_case.title, written, np.load(written, mmap_mode="r").shape)
