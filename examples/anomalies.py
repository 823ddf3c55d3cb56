"""Anomaly detection: five sensors of a machine, whose normal state depends on what it is doing.

A machine idles, warms up, runs at half load or at full load, and what is normal in one of these modes is a fault in
another. So the modes are learnt first, as K-Medians clusters of a log that is normal but for glitches nobody removed
(medians hardly notice them), and a minute is judged by its distance to its own mode.

    python examples/anomalies.py --out FOLDER

The log is made up, from a seed, so that the faults are known and the detector can be judged, by kind of fault. Writes
anomalies.png (scores over time, faults in colour) and anomalies.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.preprocessing import RobustScaler

from gpuclust import KMeans, KMedians
from gpuclust.plotting import cluster_colors
from gpuclust.profiling import anomaly_scores

DAY = 24 * 60  # rows: one a minute
SENSORS = ["temperature_C", "pressure_bar", "vibration_mm_s", "current_A", "flow_l_min"]
# What the sensors show when the machine idles, warms up, runs at half load, at full load.
MODES = np.array([[25, 1, 0.3, 2, 0], [45, 2.5, 1.2, 18, 10], [62, 4, 2, 30, 42], [78, 6, 3.1, 55, 80]])
NOISE = np.array([1.5, 0.08, 0.12, 1.0, 1.2])
QUANTILE = 0.99  # one false alarm in a hundred minutes is the price that is accepted


def normal(rng, days):
    """Rows of a machine without faults, and its mode by minute."""
    mode = np.concatenate([np.full(rng.integers(60, 240), m) for m in rng.integers(0, 4, 24 * days)])[: days * DAY]
    return MODES[mode] + rng.normal(size=(days * DAY, 5)) * NOISE, mode


def with_faults(rng, days):
    """Rows with faults, and the kind of fault by minute ('' for none)."""
    X, mode = normal(rng, days)
    fault = np.full(len(X), "", dtype=object)

    def spans(kind, times, length, modes):
        """Put faults where the machine is in one of the modes all the while; yield their rows."""
        while times:
            rows = slice(start := int(rng.integers(len(X) - length)), start + length)
            if len(set(mode[rows])) == 1 and mode[start] in modes and not fault[rows].any():
                fault[rows] = kind
                times -= 1
                yield rows

    for rows in spans("glitch of a sensor", 60, 1, (0, 1, 2, 3)):
        X[rows, rng.integers(5)] += rng.choice([-1, 1]) * rng.uniform(12, 40)
    for rows in spans("worn bearing", 4, 50, (2, 3)):
        X[rows, 2] += 0.6
    for rows in spans("leak that grows", 4, 50, (2, 3)):
        X[rows, 1] -= np.linspace(0, 1.5, 50)
    for rows in spans("flow of half load at full load", 4, 30, (3,)):
        X[rows, 4] = MODES[2, 4] + rng.normal(size=30) * NOISE[4]
    for rows in spans("frozen sensor", 4, 50, (0, 1, 2, 3)):
        X[rows, 0] = X[rows.start, 0]
    return X, fault


def judged(flags, fault):
    """Share of the minutes of each kind of fault that are flagged, and of all."""
    real = fault != ""
    return {kind: flags[fault == kind].mean() for kind in dict.fromkeys(fault[real])} | {
        "all faults (recall)": flags[real].mean(),
        "flags that are faults (precision)": real[flags].mean(),
        "false alarms a day": flags[~real].sum() / (len(flags) / DAY),
    }


def draw(found, fault, out):
    """Scores over time: look for spans above the line rather than for single minutes."""
    figure, ax = plt.subplots(figsize=(14, 5), layout="constrained")
    kinds, hours = list(dict.fromkeys(fault[fault != ""])), np.arange(len(fault)) / 60
    ax.plot(hours, found.scores, ".", color="0.7", markersize=2, label="no fault")
    for kind, colour in zip(kinds, cluster_colors(len(kinds)), strict=True):
        ax.plot(hours[fault == kind], found.scores[fault == kind], ".", color=colour, markersize=6, label=kind)
    ax.axhline(found.threshold, color="black", linestyle="--", linewidth=1)
    ax.text(hours[-1], found.threshold, " flagged\n above", va="center")
    ax.set(yscale="log", xlabel="hours", ylabel="score (1: usual in its mode)", xlim=(0, hours[-1]))
    ax.set_title("How odd each minute is, and which faults were there")
    ax.legend(ncols=6, loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False, markerscale=2)
    figure.savefig(out / "anomalies.png", dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpuclust-out"), help="folder for the picture and the table")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    rng = np.random.default_rng(3)
    past = normal(rng, 10)[0]
    glitches = rng.choice(len(past), len(past) // 200, replace=False)  # half a percent: not clean, as logs are not
    past[glitches, rng.integers(0, 5, len(glitches))] *= rng.choice([0.0, 10.0], len(glitches))
    new, fault = with_faults(rng, 5)
    scaler = RobustScaler().fit(past)  # by quartiles: glitches do not decide what one unit is
    results = {}
    for name, family in {"K-Medians": KMedians, "K-Means": KMeans}.items():
        model = family(len(MODES), n_init=5, random_state=0).fit(scaler.transform(past))
        usual = anomaly_scores(model, scaler.transform(past), quantile=QUANTILE)
        results[name] = usual.apply(scaler.transform(new))  # judged by the past's distances and threshold
        # Are these the modes that the operators know? Glitches pull at the means, a little; the medians stay.
        centres = pd.DataFrame(scaler.inverse_transform(model.cluster_centers_), columns=SENSORS)
        print(f"Modes by {name}\n{centres.sort_values('temperature_C').round(2).to_string(index=False)}\n")
    # What one gets without modes: each sensor against its own limits, at the same share of the past outside.
    low, high = np.quantile(past, [(1 - QUANTILE) / 10, 1 - (1 - QUANTILE) / 10], axis=0)
    limits = ((new < low) | (new > high)).any(axis=1)

    flags = {name: found.flags for name, found in results.items()} | {"limits by sensor": limits}
    table = pd.DataFrame({name: judged(each, fault) for name, each in flags.items()})
    table.insert(0, "minutes", [np.count_nonzero(fault == kind) or "" for kind in table.index])
    table.to_csv(out / "anomalies.csv", index_label="fault")
    draw(results["K-Medians"], fault, out)
    # A mix of values that no mode has is seen only by clusters. A frozen sensor shows usual values: no distance tells
    # (look at how much it varies within an hour instead). A leak is seen once it has grown.
    print("Share of the minutes of each fault that are flagged\n" + table.round(2).to_string())
    print(f"\nThe picture and the table are in {out}.")


if __name__ == "__main__":
    main()
