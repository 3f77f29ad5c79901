from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.reference import toml_value
from gateway.config.toml_lines import key_lines

DOCUMENT = '''\
# comment with [brackets] and key = 1
top = 1
"quoted key" = """
[not.a.table]
fake = 2
"""

[http]   # trailing comment
port = 8080
list = [
  "a",   # key = 3
  "]",
]
tls.cert = "x"
inline = { a = 1, b = { c = 2 } }

[ model . "deep er" ]
last = """x"""

[[many]]
first = 1
[[many]]
first = 2
'''


def test_every_key_is_found_on_its_line() -> None:
    lines = key_lines(DOCUMENT)
    assert lines == {
        ("top",): 2,
        ("quoted key",): 3,
        ("http",): 8,
        ("http", "port"): 9,
        ("http", "list"): 10,
        ("http", "tls"): 14,
        ("http", "tls", "cert"): 14,
        ("http", "inline"): 15,
        ("http", "inline", "a"): 15,
        ("http", "inline", "b"): 15,
        ("http", "inline", "b", "c"): 15,
        ("model", "deep er"): 17,
        ("model", "deep er", "last"): 18,
        ("many",): 20,
        ("many", "0"): 20,
        ("many", "0", "first"): 21,
        ("many", "1"): 22,
        ("many", "1", "first"): 23,
    }


values = st.one_of(
    st.text(), st.integers(-(1 << 62), 1 << 62), st.booleans(), st.lists(st.text(), max_size=3)
)


@given(st.dictionaries(st.text(), st.dictionaries(st.text(), values, max_size=4), max_size=4))
def test_what_is_written_is_read_back_and_every_key_has_its_line(
    document: dict[str, dict[str, object]],
) -> None:
    lines: list[str] = []
    expected: dict[tuple[str, ...], int] = {}
    for section, entries in document.items():
        lines.append(f"[{toml_value(section)}]")
        expected[(section,)] = len(lines)
        for name, value in entries.items():
            lines.append(f"{toml_value(name)} = {toml_value(value)}")
            expected[section, name] = len(lines)
    text = "\n".join(lines)
    assert tomllib.loads(text) == document
    assert key_lines(text) == expected
