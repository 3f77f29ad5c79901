from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.edge import capacity_file
from gateway.edge.capacity_file import follow_capacity_file

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_capacity_follows_the_file_and_nonsense_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(capacity_file, "_LOOK_INTERVAL_S", 0.001)
    path = tmp_path / "capacity"
    set_to: asyncio.Queue[float] = asyncio.Queue()

    def write(text: str) -> None:
        whole = tmp_path / "next"
        whole.write_text(text)
        whole.rename(path)

    async def scenario() -> None:
        async with asyncio.timeout(20.0), asyncio.TaskGroup() as tasks:
            following = tasks.create_task(follow_capacity_file(path, set_to.put_nowait))
            write("0.5\n")
            assert await set_to.get() == 0.5
            for nonsense in ("half", "1.5", "nan"):
                write(nonsense)
                while f"{path}: the capacity stays" not in caplog.text:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                caplog.clear()
            write("0")
            assert await set_to.get() == 0.0
            path.unlink()
            assert await set_to.get() == 1.0
            following.cancel()
        assert set_to.empty()

    asyncio.run(scenario())
