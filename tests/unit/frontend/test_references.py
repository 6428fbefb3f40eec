"""References of known speakers in forms: bounded for all requests together, and let go with their answers."""

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request

from frontend.api import bounded_form
from frontend.api.bounded_form import BoundedRoute, UploadRequest
from frontend.errors import install

FIELD = "known_speaker_references[]"


@pytest.fixture
def app():
    router = APIRouter(route_class=BoundedRoute)

    @router.post("/form")
    async def form(request: Request):
        held = UploadRequest.held_by_all
        if (await request.form()).get("fail"):
            raise RuntimeError("a mistake of ours")
        return {"held": held}

    made = FastAPI()
    install(made)
    made.include_router(router)
    return made


async def sent(app, size, **fields):
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        files = [(FIELD, (None, "x" * size)), *((name, (None, value)) for name, value in fields.items())]
        return await http.post("/form", files=files)


async def test_they_are_counted_while_they_are_held(app):
    answer = await sent(app, 1_000_000)
    assert answer.json() == {"held": 1_000_000}
    assert UploadRequest.held_by_all == 0


async def test_more_than_all_may_hold_are_put_off_and_nothing_stays_held(app, monkeypatch):
    monkeypatch.setattr(bounded_form, "MOST_HELD_BYTES", 500_000)
    answer = await sent(app, 1_000_000)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "server_overloaded"
    assert UploadRequest.held_by_all == 0
    assert (await sent(app, 400_000)).status_code == 200


async def test_a_request_that_fails_holds_nothing(app):
    assert (await sent(app, 1_000, fail="yes")).status_code == 500
    assert UploadRequest.held_by_all == 0


async def test_one_request_has_a_bound_of_its_own_and_other_fields_theirs(app):
    assert "references have more than" in (await sent(app, 14_000_000)).text
    assert "fields have more than" in (await sent(app, 10, prompt="x" * 500_000)).text
    assert UploadRequest.held_by_all == 0
