"""What classes of models look like: dataclasses, msgspec Structs and pydantic models, which need not be installed."""

import dataclasses
import enum
import inspect
import re
from datetime import date, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol, cast, get_type_hints
from uuid import UUID

import msgspec
from msgspec import UNSET

from .exceptions import SerializationError
from .serializers import Serializer

__all__ = ["Misfit", "Shape", "describe", "plain"]

Values = dict[str, Any]

DESCRIBED_KEPT = 256  # models whose fields are kept in mind
_QUOTED = re.compile(r"\A(Invalid (?:enum )?value) .*?(?=\Z| - at `)", re.DOTALL)
_AS_TEXT = (date, time, timedelta, Decimal, UUID)  # what JSON has as text, and models read back


class Misfit(Exception):
    """Stored values that do not fit a model; ``field`` is None where it is not a single field's fault."""

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


class Shape(Protocol):
    """What there is to know of one class of models; its fields are the session's top-level keys."""

    fields: tuple[str, ...]

    def load(self, values: Values, serializer: Serializer) -> Any:
        """
        Raises:
            Misfit: the values are not those of a model.
        """

    def state(self, model: Any) -> Values:
        """
        Raises:
            SerializationError: the model can not be taken apart.
        """


class _FieldShape:
    """Of dataclasses and structs, field by field: a class may be renamed, tagged or array-like when it is nested."""

    def __init__(self, cls: type, types: Values, init: frozenset[str], required: frozenset[str]) -> None:
        if extra := inspect.signature(cls).parameters.keys() - init:
            raise TypeError(f"{cls.__qualname__} is no model of a session: {sorted(extra)} are no fields")
        self.fields = tuple(types)
        self._cls, self._types, self._init, self._required = cls, types, init, required

    def load(self, values: Values, serializer: Serializer) -> Any:
        for field in self.fields:
            if field in self._required and field not in values:
                raise Misfit(field, "it is missing")
        found = {field: _convert(field, values[field], self._types[field]) for field in self.fields if field in values}
        try:
            model = self._cls(**{field: value for field, value in found.items() if field in self._init})
        except (TypeError, ValueError) as exc:  # of a __post_init__
            raise Misfit(None, f"{type(exc).__name__}: {exc}") from exc
        for field in found.keys() - self._init:
            object.__setattr__(model, field, found[field])  # also in frozen ones
        return model

    def state(self, model: Any) -> Values:
        state = {field: getattr(model, field, UNSET) for field in self.fields}
        return {field: value for field, value in state.items() if value is not UNSET}


class _PydanticShape:
    """Of pydantic models, which know themselves; by field name both ways, an alias need not be the same for both."""

    def __init__(self, cls: Any) -> None:
        if cls.model_config.get("extra") == "allow" or "root" in cls.model_fields:
            raise TypeError(f"{cls.__qualname__} is no model of a session: its fields must be known beforehand")
        self.fields = tuple(cls.model_fields)
        self._cls = cls
        by_name = "by_name" in inspect.signature(cls.model_validate).parameters  # pydantic 2.11
        self._options: Values = {"by_alias": False, "by_name": True} if by_name else {}

    def load(self, values: Values, serializer: Serializer) -> Any:
        try:
            if serializer.text:  # a strict model takes text for a datetime from JSON only
                return self._cls.model_validate_json(serializer.dumps(values), **self._options)
            return self._cls.model_validate(values, **self._options)
        except ValueError as exc:
            raise self._misfit(exc) from None  # its text quotes what is stored, too

    def _misfit(self, exc: Any) -> Misfit:
        if not hasattr(exc, "errors"):
            return Misfit(None, type(exc).__name__)
        error = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        return Misfit(str(error["loc"][0]) if error["loc"] else None, error["msg"])

    def state(self, model: Any) -> Values:
        try:
            # Without its warnings, which quote values: what does not fit is found when it is loaded again.
            state = model.model_dump(mode="python", round_trip=True, by_alias=False, warnings=False)
        except ValueError as exc:
            raise SerializationError("", f"{type(model).__name__}.model_dump() failed ({type(exc).__name__})") from exc
        return {field: state[field] for field in self.fields if field in state}


