"""The text side of a model: what the site process knows of it besides its token ids.

Prompts, grammars and answers are made here, at the turn's origin; the engine that runs the model
may be another process or another site and sees token ids only.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Self

from gateway.core.errors import ContextLengthExceeded, InvalidRequest, UnsupportedTools
from gateway.core.turn import Role, ToolChoice
from gateway.engine.assembly import TurnAssembler
from gateway.engine.bundle_facts import BundleUnreadable, read_text
from gateway.engine.chat_template import ChatTemplate, TemplateUnusable
from gateway.engine.tokenizer import TextTokenizer
from gateway.engine.tool_format.parser import PlainText
from gateway.engine.tool_format.registry import tool_format
from gateway.engine.tool_format.toolset import ToolSet, check_supported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.core.generation import Constraint, Sampling
    from gateway.core.turn import Message, ToolSpec
    from gateway.engine.bundle_facts import Bundle

    Tools = ToolSet | Sequence[ToolSpec]

_AUTO = ToolChoice()
# Whoever is not trusted to write a tool call into the prompt.
_OUTSIDERS = frozenset({Role.USER, Role.TOOL})


def random_call_id() -> str:
    """``call_`` and 24 hexadecimal digits."""
    return f"call_{secrets.token_hex(12)}"


class TextModel:
    """A bundle's tokenizer, chat template and tool format, made once and shared by all turns."""

    def __init__(
        self,
        bundle: Bundle,
        tokenizer: TextTokenizer,
        template: ChatTemplate,
        *,
        fixed_tools: ToolSet,
        new_call_id: Callable[[], str] = random_call_id,
    ) -> None:
        self.bundle = bundle
        self.tokenizer = tokenizer
        self._template = template
        self._fixed_tools = fixed_tools
        self.fixed_tools = tuple(fixed_tools)
        """The tools the model was trained on; empty for a model that takes any."""
        self._fixed_grammars: dict[ToolChoice, Constraint | None] = {}
        self._format = tool_format(bundle.tool_format, frozenset(tokenizer.added))
        self._marker_ids = frozenset(
            token_id for token, token_id in tokenizer.added.items() if token in self._format.markers
        )
        self._new_call_id = new_call_id

    @classmethod
    def from_bundle(
        cls, bundle: Bundle, *, new_call_id: Callable[[], str] = random_call_id
    ) -> Self:
        """Load a bundle's text side. Raises BundleError."""
        tokenizer = TextTokenizer.from_file(bundle.tokenizer_path)
        for token in bundle.end_tokens:
            if tokenizer.token_id(token) is None:
                raise BundleUnreadable(bundle.tokenizer_path, f"has no end token {token!r}")
        try:
            template = ChatTemplate(
                bundle.chat_template, bos_token=bundle.begin_token, eos_token=bundle.end_tokens[0]
            )
        except TemplateUnusable as error:
            raise BundleUnreadable(bundle.root, f"the chat template, {error}") from error
        return cls(
            bundle,
            tokenizer,
            template,
            fixed_tools=_fixed_tools(bundle),
            new_call_id=new_call_id,
        )

    def check_sampling(self, sampling: Sampling) -> None:
        """Raises InvalidRequest for a bias on a token that this model does not have."""
        beyond = max(sampling.logit_bias, default=0)
        if beyond >= self.tokenizer.vocab_size:
            raise InvalidRequest(
                f"logit_bias names token {beyond}; this model has {self.tokenizer.vocab_size}",
                param="logit_bias",
            )

    def render(
        self,
        messages: Sequence[Message],
        tools: Tools = (),
        *,
        variables: Mapping[str, object] | None = None,
    ) -> tuple[int, ...]:
        """The prompt's token ids, the assistant's turn opened.

        `variables` go to the chat template. Raises UnsupportedTools for tools or instructions
        the model cannot follow, InvalidRequest and InvalidSchema for unusable ones, and
        ContextLengthExceeded when no room is left for an answer.
        """
        limit_tokens = self.bundle.max_context_tokens
        if len(messages) > limit_tokens:  # each takes a token at least
            raise ContextLengthExceeded(limit_tokens=limit_tokens, given_tokens=len(messages))
        given = self._checked(tools)
        check_supported(self.bundle.tools, self._fixed_tools, given)
        self._check_instructions(messages)
        # A model with fixed tools knows them; its template does not show them.
        shown = () if self.fixed_tools else tuple(given)
        text = self._template.render(messages, shown, variables=variables, guard=self._guarded)
        least_tokens = len(text) // self.tokenizer.longest_token_chars
        if least_tokens >= limit_tokens:  # tokenising a megabyte takes a second
            raise ContextLengthExceeded(limit_tokens=limit_tokens, given_tokens=least_tokens)
        prompt = tuple(self.tokenizer.encode(text))
        if len(prompt) >= limit_tokens:
            raise ContextLengthExceeded(limit_tokens=limit_tokens, given_tokens=len(prompt))
        return prompt

    def constraint(
        self,
        tools: Tools,
        choice: ToolChoice = _AUTO,
        answer: Constraint | None = None,
    ) -> Constraint | None:
        """The grammar of a turn, or None when anything may be written.

        The tools may be narrower here than those rendered: an enumeration of the values that can
        be meant in this turn makes every other value impossible. `answer` is the form asked of
        the text. Raises InvalidSchema and InvalidRequest.
        """
        given = self._checked(tools)
        is_common = given is self._fixed_tools and answer is None
        if not is_common or (choice.name and choice.name not in given):
            return self._format.constraint(given, choice, answer)
        if choice not in self._fixed_grammars:
            self._fixed_grammars[choice] = self._format.constraint(given, choice)
        return self._fixed_grammars[choice]

    def new_assembler(self, tools: Tools = (), *, stop: Sequence[str] = ()) -> TurnAssembler:
        """An assembler for one generation in which these tools may be called."""
        given = self._checked(tools)
        return TurnAssembler(
            self.tokenizer,
            self._format.parser(given) if len(given) else PlainText(),
            keep_special=self._marker_ids if len(given) else frozenset(),
            stop=stop,
            new_call_id=self._new_call_id,
        )

    def _checked(self, tools: Tools) -> ToolSet:
        """The tools as a set; the model's own, which most turns bring, are checked already."""
        if isinstance(tools, ToolSet):
            return tools
        return self._fixed_tools if tuple(tools) == self.fixed_tools else ToolSet(tools)

    def _guarded(self, text: str, role: Role) -> str:
        return self.tokenizer.inert(text, all_markers=role in _OUTSIDERS)

    def _check_instructions(self, messages: Sequence[Message]) -> None:
        if self.bundle.instructions == "none" and any(m.role is Role.SYSTEM for m in messages):
            raise UnsupportedTools(
                "this model does not follow instructions; leave out system messages",
                param="messages",
            )


def _fixed_tools(bundle: Bundle) -> ToolSet:
    if bundle.tools_path is None:
        return ToolSet(())
    return ToolSet.from_json(read_text(bundle.tools_path))
