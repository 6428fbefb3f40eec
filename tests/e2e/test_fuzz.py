"""Whatever the OpenAPI document allows, and much that it does not, no answer is a server error."""

import subprocess
import sys
from pathlib import Path


def test_no_input_makes_a_server_error(service, tmp_path):
    fuzzer = Path(sys.executable).parent / "schemathesis"
    options = ["--checks", "not_a_server_error", "--max-examples", "10", "--seed", "1", "--workers", "1"]
    done = subprocess.run(
        [str(fuzzer), "run", f"{service.url}/openapi.json", *options, "--request-timeout", "60"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6_000:]
    assert "/v1/audio/transcriptions" in done.stdout or "passed" in done.stdout
