"""Document clustering: descriptions of functions, sorted by what they are about, from sparse TF-IDF weights.

The documents are the docstrings of public functions and classes of NumPy, SciPy and scikit-learn, without examples and
signatures: real text that every installation of gpuclust brings along. The subpackage that a function comes from is its
topic. The clusters never see it; it only judges them.

    python examples/documents.py --out FOLDER

Rows are scaled to unit length, so that |x - c|^2 = 1 + |c|^2 - 2 x.c counts what words two texts share, not how long
they are; the matrix stays sparse from end to end. Writes documents.png, documents.csv and documents_scores.csv.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

from gpuclust import KMeans, metrics

TOPICS = (
    "numpy.random", "numpy.strings", "scipy.fft", "scipy.interpolate", "scipy.linalg", "scipy.ndimage",
    "scipy.optimize", "scipy.signal", "scipy.spatial.distance", "scipy.special", "scipy.stats", "sklearn.datasets",
    "sklearn.linear_model", "sklearn.metrics",
)  # fmt: skip
CLUSTERS = 20  # more than topics: a large one (scipy.special) has several subjects


def documents():
    """Texts and their topics."""
    texts = {}
    for topic in TOPICS:
        module = importlib.import_module(topic)
        for name in module.__all__:
            thing = getattr(module, name, None)
            if callable(thing) and len(inspect.getdoc(thing) or "") > 200:
                texts.setdefault(inspect.getdoc(thing), topic)
    lines = [cleaned(text) for text in texts]
    # Where sentences are copied from document to document, clusters are of copies: leave out what more than three have.
    often = Counter(line for each in lines for line in set(each))
    plain = ["\n".join(line for line in each if often[line] <= 3) for each in lines]
    told = np.array([len(text) >= 150 for text in plain])
    return [text for text, enough in zip(plain, told, strict=True) if enough], np.array(list(texts.values()))[told]


def cleaned(text):
    """Lines without what would give the topic away: examples, references, signatures, and names like scipy.stats."""
    text = re.split(r"\n(?:Examples|References)\n-", text)[0]
    text = re.sub(r"^\w+\(.*\)$|:\w+:`[^`]*`|\w+(?:\.\w+)+", " ", text, flags=re.MULTILINE)
    return [line.strip() for line in text.splitlines()]


def draw(topics, labels, words, out):
    """Topics against clusters: a good cluster has one dark cell in its column."""
    names, table = np.unique(topics), metrics.contingency_matrix(topics, labels)
    share = table / table.sum(axis=0)
    order = np.argsort(share.argmax(axis=0), kind="stable")
    figure, ax = plt.subplots(figsize=(11, 6.8), layout="constrained")
    image = ax.imshow(share[:, order], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(table[:, order] > 0):
        dark = share[row, order[column]] > 0.6
        ax.text(column, row, table[row, order[column]], ha="center", va="center", color="white" if dark else "black")
    ax.set_xticks(range(len(order)), [", ".join(words[c][:3]) for c in order], rotation=40, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.set_title("Documents by topic (rows) and cluster (columns, by their heaviest words)")
    figure.colorbar(image, label="share of the cluster")
    figure.savefig(out / "documents.png", dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpuclust-out"), help="folder for the picture and the table")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    texts, topics = documents()
    # Words of more than a fifth of the documents (parameters, returns, array) say nothing, words of one or two neither.
    stop = list(ENGLISH_STOP_WORDS | {"numpy", "scipy", "sklearn", "scikit"})
    vectorizer = TfidfVectorizer(
        stop_words=stop, min_df=3, max_df=0.2, sublinear_tf=True, token_pattern=r"\b[a-zA-Z]{3,}\b"
    )
    X = vectorizer.fit_transform(texts)  # CSR, rows of unit length
    print(f"{X.shape[0]} documents, {X.shape[1]} words, {X.nnz / X.shape[0]:.0f} different ones in a document.\n")

    # Text has many poor local optima: several starts.
    model = KMeans(CLUSTERS, n_init=5, random_state=0).fit(X)
    order = np.argsort(-model.cluster_centers_, axis=1)[:, :6]
    words = vectorizer.get_feature_names_out()[order]
    found = metrics.contingency_matrix(topics, model.labels_)
    table = pd.DataFrame({
        "documents": found.sum(axis=0),
        "mostly": np.unique(topics)[found.argmax(axis=0)],
        "share": (found.max(axis=0) / found.sum(axis=0)).round(2),
        "heaviest words": [" ".join(each) for each in words],
    }).rename_axis("cluster")  # fmt: skip
    table.to_csv(out / "documents.csv")
    draw(topics, model.labels_, words, out)
    print(table.sort_values("documents", ascending=False).to_string(), "\n")

    # 1 is perfect, 0 what chance gives (NMI and homogeneity: a little more). Homogeneity asks only whether a cluster is
    # of one topic, ARI and NMI also whether a topic is in one cluster. Silhouettes of text are low, even those of the
    # topics themselves: in thousands of dimensions most documents share hardly a word. Compare them between runs only.
    chance = np.random.default_rng(0).permutation(model.labels_)
    judged = {"clusters": model.labels_, "the same, shuffled": chance, "topics": topics}
    scores = pd.DataFrame({
        "ARI": [metrics.adjusted_rand_score(topics, labels) for labels in judged.values()],
        "NMI": [metrics.normalized_mutual_info_score(topics, labels) for labels in judged.values()],
        "homogeneity": [metrics.homogeneity_score(topics, labels) for labels in judged.values()],
        "silhouette (cosine)": [metrics.silhouette_score(X, each, metric="cosine") for each in judged.values()],
    }, index=list(judged))  # fmt: skip
    scores.to_csv(out / "documents_scores.csv", index_label="labels")
    print(scores.round(3).to_string())
    print(f"\nThe picture and the tables are in {out}.")


if __name__ == "__main__":
    main()
