"""A session seen as one typed object: a dataclass, a msgspec Struct or a pydantic model."""

import dataclasses
import enum
import inspect
from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar, cast, get_type_hints
from uuid import UUID

import msgspec
from msgspec import UNSET

from .exceptions import ModelMismatch, SerializationError
from .serializers import Serializer

__all__ = ["Views"]

T = TypeVar("T")
Values = dict[str, Any]

DESCRIBED_KEPT = 256  # models whose fields are kept in mind
OLDER_SHAPE = (
    "if it was stored in an older shape, give new fields a default, accept the former type, or say what to take "
    "instead: default=..."
)
NOT_STORED = "nothing of it was stored, as no later request could read it"
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

    def state(self, model: Any) -> Values: ...


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
            raise self._misfit(exc) from None  # its text quotes what is stored, which belongs in no log

    def _misfit(self, exc: Any) -> Misfit:
        if not hasattr(exc, "errors"):
            return Misfit(None, type(exc).__name__)
        error = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        return Misfit(str(error["loc"][0]) if error["loc"] else None, error["msg"])

    def state(self, model: Any) -> Values:
        state = model.model_dump(mode="python", round_trip=True, by_alias=False)
        return {field: state[field] for field in self.fields if field in state}


@lru_cache(DESCRIBED_KEPT)
def _describe(cls: Any) -> Shape:
    """
    Raises:
        TypeError: the class can not be the model of a session.
    """
    if isinstance(cls, type) and issubclass(cls, msgspec.Struct):
        every = msgspec.structs.fields(cls)
        types = {field.name: field.type for field in every}
        return _FieldShape(cls, types, frozenset(types), frozenset(f.name for f in every if f.required))
    if isinstance(cls, type) and dataclasses.is_dataclass(cls):
        return _describe_dataclass(cls)
    if isinstance(cls, type) and hasattr(cls, "model_dump") and hasattr(cls, "model_validate"):
        return _PydanticShape(cls)
    raise TypeError(f"{cls!r} is no model: write a dataclass, a msgspec Struct or a pydantic model")


def _describe_dataclass(cls: Any) -> Shape:
    hints = get_type_hints(cls, include_extras=True)
    every = dataclasses.fields(cls)
    missing = dataclasses.MISSING
    required = [f.name for f in every if f.init and f.default is missing and f.default_factory is missing]
    init = [f.name for f in every if f.init]
    return _FieldShape(cls, {f.name: hints[f.name] for f in every}, frozenset(init), frozenset(required))


def _convert(field: str, value: object, declared: Any) -> object:
    try:
        return msgspec.convert(value, declared, from_attributes=True, str_keys=True, dec_hook=_as_it_is)
    except (msgspec.ValidationError, NotImplementedError) as exc:
        raise Misfit(field, str(exc)) from exc


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
    return type(value)(items) if type(value) is frozenset else set(items)


def _plain_struct(value: msgspec.Struct, *, text: bool) -> Any:
    """As msgspec reads it back: under its encoded names, with its tag."""
    config = value.__struct_config__
    items = [plain(getattr(value, field), text=text) for field in value.__struct_fields__]
    if config.array_like:
        return items if config.tag is None else [config.tag, *items]
    named = {name: item for name, item in zip(value.__struct_encode_fields__, items, strict=True) if item is not UNSET}
    return named if config.tag is None else {cast(str, config.tag_field): config.tag, **named}


class _View(Generic[T]):
    """One model of a session.

    Attributes:
        model: what the application holds.
        parts: its fields, encoded, as they were when it was last compared.
    """

    __slots__ = ("model", "parts", "shape")

    def __init__(self, shape: Shape, model: T, parts: dict[Any, bytes]) -> None:
        self.shape = shape
        self.model = model
        self.parts = parts


