"""What an application gives a session besides its values, checked at once: whatever is kept can be stored and read."""

from collections.abc import Mapping
from typing import Any

from ._engine.record import Owner

__all__ = ["category_of", "label_of", "owner_of"]

LONGEST_LABEL = 1024  # characters; a list of sessions shows a few words of each
SMALLEST_OWNER, LARGEST_OWNER = -(2**63), 2**64 - 1  # what MessagePack has numbers for


def owner_of(owner: object, session: str) -> Owner | None:
    """The owner as it is kept: a plain str or int.

    Args:
        session: its name, for messages.

    Raises:
        TypeError: anything but a str, an int or None.
        ValueError: it can not be stored.
    """
    if owner is None:
        return None
    if isinstance(owner, str):
        return _text(owner, f"session {session!r}: owner")
    if isinstance(owner, bool) or not isinstance(owner, int):
        raise TypeError(f"session {session!r}: owner must be a str, an int or None, not {type(owner).__name__}")
    if not SMALLEST_OWNER <= owner <= LARGEST_OWNER:
        raise ValueError(f"session {session!r}: owner {owner!r:.40} has more than 64 bits; write str(...)")
    return int.__int__(owner)


def label_of(label: object, session: str) -> dict[str, str]:
    """The label as it is kept: a plain dict.

    Raises:
        TypeError: anything but a dict of str to str.
        ValueError: it can not be stored, or is longer than 1024 characters all together.
    """
    what = f"session {session!r}: label"
    pairs: list[tuple[Any, Any]] = [*label.items()] if isinstance(label, Mapping) else [(None, None)]
    if not all(isinstance(word, str) for pair in pairs for word in pair):
        raise TypeError(f"{what} must be a dict of str to str, such as {{'device': 'phone'}}")
    if (size := sum(len(key) + len(word) for key, word in pairs)) > LONGEST_LABEL:
        raise ValueError(f"{what} has {size} characters; write at most {LONGEST_LABEL}")
    return {_text(key, what): _text(word, what) for key, word in pairs}


def category_of(category: object, session: str) -> str:
    """The category of a flash message as it is kept: a plain str.

    Raises:
        TypeError: anything but a str.
        ValueError: it can not be stored.
    """
    if not isinstance(category, str):
        raise TypeError(
            f"session {session!r}: the category of a flash message must be a str, not {type(category).__name__}"
        )
    return _text(category, f"session {session!r}: the category of a flash message")


def _text(value: str, what: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise ValueError(f"{what} {value!r:.40} has a lone surrogate, which can not be stored") from exc
    return str.__str__(value)  # plain, whatever a subclass shows
