import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.media.worker.g711 import G711Decoder, G711Encoder, Law, compress, expand
from gateway.media.worker.opus import OpusDecoder, OpusEncoder

FRAME = 480


def tone(hz: float, *, rate_hz: int, duration_s: float = 1.0) -> NDArray[np.int16]:
    at = np.arange(int(rate_hz * duration_s)) / rate_hz
    return (8000 * np.sin(2 * np.pi * hz * at)).astype("<i2")


def samples(pcm: bytes) -> NDArray[np.float32]:
    return np.frombuffer(pcm, "<i2").astype(np.float32)


def strength(pcm: NDArray[np.float32], hz: float, *, rate_hz: int = 16_000) -> float:
    """The amplitude of a tone in what was heard."""
    at = np.arange(len(pcm)) / rate_hz
    return float(2 * abs(np.mean(pcm * np.exp(-2j * np.pi * hz * at))))


def packets(encoder: OpusEncoder | G711Encoder, pcm: NDArray[np.int16]) -> list[bytes]:
    begins = range(0, len(pcm) - FRAME + 1, FRAME)
    return [encoder.encode(pcm[at : at + FRAME].tobytes()) for at in begins]


def opus() -> OpusEncoder:
    return OpusEncoder(bitrate_bps=24_000, complexity=3)


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        (opus(), OpusDecoder()),
        (G711Encoder("pcmu"), G711Decoder("pcmu")),
        (G711Encoder("pcma"), G711Decoder("pcma")),
    ],
)
def test_what_is_said_is_heard(
    encoder: OpusEncoder | G711Encoder, decoder: OpusDecoder | G711Decoder
) -> None:
    sent = packets(encoder, tone(440, rate_hz=24_000))
    assert all(decoder.ticks(packet) == decoder.clock_hz // 50 for packet in sent)
    heard = samples(b"".join(map(decoder.decode, sent)))
    assert len(heard) == 16_000
    assert strength(heard[2000:], 440) == pytest.approx(8000, rel=0.15)


def test_a_telephone_sounds_as_if_it_had_the_upper_half_of_speech() -> None:
    decoder = G711Decoder("pcmu")
    sent = packets(G711Encoder("pcmu"), tone(1000, rate_hz=24_000))
    heard = samples(b"".join(map(decoder.decode, sent)))[2000:]
    assert strength(heard, 1000) == pytest.approx(8000, rel=0.15)
    assert strength(heard, 7000) == pytest.approx(0.3 * 8000, rel=0.2)


def test_a_lost_frame_is_recovered_once_the_caller_has_reported_loss() -> None:
    encoder = opus()
    encoder.adapt(0.2)
    # A voice-like sound that changes, so that concealment cannot guess it.
    sound = np.concatenate([tone(hz, rate_hz=24_000, duration_s=0.1) for hz in (200, 700) * 5])
    sent = packets(encoder, sound)
    first = next(at for at in range(10, 50) if at % 10 == 5)

    def heard(*, use_redundancy: bool) -> NDArray[np.float32]:
        decoder = OpusDecoder()
        for packet in sent[:first]:
            decoder.decode(packet)
        if use_redundancy:
            return samples(decoder.recover(sent[first + 1], 960))
        return samples(decoder.conceal(960))

    whole = OpusDecoder()
    truth = [samples(whole.decode(packet)) for packet in sent[: first + 1]][-1]
    error = np.linalg.norm(heard(use_redundancy=True) - truth)
    assert error < 0.5 * np.linalg.norm(heard(use_redundancy=False) - truth)


def test_concealment_has_the_length_that_was_lost() -> None:
    decoder = OpusDecoder()
    decoder.decode(packets(opus(), tone(300, rate_hz=24_000))[0])
    assert len(decoder.conceal(960)) == 640
    assert len(decoder.recover(b"\x00", 960)) == 640


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\x03\x7f" + bytes(40), b"\x7f" * 1500])
def test_a_broken_packet_is_no_sound_or_concealed(payload: bytes) -> None:
    decoder = OpusDecoder()
    assert decoder.ticks(payload) in range(5761)
    assert len(decoder.decode(payload)) % 2 == 0


def test_silence_is_announced() -> None:
    encoder, decoder = opus(), OpusDecoder()
    sent = packets(encoder, tone(300, rate_hz=24_000, duration_s=0.1))
    quiet = encoder.silence(sent[-1])
    assert decoder.announces_silence(quiet)
    assert not decoder.announces_silence(sent[-1])
    assert decoder.ticks(quiet) == 960
    assert not np.any(np.frombuffer(decoder.decode(quiet), "<i2") > 20_000)


@pytest.mark.parametrize(("law", "full", "zero"), [("pcmu", 32_124, 0xFF), ("pcma", 32_256, 0xD5)])
def test_g711_codes_survive_decoding_and_encoding(law: Law, full: int, zero: int) -> None:
    values = expand(bytes(range(256)), law)
    assert (expand(compress(values, law), law) == values).all()
    assert values.max() == full
    assert abs(expand(bytes([zero]), law)[0]) <= 8
