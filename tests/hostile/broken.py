"""A store that fails when a test says so, and handlers that need it."""

from typing import Any

from asgi_sessions import MemoryStore, Session, StoreUnavailable


class Broken(MemoryStore):
    """Keeps what it has, until it is told to fail."""

    failing = False

    def _fail(self) -> None:
        if self.failing:
            raise StoreUnavailable("on fire")

    async def create(self, *arguments: Any) -> bool:
        self._fail()
        return await super().create(*arguments)

    async def swap(self, *arguments: Any) -> Any:
        self._fail()
        return await super().swap(*arguments)

    async def touch(self, *arguments: Any) -> bool:
        self._fail()
        return await super().touch(*arguments)

    async def delete(self, *arguments: Any) -> Any:
        self._fail()
        return await super().delete(*arguments)


async def regenerate(session: Session) -> None:
    session.regenerate()


async def add(session: Session) -> None:
    session["n"] = session.get("n", 0) + 1


async def end(session: Session) -> None:
    session.invalidate()
