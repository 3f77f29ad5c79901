from __future__ import annotations

import re

import pytest

from gateway.core.errors import InvalidRequest
from gateway.core.nesting import MAX_JSON_DEPTH
from gateway.core.turn import Message, Role, ToolCall, ToolSpec
from gateway.engine.chat_template import ChatTemplate, TemplateUnusable

QWEN = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a helpful assistant.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == "user" or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content }}
        {{- '\\n</tool_response><|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""

LLAMA = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + date_string + "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls | length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson + "}<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" + message.content | tojson }}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

WEATHER = ToolSpec(
    "weather", "Weather <now> in Zürich & elsewhere.", {"type": "object", "properties": {"at": {}}}
)
TALK = (
    Message(Role.USER, "Is it raining?"),
    Message(Role.ASSISTANT, tool_calls=(ToolCall("call_1", "weather", '{"at": "Zürich"}'),)),
    Message(Role.TOOL, '{"rain": true}', tool_call_id="call_1"),
)


def test_a_qwen_template_renders_tools_calls_and_results() -> None:
    assert ChatTemplate(QWEN).render((Message(Role.SYSTEM, "Be kind."), *TALK), (WEATHER,)) == (
        "<|im_start|>system\nBe kind.\n\n# Tools\n<tools>\n"
        '{"type": "function", "function": {"name": "weather", '
        '"description": "Weather <now> in Zürich & elsewhere.", '
        '"parameters": {"type": "object", "properties": {"at": {}}}}}'
        "\n</tools><|im_end|>\n"
        "<|im_start|>user\nIs it raining?<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "weather", '
        '"arguments": {"at": "Zürich"}}\n</tool_call><|im_end|>\n'
        '<|im_start|>user\n<tool_response>\n{"rain": true}\n</tool_response><|im_end|>\n'
        "<|im_start|>assistant\n"
    )


def test_a_templates_own_variables_reach_it() -> None:
    template = ChatTemplate(QWEN)
    ask = (Message(Role.USER, "hi"),)
    assert template.render(ask, variables={"enable_thinking": False}).endswith("</think>\n\n")
    assert template.render(ask, variables={"enable_thinking": True}).endswith("assistant\n")
    assert template.render(ask, add_generation_prompt=False).endswith("hi<|im_end|>\n")


def test_a_llama_template_renders_with_begin_token_and_date() -> None:
    template = ChatTemplate(LLAMA, bos_token="<|begin_of_text|>")
    text = template.render(TALK)
    assert text.startswith(
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: "
    )
    assert re.search(r"Today Date: \d\d \w{3} \d{4}<\|eot_id\|>", text)
    assert '{"name": "weather", "parameters": {"at": "Zürich"}}<|eot_id|>' in text
    assert text.endswith(
        '<|start_header_id|>ipython<|end_header_id|>\n\n"{\\"rain\\": true}"<|eot_id|>'
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_a_templates_refusal_reaches_the_caller_in_its_words() -> None:
    call = ToolCall("c", "weather", "{}")
    two = (Message(Role.ASSISTANT, tool_calls=(call, call)),)
    with pytest.raises(InvalidRequest, match="only supports single tool-calls at once") as caught:
        ChatTemplate(LLAMA).render(two)
    assert caught.value.param == "messages"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[7].content }}",
        "{{ messages[0].content + 1 }}",
        "{{ 1 // 0 }}",
        "{{ nobody() }}",
    ],
)
def test_a_template_that_fails_is_the_requests_failure(source: str) -> None:
    with pytest.raises(InvalidRequest, match="chat template"):
        ChatTemplate(source).render((Message(Role.USER, "hi"),))


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__base__ }}{{ raise_exception.__globals__ }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(source: str) -> None:
    with pytest.raises(InvalidRequest):
        ChatTemplate(source).render((Message(Role.USER, "hi"),))


def test_a_prompt_without_bounds_is_stopped() -> None:
    source = "{% for i in range(90000) %}{{ messages[0].content }}{% endfor %}"
    with pytest.raises(InvalidRequest, match="longer than"):
        ChatTemplate(source).render((Message(Role.USER, "x" * 1000),))


def test_what_is_no_template_is_told_with_its_line() -> None:
    with pytest.raises(TemplateUnusable, match="line 2"):
        ChatTemplate("fine\n{% if %}")


def test_json_filters_write_and_read_as_templates_expect() -> None:
    template = ChatTemplate(
        "{{ {'a': '<é&>'} | tojson }}{{ [1, 2] | tojson(indent=1) }}"
        "{% set result = messages[0].content | from_json %}"
        "{% for k, v in (result or {}).items() %}|{{ k }}={{ v }}{% endfor %}"
        "{{ '[1]' | from_json }}{{ 'no' | from_json }}{{ 3 | from_json }}"
    )
    assert template.render((Message(Role.TOOL, '{"b": 1, "a": "x"}'),)) == (
        '{"a": "<é&>"}[\n 1,\n 2\n]|b=1|a=xNoneNoneNone'
    )


def test_what_a_template_decodes_is_guarded_as_an_outsiders_text() -> None:
    def guard(text: str, role: Role) -> str:
        return text.replace("<", "(" if role is Role.TOOL else "[")

    template = ChatTemplate("{{ messages[0].content | from_json }}")
    hidden = Message(Role.ASSISTANT, r'{"\u003ck": ["\u003cv", {"a": "\u003cw"}, 1]}')
    assert template.render((hidden,), guard=guard) == "{'(k': ['(v', {'a': '(w'}, 1]}"


def test_what_is_nested_without_end_is_not_decoded() -> None:
    template = ChatTemplate("{{ messages[0].content | from_json }}")
    content = '{"a":' * (MAX_JSON_DEPTH + 1) + "1" + "}" * (MAX_JSON_DEPTH + 1)
    assert template.render((Message(Role.TOOL, content),)) == "None"


@pytest.mark.parametrize("name", ["items", "keys", "get", "format"])
def test_an_item_is_not_confused_with_a_method(name: str) -> None:
    template = ChatTemplate(
        "{% set known = {'pay': ['amount']} %}"
        "{% for m in messages %}{% for part in known[m.content] %}{{ part }}{% endfor %}"
        "{{ m.content[name] is defined }}{% endfor %}"
    )
    message = Message(Role.USER, name)
    assert template.render([message], variables={"name": name}) == "False"


def test_loop_controls_and_generation_blocks_are_known() -> None:
    template = ChatTemplate(
        "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}"
        "{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    )
    assert template.render((Message(Role.USER, "a"), Message(Role.USER, "b"))) == "a"


def test_a_result_knows_the_name_of_its_tool() -> None:
    template = ChatTemplate("{{ messages[-1].name }}/{{ messages[-1].tool_call_id }}")
    assert template.render(TALK) == "weather/call_1"


@pytest.mark.parametrize("arguments", ["[1]", "{", "nothing"])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    bad = Message(Role.ASSISTANT, tool_calls=(ToolCall("c9", "weather", arguments),))
    with pytest.raises(InvalidRequest, match="'c9' are not a JSON object"):
        ChatTemplate(QWEN).render((bad,))


@pytest.mark.parametrize("depth", [MAX_JSON_DEPTH + 1, 500, 100_000])
def test_arguments_nested_without_end_are_refused(depth: int) -> None:
    arguments = '{"a":' * depth + "1" + "}" * depth
    bad = Message(Role.ASSISTANT, tool_calls=(ToolCall("c9", "weather", arguments),))
    with pytest.raises(InvalidRequest, match="tool call 'c9' are"):
        ChatTemplate(QWEN).render([bad])


def test_every_text_from_outside_is_guarded() -> None:
    heard: list[tuple[str, Role]] = []

    def guard(text: str, role: Role) -> str:
        heard.append((text, role))
        return text

    tool = ToolSpec("t", "d1", {"properties": {"p1": {"enum": ["e1"], "description": "d2"}}})
    talk = (
        Message(Role.SYSTEM, "s"),
        Message(Role.USER, "u"),
        Message(Role.ASSISTANT, "a", (ToolCall("id1", "n1", '{"k1": ["v1", {"k2": "v2"}]}'),)),
        Message(Role.TOOL, "r", tool_call_id="id1"),
    )
    ChatTemplate("").render(talk, (tool,), guard=guard)
    assert {("s", Role.SYSTEM), ("u", Role.USER), ("a", Role.ASSISTANT), ("r", Role.TOOL)} <= set(
        heard
    )
    texts = {text for text, _ in heard}
    assert {"d1", "p1", "e1", "d2", "id1", "n1", "k1", "v1", "k2", "v2"} <= texts
