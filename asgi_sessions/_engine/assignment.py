"""What an application means by assigning to ``scope["session"]``, as Litestar does and logout handlers do."""

import dataclasses
from typing import Any

import msgspec

from ..models import plain


def assigned_values(value: object, *, text: bool) -> dict[Any, Any] | None:
    """The values that the session gets; an empty dict ends it. None: it is nothing that a session can be.

    Args:
        value: an exact dict, None, Litestar's ``Empty``, or a model that Litestar takes: a dataclass, a msgspec Struct,
            an attrs or pydantic object.
        text: whether the values will be JSON.
    """
    if type(value) is dict:
        return value
    if value is None or _is_litestars_empty(value):
        return {}
    if isinstance(value, type):
        return None
    if isinstance(value, msgspec.Struct):
        fields = msgspec.structs.asdict(value)
    elif dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif hasattr(value, "__attrs_attrs__"):
        fields = {attribute.name: getattr(value, attribute.name) for attribute in value.__attrs_attrs__}
    elif hasattr(value, "model_dump") and hasattr(value, "model_validate"):
        fields = value.model_dump()
    else:
        return None
    return {key: plain(item, text=text) for key, item in fields.items()}


def _is_litestars_empty(value: object) -> bool:
    """An enum's only member; in older releases a class."""
    kind = value if isinstance(value, type) else type(value)
    return kind.__name__ in ("_EmptyEnum", "Empty") and kind.__module__.partition(".")[0] == "litestar"