def describe(cls: Any) -> Shape:
    """
    Raises:
        TypeError: the class can not be the model of a session.
    """
    if not isinstance(cls, type):
        raise _no_model(cls)
    return _describe(cls)


@lru_cache(DESCRIBED_KEPT)
def _describe(cls: Any) -> Shape:
    if issubclass(cls, msgspec.Struct):
        every = msgspec.structs.fields(cls)
        types = {field.name: field.type for field in every}
        return _FieldShape(cls, types, frozenset(types), frozenset(f.name for f in every if f.required))
    if dataclasses.is_dataclass(cls):
        return _describe_dataclass(cls)
    if hasattr(cls, "model_dump") and hasattr(cls, "model_validate"):
        return _PydanticShape(cls)
    raise _no_model(cls)


def _no_model(cls: Any) -> TypeError:
    what = cls.__qualname__ if isinstance(cls, type) else f"an instance of {type(cls).__qualname__}"
    return TypeError(f"{what} is no model: write the class of a dataclass, msgspec Struct or pydantic model")


def _describe_dataclass(cls: Any) -> Shape:
    hints = get_type_hints(cls, include_extras=True)
    every = dataclasses.fields(cls)
    missing = dataclasses.MISSING
    required = [f.name for f in every if f.init and f.default is missing and f.default_factory is missing]
    init = [f.name for f in every if f.init]
    return _FieldShape(cls, {f.name: hints[f.name] for f in every}, frozenset(init), frozenset(required))


def _convert(field: str, value: object, declared: Any) -> object:
    try:
        return msgspec.convert(value, declared, str_keys=True, dec_hook=_as_it_is)
    except (msgspec.ValidationError, NotImplementedError) as exc:
        # Of enums and literals the text quotes what is stored, which belongs in no log.
        raise Misfit(field, _QUOTED.sub(r"\1", str(exc))) from None


def _as_it_is(declared: type, value: Any) -> Any:
    """For types that are registered with the serializer."""
    if isinstance(value, declared):
        return value
    raise NotImplementedError(f"Expected `{declared.__qualname__}`, got `{type(value).__qualname__}`")


def plain(value: Any, *, text: bool) -> Any:
    """A value of a model as data that the serializer can take, in containers of its own.

    What is unknown here is left as it is: the serializer knows its type, or says that it can not be stored.
    """
    if isinstance(value, enum.Enum):
        return plain(value.value, text=text)
    if isinstance(value, dict):
        return {plain(key, text=text): plain(item, text=text) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [plain(item, text=text) for item in value]
        return tuple(items) if isinstance(value, tuple) and not text else items
    if isinstance(value, set | frozenset):
        return _plain_set(value, text=text)
    if isinstance(value, msgspec.Struct):
        return _plain_struct(value, text=text)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), text=text) for f in dataclasses.fields(value)}
    return msgspec.to_builtins(value) if text and isinstance(value, _AS_TEXT) else value


def _plain_set(value: set[Any] | frozenset[Any], *, text: bool) -> Any:
    items = [plain(item, text=text) for item in value]
    if text or any(isinstance(item, list | dict | set) for item in items):
        return sorted(items, key=repr)  # the same in every process
    return frozenset(items) if isinstance(value, frozenset) else set(items)


def _plain_struct(value: msgspec.Struct, *, text: bool) -> Any:
    """As msgspec reads it back: under its encoded names, with its tag."""
    config = value.__struct_config__
    items = [plain(getattr(value, field), text=text) for field in value.__struct_fields__]
    if config.array_like:
        return items if config.tag is None else [config.tag, *items]
    named = {name: item for name, item in zip(value.__struct_encode_fields__, items, strict=True) if item is not UNSET}
    return named if config.tag is None else {cast(str, config.tag_field): config.tag, **named}
