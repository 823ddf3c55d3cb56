"""The ASGI application: FastAPI around the service. Predictions go straight to the service, past FastAPI's layers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route

from .._version import __version__
from . import schema
from .crew import Crew
from .problems import CODES, FAILED, JSON, Refused, described
from .requests import authorized
from .service import OPEN, PREDICT, UPDATE, Service
from .settings import Settings


class Application(FastAPI):
    """FastAPI, with predictions beside its routes and one form for every error."""

    service: Service

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
        elif scope["path"] == PREDICT and scope["method"] == "POST":
            await self.service.predict(scope, receive, send)
        elif scope["path"] == UPDATE and scope["method"] == "POST" and self.service.settings.allow_updates:
            await self.service.update(scope, receive, send)
        else:
            await self._other(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The schema, with the features of the model that is served now."""
        return schema.openapi(self, self.service)

    async def _other(self, scope: Any, receive: Any, send: Any) -> None:
        began, status = time.perf_counter(), 500

        async def watched(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        path = scope["path"]
        try:
            if path not in OPEN:
                given = (value for name, value in scope["headers"] if name == b"authorization")
                authorized(next(given, b""), self.service.settings.token)
        except Refused as refusal:
            await _refusal(refusal)(scope, receive, watched)
        else:
            await super().__call__(scope, receive, watched)
        known = path if path in KNOWN else "other"
        code = CODES.get(status, "error") if status >= 400 else None
        self.service.measures.answered(known, status, code, time.perf_counter() - began)


class _Direct:
    """A route for what `Application` answers by itself: other methods than its own are refused there."""

    def __init__(self, work: Any) -> None:
        self._work = work

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._work(scope, receive, send)


KNOWN = {PREDICT, UPDATE, "/v1/model", "/v1/reload", "/healthz", "/readyz", "/metrics", "/openapi.json"}


def create_app(
    model_path: str | os.PathLike[str], *, settings: Settings | None = None, crew: Crew | None = None
) -> FastAPI:
    """The service of one model file, for any ASGI server.

    Parameters
    ----------
    model_path : str or path-like
        A file that `gpuclust.save_model` wrote. It is read at once, and again on SIGHUP and POST /v1/reload.
    settings : Settings, optional
        Limits; `host`, `port`, `workers` and the time limits of connections are the server's, see `serve`.
    crew : Crew, optional
        The other workers, if this is one of several.

    Returns
    -------
    FastAPI

    Raises
    ------
    ModelFileError, OSError
        If the model cannot be read.
    """
    app = Application(
        title="gpuclust", version=__version__, description="Clusters of rows under a fitted model.",
        docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=_lifespan,
    )  # fmt: skip
    app.service = Service(model_path, settings or Settings(), crew)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Refused, lambda request, refusal: _refusal(refusal))
    app.add_exception_handler(Exception, _failure)
    _add_routes(app, app.service)
    app.router.routes.append(Route(PREDICT, _Direct(app.service.predict), methods=["POST"], include_in_schema=False))
    if app.service.settings.allow_updates:
        app.router.routes.append(Route(UPDATE, _Direct(app.service.update), methods=["POST"], include_in_schema=False))
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service = app.service  # type: ignore[attr-defined]
    await service.start()
    with _reloading(service):
        yield
    await service.stop()


@contextlib.contextmanager
def _reloading(service: Service) -> Any:
    """SIGHUP reloads, where there are signals and this is the main thread."""
    loop, tasks = asyncio.get_running_loop(), set()

    async def reload() -> None:
        with contextlib.suppress(Refused):  # the log says why
            await service.reload(called=True)

    def on_signal() -> None:
        task = loop.create_task(reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    try:
        loop.add_signal_handler(signal.SIGHUP, on_signal)
    except (AttributeError, NotImplementedError, RuntimeError, ValueError):
        yield
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # `server` holds it back until here
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def _add_routes(app: FastAPI, service: Service) -> None:
    refused: dict[int | str, Any] = {status: {"model": schema.Refusal} for status in (401, 500)}

    @app.get("/healthz", summary="Whether the process answers")
    async def healthz() -> schema.Health:
        return schema.Health(status="ok")

    @app.get("/readyz", summary="Whether requests should be sent here", responses={503: {"model": schema.Refusal}})
    async def readyz() -> schema.Health:
        if service.stopping:
            raise Refused(503, "The service is stopping.")
        return schema.Health(status="ok")

    for path, probe in (("/healthz", healthz), ("/readyz", readyz)):  # some probes and balancers ask for the head only
        app.head(path, include_in_schema=False)(probe)

    @app.get("/v1/model", summary="What is served", responses=refused)
    async def model() -> schema.ModelInfo:
        return schema.described_model(service)

    @app.post(
        "/v1/reload",
        summary="Serve what the model file holds now",
        responses={**refused, 409: {"model": schema.Refusal, "description": "The file cannot be served"}},
    )
    async def reload() -> schema.Reloaded:
        changed = await service.reload()
        return await schema.reloaded(service, changed)

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response, responses={
        **refused, 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
    })  # fmt: skip
    async def metrics() -> Response:
        return Response(service.measures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _refusal(refusal: Refused) -> Response:
    headers = {name.decode(): value.decode() for name, value in refusal.headers}
    body = described(refusal.status, refusal.message)
    return Response(body, refusal.status, headers, media_type=JSON[1].decode())


async def _http_error(request: Request, error: Exception) -> Response:
    """404 and 405 of FastAPI's own."""
    assert isinstance(error, HTTPException)
    said = {404: "There is nothing here; see /openapi.json.", 405: "Not with this method; see the header Allow."}
    body = described(error.status_code, said.get(error.status_code, str(error.detail)))
    return Response(body, error.status_code, dict(error.headers or {}), media_type="application/json")


async def _invalid(request: Request, error: Exception) -> Response:
    return _refusal(Refused(422, "The request is not what /openapi.json says."))


async def _failure(request: Request, error: Exception) -> Response:
    return _refusal(Refused(500, FAILED))
