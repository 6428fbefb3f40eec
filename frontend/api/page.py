"""The page at /: microphone and files, from this server alone."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from frontend.errors import ApiError
from frontend.guard.headers import NO_FRAMES

STATIC = Path(__file__).resolve().parent.parent / "static"
# By name, so that no path of a request reaches the disk.
FILES = {path.name: path for path in STATIC.iterdir()}
# Nothing from other hosts; the microphone for this page. Older browsers do not count a socket as "self".
POLICY = "default-src 'self'; media-src 'self' blob:; connect-src 'self' ws: wss:"
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; object-src 'none'; base-uri 'none'; form-action 'self'; {NO_FRAMES}",
    "Permissions-Policy": "microphone=(self)",
    "Cache-Control": "no-cache",
}
router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> FileResponse:
    return FileResponse(STATIC / "index.html", headers=HEADERS)


@router.get("/static/{name}")
async def static(name: str) -> FileResponse:
    if name not in FILES:
        raise ApiError(404, f"there is no {name}")
    return FileResponse(FILES[name], headers=HEADERS)
