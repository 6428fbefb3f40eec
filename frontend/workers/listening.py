"""A socket for each worker, all of them on one port: the kernel gives each connection to one of them for good."""

from __future__ import annotations

import socket

BACKLOG = 2_048


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Sockets that listen there. Connections are spread over them by their addresses, evenly where they are many. One
    whose worker died keeps what came meanwhile for the next one. Raises OSError where somebody else listens there."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    # With SO_REUSEPORT alone another frontend on the same port would get half of the connections, without an error.
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen()
    made: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.socket(family, kind)
            made.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(address)
            one.listen(BACKLOG)
            # Port 0 is any free one: the first socket's is the others' as well.
            address = one.getsockname()
    except BaseException:
        for one in made:
            one.close()
        raise
    return made
