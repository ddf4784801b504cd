"""One module per package that is measured, each with ``build(kind, setting) -> Subject``."""
