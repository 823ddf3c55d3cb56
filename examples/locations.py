"""Location planning: where to put depots in a town whose streets form a grid.

On a grid of streets a way from (x, y) to (u, v) is |x - u| + |y - v| long: the Manhattan distance. The place that
minimises the total way of its customers is then their median, first along x, then along y: coordinate by coordinate it
is exact, as long as nothing (a river, a railway) stands in the way. That is what K-Medians computes. K-Means puts
depots at means, which is right for squared straight lines, and nobody travels those.

    python examples/locations.py --out FOLDER

The town is made up, from a seed. Turn coordinates first where streets do not run along x and y. Which depot serves whom
is found by iteration: each depot is exact for its own customers, all of them together are the best of several starts.
Writes locations.png and locations.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from gpuclust import KMeans, KMedians
from gpuclust.plotting import ElbowDisplay, cluster_colors
from gpuclust.selection import choose_k

BLOCK = 0.1  # km between two streets
SEED = 7


def town(rng):
    """Crossings with customers, in km [n, 2], and households at each [n]."""
    # Dense quarters, a thin spread between them, and a road out of town: means are drawn along it, medians less.
    quarters = [(2.0, 2.0, 0.7, 900), (5.5, 4.5, 0.9, 900), (6.5, 1.2, 0.5, 450), (1.2, 5.2, 0.5, 350)]
    places = [rng.normal((x, y), spread, (n, 2)) for x, y, spread, n in quarters]
    places += [rng.uniform((0, 0), (8, 6.5), (400, 2))]
    places += [np.column_stack([rng.uniform(8, 16, 150), rng.normal(4.5, 0.15, 150)])]
    crossings = np.unique(np.rint(np.concatenate(places).clip(0) / BLOCK).astype(int), axis=0)
    return crossings * BLOCK, np.ceil(rng.lognormal(2.5, 0.7, len(crossings)))


def travel(name, places, households, depots):
    """What to look at: the mean way decides the cost, the farthest way decides who complains."""
    way = cdist(places, depots, "cityblock").min(axis=1)
    order = np.argsort(way)
    share = np.cumsum(households[order]) / households.sum()
    return {
        "depots at": name,
        "mean_km": np.average(way, weights=households),
        "median_km": way[order][np.searchsorted(share, 0.5)],
        "p95_km": way[order][np.searchsorted(share, 0.95)],
        "farthest_km": way.max(),
    }


def draw(places, households, medians, means, choice, out):
    """The map, and the elbow that chose the number of depots."""
    figure, (town_ax, elbow_ax) = plt.subplots(
        1, 2, figsize=(15, 5.4), width_ratios=(2.1, 1), layout="constrained"
    )  # fmt: skip
    colours = cluster_colors(medians.n_clusters)
    town_ax.scatter(*places.T, s=households * 0.6, c=colours[medians.labels_], alpha=0.6, linewidths=0)
    town_ax.scatter(
        *medians.cluster_centers_.T, s=320, marker="*", c=colours, edgecolors="black", linewidths=1.4,
        label="K-Medians: on a crossing",
    )  # fmt: skip
    town_ax.scatter(*means.cluster_centers_.T, s=80, marker="x", c="black", linewidths=2, label="K-Means")
    town_ax.set(aspect="equal", xlabel="km east", ylabel="km north", title="Households, and the depot that serves them")
    town_ax.legend(frameon=False, loc="lower right")
    ElbowDisplay.from_result(choice, ax=elbow_ax)
    elbow_ax.set(xlabel="number of depots", ylabel="household-km, all ways", title="How many depots?")
    elbow_ax.yaxis.set_major_formatter("{x:,.0f}")
    figure.savefig(out / "locations.png", dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpuclust-out"), help="folder for the picture and the table")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    places, households = town(np.random.default_rng(SEED))

    # The lower of two middle values is one of the values: a depot is on a crossing of a street with customers along x
    # with one along y. Weights are households: a crossing with 40 of them counts 40 times.
    planner = KMedians(n_init=5, median="lower", random_state=SEED)
    choice = choose_k(places, range(1, 13), estimator=planner, criteria="elbow", sample_weight=households)
    k = choice.recommended_k
    print(f"Depots: {k}, for {choice.reasons['elbow']}. What a depot costs a year should have the last word.\n")

    medians = planner.set_params(n_clusters=k, n_init=20).fit(places, sample_weight=households)
    means = KMeans(k, n_init=20, random_state=SEED).fit(places, sample_weight=households)
    # Both are judged alike: each household goes to the depot that is nearest on the streets. Where quarters are round,
    # means are hardly worse on average, and better for those who live farthest: look at both columns.
    table = pd.DataFrame([
        travel("medians (K-Medians)", places, households, medians.cluster_centers_),
        travel("means (K-Means)", places, households, means.cluster_centers_),
        travel("crossings drawn at random", places, households, np.random.default_rng(SEED).choice(places, k)),
    ]).set_index("depots at")  # fmt: skip
    table.to_csv(out / "locations.csv")
    draw(places, households, medians, means, choice, out)
    print(table.round(3).to_string())
    print(f"\nThe picture and the table are in {out}.")


if __name__ == "__main__":
    main()
