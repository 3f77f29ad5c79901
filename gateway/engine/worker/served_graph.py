"""From an exported decoder graph to the one that is served.

Exported graphs compute logits for every position. Serving needs one row per sequence, and the
head is the largest matrix of a small model (0.5b int4: prefill +24..39 % when trimmed), so a
gather is inserted before it. They derive each row's length from a mask; the engine knows it, so
the mask goes, with the nodes that summed it. Only the graph file is read and changed; weights in
external files stay where they are.

A session over the changed graph is made from bytes and then does not know its directory, so its
options need one entry when the weights are external::

    options.add_session_config_entry(EXTERNAL_WEIGHTS_KEY, str(model_path.parent))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from gateway.engine.bundle_facts import BundleUnreadable, UnsupportedLayout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

EXTERNAL_WEIGHTS_KEY = "session.model_external_initializers_file_folder_path"
LOGITS_INDEX = "logits_index"
LAST_POSITIONS = "last_positions"
TOTAL_LENGTH = "total_length"
TOP_VALUES, TOP_IDS = "top_values", "top_ids"
NUM_TOP = 64
"""How many of the largest logits are found in the graph. In numpy that took a third of a step of a
vocabulary of 151,936; here next to nothing, also of 2,048."""

KvDtype = Literal["float32", "float16", "bfloat16"]
LogitsKind = Literal["all_positions", "last_position"]

_KV_DTYPES: dict[int, KvDtype] = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
}
_PAST = "past_key_values."
_HEADS = {"MatMul", "MatMulIntegerToFloat", "MatMulNBits", "FusedMatMul"}
# What may stand between the head and the logits: a bias, a scale, a soft cap, a cast.
_AFTER_HEAD = {"Add", "Cast", "Div", "Identity", "Mul", "Tanh"}
_PICKS_POSITIONS = {"Gather", "GatherElements", "GatherND", "Slice"}
_LAST_POSITIONS_INPUT, _TOTAL_LENGTH_INPUT = 5, 6  # of GroupQueryAttention
_COS_CACHE_INPUT = {"GroupQueryAttention": 7, "RotaryEmbedding": 2}
_REEXPORT = (
    "export the model again with: python -m onnxruntime_genai.models.builder -i MODEL -o DIR "
    "-p int4 -e cpu"
)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a decoder graph is like. `max_len_tokens` is None when no rotary cache limits it."""

    num_layers: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    kv_dtype: KvDtype
    has_position_ids: bool
    logits: LogitsKind
    max_len_tokens: int | None

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of keys and values that one token takes over all layers."""
        value_bytes = 4 if self.kv_dtype == "float32" else 2
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * value_bytes


def detect_layout(model: ModelProto) -> Layout:
    """Read the layout off a graph (weights need not be loaded).

    Raises UnsupportedLayout for a graph that keeps its KV cache by concatenation, pages it, or
    wants inputs this engine does not feed.
    """
    graph = model.graph
    inputs = {value.name: value for value in graph.input}
    logits = _output(graph, "logits")
    layers = [name for name in inputs if name.startswith(_PAST) and name.endswith(".key")]
    attentions = [node for node in graph.node if node.op_type == "GroupQueryAttention"]
    _refuse_foreign_attention(graph, len(attentions), len(layers))
    _refuse_foreign_inputs(inputs)
    past = inputs[layers[0]].type.tensor_type
    kv_dtype = _KV_DTYPES.get(past.elem_type)
    if kv_dtype is None:
        kind = TensorProto.DataType.Name(cast("TensorProto.DataType", past.elem_type))
        raise UnsupportedLayout(f"the KV cache has type {kind}; {_REEXPORT}")
    logits_dims = [dim.dim_value for dim in logits.type.tensor_type.shape.dim]
    num_heads, num_kv_heads = (_attribute(attentions[0], n) for n in ("num_heads", "kv_num_heads"))
    width = _attention_width(graph, attentions[0])
    if len(logits_dims) != 3 or not (logits_dims[2] and num_heads and num_kv_heads and width):
        raise UnsupportedLayout(f"the graph does not state its KV and logits sizes; {_REEXPORT}")
    pruned = logits_dims[1] == 1 or _picks_positions(graph)
    return Layout(
        num_layers=len(layers),
        num_kv_heads=num_kv_heads,
        head_dim=width // num_heads,
        vocab_size=logits_dims[2],
        kv_dtype=kv_dtype,
        has_position_ids="position_ids" in inputs,
        logits="last_position" if pruned else "all_positions",
        max_len_tokens=_rotary_rows(graph),
    )


def served_graph(model_path: Path) -> tuple[bytes, Layout]:
    """Load a graph, trim its head to the positions that are asked for, and tell it the lengths.

    In the place of `attention_mask` the result has the inputs `logits_index` i64[B] (those of the
    B * S new tokens, row by row, whose logits are asked for), `last_positions` i32[B] (in each
    row's cache, after the run) and `total_length` i32 (of the longest row); its output `logits` is
    f32[B, vocab_size], of which `top_values` and `top_ids` [B, 64] are the largest, in order, at
    equal values by id. Raises BundleUnreadable when the file is no ONNX graph and
    UnsupportedLayout when it cannot be served.
    """
    try:
        model = onnx.load(str(model_path), load_external_data=False)
    except (OSError, DecodeError) as error:
        raise BundleUnreadable(model_path, f"is not an ONNX graph ({error})") from error
    try:
        _check_weights_files(model, model_path.name)
        layout = detect_layout(model)
        if layout.logits == "last_position":
            raise UnsupportedLayout(
                "the graph computes logits of the last position only, which is wrong for padded "
                "batches; export the model again without prune_lm_head"
            )
        _trim_head(model.graph, layout.vocab_size)
        _find_largest(model.graph, min(NUM_TOP, layout.vocab_size))
        _take_lengths(model.graph)
    except UnsupportedLayout as error:
        raise UnsupportedLayout(f"{model_path}: {error}") from error
    return model.SerializeToString(), layout


def _check_weights_files(model: ModelProto, name: str) -> None:
    """Weights outside the graph lie beside it in files named after it: a bundle's digest covers
    those, and no graph may read any other."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    for tensor in (*_initial_tensors(model.graph), *_attribute_tensors(nodes)):
        if not uses_external_data(tensor):
            continue
        location = ExternalDataInfo(tensor).location
        if not location.startswith(name) or "/" in location or "\\" in location:
            raise UnsupportedLayout(
                f"the graph keeps weights in {location!r}; save it again with the weights in "
                f"{name}.data beside it"
            )


def _initial_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)


