"""Typed sessions: one object in place of a dict, whose changes are found by comparing encodings.

A model is an instance of a dataclass, a msgspec Struct or a pydantic model, which need not be installed. A shape knows
one class of models: its fields, which are the session's top-level keys, and the way from stored values to a model
and back. A view is one model of one session; it remembers how the fields were encoded.
"""

import dataclasses
import enum
import re
from collections.abc import Callable, Collection, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast, get_type_hints
from uuid import UUID

import msgspec
from msgspec import UNSET

from .exceptions import ModelMismatch, SerializationError
from .serializers import Serializer
from .serializers.types import Fields, by_field_name, is_pydantic

T = TypeVar("T")
Values = dict[str, Any]
Parts = dict[Any, bytes]  # encoded values, by field

OLDER_SHAPE = (
    "if it was stored in an older shape, give new fields a default, accept the former type, or say what to take "
    "instead: default=..."
)
NOT_STORED = "nothing of it was stored, as no later request could read it"

_MAX_SHAPES = 256  # classes of models whose fields are remembered
_QUOTED = re.compile(r"\A(Invalid (?:enum )?value) .*?(?=\Z| - at `)", re.DOTALL)
_AS_TEXT = (date, time, timedelta, Decimal, UUID)  # what JSON has as text, and models read back


class Misfit(Exception):
    """Stored values that do not fit a model; ``field`` is None where it is not a single field's fault."""

    def __init__(self, field: str | None, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


class FieldShape:
    """The shape of a dataclass or struct, field by field; renaming, tags and arrays count for nested ones only."""

    def __init__(self, cls: type) -> None:
        made = Fields(cls)
        if made.unknown:
            raise TypeError(f"{cls.__qualname__} is no model of a session: {made.unknown} are no fields")
        self.fields, self._required, self._make = made.names, made.required, made.make
        if issubclass(cls, msgspec.Struct):
            self._types = {field.name: field.type for field in msgspec.structs.fields(cls)}
        else:
            self._types = get_type_hints(cls, include_extras=True)

    def load(self, values: Values, serializer: Serializer) -> Any:
        for field in self._required:
            if field not in values:
                raise Misfit(field, "it is missing")
        found = {field: _convert(field, values[field], self._types[field]) for field in self.fields if field in values}
        try:
            return self._make(found)
        except (TypeError, ValueError) as exc:  # of a __post_init__
            raise Misfit(None, f"{type(exc).__name__}: {exc}") from exc

    def state(self, model: Any) -> Values:
        state = {field: getattr(model, field, UNSET) for field in self.fields}
        return {field: value for field, value in state.items() if value is not UNSET}


class PydanticShape:
    """The shape of a pydantic model. By field name both ways, as an alias may differ between the two."""

    def __init__(self, cls: Any) -> None:
        if cls.model_config.get("extra") == "allow" or "root" in cls.model_fields:
            raise TypeError(f"{cls.__qualname__} is no model of a session: its fields must be known beforehand")
        self.fields = tuple(cls.model_fields)
        self._cls = cls
        self._options = by_field_name(cls)

    def load(self, values: Values, serializer: Serializer) -> Any:
        try:
            if serializer.text:  # a strict model takes text for a datetime from JSON only
                return self._cls.model_validate_json(serializer.dumps(values), **self._options)
            return self._cls.model_validate(values, **self._options)
        except ValueError as exc:
            raise self._misfit(exc) from None  # its text quotes stored values, too

    def _misfit(self, exc: Any) -> Misfit:
        if not hasattr(exc, "errors"):
            return Misfit(None, type(exc).__name__)
        error = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        return Misfit(str(error["loc"][0]) if error["loc"] else None, error["msg"])

    def state(self, model: Any) -> Values:
        try:
            # Its warnings quote values; what does not fit is found when the model is loaded again.
            state = model.model_dump(mode="python", round_trip=True, by_alias=False, warnings=False)
        except ValueError as exc:
            raise SerializationError("", f"{type(model).__name__}.model_dump() failed ({type(exc).__name__})") from exc
        return {field: state[field] for field in self.fields if field in state}


Shape = FieldShape | PydanticShape


def describe(cls: Any) -> Shape:
    """Look up the shape of a class; TypeError if it cannot be the model of a session."""
    shape = _describe(cls) if isinstance(cls, type) else None
    if shape is None:
        what = cls.__qualname__ if isinstance(cls, type) else f"an instance of {type(cls).__qualname__}"
        raise TypeError(f"{what} is no model: write the class of a dataclass, msgspec Struct or pydantic model")
    return shape


@lru_cache(_MAX_SHAPES)
def _describe(cls: Any) -> Shape | None:
    if issubclass(cls, msgspec.Struct) or dataclasses.is_dataclass(cls):
        return FieldShape(cls)
    return PydanticShape(cls) if is_pydantic(cls) else None


def _convert(field: str, value: object, declared: Any) -> object:
    try:
        return msgspec.convert(value, declared, str_keys=True, dec_hook=_unconverted)
    except (msgspec.ValidationError, NotImplementedError) as exc:
        # For enums and literals the text quotes the stored value, which belongs in no log.
        raise Misfit(field, _QUOTED.sub(r"\1", str(exc))) from None


def _unconverted(declared: type, value: Any) -> Any:
    """The value itself, for types that are registered with the serializer."""
    if isinstance(value, declared):
        return value
    raise NotImplementedError(f"Expected `{declared.__qualname__}`, got `{type(value).__qualname__}`")


def plain(value: Any, *, text: bool) -> Any:
    """A copy of a model's value that the serializer can take.

    Unknown types are left to the serializer, which stores them, or says that it cannot.
    """
    if isinstance(value, enum.Enum):
        return plain(value.value, text=text)
    if isinstance(value, dict):
        return {plain(key, text=text): plain(item, text=text) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return _plain_items(value, text=text)
    if isinstance(value, msgspec.Struct):
        return _plain_struct(value, text=text)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name), text=text) for f in dataclasses.fields(value)}
    return msgspec.to_builtins(value) if text and isinstance(value, _AS_TEXT) else value


