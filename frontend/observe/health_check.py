"""python -m frontend.observe.health_check: exit status 0 where the frontend here would answer a request now."""

from __future__ import annotations

import os
import ssl
import sys
import urllib.request

TIMEOUT_S = 4.0


def main() -> int:
    """By the variables that the frontend itself reads; nothing is imported that takes time, as this runs every few
    seconds."""
    secure = bool(os.environ.get("ASR_TLS_CERTIFICATE"))
    # The certificate names the service, not this machine's loopback.
    context = ssl._create_unverified_context() if secure else None
    url = f"http{'s' * secure}://127.0.0.1:{os.environ.get('ASR_PORT') or 8100}/health/ready"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=context):
            return 0
    except OSError as error:
        print(f"{url}: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
