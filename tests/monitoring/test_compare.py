"""New rows against a training summary: laws, all kinds of rows, and the monitor that counts them as they come."""

from __future__ import annotations

import json
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import gpuclust
from gpuclust import KMeans, KMedians
from gpuclust.monitoring import DriftMonitor, Thresholds, TrainingSummary, compare, curves, summarize, tally
from gpuclust.preprocessing import FrequencyEncoder, SimpleImputer, StandardScaler

pytestmark = pytest.mark.usefixtures("one_thread")
MEANS = np.array([[0.0, 0, 0, 0], [8, 0, 4, 0], [0, 8, 0, 4]])


def draw(rng, n):
    """Three clusters; a column is rounded, one is a flag."""
    X = MEANS[rng.choice(3, n, p=[0.5, 0.3, 0.2])] + rng.normal(size=(n, 4))
    X[:, 2] = np.round(X[:, 2])
    X[:, 3] = X[:, 3] > 1
    return X


@pytest.fixture(scope="module")
def trained():
    X = draw(np.random.default_rng(0), 2000)
    model = KMeans(3, random_state=0, device="cpu").fit(X)
    return model, summarize(model, X), X


def told(report):
    return report.as_dict()


def check(report, name, feature=None):
    return next(each for each in report.checks if (each.check, each.feature) == (name, feature))


def same(one, two):
    for name, value in one.as_dict().items():
        np.testing.assert_array_equal(value, two.as_dict()[name], err_msg=name)


def test_a_summary_by_hand():
    X = np.array([[1.0, np.nan], [2, 5], [2, 5], [9, np.nan]])
    model = KMeans(2, init=np.array([[1.0, 5], [9, 5]]), n_init=1, device="cpu").fit(np.nan_to_num(X, nan=5))
    found = summarize(model, X)
    assert (found.n_rows, found.n_effective, found.missing.tolist()) == (4, 4, [0, 0.5])
    kept = dict(zip(found.quantiles[0], found.probabilities[0], strict=True))
    assert kept == {1: 0.25, 2: 0.75, 9: 1} and set(found.quantiles[1]) == {5}
    assert found.counts.tolist() == [2, 0] and found.shares.tolist() == [1, 0]  # of the rows that it can take
    assert found.distances[0] == found.distances[-1] == found.far == pytest.approx(1 / 3)


def test_a_summary_has_exact_shares(trained):
    _, summary, X = trained
    assert summary.quantiles[0].tolist()[:1] == [X[:, 0].min()] and summary.quantiles[0][-1] == X[:, 0].max()
    for f in range(4):
        np.testing.assert_array_equal(summary.probabilities[f], np.mean(X[:, [f]] <= summary.quantiles[f], axis=0))
    assert np.isin(np.unique(X[:, 2]), summary.quantiles[2]).mean() > 0.7


def test_a_file_is_summed_up_as_an_array_is(trained, tmp_path):
    model, summary, X = trained
    np.save(tmp_path / "x.npy", X)
    same(summary, summarize(model, tmp_path / "x.npy"))
    same(summary, summarize(model, gpuclust.stream([X[:3], X[3:900], X[900:]])))
    same(summary, summarize(_like(model, 17), X))
    sparse = summarize(model, sp.csr_array(X))
    np.testing.assert_array_equal(sparse.quantiles, summary.quantiles)
    np.testing.assert_allclose(sparse.distances, summary.distances, rtol=1e-15)


def test_rows_that_are_not_held_are_counted_exactly(trained, monkeypatch):
    model, _, X = trained
    monkeypatch.setattr(curves, "column_bytes", lambda: 100)
    monkeypatch.setattr(curves, "SAMPLE", 300)
    found = summarize(model, gpuclust.stream([X[:700], X[700:701], X[701:]]))
    same(found, summarize(model, X))
    assert len(np.unique(found.quantiles[0])) < 620
    for f in range(4):
        np.testing.assert_array_equal(found.probabilities[f], np.mean(X[:, [f]] <= found.quantiles[f], axis=0))
        assert (found.quantiles[f][0], found.quantiles[f][-1]) == (X[:, f].min(), X[:, f].max())
    TrainingSummary.from_dict(found.as_dict(), 4, 3)
    same_rows = compare((model, found), X)
    assert {each.statistic for each in same_rows.checks if each.feature is not None} == {0}


