"""A device that counts: it computes on the CPU, and knows what every operation would launch on a GPU.

It is PyTorch's private-use backend, so its tensors are no CPU tensors to anybody. Operations are taken apart as
PyTorch's dispatcher does it for CUDA, down to those that would be kernels; `rms_norm` stays whole, for which CUDA has
one kernel. Some count for more there than for one (`logsumexp` is six). Values are real, so the engine's own loop runs
on it. What would be wrong on a GPU is an error: an operation over tensors of both devices, and one that waits for a
value.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

aten = torch.ops.aten
NAME = "counting"
# Memory is taken, nothing is launched.
ALLOCATIONS = {aten.empty.memory_format, aten.empty_like.default, aten.empty_strided.default, aten.new_empty.default}
SYNCHRONIZING = {aten._local_scalar_dense.default, aten.item.default, aten.nonzero.default}
GATHERS = {aten.index.Tensor, aten.index_select.default}


@dataclass
class Counts:
    """What was dispatched. kernels, views: by name; to_device, to_host: copies between the devices; syncs: times that
    the host waited; kv_copied_bytes: keys and values that were copied inside of the arena."""

    kernels: Counter[str] = field(default_factory=Counter)
    views: Counter[str] = field(default_factory=Counter)
    to_device: int = 0
    to_host: int = 0
    syncs: int = 0
    kv_copied_bytes: int = 0

    @property
    def num_kernels(self) -> int:
        return self.kernels.total()

    @property
    def num_views(self) -> int:
        return self.views.total()


class CountedTensor(torch.Tensor):
    """Lies on the counting device; `held` is what it is on the CPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls: type[CountedTensor], held: torch.Tensor) -> CountedTensor:
        made: CountedTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device(),
        )
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"CountedTensor({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise RuntimeError(f"{func} of the counting device outside of it")


class CountingDevice(TorchDispatchMode):
    """Within it, what is made on the device is a CountedTensor, and operations over these are counted."""

    def __init__(self, *, values: bool = True) -> None:
        """values: compute; without, tensors have shapes alone, which is enough to count and takes no memory."""
        super().__init__()
        self.counts = Counts()
        self._where = torch.device("cpu" if values else "meta")
        # Storages of KV arenas.
        self._arenas: set[int] = set()

    def watch(self, cache: Any) -> None:
        """Count what is copied of this KVCache."""
        self._arenas |= {_storage(arena) for arena in cache.layer(0)}

    def reset(self) -> Counts:
        """The counts so far; they begin anew."""
        counts, self.counts = self.counts, Counts()
        return counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        flat, _ = tree_flatten((args, kwargs))
        counted = [one for one in flat if isinstance(one, CountedTensor)]
        made_there = any(isinstance(one, torch.device) and one.type == NAME for one in flat)
        if not counted and not made_there:
            return func(*args, **kwargs)
        if func is not aten.rms_norm.default and _is_composite(func):
            with self:
                made = func.decompose(*args, **kwargs)
            if made is not NotImplemented:
                return made
        if func is aten.copy_.default or func is aten._to_copy.default:
            return self._copied(func, args, kwargs, made_there=made_there)
        strangers = [
            one for one in flat if isinstance(one, torch.Tensor) and not isinstance(one, CountedTensor) and one.dim()
        ]
        if counted and strangers:
            raise RuntimeError(f"{func} over tensors of the CPU and of the device")
        if func in SYNCHRONIZING:
            raise RuntimeError(f"{func} waits for the device in the middle of a step")
        self._count(func, counted)
        args, kwargs = tree_map(_held, (args, kwargs))
        if made_there:
            kwargs["device"] = self._where
            kwargs.pop("pin_memory", None)
        out = func(*args, **kwargs)
        if func.is_view:
            return tree_map(_wrapped, out)
        return _same(out, flat)

    def _count(self, func: Any, counted: list[CountedTensor]) -> None:
        if func.is_view or func is aten.detach.default or func is aten._unsafe_view.default:
            self.counts.views[str(func)] += 1
        elif func not in ALLOCATIONS:
            self.counts.kernels[str(func)] += 1
            if func in GATHERS and _storage(counted[0]) in self._arenas:
                self.counts.kv_copied_bytes += counted[0].held[:1].nbytes * counted[-1].numel()

    def _copied(self, func: Any, args: Any, kwargs: Any, *, made_there: bool) -> Any:
        if func is aten._to_copy.default:
            (source,) = args
            device = kwargs.pop("device", None)
            target = source.device.type if device is None else torch.device(device).type
            from_there = isinstance(source, CountedTensor)
            kwargs.pop("pin_memory", None)
            self._count_copy(from_there, target == NAME, blocking=not kwargs.pop("non_blocking", False))
            held = func(_held(source), **kwargs)
            return CountedTensor(held.to(self._where, copy=True)) if target == NAME else held.clone()
        target, source = args[:2]
        non_blocking = bool(args[2]) if len(args) > 2 else bool(kwargs.get("non_blocking", False))
        crosses = isinstance(source, CountedTensor) != isinstance(target, CountedTensor)
        if crosses and non_blocking and not (target.is_contiguous() and source.is_contiguous()):
            raise RuntimeError("a copy between the devices that is not in one piece waits for the device")
        self._count_copy(
            isinstance(source, CountedTensor), isinstance(target, CountedTensor), blocking=not non_blocking
        )
        if {_storage(target), _storage(source)} & self._arenas:
            self.counts.kv_copied_bytes += _held(source).nbytes
        if not (_held(source).is_meta or _held(target).is_meta):
            _held(target).copy_(_held(source))
        return target

    def _count_copy(self, from_there: bool, to_there: bool, *, blocking: bool) -> None:
        if from_there and to_there:
            self.counts.kernels["copy"] += 1
        elif to_there:
            self.counts.to_device += 1
            self.counts.syncs += blocking
        else:
            self.counts.to_host += 1
            self.counts.syncs += blocking


def _is_composite(func: Any) -> bool:
    """Whether it is made of others on every device."""
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))


def _held(one: Any) -> Any:
    return one.held if isinstance(one, CountedTensor) else one


def _storage(one: torch.Tensor) -> int:
    return _held(one).untyped_storage()._cdata


def _wrapped(one: Any) -> Any:
    return CountedTensor(one) if isinstance(one, torch.Tensor) and not isinstance(one, CountedTensor) else one


def _same(out: Any, flat: list[Any]) -> Any:
    """Results of an operation: what was written in place is the tensor that was given."""
    given = {id(one.held): one for one in flat if isinstance(one, CountedTensor)}
    return tree_map(lambda one: given[id(one)] if id(one) in given else _wrapped(one), out)


@functools.cache
def device() -> torch.device:
    """The device, which a process has from the first time on."""
    _setup_privateuseone_for_python_backend(NAME)
    return torch.device(NAME, 0)


@contextmanager
def counting(*, values: bool = True) -> Iterator[CountingDevice]:
    """Count within it, as in the engine's thread."""
    device()
    with torch.inference_mode(), CountingDevice(values=values) as counter:
        yield counter
