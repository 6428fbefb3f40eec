"""Where a load goes when a frontend and its Triton are elsewhere."""

import http.server
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from frontend.triton.process import free_port
from perf.loads.addresses import Unreachable, address_beside, candidates, frontend_at, reachable, triton_at


class Live(service_pb2_grpc.GRPCInferenceServiceServicer):
    def ServerLive(self, request, context):
        return service_pb2.ServerLiveResponse(live=True)


@pytest.fixture
def port():
    """Of something that says that it lives, as Triton does."""
    server = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Live(), server)
    number = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield number
    server.stop(None).wait()


@pytest.fixture
def frontend():
    """Start a frontend whose /health answers so; its address."""
    servers = []

    def start(status, body):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_name_that_only_the_frontend_knows_is_tried_on_its_host(frontend, port, capsys):
    url = frontend(200, {"triton": {"url": f"triton.invalid:{port}"}})
    with triton_at(url) as address:
        assert address == f"127.0.0.1:{port}"
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert f"triton.invalid:{port}" in told
    assert f"127.0.0.1:{port} is used" in told


def test_an_address_that_answers_is_used_without_a_word(frontend, port, capsys):
    with triton_at(frontend(200, {"triton": {"url": f"127.0.0.1:{port}"}})) as address:
        assert address == f"127.0.0.1:{port}"
    with triton_at(None, f"127.0.0.1:{port}") as address:
        assert address == f"127.0.0.1:{port}"
    assert capsys.readouterr().out == ""


def test_where_none_answers_every_try_is_named_in_one_line():
    port = free_port()
    with pytest.raises(Unreachable) as failed:
        reachable(f"triton.invalid:{port}", "http://127.0.0.1:8080")
    message = str(failed.value)
    assert "\n" not in message
    for part in (f"triton.invalid:{port}: the name is not known", f"127.0.0.1:{port}: ", "--grpc HOST:PORT"):
        assert part in message
    with (
        pytest.raises(Unreachable, match=f"no Triton answers at 127.0.0.1:{port}: "),
        triton_at(None, f"127.0.0.1:{port}"),
    ):
        pass


def test_a_frontend_that_is_not_there_or_not_ready_is_told(frontend):
    url = f"http://127.0.0.1:{free_port()}"
    for at in (frontend_at, triton_at):
        with pytest.raises(Unreachable, match=f"no frontend answers at {url}"), at(url):
            pass
    with pytest.raises(Unreachable, match="is not ready: its /health answers 503"), triton_at(frontend(503, {})):
        pass
    with pytest.raises(Unreachable, match="has no Triton now"), triton_at(frontend(200, {})):
        pass


def test_another_machines_loopback_is_not_ours():
    assert candidates("127.0.0.1:8001", "asr.example:8001") == ["asr.example:8001"]
    assert candidates("triton:8001", "asr.example:8001") == ["triton:8001", "asr.example:8001"]
    assert candidates("127.0.0.1:8001", "localhost:8001") == ["127.0.0.1:8001", "localhost:8001"]
    assert candidates("127.0.0.1:8001", "127.0.0.1:8001") == ["127.0.0.1:8001"]
    assert address_beside("triton:8001", "http://[::1]:8080/") == "[::1]:8001"
    assert address_beside("triton:8001", "https://asr.example/base") == "asr.example:8001"
