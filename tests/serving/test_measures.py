"""What /metrics says."""

import os
import re

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from gpuclust.serving import mark_process_dead
from gpuclust.serving.measures import Measures
from gpuclust.serving.series import ModelSeries, remove_left

from .conftest import NEW


def test_everything_is_counted(client):
    labels = np.array(client.predict(NEW.tolist())["labels"])
    client.predict(NEW[:1].tolist())
    client.post("/v1/predict", json={"rows": []})
    client.get("/nothing/here")
    assert client.metric('gpuclust_requests_total{path="/v1/predict",status="200"}') == 2
    assert client.metric('gpuclust_requests_total{path="other",status="404"}') == 1
    assert client.metric('gpuclust_errors_total{code="unsuitable"}') == 1
    assert client.metric("gpuclust_rows_total") == len(NEW) + 1
    assert client.metric('gpuclust_request_seconds_count{path="/v1/predict"}') == 3
    counts = np.bincount(np.append(labels, labels[0]), minlength=3)
    model = client.get("/v1/model").json()["sha256"][:16]
    for cluster, count in enumerate(counts):
        assert client.metric(f'gpuclust_cluster_rows_total{{cluster="{cluster}",model="{model}"}}') == (count or None)
        share = client.metric(f'gpuclust_cluster_share{{cluster="{cluster}",model="{model}"}}') or 0
        assert share == pytest.approx(count / counts.sum())


def test_the_text_is_prometheus(client):
    client.predict(NEW.tolist())
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    buckets = [s.value for s in families["gpuclust_request_seconds"].samples if s.name.endswith("_bucket")]
    assert buckets == sorted(buckets) and buckets[-1] == 1
    assert {"gpuclust_rows", "gpuclust_batch_rows", "gpuclust_requests_in_flight"} <= set(families)


def test_clusters_without_a_count_yet_have_no_share():
    """A worker may have begun to count for a new model when another one is asked."""
    measures = Measures("ab")
    measures._own.scored("0", 0)
    assert b'gpuclust_cluster_share{cluster="0",model="ab"} 0.0' in measures.text()


def worker(monkeypatch, pid, model, folder):
    """What a process counts: 2 rows of cluster 1, and drift of its number."""
    monkeypatch.setattr("gpuclust.serving.series.os.getpid", lambda: pid)
    series = ModelSeries(model, str(folder))
    series.scored("1", 1)
    series.scored("1", 1)
    series.drifted({("far", model): float(pid)})
    return series


def told(folder):
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))
    return sorted(line for line in generate_latest(registry).decode().splitlines() if line[0] != "#")


def test_series_go_with_their_model(monkeypatch, tmp_path):
    """Those of workers that are no more, too; what they counted of the present model stays."""
    old, two, gone = (worker(monkeypatch, pid, "a", tmp_path) for pid in (1, 2, 3))
    assert told(tmp_path) == [
        'gpuclust_cluster_rows_total{cluster="1",model="a"} 6.0', 'gpuclust_drift{check="far",feature="a"} 3.0'
    ]
    mark_process_dead(3, str(tmp_path))
    assert told(tmp_path)[1] == 'gpuclust_drift{check="far",feature="a"} 2.0'
    remove_left(str(tmp_path), "a", {1, 2})
    assert told(tmp_path)[0].endswith("6.0")
    old.close()
    one = worker(monkeypatch, 1, "b", tmp_path)
    remove_left(str(tmp_path), "b", {1, 2})
    assert told(tmp_path) == [
        'gpuclust_cluster_rows_total{cluster="1",model="a"} 2.0', 'gpuclust_cluster_rows_total{cluster="1",model="b"} 2.0',
        'gpuclust_drift{check="far",feature="a"} 2.0', 'gpuclust_drift{check="far",feature="b"} 1.0',
    ]  # fmt: skip
    for each in (one, two, gone):
        each.close()
    assert not list(tmp_path.iterdir())


def test_a_supervisor_of_another_kind_marks_its_dead(monkeypatch, tmp_path):
    """By one call: prometheus_client's own gauges, and those of the model."""
    with pytest.raises(ValueError, match="set PROMETHEUS_MULTIPROC_DIR"):
        mark_process_dead(1)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    measures = Measures("a")
    measures.drifted(2, {("missing", "x"): 1.0})
    assert "gpuclust_drift_verdict 2.0" in told(tmp_path)
    mark_process_dead(os.getpid())
    assert not [line for line in told(tmp_path) if "drift" in line]
    measures._own.close()


def test_a_fork_counts_in_files_of_its_own(monkeypatch, tmp_path):
    series = worker(monkeypatch, 1, "a", tmp_path)
    monkeypatch.setattr("gpuclust.serving.series.os.getpid", lambda: 2)
    series.scored("1", 5)
    assert 'gpuclust_cluster_rows_total{cluster="1",model="a"} 7.0' in told(tmp_path) and len(list(tmp_path.iterdir())) == 4
    series.close()


@pytest.mark.parametrize("several", [False, True])
def test_the_same_model_read_anew_is_not_adrift(monkeypatch, tmp_path, several):
    """What was counted of it stays."""
    if several:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    measures = Measures("a" * 20)
    measures.scored(np.array([0, 0, 2]), 3, "a" * 20)
    measures.drifted(2, {("missing", "x"): 1.0})
    assert b'gpuclust_drift{check="missing"' in measures.text()
    measures.renewed("a" * 20, {1} if several else None)
    text = measures.text().decode()
    assert f'gpuclust_cluster_rows_total{{cluster="0",model="{16 * "a"}"}} 2.0' in text
    assert "gpuclust_drift{" not in text and re.search(r"gpuclust_drift_verdict(\{.*\})? 0.0", text)
    measures.drifted(1, {("missing", "x"): 0.5})
    assert b'gpuclust_drift{check="missing",feature="x"} 0.5' in measures.text()
    measures._own.close()


def test_a_worker_that_joins_removes_what_others_left(monkeypatch, tmp_path):
    """Of another model, which they served to their end."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    gone = worker(monkeypatch, 1, "old", tmp_path)
    monkeypatch.setattr("gpuclust.serving.series.os.getpid", lambda: 2)
    measures = Measures("new")
    measures.joined({2})
    assert "old" not in "".join(told(tmp_path))
    gone.close(), measures._own.close()


def test_another_model_begins_anew(monkeypatch):
    measures = Measures("a" * 20)
    for model in ("b" * 20, "c" * 20):
        measures.scored(np.array([0, 0, 2]), 3, "a" * 20)
        measures.drifted(2, {("missing", "old"): 1.0})
        measures.renewed(model, None)
        measures.scored(np.array([1]), 3, "a" * 20)  # a batch that was under way
    text = measures.text().decode()
    assert "_cluster_rows_total{" not in text and "gpuclust_drift{" not in text and "gpuclust_drift_verdict 0.0" in text
    assert "gpuclust_rows_total 8.0" in text