def test_weights_are_repetitions_in_a_summary(trained, rng):
    model, _, X = trained
    weight = rng.integers(0, 4, len(X))
    one, two = summarize(model, X, sample_weight=weight), summarize(model, np.repeat(X, weight, axis=0))
    for name in ("quantiles", "distances", "far"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for name in ("probabilities", "shares", "missing", "distance_probabilities"):
        np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-12)
    assert one.n_rows == np.count_nonzero(weight)
    assert one.n_effective == pytest.approx(weight.sum() ** 2 / np.sum(weight.astype(float) ** 2))


def test_the_training_rows_have_not_drifted(trained):
    model, summary, X = trained
    report = compare(model, X, summary=summary)
    assert report.verdict == "ok" and report.n_rows == report.n_training == 2000
    assert {each.statistic for each in report.checks if each.check not in ("distances", "far")} == {0}
    assert check(report, "distances").effect < 5e-3  # new rows are expected a little farther away
    np.testing.assert_array_equal(report.shares[:, 0], report.shares[:, 1])


@pytest.mark.parametrize("change", ["order", "chunks", "stream", "frame", "polars", "pyarrow", "csr", "f32"])
def test_a_report_depends_on_the_rows_alone(trained, rng, change):
    model, summary, _ = trained
    X = draw(rng, 700) + [0.4, 0, 0, 0]
    X = X.astype(np.float32).astype(np.float64)
    expected = told(compare((model, summary), X))
    names = ["a", "b", "c", "d"]
    other = {
        "order": lambda: X[rng.permutation(700)],
        "chunks": lambda: X,
        "stream": lambda: gpuclust.stream([X[:1], X[1:300], X[300:]]),
        "frame": lambda: pd.DataFrame(X, columns=names),
        "polars": lambda: pl.DataFrame(X, schema=names),
        "pyarrow": lambda: pa.table(dict(zip(names, X.T, strict=True))),
        "csr": lambda: sp.csr_array(X),
        "f32": lambda: X.astype(np.float32),
    }[change]()
    if change == "chunks":
        model = _like(model, 11)
    found = told(compare((model, summary), other))
    if change == "order":
        found["far_rows"] = [{"distance": row["distance"]} for row in found["far_rows"]]
        expected["far_rows"] = [{"distance": row["distance"]} for row in expected["far_rows"]]
    assert found == expected


def _like(model, chunk_size):
    twin = KMeans(3, device="cpu", chunk_size=chunk_size)
    twin.cluster_centers_, twin.n_features_in_ = model.cluster_centers_, 4
    return twin


def test_a_power_of_two_in_both_changes_no_test(trained, rng):
    model, _, X = trained
    new, scale = draw(rng, 500) + [0, 0.5, 0, 0], np.full(4, 2.0**-30)
    big = KMeans(3, random_state=0, device="cpu").fit(X * scale)
    one = compare(model, new, summary=summarize(model, X))
    two = compare(big, new * scale, summary=summarize(big, X * scale))
    for a, b in zip(one.checks, two.checks, strict=True):
        assert (a.check, a.statistic, a.p_value, a.verdict) == (b.check, b.statistic, b.p_value, b.verdict)
    assert check(one, "distribution", "x1").wasserstein == check(two, "distribution", "x1").wasserstein * 2.0**30


SHIFTS = {
    "mean": (lambda X: X + [0.5 * X[:, 0].std(), 0, 0, 0], {("stability", "x0"), ("distribution", "x0")}),
    "constant": (lambda X: np.where(np.arange(4) == 1, X[:, [1]] * 0 + X[:, 1].min(), X), {("distribution", "x1")}),
    "missing": (lambda X: np.where((np.arange(4) == 2) & (np.arange(len(X)) % 5 == 0)[:, None], np.nan, X),
                {("missing", "x2")}),
    "outside": (lambda X: np.where((np.arange(4) == 0) & (np.arange(len(X)) % 12 == 0)[:, None], 99.0, X),
                {("unseen", "x0"), ("far", None), ("distribution", "x0")}),
    "vanished": (lambda X: X[X[:, 1] < 4], {("clusters", None)}),
    "spread": (lambda X: X + np.random.default_rng(0).normal(size=X.shape) * [1, 1, 0, 0], {("distances", None)}),
}  # fmt: skip


@pytest.mark.parametrize("name", SHIFTS)
def test_what_drifts_is_named(trained, rng, name):
    model, summary, _ = trained
    change, expected = SHIFTS[name]
    report = compare((model, summary), change(draw(rng, 3000)))
    found = {(each.check, each.feature) for each in report.checks if each.verdict != "ok"}
    assert expected <= found and report.verdict != "ok"
    assert len(report.sentences) > len(expected)
    if name == "missing":
        assert found == expected and report.n_unassigned == 600


