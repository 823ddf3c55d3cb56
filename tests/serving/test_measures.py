"""What /metrics says."""

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gpuclust.serving.measures import Measures

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
    measures._child(measures._clusters, "0", "ab")
    assert b'gpuclust_cluster_share{cluster="0",model="ab"} 0.0' in measures.text()
