"""``python -m asgi_sessions``: the command line of ``asgi_sessions.cli``."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
