"""JSON Schemas without what is only there to be read.

Descriptions go into the prompt, as the chat template has them. In a grammar they constrain nothing
and would count against its size.
"""

from __future__ import annotations

from typing import Any

_REMARKS = frozenset({"title", "description", "default", "examples", "$comment", "deprecated"})
# Keywords whose value is one schema or a list of them, and those whose value names schemas.
_SCHEMAS = frozenset(
    {"items", "prefixItems", "additionalProperties", "allOf", "anyOf", "oneOf", "not", "if"}
    | {"then", "else", "contains", "propertyNames", "unevaluatedProperties"}
)
_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions"})


def without_remarks(schema: Any) -> Any:
    """`schema` without annotations, at every depth; data in it (`enum`, `const`) is left alone."""
    match schema:
        case dict():
            return {
                keyword: _value(keyword, value)
                for keyword, value in schema.items()
                if keyword not in _REMARKS
            }
        case list():
            return [without_remarks(item) for item in schema]
        case _:
            return schema


def _value(keyword: str, value: Any) -> Any:
    if keyword in _SCHEMAS:
        return without_remarks(value)
    if keyword in _NAMED_SCHEMAS and isinstance(value, dict):
        return {name: without_remarks(schema) for name, schema in value.items()}
    return value
