"""Records in files, for one host."""

from .store import FilesystemStore

__all__ = ["FilesystemStore"]
