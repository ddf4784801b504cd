"""A page that shows what the library does: six sessions of one visitor in four stores, and two races that they win."""

from .server import serve

__all__ = ["serve"]
