import json
from itertools import islice

import pytest

from gateway.core.turn import Message, Role, ToolCall
from gateway.engine.chat_template import ChatTemplate
from models.subscriber_care.data.mix import dialogues
from models.subscriber_care.format import (
    TEMPLATE_FILE,
    TOOLS,
    Called,
    Heard,
    MalformedCallError,
    Returned,
    Said,
    Turn,
    Value,
    parse_reply,
    render,
)

PAYMENT: list[Turn] = [
    Heard("put 40 on my bill"),
    Called("pay_bill", {"amount": 40}),
    Returned({"paid_dollars": 40, "open_dollars": 24}),
    Said("Done, 40 dollars paid."),
    Heard("now the rest"),
    Called("pay_bill", {}),
]


def test_a_conversation_is_rendered_marker_by_marker() -> None:
    assert render(PAYMENT, generate=True) == (
        "<s><u>put 40 on my bill<a><c><t:pay_bill>40<e><r>paid_dollars=40; open_dollars=24"
        "<a>Done, 40 dollars paid.<e><u>now the rest<a><c><t:pay_bill><e><a>"
    )


def test_results_show_json_scalars_without_quotes() -> None:
    values: dict[str, Value] = {"outage": True, "fixed_by": "6 pm", "ratio": 0.5, "note": None}

    assert render([Returned(values)]) == "<s><r>outage=true; fixed_by=6 pm; ratio=0.5; note=null"


@pytest.mark.parametrize(
    "reply",
    [
        Said("Hello! How can I help?"),
        Called("run_speed_test", {}),
        Called("pay_bill", {}),
        Called("pay_bill", {"amount": 1204}),
        Called("pause_wifi", {"who": "kids", "minutes": 90}),
        Called("add_roaming", {"country": "papua new guinea", "days": 14}),
    ],
)
def test_what_is_rendered_is_read_back(reply: Said | Called) -> None:
    written = render([reply]).removeprefix("<s><a>").removesuffix("<e>")

    assert parse_reply(written) == reply


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("<c><t:order_pizza>", "known tool"),
        ("<c>pay", "known tool"),
        ("<c><t:pause_wifi>kids", "takes 2 arguments, not 1"),
        ("<c><t:pause_wifi>kids<arg>90<arg>1", "takes 2 arguments, not 3"),
        ("<c><t:run_speed_test>now", "takes 0 arguments, not 1"),
        ("<c><t:pause_wifi>dog<arg>90", "who='dog' is outside"),
        ("<c><t:pause_wifi>kids<arg>1441", "minutes=1441 is outside"),
        ("<c><t:pause_wifi>kids<arg>an hour", "minutes='an hour' is outside"),
        ("<c><t:pause_wifi>kids<arg>", "minutes is missing"),
        ("<c><t:pay_bill>0", "amount=0 is outside"),
    ],
)
def test_an_invalid_call_is_refused_with_its_reason(written: str, reason: str) -> None:
    with pytest.raises(MalformedCallError, match=reason):
        parse_reply(written)


def test_the_chat_template_renders_what_training_saw() -> None:
    template = ChatTemplate(TEMPLATE_FILE.read_text(encoding="utf-8"))
    tools_seen: set[str] = set()

    for turns in islice(dialogues(seed=20), 300):
        tools_seen |= {turn.tool for turn in turns if isinstance(turn, Called)}
        messages = list(map(_message, turns))
        assert template.render(messages, add_generation_prompt=False) == render(turns)
        assert template.render(messages) == render(turns, generate=True)

    assert tools_seen == set(TOOLS)


def test_the_template_takes_a_result_that_is_no_object_as_it_is() -> None:
    template = ChatTemplate(TEMPLATE_FILE.read_text(encoding="utf-8"))
    messages = [Message(Role.SYSTEM, "be brief"), Message(Role.TOOL, "line one; [1, 2]")]

    assert template.render(messages) == "<s><r>line one; [1, 2]<a>"


def _message(turn: Turn) -> Message:
    match turn:
        case Heard(text):
            return Message(Role.USER, text)
        case Said(text):
            return Message(Role.ASSISTANT, text)
        case Called(tool, arguments):
            # In another order than the schema's, as a client may send them.
            shuffled = dict(reversed(list(arguments.items())))
            call = ToolCall("call_1", tool, json.dumps(shuffled))
            return Message(Role.ASSISTANT, tool_calls=(call,))
        case Returned(values):
            return Message(Role.TOOL, json.dumps(dict(values)), tool_call_id="call_1")
