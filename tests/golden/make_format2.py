"""Writes the golden files of format 2, beside this file; run once, with the code that brought the format."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.impute import KNNImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from gpuclust import KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians, save_model
from gpuclust.preprocessing import FrequencyEncoder, RobustScaler, SimpleImputer, StandardScaler, Winsorizer


def frame(rng, n):
    """Rows of numbers and text, some of them missing."""
    made = pd.DataFrame(
        {
            "größe": rng.normal(size=n),
            "b": rng.lognormal(size=n),
            "city": rng.choice(["Rome", "Oslo", "Bern", "Lima"], n, p=[0.5, 0.3, 0.15, 0.05]).astype(object),
            "grade": rng.choice([1, 2, 3], n),
        }
    )
    made.loc[::9, "größe"] = np.nan
    return made


def pipeline():
    numbers = make_pipeline(Winsorizer(), SimpleImputer(strategy="median"), RobustScaler(), PCA(2))
    columns = ColumnTransformer(
        [
            ("numbers", numbers, ["größe", "b"]),
            ("near", KNNImputer(), ["größe", "b"]),
            ("city", OneHotEncoder(min_frequency=0.1, handle_unknown="infrequent_if_exist"), ["city"]),
            ("often", FrequencyEncoder(), ["city"]),
            ("grade", OrdinalEncoder(), ["grade"]),
            ("target", TargetEncoder(), ["grade"]),
        ]
    )
    return make_pipeline(columns, StandardScaler(), KMeans(3, random_state=0))


def main():
    rng, here = np.random.default_rng(7), Path(__file__).parent
    rows, new = frame(rng, 90), frame(rng, 40)
    numbers = ["b", "grade"]
    X = rows[numbers].to_numpy()
    models = {
        "pipeline": pipeline().fit(rows, rng.normal(size=len(rows))),
        "kmedians": KMedians(3, random_state=0).fit(rows[numbers]),
        "minibatch_kmeans": MiniBatchKMeans(3, random_state=0, reassignment_ratio=0.0).partial_fit(X.astype(np.float32)),
        "minibatch_kmedians": MiniBatchKMedians(3, random_state=0, sketch_size=16).fit(X),
    }
    stored = {f"column_{name}": new[name].to_numpy("U" if name == "city" else None) for name in new}
    for name, model in models.items():
        save_model(model, here / f"format2-{name}.gpuclust", training_data=rows if name == "pipeline" else None)
        stored[f"{name}_centers"] = (model[-1] if name == "pipeline" else model).cluster_centers_
        stored[f"{name}_labels"] = model.predict(asked(name, new))
    np.savez_compressed(here / "format2.npz", **stored)


def asked(name, new):
    """The rows as a model takes them."""
    if name == "pipeline":
        return new
    numbers = new[["b", "grade"]]
    return numbers if name == "kmedians" else numbers.to_numpy(np.float32 if name == "minibatch_kmeans" else np.float64)


if __name__ == "__main__":
    main()
