"""Requests that wait for the disk together: one write and one sync for all that came while the last one went on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeAlias

from millrace.connect.intake.place import Writer

Told: TypeAlias = Callable[[BaseException | None], None]
"""Called once, in the loop: None when the frame is durable, else what the writer raised, and nobody knows then."""


class Group:
    """The requests to one pipeline at this server. Belongs to one event loop."""

    def __init__(self, writer: Writer, threads: Executor) -> None:
        self._writer = writer
        self._threads = threads
        self._waiting: list[tuple[bytes, Told]] = []
        self._going: asyncio.Task[None] | None = None
        self.written_bytes = 0
        """Since the group began."""

    def add(self, frame: bytes, told: Told) -> None:
        """The frame goes to the disk with the next group, and ``told`` is called then."""
        self._waiting.append((frame, told))
        if self._going is None:
            self._going = asyncio.get_running_loop().create_task(self._write())

    async def put(self, frame: bytes) -> None:
        """The frame is durable. Raises what the writer raised, and nobody knows then."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def told(error: BaseException | None) -> None:
            if future.done():  # whoever asked has gone
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self.add(frame, told)
        await future

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                some, self._waiting = self._waiting, []
                frames = [frame for frame, _ in some]
                error: BaseException | None = None
                try:
                    await loop.run_in_executor(self._threads, self._writer.append, frames)
                    self.written_bytes += sum(map(len, frames))
                except Exception as raised:  # each of those who wait is told
                    error = raised
                for _, told in some:
                    told(error)
        finally:
            self._going = None

    def close(self) -> None:
        """The part is whole."""
        self._writer.close()
