"""Tokens and records as they were written once; whatever a later version changes, it reads them."""
