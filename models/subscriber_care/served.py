"""The assistant as a site serves it: its prompt, this turn's grammar, and the session's questions.

Greedy decoding of one conversation at a time, in this process; everything else is the gateway's
own: the chat template, `SaidValues`, the grammar engine, the assembler.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from gateway.core.turn import Message, Role, TextDelta, ToolCall
from gateway.engine.bundle import load_bundle
from gateway.engine.text_model import TextModel
from gateway.engine.tool_format.parser import MalformedToolCall
from gateway.engine.worker.grammar import GrammarCompiler
from gateway.session.said_values import SaidValues
from models.subscriber_care.format import (
    Called,
    Heard,
    MalformedCallError,
    Returned,
    Said,
    Turn,
)
from models.subscriber_care.greedy import GreedyModel


class ServedModel:
    """A bundle behind the gateway's text side. Raises `BundleError` for one that is not sound."""

    def __init__(self, bundle_dir: Path, *, num_threads: int = 1) -> None:
        self.greedy = GreedyModel(bundle_dir, num_threads=num_threads)
        self._text = TextModel.from_bundle(load_bundle(bundle_dir))
        self._said = SaidValues(self._text)
        self._compiler = GrammarCompiler(
            self._text.bundle.tokenizer_path, self.greedy.vocab_size, [self.greedy.end_id]
        )

    def reply(self, turns: Sequence[Turn]) -> Said | Called:
        """Return what the caller is answered, or the call that runs.

        Raises `MalformedCallError` for a call that the session could not read.
        """
        messages = messages_of(turns)
        narrowed = self._said.narrow(messages)
        matcher = None
        if narrowed.constraint is not None:
            matcher = self._compiler.compile(narrowed.constraint).result()
        prompt = self._text.render(messages, self._text.fixed_tools)
        assembler = self._text.new_assembler(narrowed.tools)
        try:
            deltas = assembler.feed(self.greedy.generate(prompt, matcher))
            deltas += assembler.finish()
        except MalformedToolCall as error:
            raise MalformedCallError(str(error)) from error
        if not assembler.tool_calls:
            return Said("".join(d.text for d in deltas if isinstance(d, TextDelta)))
        call = assembler.tool_calls[0]
        if call.name in narrowed.missing:
            return Said(narrowed.missing[call.name], is_sessions=True)
        return Called(call.name, json.loads(call.arguments))


def messages_of(turns: Sequence[Turn]) -> list[Message]:
    """Return the conversation as the gateway holds it."""
    return [_message(turn) for turn in turns]


def _message(turn: Turn) -> Message:
    match turn:
        case Heard(text):
            return Message(Role.USER, text)
        case Said(text):
            return Message(Role.ASSISTANT, text)
        case Called(tool, arguments):
            call = ToolCall("call_1", tool, json.dumps(dict(arguments)))
            return Message(Role.ASSISTANT, tool_calls=(call,))
        case Returned(values):
            return Message(Role.TOOL, json.dumps(dict(values)), tool_call_id="call_1")
