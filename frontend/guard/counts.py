"""Counts of the whole service, by which its bounds are judged, however many processes serve it."""

from __future__ import annotations

from mmap import mmap

CONNECTIONS, SOCKETS, SESSIONS, ACTIVE = "connections", "sockets", "live_sessions", "active"
UPLOADS_SENDING, UPLOADS_WORKING, UPLOAD_BYTES = "uploads_sending", "uploads_working", "upload_bytes"
NAMES = (CONNECTIONS, SOCKETS, SESSIONS, ACTIVE, UPLOADS_SENDING, UPLOADS_WORKING, UPLOAD_BYTES)
CELL_BYTES = 8


class Counts:
    """A table whose rows are processes: each writes its own, and reads all of them.

    So nothing is locked, and what a process that died had counted goes with its row. Two processes that look in the
    same moment may both take what was the last place: a bound may be passed by as many as there are other processes.
    """

    def __init__(self, num_keys: int = 1, rows: int = 1, row: int = 0, memory: bytearray | mmap | None = None) -> None:
        """num_keys: clients whose requests are counted each for itself. memory: `size` bytes, zeros at first."""
        num_bytes = self.size(num_keys, rows)
        view = memoryview(bytearray(num_bytes) if memory is None else memory)[:num_bytes]
        self._columns = len(NAMES) + num_keys
        self._num_keys = num_keys
        self._rows, self._row = rows, row
        self._cells = view.cast("q")

    @staticmethod
    def size(num_keys: int, rows: int) -> int:
        """Bytes."""
        return CELL_BYTES * (rows * (len(NAMES) + num_keys) + num_keys)

    def count(self, name: str) -> Count:
        """One of NAMES."""
        return self._count(NAMES.index(name))

    def running(self, key: int) -> Count:
        """Requests of the client of this number that are under way."""
        return self._count(len(NAMES) + key % self._num_keys)

    def time(self, key: int) -> Time:
        """A time that all processes know of the client of this number."""
        return Time(self._cells, self._rows * self._columns + key % self._num_keys)

    def clear(self, row: int) -> None:
        """The process of this row is gone."""
        for cell in range(row * self._columns, (row + 1) * self._columns):
            self._cells[cell] = 0

    def _count(self, column: int) -> Count:
        cells = range(column, self._rows * self._columns, self._columns)
        return Count(self._cells, cells, cells[self._row])


class Count:
    """One number: `own` is this process's part of it."""

    def __init__(self, cells: memoryview, all_: range, own: int) -> None:
        self._cells, self._all, self._own = cells, all_, own

    @property
    def own(self) -> int:
        return int(self._cells[self._own])

    @property
    def total(self) -> int:
        cells = self._cells
        return sum([cells[cell] for cell in self._all])

    def add(self, change: int) -> None:
        self._cells[self._own] += change

    def set(self, own: int) -> None:
        self._cells[self._own] = own


class Time:
    """Seconds of time.monotonic, which is one clock for all processes of a machine; kept as whole nanoseconds."""

    def __init__(self, cells: memoryview, cell: int) -> None:
        self._cells, self._cell = cells, cell

    def get(self) -> float:
        return float(self._cells[self._cell]) / 1e9

    def set(self, when: float) -> None:
        self._cells[self._cell] = round(when * 1e9)


def alone(name: str) -> Count:
    """A count of a process that serves alone."""
    return Counts().count(name)
