"""The commands of ``python -m asgi_sessions``, a module each: ``add_parser`` says what it takes, ``run`` does it."""
