"""The service's OpenAPI schema, made from the model's features."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from ..models import Feature
from .answers import ARROW, NPY
from .columns import Columns
from .problems import LARGEST
from .service import PREDICT, UPDATE, Service

BULK: Final = {kind.decode(): {"schema": {"type": "string", "format": "binary"}} for kind in (ARROW, NPY)}
REFUSALS: Final = {
    400: "The body is not what its content type says", 401: "No token, or another one",
    408: "The request took too long to arrive", 409: "This model cannot do that", 413: "Larger than the limits",
    415: "Unknown content type",
    422: "Rows that the model cannot take", 429: "Too many requests wait; Retry-After says when to come back",
    500: "A defect of the service", 503: "No answer in time", 504: "No answer in time",
}  # fmt: skip


class Error(BaseModel):
    """What is wrong."""

    code: str
    message: str


class Refusal(BaseModel):
    """The form of every error."""

    error: Error


class Health(BaseModel):
    """That all is well."""

    status: str


class FeatureInfo(BaseModel):
    """One column of the rows."""

    name: str
    type: str
    categories: list[str | float] | None = None
    missing_allowed: bool = False


class ModelInfo(BaseModel):
    """The model that is served."""

    estimator: str
    sha256: str
    n_clusters: int
    features: list[FeatureInfo]
    metric: str
    device: str
    preprocessing: bool
    training_summary: bool
    updates: int
    file: dict[str, Any]


class Reloaded(BaseModel):
    """What came of a reload."""

    sha256: str
    changed: bool
    workers: int
    workers_reloaded: int


def described_model(service: Service) -> ModelInfo:
    """What is served now."""
    loaded, scorer = service.loaded, service.loaded.scorer
    features = [
        FeatureInfo(
            name=each.name, type=_kind(each),
            categories=None if each.categories is None else list(each.categories), missing_allowed=each.missing,
        )
        for each in loaded.columns.features
    ]  # fmt: skip
    return ModelInfo(
        estimator=loaded.info["estimator"], sha256=loaded.digest, n_clusters=scorer.n_clusters, features=features,
        metric="manhattan" if scorer.metric.l1 else "euclidean", device=scorer.backend.name,
        preprocessing=scorer.preprocessor is not None, training_summary=loaded.drift is not None,
        updates=loaded.updates, file=loaded.info,
    )  # fmt: skip


def _kind(feature: Feature) -> str:
    return "unused" if not feature.used else "number" if feature.categories is None else "category"


async def reloaded(service: Service, changed: bool) -> Reloaded:
    """What came of a reload, in all workers."""
    digest, crew = service.loaded.digest, service.crew
    if crew is None:
        return Reloaded(sha256=digest, changed=changed, workers=1, workers_reloaded=1)
    crew.call()
    return Reloaded(sha256=digest, changed=changed, workers=crew.size, workers_reloaded=await crew.agreed(digest))


def openapi(app: FastAPI, service: Service) -> dict[str, Any]:
    """The whole schema."""
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    columns, settings = service.loaded.columns, service.settings
    made["paths"][PREDICT] = {"post": _predict(columns, settings.max_rows)}
    if settings.allow_updates:
        made["paths"][UPDATE] = {"post": _update(columns, settings.max_rows)}
    if settings.token is not None:
        made.setdefault("components", {})["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        for path, operations in made["paths"].items():
            if path not in ("/healthz", "/readyz"):
                operations[next(iter(operations))]["security"] = [{"bearer": []}]
    return made


def _predict(columns: Columns, max_rows: int) -> dict[str, Any]:
    flags = {"distances": "Give the distances to all centres too.", "anomaly": "Give anomaly scores too."}
    options = {name: {"type": "boolean", "default": False, "description": text} for name, text in flags.items()}
    return {
        "summary": "The cluster of each row",
        "description": "Bulk rows may be sent as an Arrow IPC stream or a .npy array; the answer then has that format,"
        " unless Accept names another one.",
        "operationId": "predict",
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema, "description": schema["description"]}
            for name, schema in options.items()
        ],
        "requestBody": _body(columns, max_rows, options),
        "responses": {"200": {"description": "Of each row, in order", "content": _answers()}, **_refusals()},
    }


def _update(columns: Columns, max_rows: int) -> dict[str, Any]:
    answer = {"type": "object", "required": ["rows", "updates"], "properties": {
        "rows": {"type": "integer"}, "updates": {"type": "integer", "description": "Steps since the file was read."}
    }}  # fmt: skip
    return {
        "summary": "Let the model learn from rows",
        "operationId": "partial_fit",
        "requestBody": _body(columns, max_rows, {}),
        "responses": {
            "200": {"description": "Learned", "content": {"application/json": {"schema": answer}}},
            **_refusals(),
        },
    }  # fmt: skip


def _body(columns: Columns, max_rows: int, options: dict[str, Any]) -> dict[str, Any]:
    values = [_value(columns, at) for at in range(len(columns.features))]
    same = all(value == values[0] for value in values)
    width = len(values)
    row = {"type": "array", "minItems": width, "maxItems": width, "items": values[0]}
    named = {
        "type": "object", "additionalProperties": False,
        "required": [feature.name for feature in columns.features if feature.used],
        "properties": dict(zip(columns.names, values, strict=True)),
    }  # fmt: skip
    kinds = [named, row] if same else [named]
    rows = {"anyOf": [{"type": "array", "minItems": 1, "maxItems": max_rows, "items": kind} for kind in kinds]}
    schema = {
        "type": "object", "required": ["rows"], "additionalProperties": False, "properties": {"rows": rows, **options}
    }  # fmt: skip
    return {"required": True, "content": {"application/json": {"schema": schema}, **BULK}}


def _value(columns: Columns, at: int) -> dict[str, Any]:
    feature = columns.features[at]
    if not feature.used:
        return {"description": "Not used: anything, or left out of an object."}
    number = {"type": "number", "minimum": -LARGEST, "maximum": LARGEST}
    if feature.categories is not None:
        known: list[Any] = list(feature.categories)
        return {"anyOf": [{"type": "string"}, number], "examples": known[:5]}
    return {"anyOf": [number, {"type": "null"}]} if feature.missing else number


def _answers() -> dict[str, Any]:
    numbers = {"type": "array", "items": {"type": "number"}}
    maybe = {"anyOf": [numbers, {"type": "null"}]}
    properties = {
        "labels": {"type": "array", "items": {"type": "integer", "minimum": 0}, "description": "The nearest centre."},
        "distance": {**numbers, "description": "To that centre."},
        "distances": {"anyOf": [{"type": "array", "items": numbers}, {"type": "null"}]},
        "anomaly_score": {**maybe, "description": "Distance in typical distances of the training rows."},
    }
    schema = {"type": "object", "required": list(properties), "properties": properties}
    return {"application/json": {"schema": schema}, **BULK}


def _refusals() -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    return {str(status): {"description": text, "content": content} for status, text in REFUSALS.items()}