def test_far_rows_are_listed_and_vanished_clusters_named(trained, rng):
    model, summary, _ = trained
    X = draw(rng, 500)
    X = X[X[:, 1] < 4][:300]
    X[[40, 7]] = [[-90, 0, 0, 0], [-70, 0, 0, 0]]
    report = compare((model, summary), X)
    assert [row for row, _ in report.far_rows[:2]] == [40, 7]
    assert report.far_rows[0][1] == pytest.approx(np.sqrt(((X[40] - model.cluster_centers_) ** 2).sum(axis=1)).min())
    gone = int(np.flatnonzero(report.shares[:, 1] == 0)[0])
    assert f"No new row is in cluster {gone}." in report.sentences


def test_few_rows_say_that_they_are_few(trained, rng):
    model, summary, _ = trained
    report = compare((model, summary), draw(rng, 30))
    assert "So few rows" in report.sentences[-1]
    wide = compare((model, summary), draw(rng, 30), thresholds=Thresholds(distance=(0.5, 0.6)))
    assert "So few rows" not in wide.sentences[-1]


def test_thresholds_decide(trained, rng):
    model, summary, _ = trained
    X = draw(rng, 2000) + [0.3, 0, 0, 0]
    assert compare((model, summary), X).verdict == "watch"
    assert compare((model, summary), X, thresholds=Thresholds(distance=(0.01, 0.05))).verdict == "retrain"
    lax = Thresholds(psi=(1, 2), distance=(0.5, 1), far=(0.5, 1), unseen=(0.5, 1))
    assert compare((model, summary), X, thresholds=lax).verdict == "ok"
    assert compare((model, summary), X, thresholds=Thresholds(alpha=1e-300)).verdict == "ok"
    for wrong in ({"alpha": 0}, {"psi": (0.2, 0.1)}, {"far": 3}, {"unseen": (-1, 1)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Thresholds(**wrong)


@pytest.fixture(scope="module")
def mixed():
    """Rows with categories and missing values, and a model that takes them."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"age": rng.normal(40, 10, 1500), "kind": rng.choice(["a", "b", "c"], 1500, p=[0.6, 0.3, 0.1]),
         "zip": rng.integers(1, 9, 1500)}
    )  # fmt: skip
    frame.loc[::10, "age"] = np.nan
    frame.loc[::50, "kind"] = None
    steps = [
        ("number", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), ["age"]),
        ("category", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["kind", "zip"]),
    ]
    model = make_pipeline(ColumnTransformer(steps), KMedians(3, random_state=0, device="cpu")).fit(frame)
    return model, summarize(model, frame), frame


def test_distances_of_new_rows_are_those_that_training_rows_would_have():
    """A centre of two rows has followed both: new rows are sqrt(3) times as far from it in the mean."""
    model = KMeans(2, init=np.array([[1.0], [101]]), n_init=1, device="cpu").fit([[0.0], [2], [100], [102]])
    summary = summarize(model, np.array([[0.0], [2], [100], [102]]))
    found = tally.Tally.of(summary, np.ones(1, bool))
    found.add([np.array([1 + 0.99 * 3**0.5, 1 + 1.01 * 3**0.5])], np.zeros(2, int), np.array([0.99, 1.01]) * 3**0.5,
              np.arange(2))  # fmt: skip
    assert found.far == 1 and [row for row, _ in found.far_rows] == [1]


def test_many_rare_categories_are_not_called_drift(rng):
    codes = rng.zipf(1.6, 12_000).clip(max=2000).astype(str)
    frame = pd.DataFrame({"code": codes, "x": rng.normal(size=12_000)})
    steps = [("c", FrequencyEncoder(), ["code"]), ("x", "passthrough", ["x"])]
    model = make_pipeline(ColumnTransformer(steps), KMeans(2, random_state=0, device="cpu")).fit(frame[:1000])
    report = compare(model, frame[1000:], summary=summarize(model, frame[:1000]))
    assert check(report, "stability", "code").p_value > 1e-4 and check(report, "unseen", "code").p_value > 1e-4
    assert report.unknown["code"] == sorted(report.unknown["code"]) and len(report.unknown["code"]) == 20


def test_categories_are_summed_up(mixed):
    _, summary, frame = mixed
    shares = frame["kind"].value_counts(normalize=True)
    assert summary.categories[0] is None and summary.categories[1] == pytest.approx(shares.to_dict())
    assert set(summary.categories[2]) == set("12345678")  # numbers, of which an encoder makes categories
    np.testing.assert_allclose(summary.missing, [0.1, 0.02, 0])
    assert np.isnan(summary.quantiles[1]).all()


def test_categories_that_change_or_are_new(mixed):
    model, summary, frame = mixed
    assert compare((model, summary), frame).verdict == "ok"
    new = frame.iloc[:900].copy()
    new.loc[new.index[:100], "kind"] = "q"
    new["zip"] = new["zip"].astype(float)
    report = compare((model, summary), new)
    assert report.unknown == {"kind": ["q"]} and check(report, "unseen", "kind").verdict == "retrain"
    assert check(report, "stability", "zip").verdict == "ok" and check(report, "unseen", "zip").statistic == 0
    new["kind"] = "c"
    assert check(compare((model, summary), new), "stability", "kind").verdict == "retrain"


def test_frames_of_all_kinds_and_files(mixed, tmp_path):
    model, summary, frame = mixed
    new = frame.iloc[300:800].reset_index(drop=True)
    expected = told(compare((model, summary), new))
    table = pa.Table.from_pandas(new, preserve_index=False)
    pq.write_table(table, tmp_path / "new.parquet")
    for other in (table, pl.from_arrow(table), tmp_path / "new.parquet", new[["zip", "kind", "age"]],
                  lambda: ((part, None) for part in (new.iloc[:7], new.iloc[7:])), new.to_numpy(object)):  # fmt: skip
        assert told(compare((model, summary), other)) == expected


def test_rare_categories_are_not_listed_and_not_called_new(rng, monkeypatch):
    from gpuclust.monitoring import judging, summarizing
    from gpuclust.monitoring import summary as kept

    for module in (kept, summarizing, judging):
        monkeypatch.setattr(module, "MOST_CATEGORIES", 4)
    frame = pd.DataFrame({"c": rng.choice(list("abcdefgh"), 1000), "x": rng.normal(size=1000)})
    steps = [("c", OneHotEncoder(sparse_output=False), ["c"]), ("x", "passthrough", ["x"])]
    model = make_pipeline(ColumnTransformer(steps), KMeans(2, random_state=0, device="cpu")).fit(frame)
    summary = summarize(model, frame)
    assert len(summary.categories[0]) == 4 and sum(summary.categories[0].values()) < 0.7
    TrainingSummary.from_dict(summary.as_dict(), 2, 2)
    report = compare((model, summary), frame)
    assert report.verdict == "ok" and check(report, "stability", "c").statistic == pytest.approx(0, abs=1e-12)
    assert not [each for each in report.checks if (each.check, each.feature) == ("unseen", "c")]


def test_a_monitor_finds_what_compare_finds(trained, rng):
    model, summary, _ = trained
    X = draw(rng, 5000) + [0.3, 0, 0, 0]
    X[::50, 0] = np.nan
    monitor = DriftMonitor(model, summary)
    assert monitor.report() is None
    label, distance = np.full(len(X), -1), np.full(len(X), np.nan)
    fine = np.isfinite(X).all(axis=1)
    label[fine], distance[fine] = model.predict(X[fine]), model.transform(X[fine]).min(axis=1)
    for start, stop in zip([0, 1, 90, 4400], [1, 90, 4400, 5000], strict=True):
        monitor.add(X[start:stop].tolist() if start else X[:1], label[start:stop], distance[start:stop])
    assert told(monitor.report()) == told(compare((model, summary), X))
    assert monitor.n_rows == 5000 and told(monitor.report()) == told(monitor.report())
    monitor.reset()
    assert monitor.n_rows == 0 and monitor.report() is None


def test_a_monitor_takes_frames_and_rows_of_all_kinds(mixed):
    model, summary, frame = mixed
    new = frame.iloc[200:600]
    zeros = np.zeros(len(new), int)
    one, two = DriftMonitor(model, summary), DriftMonitor(model, summary)
    one.add(new, zeros, zeros)
    two.add([[None if v != v else v for v in row] for row in new.to_numpy(object)], zeros.tolist(), zeros.tolist())
    assert told(one.report()) == told(two.report())


def test_a_monitor_is_shared_by_threads_and_bounded(trained, rng, monkeypatch):
    model, summary, _ = trained
    monkeypatch.setattr("gpuclust.monitoring.monitor.PENDING", 64)
    X = draw(rng, 4000)
    label, distance = model.predict(X), model.transform(X).min(axis=1)
    monitor = DriftMonitor(model, summary)

    def work(part):
        for i in range(part, 4000, 4):
            monitor.add(X[i : i + 1], label[i : i + 1], distance[i : i + 1])
            assert monitor._waiting < 64 and len(monitor._tally.farthest) <= tally.MOST_FAR
            if i % 500 == part:
                monitor.report()

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one, two = told(monitor.report()), told(compare((model, summary), X))
    assert one["checks"] == two["checks"] and one["clusters"] == two["clusters"]


def test_a_monitor_keeps_its_rows_when_the_caller_changes_them(trained, rng):
    model, summary, _ = trained
    X = draw(rng, 200)
    monitor, kept = DriftMonitor(model, summary), X.copy()
    label, distance = model.predict(X), model.transform(X).min(axis=1)
    monitor.add(X, label, distance)
    X[:], distance[:] = 0, 0
    assert told(monitor.report()) == told(compare((model, summary), kept))


def test_a_report_as_table_json_and_picture(trained, rng):
    model, summary, _ = trained
    report = compare((model, summary), draw(rng, 400) + [9, 0, 0, 0])
    table = report.table
    assert list(table.columns[:2]) == ["check", "feature"] and len(table) == len(report.checks) == 3 + 4 * 4
    order = ["retrain", "watch", "ok"]
    assert table["verdict"].map(order.index).is_monotonic_increasing and table["verdict"][0] == report.verdict
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["verdict"] == "retrain"
    figure = report.plot().figure_
    assert len(figure.axes) == 3 and "retrain" in figure.axes[0].get_title()
    assert figure.axes[0].patches[0].get_width() == max(c.effect for c in report.checks if c.check == "stability")


@pytest.mark.filterwarnings("ignore:overflow")
def test_rows_beyond_all_distances_are_json_too(trained, rng):
    model, summary, _ = trained
    report = compare((model, summary), draw(rng, 200) * 1e300)
    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert told["verdict"] == "retrain" and told["far_rows"][0]["distance"] is None


def test_columns_that_the_model_drops_raise_no_alarm(rng):
    """Numbers of rows and dates are never like those of the training; they change no label."""
    frame = pd.DataFrame({"x": rng.normal(size=900), "id": np.arange(900), "day": pd.date_range("2024-01-01", periods=900)})
    model = make_pipeline(ColumnTransformer([("x", "passthrough", ["x"])]), KMeans(2, random_state=0, device="cpu"))
    summary = summarize(model.fit(frame[:600]), frame[:600])
    new = frame[600:].assign(id="none")
    report, monitor = compare(model, new, summary=summary), DriftMonitor(model, summary)
    assert report.verdict == "ok" and {each.feature for each in report.checks} == {None, "x"} and not report.unknown
    monitor.add(new, model.predict(new), model.transform(new).min(axis=1))
    assert [vars(each) for each in monitor.report().checks] == [vars(each) for each in report.checks]


def test_what_cannot_be_compared_is_told(trained, mixed, rng):
    model, summary, X = trained
    with pytest.raises(ValueError, match=r"summarize\(model, X\)"):
        compare(model, X)
    with pytest.raises(ValueError, match="features"):
        compare((model, summary), X[:, :3])
    with pytest.raises(ValueError, match="4 columns and 3 clusters, the model has 4 and 2"):
        compare(KMeans(2, device="cpu").fit(X), X, summary=summary)
    with pytest.raises(ValueError, match="no rows|0 sample"):
        compare((model, summary), X[:0])
    with pytest.raises(ValueError, match="lacks columns that the model was fitted on: kind"):
        compare(mixed[:2], mixed[2].drop(columns="kind"))
    with pytest.raises(ValueError, match="no row that the model can take"):
        summarize(model, np.full((3, 4), np.nan))
    monitor = DriftMonitor(model, summary)
    for rows, label, distance in ((X[:2], [0], [1.0]), (X[:2, :2], [0, 0], [1.0, 1]), (X[:1], [3], [1.0]),
                                  ([["a", 0, 0, 0]], [0], [1.0])):  # fmt: skip
        with pytest.raises(ValueError):
            monitor.add(rows, label, distance)
    assert monitor.n_rows == 0