class Views:
    """The models that a request sees one session through."""

    __slots__ = ("_name", "_serializer", "_views")

    def __init__(self, name: str, serializer: Serializer) -> None:
        self._name = name
        self._serializer = serializer
        self._views: dict[type, _View[Any]] = {}

    def get(self, cls: type[T], values: Mapping[Any, Any], default: Callable[[], T] | None) -> T:
        """The model of that class, the same object every time.

        Raises:
            ModelMismatch: the values do not fit, and there is no default.
            SerializationError: the default's own values can not be stored.
            TypeError: the class can not be a model, or the default makes something else.
        """
        view = self._views.get(cls)
        if view is None:
            view = self._views[cls] = self._open(cls, values, default)
        return cast(T, view.model)

    def _open(self, cls: type[T], values: Mapping[Any, Any], default: Callable[[], T] | None) -> _View[T]:
        shape = _describe(cls)
        known = {field: values[field] for field in shape.fields if field in values}
        model = self._load(cls, shape, known, default)
        if not isinstance(model, cls):
            raise TypeError(f"session {self._name!r}: default makes a {type(model).__name__}, not a {cls.__name__}")
        try:
            return _View(shape, model, self._split(self._state(shape, model)))
        except SerializationError as exc:
            raise exc.under(f"session {self._name!r}") from exc

    def _load(self, cls: type[T], shape: Shape, known: Values, default: Callable[[], T] | None) -> T:
        if default is not None and not known:
            return default()
        try:
            return cast(T, shape.load(known, self._serializer))
        except Misfit as exc:
            if default is not None:
                return default()
            raise self._mismatch(cls, exc, OLDER_SHAPE) from exc.__cause__

    def write(self, values: dict[Any, Any]) -> bool:
        """Bring the changes of the models into the session's values; whether there were any.

        Raises:
            SerializationError: ``path`` starts at the session.
            ModelMismatch: the model could not be loaded again.
        """
        return any([self._write(view, values) for view in self._views.values()])

    def _write(self, view: _View[Any], values: dict[Any, Any]) -> bool:
        state = self._state(view.shape, view.model)
        parts = self._split(state)
        if parts == view.parts:
            return False
        for field in view.parts.keys() - parts.keys():  # UNSET
            dict.pop(values, field, None)
        changed = [field for field in parts if parts[field] != view.parts.get(field)]
        known = {field: dict.get(values, field) for field in view.shape.fields if dict.__contains__(values, field)}
        known |= {field: state[field] for field in changed}
        # Fields that were not changed are not written, for the sake of parallel requests; but what the next request
        # reads must be this model, also where it came from a default.
        dict.update(values, known | self._left_out(view, state, parts, known))
        view.parts = parts
        return True

    def _left_out(self, view: _View[Any], state: Values, parts: dict[Any, bytes], known: Values) -> Values:
        try:
            again = self._reread(view, known)
        except Misfit:
            again = {}
        left_out = {field: state[field] for field in parts if again.get(field) != parts[field]}
        if left_out:
            try:
                self._reread(view, known | left_out)
            except Misfit as exc:
                raise self._mismatch(type(view.model), exc, NOT_STORED) from exc.__cause__
        return left_out

    def _reread(self, view: _View[Any], known: Values) -> dict[Any, bytes]:
        """What a later request would make of these values."""
        stored = cast(Values, self._serializer.loads(self._serializer.dumps(known)))
        return self._split(self._state(view.shape, view.shape.load(stored, self._serializer)))

    def _state(self, shape: Shape, model: Any) -> Values:
        text = self._serializer.text
        try:
            return {field: plain(value, text=text) for field, value in shape.state(model).items()}
        except RecursionError as exc:
            raise SerializationError("", f"the {type(model).__name__} is nested too deeply, or contains itself") from exc

    def _split(self, state: Values) -> dict[Any, bytes]:
        return self._serializer.split(self._serializer.dumps(state))

    def _mismatch(self, cls: type, misfit: Misfit, advice: str) -> ModelMismatch:
        return ModelMismatch(self._name, cls.__name__, misfit.field, misfit.reason, advice)
