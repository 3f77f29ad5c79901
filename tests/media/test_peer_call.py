"""One call over real sockets, from offer to end, with a client whose every datagram is known."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from gateway.core.call_errors import InvalidOffer
from gateway.media.worker.ice import Credentials
from gateway.media.worker.secure import Identity, LinkState
from gateway.media.worker.udp_port import UdpPort
from loadtests.voice_peer import attribute
from tests.media.raw_client import Heard, RawClient, run

if TYPE_CHECKING:
    from gateway.media.worker.peer_call import PeerCall

REPORT = struct.pack("!BBHI", 0x80, 201, 1, 77)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Scene:
    """A port, a client and a call between them."""

    def __init__(self, port: UdpPort, client: RawClient, clock: Clock) -> None:
        self.port, self.client, self.clock = port, client, clock
        self.heard = Heard()
        self.call: PeerCall = port.accept(client.offer(), self.heard, call_id="a call")

    @classmethod
    async def set(cls, *, has_channel: bool = False, is_passive: bool = False) -> Scene:
        clock = Clock()
        port = await UdpPort.open("127.0.0.1", 0, clock=clock)
        return cls(port, RawClient(has_channel=has_channel, is_passive=is_passive), clock)

    async def connect(self) -> None:
        await self.client.connect(self.call.answer_sdp)
        await self.heard.until(lambda: bool(self.heard.states))

    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.port.sweep()

    def end(self) -> None:
        self.client.close()
        self.port.close()


@pytest.mark.parametrize("is_passive", [False, True])
def test_sound_and_reports_go_both_ways(is_passive: bool) -> None:
    async def main() -> None:
        scene = await Scene.set(is_passive=is_passive)
        assert attribute(scene.call.answer_sdp, "setup") == ("active" if is_passive else "passive")
        scene.call.send_rtp(b"goes nowhere yet")
        await scene.connect()
        said = [scene.client.say(n, b"sound") for n in range(10)]
        scene.client.send(scene.client.link.protect_rtcp(REPORT))
        await scene.heard.until(lambda: bool(scene.heard.reports))
        assert scene.heard.packets == said
        assert scene.heard.reports == [REPORT]
        back = struct.pack("!BBHII", 0x80, 111, 5, 960, scene.call.audio.ssrc) + b"answer"
        scene.call.send_rtp(back)
        scene.call.send_rtcp(REPORT)
        await scene.client.until(lambda: bool(scene.client.reports))
        assert scene.client.packets == [back]
        assert scene.client.reports == [REPORT]
        scene.end()
        assert scene.heard.states == ["connected", "closed: the site ends"]

    run(main())


def test_messages_go_both_ways_and_wait_for_the_channel() -> None:
    async def main() -> None:
        scene = await Scene.set(has_channel=True)
        scene.call.send_message("first of all")
        await scene.connect()
        client = scene.client
        client.open_channel("in any order", ordered=False)
        channel = client.open_channel("any name")
        channel.on("open", lambda: channel.send("hello"))
        await client.until(lambda: client.messages == ["first of all"])
        await scene.heard.until(lambda: scene.heard.messages == ["hello"])
        scene.call.send_message("x" * 200_000)
        await client.until(lambda: len(client.messages) == 2)
        assert client.messages[1] == "x" * 200_000
        scene.end()

    run(main())


def test_a_client_with_another_certificate_than_its_offers_is_turned_away() -> None:
    async def main() -> None:
        scene = await Scene.set()
        scene.client.identity = Identity()
        await scene.client.connect(scene.call.answer_sdp)
        await scene.heard.until(lambda: bool(scene.heard.states))
        assert scene.heard.states == [
            "closed: the client's certificate is not the one of its offer"
        ]
        assert scene.port.num_calls == 0
        scene.end()

    run(main())


def test_the_clients_goodbye_ends_the_call() -> None:
    async def main() -> None:
        scene = await Scene.set()
        await scene.connect()
        scene.client.link.close()
        scene.client.flush()
        await scene.heard.until(lambda: len(scene.heard.states) == 2)
        assert scene.heard.states[1] == "closed: "
        assert scene.port.num_calls == 0
        scene.end()

    run(main())


def test_our_goodbye_reaches_the_client() -> None:
    async def main() -> None:
        scene = await Scene.set()
        await scene.connect()
        scene.call.close("enough")
        scene.call.close("twice")
        await scene.client.until(lambda: scene.client.link.state is LinkState.CLOSED)
        assert scene.heard.states == ["connected", "closed: enough"]
        with pytest.raises(InvalidOffer, match="over"):
            scene.call.restart(scene.client.offer())
        scene.end()

    run(main())


def test_a_client_that_moves_takes_the_call_along() -> None:
    async def main() -> None:
        scene = await Scene.set()
        await scene.connect()
        scene.client.move()
        scene.client.say(1, b"sound")
        scene.client.send(scene.client.check())
        await scene.client.until(lambda: scene.client.num_checks_answered == 2)
        scene.client.say(2, b"sound")
        await scene.heard.until(lambda: bool(scene.heard.packets))
        assert len(scene.heard.packets) == 1, "what came before the check was a stranger's"
        assert scene.port.counters.strangers == 1
        scene.call.send_rtp(scene.heard.packets[0])
        await scene.client.until(lambda: bool(scene.client.packets))
        scene.end()

    run(main())


def test_a_restart_goes_on_with_the_same_keys() -> None:
    async def main() -> None:
        scene = await Scene.set()
        await scene.connect()
        first = scene.call.answer_sdp
        scene.client.move()
        scene.client.ice = Credentials.fresh()
        second = scene.client.answer = scene.call.restart(scene.client.offer())
        assert attribute(second, "ice-ufrag") != attribute(first, "ice-ufrag")
        assert attribute(second, "ssrc") == attribute(first, "ssrc")
        assert second.split(" ")[1:3] == [first.split(" ")[1], "2"]
        assert [len(scene.call.names)] == [2]
        scene.client.send(scene.client.check())
        await scene.client.until(lambda: scene.client.num_checks_answered == 2)
        assert [len(scene.call.names)] == [1]
        scene.client.say(1, b"sound")
        await scene.heard.until(lambda: bool(scene.heard.packets))
        assert scene.heard.states == ["connected"]
        again = scene.call.restart(scene.client.offer())
        assert attribute(again, "ice-ufrag") == attribute(second, "ice-ufrag"), "no new name"
        scene.end()

    run(main())


def test_a_fragment_restarts_too_and_candidates_alone_do_nothing() -> None:
    async def main() -> None:
        scene = await Scene.set()
        await scene.connect()
        candidates = "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 x 1 typ host\r\n"
        assert scene.call.restart(candidates) == ""
        same = f"a=ice-ufrag:{scene.client.ice.ufrag}\r\na=ice-pwd:{scene.client.ice.pwd}\r\n"
        assert scene.call.restart(same + candidates) == ""
        scene.client.move()
        scene.client.ice = Credentials.fresh()
        new = f"a=ice-ufrag:{scene.client.ice.ufrag}\r\na=ice-pwd:{scene.client.ice.pwd}\r\n"
        answer = scene.call.restart(new + candidates)
        assert "a=mid:0" in answer.split("\r\n")
        scene.client.answer = "\r\n" + answer
        scene.client.send(scene.client.check())
        await scene.client.until(lambda: scene.client.num_checks_answered == 2)
        scene.client.say(1, b"sound")
        await scene.heard.until(lambda: bool(scene.heard.packets))
        with pytest.raises(InvalidOffer) as caught:
            scene.call.restart("a=ice-ufrag:abcd\r\n" + candidates)
        assert caught.value.param == "a=ice-pwd"
        scene.end()

    run(main())


@pytest.mark.parametrize(
    ("old", "new", "param"),
    [
        ("setup:actpass", "setup:passive", "a=setup"),
        ("fingerprint:sha-256 ", "fingerprint:sha-256 00:", "a=fingerprint"),
        ("111", "112", "m=audio"),
        ("v=0", "v=9", "v="),
    ],
)
def test_a_restart_that_cannot_be_leaves_the_call_as_it_was(old: str, new: str, param: str) -> None:
    async def main() -> None:
        scene = await Scene.set()
        await scene.connect()
        with pytest.raises(InvalidOffer) as caught:
            scene.call.restart(scene.client.offer().replace(old, new))
        assert caught.value.param == param
        scene.client.say(1, b"sound")
        await scene.heard.until(lambda: bool(scene.heard.packets))
        scene.end()

    run(main())


def test_a_client_that_is_silent_is_lost_and_may_come_back() -> None:
    async def main() -> None:
        scene = await Scene.set()
        await scene.connect()
        scene.wait(6.9)
        assert scene.heard.states == ["connected"]
        scene.wait(0.2)
        assert scene.heard.states == ["connected", "lost"]
        scene.wait(5.0)
        scene.client.say(1, b"sound")
        await scene.heard.until(lambda: bool(scene.heard.packets))
        assert scene.heard.states == ["connected", "lost", "connected"]
        scene.wait(7.1)
        scene.wait(30.1)
        assert scene.heard.states[3:] == ["lost", "closed: the client was gone for 30 s"]
        assert scene.port.num_calls == 0
        scene.end()

    run(main())


def test_a_listener_that_hangs_up_hears_no_more() -> None:
    async def main() -> None:
        scene = await Scene.set()
        await scene.connect()
        scene.wait(7.1)
        scene.heard.connected = scene.call.close  # type: ignore[method-assign]
        scene.client.say(1, b"sound")
        await scene.heard.until(lambda: len(scene.heard.states) == 3)
        assert scene.heard.states == ["connected", "lost", "closed: "]
        assert scene.heard.packets == []
        scene.end()

    run(main())


def test_without_checks_nothing_is_sent_whatever_else_comes() -> None:
    async def main() -> None:
        scene = await Scene.set()
        await scene.connect()
        for n in range(7):
            scene.wait(5.0)
            scene.client.say(n, b"sound")
            await scene.heard.until(lambda: len(scene.heard.packets) > n or n > 5)  # noqa: B023
        assert scene.heard.states == ["connected", "lost"]
        num_sent = scene.port.counters.sent
        scene.call.send_rtp(scene.heard.packets[0])
        assert scene.port.counters.sent == num_sent
        scene.client.send(scene.client.check())
        await scene.heard.until(lambda: len(scene.heard.states) == 3)
        assert scene.heard.states[2] == "connected"
        scene.end()

    run(main())


def test_a_client_that_never_comes_is_given_up() -> None:
    async def main() -> None:
        scene = await Scene.set()
        scene.wait(19.9)
        assert scene.port.num_calls == 1
        scene.wait(0.2)
        assert scene.heard.states == ["closed: no connection came about within 20 s"]
        scene.end()

    run(main())