def _attribute_tensors(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    """Tensors that nodes hold themselves, those of their subgraphs included."""
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _initial_tensors(graph)
            yield from _attribute_tensors(graph.node)


def _trim_head(graph: GraphProto, vocab_size: int) -> None:
    """Gather each row's wanted position before the head; make logits f32[B, vocab_size]."""
    path = list(_head_path(graph))
    head = path[-1]
    flat, gathered = f"{head.name}/flat", f"{head.name}/{LOGITS_INDEX}"
    _add_input(graph, LOGITS_INDEX, TensorProto.INT64, ["batch_size"])
    # GatherND would take rows and positions as they are, but copies sizes from the host when it
    # runs on CUDA, which a captured graph would repeat from memory that is gone.
    nodes = [
        helper.make_node("Flatten", [head.input[0]], [flat], name=flat, axis=2),
        helper.make_node("Gather", [flat, LOGITS_INDEX], [gathered], name=gathered, axis=0),
    ]
    head.input[0] = gathered
    position = next(i for i, node in enumerate(graph.node) if node.output == head.output)
    for node in reversed(nodes):
        graph.node.insert(position, node)
    _forget_shapes(graph, {name for node in path for name in node.output})
    _float_logits(graph, vocab_size, path[0])


def _find_largest(graph: GraphProto, count: int) -> None:
    graph.initializer.append(helper.make_tensor("top/count", TensorProto.INT64, [1], [count]))
    graph.node.append(
        helper.make_node("TopK", ["logits", "top/count"], [TOP_VALUES, TOP_IDS], name="top")
    )
    for name, kind in ((TOP_VALUES, TensorProto.FLOAT), (TOP_IDS, TensorProto.INT64)):
        value = helper.make_tensor_value_info(name, kind, ["batch_size", count])
        graph.output.append(value)


def _take_lengths(graph: GraphProto) -> None:
    """Let attention read lengths from inputs instead of what is computed from the mask."""
    for node in graph.node:
        if node.op_type == "GroupQueryAttention":
            node.input[_LAST_POSITIONS_INPUT] = LAST_POSITIONS
            node.input[_TOTAL_LENGTH_INPUT] = TOTAL_LENGTH
    _drop_unused(graph)
    if any("attention_mask" in node.input for node in graph.node):
        raise UnsupportedLayout(
            f"the graph uses its attention mask for more than lengths; {_REEXPORT}"
        )
    inputs = [value for value in graph.input if value.name != "attention_mask"]
    del graph.input[:]
    graph.input.extend(inputs)
    _add_input(graph, LAST_POSITIONS, TensorProto.INT32, ["batch_size"])
    _add_input(graph, TOTAL_LENGTH, TensorProto.INT32, [])


def _add_input(graph: GraphProto, name: str, kind: int, dims: list[str | int | None]) -> None:
    graph.input.append(helper.make_tensor_value_info(name, kind, dims))


def _drop_unused(graph: GraphProto) -> None:
    """Remove nodes that nothing depends on, and those that only they depended on."""
    used = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):  # a node stands behind all it depends on
        if used.intersection(node.output):
            kept.append(node)
            used.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _float_logits(graph: GraphProto, vocab_size: int, last: NodeProto) -> None:
    """Declare the trimmed output, cast to float where the graph computes in half precision."""
    logits = _output(graph, "logits")
    if logits.type.tensor_type.elem_type != TensorProto.FLOAT:
        narrow = "logits/narrow"
        last.output[0] = narrow
        cast_node = helper.make_node(
            "Cast", [narrow], ["logits"], name="logits/Cast", to=TensorProto.FLOAT
        )
        graph.node.append(cast_node)
    logits.CopyFrom(
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch_size", vocab_size])
    )


