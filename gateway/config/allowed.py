"""What a type takes at one of its keys, in words for a complaint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import inspect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def allowed_at(to: type, key: Sequence[str]) -> str:
    """`0 to 100`, or the choices one by one; of a key that a table lacks, the keys it has.

    Empty where there is nothing to say that the type's name does not: a text, a list.
    """
    places: list[inspect.Type] = [inspect.type_info(to)]
    for part in key:
        tables = [table for place in places for table in _tables(place)]
        fields = [field for table in tables for field in table.fields]
        inner = [field.type for field in fields if field.encode_name == part]
        if kinds := [table.tag for table in tables if table.tag_field == part]:
            return _choices(kinds)
        if tables and not inner:
            return ", ".join(dict.fromkeys(field.encode_name for field in fields))
        places = inner or [item for place in places for item in _items(place)]
    return next((words for place in places if (words := _words(place))), "")


def _plain(place: inspect.Type) -> Iterator[inspect.Type]:
    """The type without what is wrapped around it, the members of a union one by one."""
    if isinstance(place, inspect.Metadata):
        yield from _plain(place.type)
    elif isinstance(place, inspect.UnionType):
        for member in place.types:
            yield from _plain(member)
    else:
        yield place


def _tables(place: inspect.Type) -> Iterator[inspect.StructType]:
    return (one for one in _plain(place) if isinstance(one, inspect.StructType))


def _items(place: inspect.Type) -> Iterator[inspect.Type]:
    for one in _plain(place):
        if isinstance(one, inspect.ListType | inspect.VarTupleType):
            yield one.item_type
        elif isinstance(one, inspect.DictType):
            yield one.value_type


def _words(place: inspect.Type) -> str:
    for one in _plain(place):
        match one:
            case inspect.IntType() | inspect.FloatType():
                return _range(one)
            case inspect.EnumType():
                return _choices(member.value for member in one.cls)
            case inspect.LiteralType():
                return _choices(one.values)
    return ""


def _range(one: inspect.IntType | inspect.FloatType) -> str:
    if one.ge is not None and one.le is not None:
        return f"{one.ge} to {one.le}"
    bounds = (("above", one.gt), ("at least", one.ge), ("below", one.lt), ("at most", one.le))
    return ", ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)


def _choices(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
