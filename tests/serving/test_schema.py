"""The schema says what the service does: Schemathesis holds it to that."""

import os
import warnings

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from gpuclust import MiniBatchKMeans, save_model

from .client import served
from .conftest import FRAME, NAMES, fitted

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis import GenerationMode

EXAMPLES = 500 if os.environ.get("GPUCLUST_FUZZ") == "full" else 15
REFUSED = [str(status) for status in (400, 413, 415, 422)]  # 413: Schemathesis does not take too many rows for a refusal
CONFIG = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}})
OPERATIONS = [
    ("POST", "/v1/predict"), ("POST", "/v1/partial_fit"), ("POST", "/v1/reload"), ("GET", "/v1/model"), ("GET", "/healthz"),
    ("GET", "/readyz"), ("GET", "/metrics"),
]  # fmt: skip


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "model.gpuclust"
    save_model(fitted(MiniBatchKMeans), path, training_data=FRAME)
    with served(path, allow_updates=True, max_rows=1000) as port:
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json", config=CONFIG)


def test_every_operation_is_tried(schema):
    found = {(result.ok().method.upper(), result.ok().path) for result in schema.get_all_operations()}
    assert found == set(OPERATIONS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [(*each, GenerationMode.POSITIVE) for each in OPERATIONS] + [(*each, GenerationMode.NEGATIVE) for each in OPERATIONS[:2]],
)
def test_the_service_is_as_its_schema_says(schema, method, path, mode):
    operation = schema[path][method]
    examples = EXAMPLES if path == "/v1/predict" else max(2, EXAMPLES // 10)

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        case.call_and_validate()

    check()


def test_features_are_in_the_schema(client):
    made = client.get("/openapi.json").json()
    body = made["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    named, listed = body["properties"]["rows"]["anyOf"]
    assert list(named["items"]["properties"]) == named["items"]["required"] == NAMES
    assert listed["items"]["minItems"] == listed["items"]["maxItems"] == len(NAMES)
    assert "securitySchemes" not in made.get("components", {})
