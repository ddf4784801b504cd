"""Values <-> bytes: what a session can hold, and how it is written.

Data only: loading imports nothing, and runs no code but the decode functions of types that were registered.
"""

from .base import Serializer
from .json import JSONSerializer
from .msgpack import MessagePackSerializer

__all__ = ["JSONSerializer", "MessagePackSerializer", "Serializer"]
