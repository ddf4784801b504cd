"""Locks by key, kept in one dict: a lock object for each session would cost more than most commits wait."""

import asyncio
from collections import deque

import anyio
from anyio.lowlevel import current_token

Key = tuple[object, int, bytes]

waiters: dict[Key, deque[anyio.Event]] = {}  # who waits for each lock that is held, first come first served


class KeyedLock:
    """``async with KeyedLock(owner, key):`` waits until nobody else is inside for the same owner and key.

    Each event loop has its own locks. On asyncio and trio; not reentrant.
    """

    def __init__(self, owner: object, key: bytes) -> None:
        self._key = _key(owner, key)

    async def acquire(self) -> None:
        """Wait until all who came before have released the lock, and take it."""
        waiting = waiters.get(self._key)
        if waiting is None:
            waiters[self._key] = deque()
            return
        turn = anyio.Event()
        waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():  # cancelled just when the lock was passed on
                self.release()
            else:
                waiting.remove(turn)
            raise

    def release(self) -> None:
        """Pass the lock on to whoever waits the longest."""
        waiting = waiters[self._key]
        if waiting:
            waiting.popleft().set()
        else:
            del waiters[self._key]

    __aenter__ = acquire

    async def __aexit__(self, *exc_info: object) -> None:
        self.release()


def is_locked(owner: object, key: bytes) -> bool:
    """Tell whether somebody is inside."""
    return _key(owner, key) in waiters


def _key(owner: object, key: bytes) -> Key:
    try:
        loop: object = asyncio.get_running_loop()
    except RuntimeError:  # trio
        loop = current_token()
    return loop, id(owner), key
