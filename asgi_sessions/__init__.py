"""Sessions for Starlette, FastAPI and plain ASGI."""

__version__ = "0.1.0"
