from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from gateway.runtime.handover import Handover


async def turn_of_the_loop() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_the_newest_of_each_key_arrives_once() -> None:
    async def main() -> list[tuple[str, int]]:
        got: list[tuple[str, int]] = []
        handover: Handover[str, int] = Handover(
            asyncio.get_running_loop(), lambda *item: got.append(item), max_num_keys=8
        )
        with ThreadPoolExecutor(1) as thread:
            for number in range(5000):
                thread.submit(handover.put, "ab"[number % 2], number)
        await turn_of_the_loop()
        handover.put("c", 0)
        await turn_of_the_loop()
        return got

    assert asyncio.run(main()) == [("a", 4998), ("b", 4999), ("c", 0)]


def test_a_flood_of_keys_is_bounded_and_counted() -> None:
    async def main() -> None:
        got: dict[int, str] = {}
        handover: Handover[int, str] = Handover(
            asyncio.get_running_loop(), got.__setitem__, max_num_keys=4
        )
        for key in range(100):
            handover.put(key, "first")
        handover.put(0, "newest")
        await turn_of_the_loop()
        assert got == {0: "newest", 1: "first", 2: "first", 3: "first"}
        assert (handover.take_num_dropped(), handover.take_num_dropped()) == (96, 0)
        handover.put(200, "room again")
        handover.close()
        handover.put(201, "too late")
        await turn_of_the_loop()
        assert 200 not in got

    asyncio.run(main())
