"""Every error a client can see, in OpenAI's body: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

import logging
import math

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from frontend.triton.client import TritonRefused, TritonUnavailable

logger = logging.getLogger(__name__)

# Nobody hears it: for logs and metrics.
CLIENT_CLOSED_REQUEST = 499


class ApiError(Exception):
    """An answer that is an error. status: HTTP; param: the field at fault; code: OpenAI's short name, if it has one;
    retry_after_s: where load is the reason, when to come back; close: nothing more is taken of this connection."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float = 1.0,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.close = close


def error_body(error: ApiError) -> dict[str, dict[str, str | None]]:
    """OpenAI's form of an error."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    if error.status == 429:
        kind = "rate_limit_error"
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}}


def error_headers(error: ApiError) -> dict[str, str]:
    """What stands in front of that body beside its type and length."""
    headers = {}
    # Whoever is refused for load should know when to come back.
    if error.status in (429, 503, 507):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.close:
        headers["Connection"] = "close"
    return headers


def error_response(error: ApiError) -> JSONResponse:
    return JSONResponse(error_body(error), status_code=error.status, headers=error_headers(error))


def from_triton(error: TritonRefused | TritonUnavailable) -> ApiError:
    """What Triton's refusal means to an HTTP client."""
    if isinstance(error, TritonUnavailable):
        return ApiError(503, f"the speech recognizer is not available: {error}")
    if error.invalid:
        return ApiError(400, str(error))
    if error.busy:
        return ApiError(429, "too many requests are waiting: try again soon", code="rate_limit_exceeded")
    return ApiError(500, f"the speech recognizer failed: {error}")


def install(app: FastAPI) -> None:
    """Make every exception of this application an answer in OpenAI's form."""

    @app.exception_handler(ApiError)
    async def _api_error(_: Request, error: ApiError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(TritonRefused)
    async def _refused(_: Request, error: TritonRefused) -> JSONResponse:
        return error_response(from_triton(error))

    @app.exception_handler(TritonUnavailable)
    async def _unavailable(_: Request, error: TritonUnavailable) -> JSONResponse:
        return error_response(from_triton(error))

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        # ("body", "file") -> file
        param = str(first["loc"][-1]) if len(first["loc"]) > 1 else None
        return error_response(ApiError(400, f"{param or 'request'}: {first['msg']}", param=param))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        return error_response(ApiError(error.status_code, str(error.detail)))

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %r failed", request.method, request.url.path, exc_info=error)
        return error_response(ApiError(500, "an internal error occurred"))
