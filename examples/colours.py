"""Colour quantisation: a photograph in 16 colours, by K-Means and by K-Medians.

Each pixel is a row of three numbers. The centres of 16 clusters are the palette, the labels are the picture: 4 bits a
pixel instead of 24, before any compression. K-Means has the least mean squared error that it can find, K-Medians the
least mean absolute error, and its colours are whole numbers, which a palette needs anyway.

    python examples/colours.py --out FOLDER

The photograph (china.jpg) ships with scikit-learn. Writes PNG files of the photograph and of both quantised pictures,
colours.png (before and after, side by side) and colours.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_sample_image

from gpuclust import KMeans, KMedians

COLOURS = 16


def quantise(model, photo):
    """Fit colours to all pixels; return the palette, uint8 [k, 3], and the colour of each pixel, uint8 [h, w]."""
    model.fit(photo.reshape(-1, 3))
    # The darkest colour first: the numbers of the colours mean something, and equal runs write equal files.
    order = np.argsort(model.cluster_centers_.sum(axis=1))
    place = np.empty(COLOURS, np.uint8)
    place[order] = np.arange(COLOURS)
    palette = np.rint(model.cluster_centers_[order]).astype(np.uint8)
    return palette, place[model.labels_].reshape(photo.shape[:2])


def save(path, palette, picture):
    """Write a PNG with a palette, 4 bits a pixel."""
    image = Image.fromarray(picture)
    image.putpalette(palette.tobytes())
    image.save(path, bits=4, optimize=True)


def errors(photo, shown):
    """What to look at: the error of each channel, and both kinds of mean, for each method is best at its own."""
    away = np.abs(photo.astype(float) - shown)
    red, green, blue = away.mean(axis=(0, 1))
    return {"red": red, "green": green, "blue": blue, "mean_error": away.mean(), "rms_error": np.sqrt((away**2).mean())}


def draw(pictures, table, out):
    """Before and after, side by side."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 4), layout="constrained")
    for ax, (name, shown) in zip(axes, pictures.items(), strict=True):
        kilobytes, error = table.loc[name, ["png_kB", "mean_error"]]
        ax.imshow(shown)
        ax.set_title(f"{name}: PNG of {kilobytes:.0f} kB" + (f", mean error {error:.1f} of 255" if error else ""))
        ax.set_axis_off()
    figure.savefig(out / "colours.png", dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpuclust-out"), help="folder for pictures and the table")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    photo = load_sample_image("china.jpg")
    Image.fromarray(photo).save(out / "photograph.png", optimize=True)
    pictures, rows = {"photograph": photo}, {}
    rows["photograph"] = {"colours": len(np.unique(photo.reshape(-1, 3), axis=0)), **errors(photo, photo)}
    # Two starts: seeding is random, and the better of two is less often a bad one. The lower median of an even number
    # of values is one of them, so that K-Medians' colours need no rounding.
    for name, model in {
        "K-Means": KMeans(COLOURS, n_init=2, random_state=0),
        "K-Medians": KMedians(COLOURS, n_init=2, median="lower", random_state=0),
    }.items():
        palette, picture = quantise(model, photo)
        save(out / f"{name.lower()}.png", palette, picture)
        pictures[name] = palette[picture]
        rows[name] = {"colours": len(np.unique(palette, axis=0)), **errors(photo, pictures[name])}

    table = pd.DataFrame(rows).T
    table.insert(1, "png_kB", [(out / f"{name.lower()}.png").stat().st_size / 1000 for name in table.index])
    table.to_csv(out / "colours.csv", index_label="picture")
    draw(pictures, table, out)
    # Rare colours are lost (the red of the pillars), since every pixel counts alike.
    # Distances between red, green and blue are not what an eye sees: convert to CIELAB first where that matters.
    print(table.astype({"colours": int}).round(2).to_string())
    print(f"\nPictures and the table are in {out}.")


if __name__ == "__main__":
    main()
