"""What a room declares of its Triton configuration: its tensors, and its parameters with their defaults.

So a profile names only what differs. Triton asks for the tensors before it loads a model (`auto_complete_config`), in a
process of its own: what it needs for that must be quick to import. Every room in Python has this file, by links.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

Self = TypeVar("Self", bound="Declared")
TRUTH = {"on": True, "off": False}


@dataclass(frozen=True)
class Tensor:
    """data_type: Triton's name. dims: -1 is any size; where the model is batched, without the batch."""

    name: str
    data_type: str
    dims: tuple[int, ...]
    optional: bool = False


def complete(config: Any, inputs: Iterable[Tensor], outputs: Iterable[Tensor], *, decoupled: bool = False) -> Any:
    """Triton's configuration with these tensors, and many answers to a request where the model is decoupled.

    Raises ValueError where the configuration names one of them with another type or shape.
    """
    for one in inputs:
        config.add_input({**_described(one), "optional": one.optional})
    for one in outputs:
        config.add_output(_described(one))
    if decoupled:
        config.set_model_transaction_policy({"decoupled": True})
    return config


def instances(model_config: str) -> int:
    """How many instances of a model there are, from its configuration as Triton gives it to each."""
    return sum(int(group["count"]) for group in json.loads(model_config)["instance_group"])


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "data_type": tensor.data_type, "dims": list(tensor.dims)}


def parameter(
    default: Any,
    meaning: str,
    *,
    on_cuda: Any = None,
    low: float | None = None,
    high: float | None = None,
    one_of: tuple[str, ...] = (),
) -> Any:
    """A field of a `Declared` class. meaning: what it does, with its unit. on_cuda: the default where the parameter
    `device` is a GPU. low, high: bounds, included; high only beside low. one_of: the only values there are."""
    told = {"meaning": meaning, "on_cuda": on_cuda, "low": low, "high": high, "one_of": one_of}
    return field(default=default, metadata=told)


@dataclass(frozen=True)
class Declared:
    """The parameters of a room, a field for each: text, int, float, bool (on, off), or a tuple of numbers ("1,2")."""

    def __post_init__(self) -> None:
        for one in fields(self):
            _check(one.name, getattr(self, one.name), **one.metadata)

    @classmethod
    def read(cls: type[Self], model_config: str) -> Self:
        """Those of a configuration as Triton gives it to a model, in json. Raises ValueError as `from_texts`, and
        where Triton did not ask for the tensors.

        Names in capitals are the Python backend's own, such as EXECUTION_ENV_PATH.
        """
        config = json.loads(model_config)
        if not config.get("input", True):
            raise ValueError("Triton must run without --disable-auto-complete-config: tensors are declared in code")
        given = config.get("parameters", {})
        return cls.from_texts({name: one["string_value"] for name, one in given.items() if not name.isupper()})

    @classmethod
    def from_texts(cls: type[Self], texts: Mapping[str, str]) -> Self:
        """The defaults with what `texts` names. Raises ValueError where a name is unknown or a value is wrong."""
        cuda = texts.get("device", "").startswith("cuda")
        usual = {one.name: one.metadata["on_cuda"] for one in fields(cls) if cuda}
        return cls(**{**{k: v for k, v in usual.items() if v is not None}, **cls._converted(texts)})

    def changed(self: Self, texts: Mapping[str, str]) -> Self:
        """These with what `texts` names. Raises ValueError as `from_texts`."""
        return replace(self, **self._converted(texts))

    @classmethod
    def described(cls) -> str:
        """For people: each parameter with its default as a configuration would name it, its bounds and its meaning."""
        lines = []
        for one in fields(cls):
            told = one.metadata
            usual = [_text(one.default)]
            usual += [f"on a GPU {_text(told['on_cuda'])}"] if told["on_cuda"] is not None else []
            usual += [f"at least {told['low']:g}"] if told["low"] is not None else []
            usual += [f"at most {told['high']:g}"] if told["high"] is not None else []
            lines += [f"{one.name}: {', '.join(usual)}", f"    {told['meaning']}"]
        return "\n".join(lines)

    @classmethod
    def _converted(cls, texts: Mapping[str, str]) -> dict[str, Any]:
        kinds = typing.get_type_hints(cls)
        unknown = sorted(set(texts) - set(kinds))
        if unknown:
            raise ValueError(f"there is no parameter {', '.join(unknown)}; known are {', '.join(kinds)}")
        return {name: _value(name, text, kinds[name]) for name, text in texts.items()}


def _text(value: Any) -> str:
    """A value as a configuration names it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return f'"{",".join(_text(part) for part in value)}"'
    return f"{value:g}" if isinstance(value, float) else str(value) or "(empty)"


def _value(name: str, text: str, kind: Any) -> Any:
    """A parameter's text as a value of its kind."""
    if kind is str:
        return text
    if kind is bool:
        if text not in TRUTH:
            raise ValueError(f"{name} must be {' or '.join(TRUTH)}, not {text!r}")
        return TRUTH[text]
    if typing.get_origin(kind) is tuple:
        return tuple(_number(name, part, typing.get_args(kind)[0]) for part in text.split(",") if part.strip())
    return _number(name, text, kind)


def _number(name: str, text: str, kind: Any) -> Any:
    try:
        number = float(text)
        if kind is int and number != int(number):
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(f"{name} must be {'a whole' if kind is int else 'a'} number, not {text!r}") from None
    return kind(number)


def _check(name: str, value: Any, low: float | None, high: float | None, one_of: tuple[str, ...], **_: Any) -> None:
    if one_of and value not in one_of:
        raise ValueError(f"{name} must be {', '.join(one_of[:-1])} or {one_of[-1]}, not {value!r}")
    for number in value if isinstance(value, tuple) else (value,):
        # A comparison with NaN is false: it lies within no bounds.
        if low is not None and high is not None and not low <= number <= high:
            raise ValueError(f"{name} must lie between {low:g} and {high:g}, not {number}")
        if low is not None and not number >= low:
            raise ValueError(f"{name} must be at least {low:g}, not {number}")
