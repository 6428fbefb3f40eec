"""What /metrics tells of each server."""

from frontend.observe.metrics import Metrics


def test_each_server_there_is_has_its_gauges_and_one_that_is_gone_has_none():
    metrics = Metrics()
    there = [
        {"url": "a:1", "state": "ready", "live_sessions": 3, "segments": 2},
        {"url": "b:1", "state": "drained", "live_sessions": 0, "segments": 0},
    ]
    metrics.servers.told = lambda: there
    told = metrics.told().decode()
    assert 'asr_frontend_server_ready{server="a:1"} 1.0' in told
    assert 'asr_frontend_server_ready{server="b:1"} 0.0' in told
    assert 'asr_frontend_server_live_sessions{server="a:1"} 3.0' in told
    assert 'asr_frontend_server_segments{server="a:1"} 2.0' in told
    there.pop(0)
    assert "a:1" not in metrics.told().decode()
