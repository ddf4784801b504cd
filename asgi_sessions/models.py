"""A session seen as one typed object, whose changes are found by comparing encodings."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, cast

from .exceptions import ModelMismatch, SerializationError
from .serializers import Serializer
from .shapes import Misfit, Shape, describe, plain

__all__ = ["Views"]

T = TypeVar("T")
Values = dict[str, Any]

OLDER_SHAPE = (
    "if it was stored in an older shape, give new fields a default, accept the former type, or say what to take "
    "instead: default=..."
)
NOT_STORED = "nothing of it was stored, as no later request could read it"


class _View(Generic[T]):
    """One model of a session.

    Attributes:
        model: what the application holds.
        parts: its fields, encoded, as they were when it was last compared.
        stored: the same keys of the session at that moment, encoded; a model may come from a default.
    """

    __slots__ = ("model", "parts", "shape", "stored")

    def __init__(self, shape: Shape, model: T, parts: dict[Any, bytes], stored: dict[Any, bytes]) -> None:
        self.shape = shape
        self.model = model
        self.parts = parts
        self.stored = stored


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
        shape = describe(cls)
        view = self._views.get(cls)
        if view is None:
            view = self._views[cls] = self._open(cls, shape, values, default)
        return cast(T, view.model)

    def _open(self, cls: type[T], shape: Shape, values: Mapping[Any, Any], default: Callable[[], T] | None) -> _View[T]:
        known = {field: values[field] for field in shape.fields if field in values}
        model = self._load(cls, shape, known, default)
        if not isinstance(model, cls):
            raise TypeError(f"session {self._name!r}: default makes a {type(model).__name__}, not a {cls.__name__}")
        try:
            return _View(shape, model, self._split(self._state(shape, model)), self._split(known))
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
        written = [self._write(view, values) for view in self._views.values()]
        return any(written)

    def _write(self, view: _View[Any], values: dict[Any, Any]) -> bool:
        state = self._state(view.shape, view.model)
        parts = self._split(state)
        if parts == view.parts:
            return False
        for field in view.parts.keys() - parts.keys():  # UNSET
            dict.pop(values, field, None)
        changed = [field for field in parts if parts[field] != view.parts.get(field)]
        known = {field: dict.get(values, field) for field in view.shape.fields if dict.__contains__(values, field)}
        stored = self._split(known)
        kept = [field for field in parts if stored.get(field) == view.stored.get(field) and field not in changed]
        known |= {field: state[field] for field in changed}
        known |= self._left_out(view, known, {field: state[field] for field in kept}, parts)
        dict.update(values, known)
        view.parts, view.stored = parts, self._split(known)
        return True

    def _left_out(self, view: _View[Any], known: Values, kept: Values, parts: dict[Any, bytes]) -> Values:
        """Fields that were not changed are not written, for the sake of parallel requests; but what a later request
        reads must be this model, also where it came from a default.
        """
        try:
            again = self._reread(view, known)
        except Misfit:
            again = {}
        left_out = {field: value for field, value in kept.items() if again.get(field) != parts[field]}
        if left_out or not again:
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
            name = type(model).__name__
            raise SerializationError("", f"the {name} is nested too deeply, or contains itself") from exc

    def _split(self, state: Values) -> dict[Any, bytes]:
        return self._serializer.split(self._serializer.dumps(state))

    def _mismatch(self, cls: type, misfit: Misfit, advice: str) -> ModelMismatch:
        return ModelMismatch(self._name, cls.__name__, misfit.field, misfit.reason, advice)
