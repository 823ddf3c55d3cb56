"""Customer segmentation: from a table with units to groups that can be described to a colleague.

The steps that decide a segmentation, in order: look at the data, scale them, choose the number of clusters, see whether
another method finds the same groups, and describe the groups in the units of the table.

    python examples/customers.py --out FOLDER

The customers are made up, from a seed, of five kinds that overlap, so that the result can be judged. Writes
customers.png (criteria, sizes, heat map, customers), customers.csv (the profile) and customers_methods.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from gpuclust import KMeans, KMedians
from gpuclust.metrics import adjusted_rand_score, silhouette_score
from gpuclust.plotting import CentersHeatmapDisplay, ClusterSizesDisplay, CriteriaDisplay, ScatterDisplay
from gpuclust.profiling import check_data, profile, separation
from gpuclust.selection import align_labels, choose_k

COLUMNS = ["recency_days", "orders_per_year", "spend_eur_per_year", "returns_percent", "tenure_months"]
KINDS = {  # medians of the columns, and how many customers
    "regulars": ((12, 20, 900, 4, 60), 900),
    "bargain hunters": ((35, 9, 190, 16, 30), 1000),
    "big baskets": ((60, 3, 1100, 6, 40), 450),
    "lapsed": ((300, 1.2, 60, 4, 50), 1000),
    "new": ((15, 2, 80, 8, 3), 650),
}


def customers(rng):
    """A table of customers, and the kind of each."""
    rows = [np.array(middle) * np.exp(rng.normal(0, 0.58, (n, 5))) for middle, n in KINDS.values()]
    kind = np.repeat(list(KINDS), [n for _, n in KINDS.values()])
    order = rng.permutation(len(kind))
    return pd.DataFrame(np.concatenate(rows)[order].round(1), columns=COLUMNS), kind[order]


def tell(title, sentences):
    print(f"{title}: {'nothing to warn of.' if not sentences else ''}")
    for sentence in sentences:
        print(f"  - {sentence}")


def draw(model, scaled, choice, out):
    """What the number of clusters rests on, and what the clusters are."""
    figure, axes = plt.subplots(3, 3, figsize=(16, 11), layout="constrained")
    CriteriaDisplay.from_result(choice, ax=axes.flat[:5])
    ClusterSizesDisplay.from_estimator(model, scaled, ax=axes.flat[5])
    CentersHeatmapDisplay.from_estimator(model, scaled, ax=axes.flat[6])
    ScatterDisplay.from_estimator(model, scaled, ax=axes.flat[7])
    axes.flat[7].set_title("Customers, all columns", fontsize=11)
    pair = ("recency_days", "spend_eur_per_year")
    ScatterDisplay.from_estimator(model, scaled, features=pair, ax=axes.flat[8])
    axes.flat[8].set_title("Customers, two columns in standard units", fontsize=11)
    figure.savefig(out / "customers.png", dpi=90)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpuclust-out"), help="folder for the picture and the table")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    table, kind = customers(np.random.default_rng(1))

    # Euros outweigh months by their mere size, and a few large spenders outweigh the rest: logarithms make "twice as
    # much" the same step everywhere, and standard deviations make all columns count alike.
    tell("The table as it is", check_data(table).warnings)
    logs = FunctionTransformer(np.log1p, feature_names_out="one-to-one")
    scaled = make_pipeline(logs, StandardScaler()).set_output(transform="pandas").fit_transform(table)
    tell("After logarithms and scaling", check_data(scaled).warnings)

    choice = choose_k(scaled, range(2, 11), random_state=0)
    tell("\nHow many", [f"{name}: {reason}" for name, reason in choice.reasons.items()])
    k = choice.recommended_k

    means = KMeans(k, n_init=5, random_state=0).fit(scaled)
    medians = KMedians(k, n_init=5, random_state=0).fit(scaled)
    unscaled = KMeans(k, n_init=5, random_state=0).fit(table)
    # Groups that two methods agree on are there; rows on which they differ lie between two groups.
    judged = pd.DataFrame({
        name: {
            "agrees with K-Means (ARI)": adjusted_rand_score(means.labels_, model.labels_),
            "same cluster (share)": np.mean(align_labels(means.labels_, model.labels_) == means.labels_),
            "finds the kinds (ARI)": adjusted_rand_score(kind, model.labels_),
            "silhouette (scaled)": silhouette_score(scaled, model.labels_),
        }
        for name, model in {"K-Means": means, "K-Medians": medians, "K-Means, not scaled": unscaled}.items()
    }).T  # fmt: skip
    judged.to_csv(out / "customers_methods.csv", index_label="method")
    print("\n" + judged.round(3).to_string())

    # Effect sizes: the share of a column's variance that lies between the clusters. The p-values of such a table are of
    # no use: the clusters were made to differ.
    print("\n" + separation(scaled, means.labels_)[["eta_squared", "epsilon_squared"]].round(2).to_string())

    # The table itself is profiled, in its own units. Medians: the mean of skewed money is that of a few.
    described = profile(table, means.labels_).table
    described.to_csv(out / "customers.csv")
    summary = described["median"].unstack()[COLUMNS]
    summary.insert(0, "share", described["share"].groupby("cluster", sort=False).first())
    summary["mostly"] = [pd.Series(kind[means.labels_ == cluster]).mode()[0] for cluster in summary.index]
    draw(means, scaled, choice, out)
    print("\nMedians by cluster\n" + summary.round(2).to_string())
    print(f"\nThe picture and the table are in {out}.")


if __name__ == "__main__":
    main()
