"""Many files, several processes: clustering where the data are, with Dask.

A network of stations writes a file a day. Nobody wants to bring them together: each worker of a Dask cluster reads some
of the files and keeps their rows; what travels are sums of clusters. Here the cluster is two processes on this machine
(LocalCluster). On a real one only the line that starts it differs: `Client("tcp://scheduler:8786")`.

    python examples/workers.py --out FOLDER

The measurements are made up, from a seed. Centres, labels and inertia are those of one array on one machine, to the
bit, whatever the number of files and workers; the last lines check it. When not to bother: rows that fit one machine
are clustered faster there, and files that do not can be streamed (`gpuclust.stream`) without any cluster.
Writes workers.png and workers.csv.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster

import gpuclust
from gpuclust import KMeans
from gpuclust.metrics import davies_bouldin_score
from gpuclust.plotting import cluster_colors

SEED, DAYS, WEATHERS = 5, 12, 4


def write_days(folder, rng):
    """A file for each day: temperature, humidity, wind and pressure, scaled; some days have more stations."""
    middles = rng.normal(0, 2.5, (WEATHERS, 4))
    for day in range(DAYS):
        weather = rng.choice(WEATHERS, size=int(rng.integers(100, 900)))
        rows = middles[weather] + rng.normal(0, 1, (len(weather), 4))
        np.save(folder / f"day-{day:02}.npy", rows.astype(np.float32))


def summary(model, labels):
    """Rows and centre of each kind of weather."""
    table = pd.DataFrame(model.cluster_centers_, columns=["temperature", "humidity", "wind", "pressure"])
    table.insert(0, "rows", np.bincount(labels, minlength=WEATHERS))
    return table.rename_axis("cluster")


def draw(rows, labels, centers, out):
    """Temperature and humidity of every row."""
    figure, ax = plt.subplots(figsize=(7, 6), layout="constrained")
    colours = cluster_colors(WEATHERS)
    ax.scatter(*rows[:, :2].T, s=4, c=colours[labels], alpha=0.6, linewidths=0)
    ax.scatter(*centers[:, :2].T, s=250, marker="*", c=colours, edgecolors="black", linewidths=1.2)
    ax.set(xlabel="temperature", ylabel="humidity", title=f"{len(rows):,} rows of {DAYS} files, held by two workers")
    figure.savefig(out / "workers.png", dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpuclust-out"), help="folder for the picture and the table")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        write_days(Path(folder), np.random.default_rng(SEED))
        # Workers list the files and read them. Each worker holds its rows; config_context(memory="2GB") around the
        # fit makes it read them in every pass instead.
        days = gpuclust.shards(f"{folder}/day-*.npy")
        # 'k-means||' seeds in seven passes; 'k-means++' takes one for each centre, which is no matter for four.
        model = KMeans(WEATHERS, init="k-means||", random_state=SEED).fit(days)
        labels = model.labels_.compute()  # until here they were a lazy dask array: predict gives one as well
        rows = np.concatenate([np.load(path) for path in sorted(Path(folder).glob("*.npy"))])
        score = davies_bouldin_score(days, model.labels_)

    alone = KMeans(WEATHERS, init="k-means||", random_state=SEED).fit(rows)
    same = np.array_equal(model.cluster_centers_, alone.cluster_centers_) and np.array_equal(labels, alone.labels_)
    table = summary(model, labels).assign(same_as_on_one_machine=same)
    table.to_csv(out / "workers.csv")
    draw(rows, labels, model.cluster_centers_, out)
    print(table.round(3).to_string())
    print(f"\nDavies-Bouldin {score:.3f}. The picture and the table are in {out}.")


if __name__ == "__main__":
    main()
