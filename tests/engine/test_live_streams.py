"""Who is suspected of a crash, and who is found guilty."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.core.errors import EngineFault
from gateway.core.generation import GenerationRequest, TokenFrame
from gateway.engine.frames import Submit
from gateway.engine.live_streams import LiveStreams

if TYPE_CHECKING:
    from gateway.engine.frames import SiteFrame


class Engines:
    """One engine process after another, and the keys that the present one was given."""

    def __init__(self) -> None:
        self.streams = LiveStreams(lambda request_id: None)
        self.given: list[int] = []
        self.start()

    def start(self) -> None:
        self.given = []

        def send(frame: SiteFrame) -> None:
            assert isinstance(frame, Submit)
            self.given.append(frame.key)

        self.streams.attach(send)

    def crash(self) -> None:
        self.streams.detach()
        self.start()

    def say(self, key: int, *ids: int) -> None:
        self.streams.receive([(key, TokenFrame(0, ids))])


@pytest.fixture
def engines() -> Engines:
    return Engines()


def test_the_next_suspect_is_tried_once_the_one_before_has_produced_something(
    engines: Engines,
) -> None:
    a, b = (engines.streams.open(GenerationRequest(name, (1,), 9)) for name in "ab")
    engines.crash()
    engines.crash()
    bystander = engines.streams.open(GenerationRequest("c", (1,), 9))
    assert engines.given == [a.key, bystander.key]
    assert not engines.streams.is_in_engine(b)
    engines.say(bystander.key, 5)
    assert engines.given == [a.key, bystander.key]
    engines.say(a.key, 5)
    assert engines.given == [a.key, bystander.key, b.key]
    assert engines.streams.is_in_engine(b)


def test_who_dies_beside_the_suspect_on_trial_is_not_guilty(engines: Engines) -> None:
    a, b = (engines.streams.open(GenerationRequest(name, (1,), 9)) for name in "ab")
    engines.say(a.key, 5)
    for _ in range(2):
        engines.crash()
    for _ in range(2):
        assert engines.given == [a.key]
        engines.say(a.key, 5)  # which it had said before: nothing new, but it runs
        assert engines.given == [a.key, b.key]
        engines.crash()
    assert (a.num_fruitless, b.num_fruitless) == (4, 4)
    assert engines.given == [a.key]
    with pytest.raises(EngineFault):
        asyncio.run(b.next())
