"""The embedded Triton's two ports are two."""

from frontend.settings import Settings
from frontend.triton import process
from frontend.triton.process import EmbeddedTriton


def test_a_port_that_the_kernel_names_twice_is_not_taken_twice(monkeypatch, tmp_path):
    named = iter([50_001, 50_001, 50_001, 50_002])
    monkeypatch.setattr(process, "free_port", lambda: next(named))
    triton = EmbeddedTriton(Settings(cache_dir=tmp_path, triton_grpc_port=0))
    assert (triton.grpc_port, triton.metrics_port) == (50_001, 50_002)
