"""Flite's voices, through the library: sound comes while a clause is still being made.

The structures below are those of flite 2.x (cst_audio.h, cst_wave.h, cst_voice.h).
"""

from __future__ import annotations

import ctypes
import re
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_float, c_int, c_void_p
from typing import TYPE_CHECKING, Any, ClassVar, Final

from gateway.core.errors import SetupError
from gateway.core.voice_line import SAID_HZ
from gateway.speech.port import SpeechGrade, Spoken, TimedWord
from gateway.speech.resample import Resampler
from gateway.speech.worker.port import EngineFailed

if TYPE_CHECKING:
    from gateway.speech.worker.port import Emit

DEFAULT_VOICE: Final = "slt"
MEND: Final = "apt-get install flite"
_FIRST_SAMPLES, _PIECE_SAMPLES = 800, 4800
"""Of sound for each call back: little until the caller hears something, then 0.3 s at 16 kHz."""
_LEAD_S = 0.03
"""Of silence before the first word. Flite makes 0.2 s, which the caller would wait for."""
_GO_ON, _STOP = 0, 1
_START = b"R:SylStructure.daughter1.daughter1.R:Segment.p.end"
_END = b"R:SylStructure.daughtern.daughtern.R:Segment.end"
_RESPELT = re.compile(r"\bwi-?fi\b", re.IGNORECASE)
"""Flite's dictionary lacks it, and its rules say "wee fee"."""


class _Wave(Structure):
    _fields_: ClassVar = [
        ("type", c_char_p),
        ("sample_rate", c_int),
        ("num_samples", c_int),
        ("num_channels", c_int),
        ("samples", POINTER(ctypes.c_int16)),
    ]


class _Streaming(Structure):
    pass


_Callback = CFUNCTYPE(c_int, POINTER(_Wave), c_int, c_int, c_int, POINTER(_Streaming))
_Streaming._fields_ = [
    ("min_buffsize", c_int),
    ("asc", _Callback),
    ("utt", c_void_p),
    ("item", c_void_p),
    ("userdata", c_void_p),
]


class _Voice(Structure):
    _fields_: ClassVar = [("name", c_char_p), ("features", c_void_p)]


class FliteVoice:
    """One voice of flite. Not thread-safe: the library has global state."""

    grade = SpeechGrade.DEMONSTRATION

    def __init__(self, voice: str = "") -> None:
        self.name = f"flite {voice or DEFAULT_VOICE}"
        self._flite = _library("libflite.so.1")
        _declare(self._flite)
        self._flite.flite_init()
        self._voice = _registered(voice or DEFAULT_VOICE)
        self._streaming = self._flite.new_audio_streaming_info()
        self._callback = _Callback(self._receive)
        self._streaming.contents.asc = self._callback
        self._flite.flite_feat_set(
            self._voice.contents.features,
            b"streaming_info",
            self._flite.audio_streaming_info_val(self._streaming),
        )
        self._emit: Emit = lambda spoken: False
        self._words: list[TimedWord] = []
        self._num_skipped = 0
        self._resampler: Resampler | None = None

    def say(self, text: str, emit: Emit) -> None:
        """Make a clause's sound. Raises EngineFailed."""
        self._emit, self._words, self._resampler = emit, [], None
        self._streaming.contents.min_buffsize = _FIRST_SAMPLES
        plain = _RESPELT.sub("why fie", text).replace("\0", " ")
        utterance = self._flite.flite_synth_text(plain.encode(), self._voice)
        if not utterance:
            raise EngineFailed("flite could not say it")
        self._flite.delete_utterance(utterance)

    def _receive(
        self,
        wave: Any,
        start: int,
        size: int,
        is_last: int,
        streaming: Any,
    ) -> int:
        """Called by flite with each new stretch of the wave."""
        sound = wave.contents
        rate_hz = sound.sample_rate
        if self._resampler is None:
            self._resampler = Resampler(rate_hz, SAID_HZ)
            words = self._timed_words(streaming.contents.utt)
            skipped_s = max(0.0, words[0].start_s - _LEAD_S) if words else 0.0
            self._num_skipped = int(skipped_s * rate_hz)
            self._words = [_earlier(word, self._num_skipped / rate_hz) for word in words]
        begin = max(start, self._num_skipped)
        num_samples = start + size - begin
        if num_samples <= 0 and not is_last:
            return _GO_ON
        streaming.contents.min_buffsize = _PIECE_SAMPLES
        address = ctypes.addressof(sound.samples.contents) + 2 * begin
        pcm = self._resampler.feed(ctypes.string_at(address, 2 * max(0, num_samples)))
        if is_last:
            pcm += self._resampler.flush()
        end_s = (start + size - self._num_skipped) / rate_hz
        words = [word for word in self._words if is_last or word.start_s < end_s]
        self._words = self._words[len(words) :]
        return _GO_ON if self._emit(Spoken(pcm, tuple(words))) else _STOP

    def _timed_words(self, utterance: int) -> list[TimedWord]:
        words = []
        relation = self._flite.utt_relation(utterance, b"Word")
        item = self._flite.relation_head(relation) if relation else None
        while item:
            name = self._flite.flite_ffeature_string(item, b"name").decode(errors="replace")
            start_s = self._flite.flite_ffeature_float(item, _START)
            end_s = self._flite.flite_ffeature_float(item, _END)
            words.append(TimedWord(name, round(start_s, 3), round(end_s, 3)))
            item = self._flite.item_next(item)
        return words


def _earlier(word: TimedWord, by_s: float) -> TimedWord:
    return TimedWord(word.text, round(word.start_s - by_s, 3), round(word.end_s - by_s, 3))


def _library(name: str) -> ctypes.CDLL:
    """Raises SetupError when it is not installed."""
    try:
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise SetupError(f"flite is not installed ({name}); {MEND}") from error


def _registered(voice: str) -> Any:
    """Raises SetupError for a voice that this flite lacks."""
    if not re.fullmatch(r"[a-z0-9]{1,20}", voice):
        raise SetupError(f"flite has no voice {voice!r}; take slt, rms, awb, kal or kal16")
    for name in ("libflite_usenglish.so.1", "libflite_cmulex.so.1"):
        _library(name)
    try:
        library = ctypes.CDLL(f"libflite_cmu_us_{voice}.so.1")
    except OSError as error:
        mend = "take slt, rms, awb, kal or kal16"
        raise SetupError(f"flite has no voice {voice!r}; {mend}") from error
    register = library[f"register_cmu_us_{voice}"]
    register.restype = POINTER(_Voice)
    register.argtypes = [c_char_p]
    return register(None)


def _declare(flite: ctypes.CDLL) -> None:
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "flite_init": (c_int, []),
        "flite_synth_text": (c_void_p, [c_char_p, POINTER(_Voice)]),
        "delete_utterance": (None, [c_void_p]),
        "new_audio_streaming_info": (POINTER(_Streaming), []),
        "audio_streaming_info_val": (c_void_p, [POINTER(_Streaming)]),
        "flite_feat_set": (None, [c_void_p, c_char_p, c_void_p]),
        "utt_relation": (c_void_p, [c_void_p, c_char_p]),
        "relation_head": (c_void_p, [c_void_p]),
        "item_next": (c_void_p, [c_void_p]),
        "flite_ffeature_string": (c_char_p, [c_void_p, c_char_p]),
        "flite_ffeature_float": (c_float, [c_void_p, c_char_p]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(flite, name)
        function.restype, function.argtypes = result, arguments
