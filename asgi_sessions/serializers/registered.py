"""Types of the application's own: how their objects become data and come back."""

import dataclasses
import enum
import inspect
from collections.abc import Callable, Collection
from typing import Any

import msgspec

__all__ = ["Kind", "describe", "hint"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    name: str
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]
    fields: bool = False  # whether the state is a dict of the object's attributes


def describe(cls: type, name: str) -> Kind:
    if issubclass(cls, enum.Flag):
        return Kind(name=name, encode=lambda member: member.value, decode=cls)
    if issubclass(cls, enum.Enum):
        return Kind(name=name, encode=lambda member: member.name, decode=lambda member: cls[member])
    if issubclass(cls, msgspec.Struct):
        return _describe_fields(cls, name, cls.__struct_fields__, cls.__struct_fields__)
    if hasattr(cls, "model_dump") and hasattr(cls, "model_validate"):
        return _describe_model(cls, name)
    if dataclasses.is_dataclass(cls):
        every = dataclasses.fields(cls)
        return _describe_fields(cls, name, [f.name for f in every], [f.name for f in every if f.init])
    raise ValueError(f"{cls.__qualname__} needs encode and decode functions to be registered")


def _describe_model(cls: Any, name: str) -> Kind:
    # By field name both ways: an alias need not be the same for reading and for writing.
    by_name = "by_name" in inspect.signature(cls.model_validate).parameters  # pydantic 2.11
    options = {"by_alias": False, "by_name": True} if by_name else {}
    return Kind(
        name=name,
        encode=lambda model: model.model_dump(round_trip=True, by_alias=False),
        decode=lambda state: cls.model_validate(state, **options),
        fields=True,
    )


def _describe_fields(cls: type, name: str, fields: Collection[str], init: Collection[str]) -> Kind:
    """Fields are kept by name, so that a class may gain fields with defaults, and lose fields."""
    if extra := inspect.signature(cls).parameters.keys() - set(init):
        raise ValueError(f"{cls.__qualname__} needs encode and decode functions: {sorted(extra)} are no fields")
    init = frozenset(init)
    later = frozenset(fields) - init

    def decode(state: dict[str, object]) -> object:
        value = cls(**{field: state[field] for field in state if field in init})
        for field in later & state.keys():
            object.__setattr__(value, field, state[field])  # also in frozen ones
        return value

    return Kind(name=name, encode=lambda value: {f: getattr(value, f) for f in fields}, decode=decode, fields=True)


def hint(cls: type) -> str:
    try:
        describe(cls, cls.__qualname__)
    except (ValueError, TypeError):
        return "convert it, or register the type: serializer.register(type, name, encode, decode)"
    return f"register the type: MessagePackSerializer(types=[{cls.__qualname__}])"
