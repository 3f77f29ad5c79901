"""A served graph for several tokens of one row, with the bits of as many runs of one token.

Matrices are multiplied for all of the tokens at once, which costs little more than for one: reading
the weights is most of it. Attention over several new tokens would be computed by the prompt's
kernel, which sums in another order; here each layer has one attention node for every token, one
after the other over the same memory, so each does what a step of one token does. (ONNX Runtime
1.31, the shipped model over 132 tokens: 4 tokens take 1.45 times as long as one.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, ValueInfoProto, helper

from gateway.engine.worker.port import NUM_AHEAD
from gateway.engine.worker.served_graph import LAST_POSITIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import GraphProto, NodeProto

TWINS = tuple(f"@{nth}" for nth in range(NUM_AHEAD - 1))
"""What the names of the keys and values have behind them that each token but the last leaves."""

_QKV_INPUTS, _PAST_INPUTS, _LAST_INPUT = slice(0, 3), slice(3, 5), 5  # of GroupQueryAttention
_NUM_KNOWN_INPUTS = 9
"""Inputs behind these say something of single tokens, which would have to be split too."""
_ONES = "ahead/ones"


def ahead_graph(served: bytes) -> bytes | None:
    """A served graph for NUM_AHEAD tokens of one row; None for one that cannot be split.

    `last_positions` i32[NUM_AHEAD] are those of the tokens. The outputs `present.*` have TWINS,
    which are to be bound to the same memory.
    """
    model = onnx.load_from_string(served)
    graph = model.graph
    if not _can_be_split(graph):
        return None
    graph.initializer.append(
        helper.make_tensor(_ONES, TensorProto.INT64, [NUM_AHEAD], [1] * NUM_AHEAD)
    )
    lasts = [f"{LAST_POSITIONS}@{nth}" for nth in range(NUM_AHEAD)]
    nodes = [_split(LAST_POSITIONS, lasts, axis=0)]
    for node in graph.node:
        nodes += _chain(graph, node, lasts) if node.op_type == "GroupQueryAttention" else [node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model.SerializeToString()


def _can_be_split(graph: GraphProto) -> bool:
    return all(value.name != "position_ids" for value in graph.input) and not any(
        name
        for node in graph.node
        if node.op_type == "GroupQueryAttention"
        for name in node.input[_NUM_KNOWN_INPUTS:]
    )


def _chain(graph: GraphProto, attention: NodeProto, lasts: Sequence[str]) -> list[NodeProto]:
    """An attention node for each token, over the keys and values that the one before leaves."""
    inputs = [name for name in attention.input[_QKV_INPUTS] if name]
    nodes = [_split(name, [f"{name}@{nth}" for nth in range(NUM_AHEAD)], axis=1) for name in inputs]
    outputs = [f"{attention.output[0]}@{nth}" for nth in range(NUM_AHEAD)]
    past = attention.input[_PAST_INPUTS]
    for nth, last in enumerate(lasts):
        node = onnx.NodeProto()
        node.CopyFrom(attention)
        node.name = f"{attention.name}@{nth}"
        node.input[_QKV_INPUTS] = [
            name and f"{name}@{nth}" for name in attention.input[_QKV_INPUTS]
        ]
        node.input[_PAST_INPUTS] = past
        node.input[_LAST_INPUT] = last
        node.output[0] = outputs[nth]
        if nth < len(TWINS):
            past = [name + TWINS[nth] for name in attention.output[1:3]]
            node.output[1:3] = past
            graph.output.extend(_twins(graph, attention.output[1:3], past))
        nodes.append(node)
    return [*nodes, helper.make_node("Concat", outputs, attention.output[:1], axis=1)]


def _split(name: str, parts: Sequence[str], *, axis: int) -> NodeProto:
    return helper.make_node("Split", [name, _ONES], parts, name=f"{name}@", axis=axis)


def _twins(graph: GraphProto, names: Sequence[str], twins: Sequence[str]) -> list[ValueInfoProto]:
    """Outputs like those of these names."""
    values = {value.name: value for value in graph.output}
    declared = []
    for name, twin in zip(names, twins, strict=True):
        value = ValueInfoProto()
        value.CopyFrom(values[name])
        value.name = twin
        declared.append(value)
    return declared