def _plain_items(value: Collection[Any], *, text: bool) -> Any:
    items = [plain(item, text=text) for item in value]
    if isinstance(value, list | tuple):
        return tuple(items) if isinstance(value, tuple) and not text else items
    if text or any(isinstance(item, list | dict | set) for item in items):
        return sorted(items, key=repr)  # the same in every process
    return frozenset(items) if isinstance(value, frozenset) else set(items)


def _plain_struct(value: msgspec.Struct, *, text: bool) -> Any:
    """The form that msgspec reads back: encoded names, and the tag."""
    config = value.__struct_config__
    items = [plain(getattr(value, field), text=text) for field in value.__struct_fields__]
    if config.array_like:
        return items if config.tag is None else [config.tag, *items]
    named = {name: item for name, item in zip(value.__struct_encode_fields__, items, strict=True) if item is not UNSET}
    return named if config.tag is None else {cast(str, config.tag_field): config.tag, **named}


@dataclasses.dataclass(slots=True, eq=False)
class View(Generic[T]):
    """One model of a session.

    Attributes:
        model: what the application holds.
        parts: its fields, encoded, as they were when it was last compared.
        stored: the same keys of the session at that moment, encoded; a model may come from a default.
    """

    shape: Shape
    model: T
    parts: Parts
    stored: Parts


class Views:
    """The models that a request sees one session through."""

    __slots__ = ("_name", "_serializer", "_views")

    def __init__(self, name: str, serializer: Serializer) -> None:
        self._name = name
        self._serializer = serializer
        self._views: dict[type, View[Any]] = {}

    def get(self, cls: type[T], values: Mapping[Any, Any], default: Callable[[], T] | None) -> T:
        """The model of that class, the same object every time.

        Raises:
            ModelMismatch: the values do not fit, and there is no default.
            SerializationError: the default's own values cannot be stored.
            TypeError: the class cannot be a model, or the default makes something else.
        """
        shape = describe(cls)
        if cls not in self._views:
            self._views[cls] = self._open(cls, shape, values, default)
        return cast(T, self._views[cls].model)

    def _open(self, cls: type[T], shape: Shape, values: Mapping[Any, Any], default: Callable[[], T] | None) -> View[T]:
        known = {field: values[field] for field in shape.fields if field in values}
        model = self._load(cls, shape, known, default)
        if not isinstance(model, cls):
            raise TypeError(f"session {self._name!r}: default makes a {type(model).__name__}, not a {cls.__name__}")
        try:
            return View(shape, model, self._split(self._state(shape, model)), self._split(known))
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
            raise ModelMismatch(self._name, cls.__name__, exc.field, exc.reason, OLDER_SHAPE) from exc.__cause__

    def write(self, values: dict[Any, Any]) -> bool:
        """Bring the changes of the models into the session's values; whether there were any.

        Raises:
            SerializationError: ``path`` starts at the session.
            ModelMismatch: the model could not be loaded again.
        """
        written = [self._write(view, values) for view in self._views.values()]
        return any(written)

    def _write(self, view: View[Any], values: dict[Any, Any]) -> bool:
        state = self._state(view.shape, view.model)
        parts = self._split(state)
        if parts == view.parts:
            return False
        for field in view.parts.keys() - parts.keys():  # UNSET
            dict.pop(values, field, None)
        known = {field: dict.get(values, field) for field in view.shape.fields if dict.__contains__(values, field)}
        stored = self._split(known)
        changed = {field: state[field] for field in parts if parts[field] != view.parts.get(field)}
        kept = [field for field in parts if field not in changed and stored.get(field) == view.stored.get(field)]
        known |= changed
        known |= self._missing(view, known, {field: state[field] for field in kept}, parts)
        dict.update(values, known)
        view.parts, view.stored = parts, self._split(known)
        return True

    def _missing(self, view: View[T], known: Values, kept: Values, parts: Parts) -> Values:
        """Unchanged fields that a later request needs to read this very model, which may come from a default."""
        # The other unchanged fields are not written, so that they overwrite nothing of a parallel request.
        try:
            reread = self._reread(view, known)
        except Misfit:
            reread = {}
        missing = {field: value for field, value in kept.items() if reread.get(field) != parts[field]}
        if missing or not reread:
            try:
                self._reread(view, known | missing)
            except Misfit as exc:
                name = type(view.model).__name__
                raise ModelMismatch(self._name, name, exc.field, exc.reason, NOT_STORED) from exc.__cause__
        return missing

    def _reread(self, view: View[T], known: Values) -> Parts:
        """The fields of the model that a later request would load from these values, encoded."""
        stored = cast(Values, self._serializer.loads(self._serializer.dumps(known)))
        return self._split(self._state(view.shape, view.shape.load(stored, self._serializer)))

    def _state(self, shape: Shape, model: Any) -> Values:
        text = self._serializer.text
        try:
            return {field: plain(value, text=text) for field, value in shape.state(model).items()}
        except RecursionError as exc:
            name = type(model).__name__
            raise SerializationError("", f"the {name} is nested too deeply, or contains itself") from exc

    def _split(self, state: Values) -> Parts:
        return self._serializer.split(self._serializer.dumps(state))
