from __future__ import annotations

import pytest

from gateway.core.turn import ModelInfo


def info(*aliases: str, model_id: str = "tiny") -> ModelInfo:
    return ModelInfo(
        model_id=model_id,
        version="1",
        digest="0123456789abcdef" * 4,
        precision="int8",
        max_context_tokens=512,
        tools="any",
        aliases=aliases,
    )


@pytest.mark.parametrize("name", ["tiny", "tiny[1]", "a?b", "*", "a.b+(c)"])
def test_a_model_answers_to_its_own_name_whatever_is_in_it(name: str) -> None:
    model = info(model_id=name)
    assert model.answers_to(name)
    assert model.answers_to(model.full_name)
    assert model.answers_to("default")
    assert not model.answers_to("anything")


@pytest.mark.parametrize(
    ("alias", "meant", "not_meant"),
    [
        ("gpt-4o*", ("gpt-4o", "gpt-4o-mini", "gpt-4o\nx"), ("gpt-4", "my-gpt-4o")),
        ("*-mini", ("-mini", "gpt-4o-mini"), ("mini", "gpt-4o-mini-2024")),
        ("a*b*c", ("abc", "a1b2c"), ("ac", "acb")),
        ("lab[12]", ("lab[12]",), ("lab1", "lab2")),
        ("v?", ("v?",), ("v1",)),
        ("v1.5", ("v1.5",), ("v1x5", "v1.5\n", "V1.5")),
        ("*", ("", "anything"), ()),
    ],
)
def test_only_a_star_stands_for_other_text(
    alias: str, meant: tuple[str, ...], not_meant: tuple[str, ...]
) -> None:
    assert [name for name in meant if not info(alias).answers_to(name)] == []
    assert [name for name in not_meant if info(alias).answers_to(name)] == []
