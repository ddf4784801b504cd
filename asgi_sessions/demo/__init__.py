"""A page that shows what the library does: three sessions of one visitor in three stores."""

from .server import serve

__all__ = ["serve"]