def _forget_shapes(graph: GraphProto, names: set[str]) -> None:
    """Drop recorded shapes [B, S, V] of values that are [B, V] from now on."""
    kept = [value for value in graph.value_info if value.name not in names]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _head_path(graph: GraphProto) -> Iterator[NodeProto]:
    """The nodes from the one that makes `logits` back to the head's multiplication."""
    producers = {name: node for node in graph.node for name in node.output}
    node = producers.get("logits")
    while node is not None:
        yield node
        if node.op_type in _HEADS:
            return
        if node.op_type not in _AFTER_HEAD:
            break
        node = next((producers[name] for name in node.input if name in producers), None)
    found = "nothing" if node is None else f"a {node.op_type}"
    raise UnsupportedLayout(f"no multiplication found behind the logits, but {found}; {_REEXPORT}")


def _picks_positions(graph: GraphProto) -> bool:
    head_input = list(_head_path(graph))[-1].input[0]
    producer = next((node for node in graph.node if head_input in node.output), None)
    return producer is not None and producer.op_type in _PICKS_POSITIONS


def _refuse_foreign_attention(graph: GraphProto, num_attentions: int, num_layers: int) -> None:
    operators = {node.op_type for node in graph.node}
    if "PagedAttention" in operators:
        raise UnsupportedLayout(
            "the graph pages its KV cache (PagedAttention), which this engine does not serve; "
            "export the model again without use_paged_attention"
        )
    if not num_attentions:
        raise UnsupportedLayout(
            "the graph keeps its KV cache by concatenation (no GroupQueryAttention), so its "
            f"sequences cannot share a batch; {_REEXPORT}"
        )
    if num_attentions != num_layers:
        raise UnsupportedLayout(
            f"the graph has {num_attentions} attention layers but {num_layers} KV inputs named "
            f"{_PAST}N.key; {_REEXPORT}"
        )


def _refuse_foreign_inputs(inputs: dict[str, ValueInfoProto]) -> None:
    known = {"input_ids", "attention_mask", "position_ids"}
    foreign = [name for name in inputs if name not in known and not name.startswith(_PAST)]
    missing = {"input_ids", "attention_mask"} - inputs.keys()
    if foreign:
        raise UnsupportedLayout(f"the graph wants input {foreign[0]}, not known here; {_REEXPORT}")
    if missing:
        raise UnsupportedLayout(f"the graph has no input {sorted(missing)[0]}; {_REEXPORT}")


def _attention_width(graph: GraphProto, attention: NodeProto) -> int:
    """num_heads * head_dim, or 0 if unknown: the columns of the projection after the attention.

    The builder leaves the last dimension of the cache symbolic, so it cannot be read there.
    """
    projection = _consumer(graph, attention.output[0])
    if projection is not None and projection.op_type == "QuantizeLinear":
        projection = _consumer(graph, projection.output[0])
    if projection is None:
        return 0
    if projection.op_type == "MatMulNBits":
        return _attribute(projection, "K")
    dims = {tensor.name: tensor.dims for tensor in graph.initializer}
    return next((dims[name][0] for name in projection.input if name in dims), 0)


def _consumer(graph: GraphProto, name: str) -> NodeProto | None:
    """The node that takes a value as its first input."""
    return next((node for node in graph.node if name in node.input[:1]), None)


def _attribute(node: NodeProto, name: str) -> int:
    """An integer attribute, 0 when it is absent."""
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)


def _rotary_rows(graph: GraphProto) -> int | None:
    """Rows of the shortest cosine cache: positions beyond have no rotary angle."""
    rows = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    used = [
        rows[node.input[index]]
        for node in graph.node
        if (index := _COS_CACHE_INPUT.get(node.op_type)) is not None
        and len(node.input) > index
        and node.input[index] in rows
    ]
    return min(used, default=None)


def _output(graph: GraphProto, name: str) -> ValueInfoProto:
    for value in graph.output:
        if value.name == name:
            return value
    raise UnsupportedLayout(f"the graph has no output {name}; {_REEXPORT}")
