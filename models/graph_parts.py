"""An ONNX graph while it grows: nodes and initialisers in the order they are reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnx import NodeProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MICROSOFT = "com.microsoft"


@dataclass
class GraphParts:
    """What a graph consists of so far; methods add to it and return the name of what they made."""

    nodes: list[NodeProto] = field(default_factory=list)
    initialisers: list[TensorProto] = field(default_factory=list)

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add an initialiser, once."""
        if all(tensor.name != name for tensor in self.initialisers):
            self.initialisers.append(numpy_helper.from_array(values, name))
        return name

    def node(
        self,
        op: str,
        name: str,
        inputs: Sequence[str],
        *,
        output: str | None = None,
        domain: str = "",
        **attributes: int | float,
    ) -> str:
        """Add a node with one output."""
        output = output or f"{name}/output_0"
        self.append(op, name, inputs, [output], domain, **attributes)
        return output

    def append(
        self,
        op: str,
        name: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        domain: str = "",
        **attributes: int | float,
    ) -> None:
        """Add a node."""
        node = helper.make_node(op, inputs, outputs, name=name, domain=domain)
        node.attribute.extend(helper.make_attribute(*item) for item in attributes.items())
        self.nodes.append(node)
