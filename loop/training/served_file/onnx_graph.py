"""The exported graph with less in it: the same numbers from a third of the nodes.

At one short window a run, every node costs more for being there than for what it computes. Three things are rewritten,
each only where it is recognised:

- `Reshape` to a shape put together from the sizes of the very dimensions it keeps: a constant shape, in which 0 says
  "as it is".
- Products of one input with several weights (query, key, value): one product and a split, so that the input is also
  quantised once rather than three times.
- Attention, from its three inputs to its output: ONNX Runtime's `MultiHeadAttention`, in float as before.

`export` compares the result with torch, as it would without this.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
_HEADS_FIRST, _KEYS_LAST = [0, 2, 1, 3], [0, 2, 3, 1]

Array = npt.NDArray[Any]


def simplify(model: ModelProto) -> None:
    """Fold shapes, merge products and fuse attention in an FP32 graph, in place; the rest stays as it is."""
    graph = Graph(model)
    for node in graph.of_type("Reshape"):
        graph.fold_shape(node)
    for products in graph.products_by_input():
        graph.merge(products)
    for node in graph.of_type("Softmax"):
        graph.fuse(node)
    graph.write()


class Graph:
    """A model's nodes in order, who makes and who reads each value, and the constants; `write` changes the model."""

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self._nodes = list(model.graph.node)
        self.constants: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for node in self.of_type("Constant"):
            self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        # The exporter keeps equal tensors once, and refers to them so.
        for node in self.of_type("Identity"):
            if node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]]
        self._added: dict[str, Array] = {}
        self._index()

    def of_type(self, *types: str) -> list[NodeProto]:
        """The nodes of these types, in order."""
        return [node for node in self._nodes if node.op_type in types]

    def fold_shape(self, reshape: NodeProto) -> None:
        """Give a Reshape a constant shape when all that varies in it are dimensions that stay where they are."""
        parts = self._maker(reshape.input[1], "Concat")
        if parts is None:
            return
        sizes = [self._size(name, place) for place, name in enumerate(parts.input)]
        if None not in sizes:
            reshape.input[1] = self.constant(np.array(sizes, dtype=np.int64), reshape.name + "_shape")

    def products_by_input(self) -> list[list[tuple[NodeProto, NodeProto]]]:
        """(MatMul, the Add of its bias) pairs that share their input, two or more together."""
        groups: dict[str, list[tuple[NodeProto, NodeProto]]] = {}
        for product in self.of_type("MatMul"):
            add = self._only_reader(product.output[0], "Add")
            if add is not None and self._rank(product.input[1]) == 2 and self._rank(self._bias(product, add)) == 1:
                groups.setdefault(product.input[0], []).append((product, add))
        return [group for group in groups.values() if len(group) > 1]

    def merge(self, products: list[tuple[NodeProto, NodeProto]]) -> None:
        """One product in place of several; the values keep their names."""
        name = products[0][0].name + "_merged"
        weights = [self.constants[product.input[1]] for product, _ in products]
        biases = [self.constants[self._bias(product, add)] for product, add in products]
        weight = self.constant(np.concatenate(weights, axis=1), name + "_weight")
        bias = self.constant(np.concatenate(biases), name + "_bias")
        sizes = self.constant(np.array([len(one) for one in biases], dtype=np.int64), name + "_sizes")
        made = [
            helper.make_node("MatMul", [products[0][0].input[0], weight], [name + "_product"], name=name + "_product"),
            helper.make_node("Add", [name + "_product", bias], [name + "_sum"], name=name + "_sum"),
            helper.make_node(
                "Split", [name + "_sum", sizes], [add.output[0] for _, add in products], name=name, axis=2
            ),
        ]
        self.replace([node for pair in products for node in pair], made, before=products[0][0])

    def fuse(self, softmax: NodeProto) -> None:
        """MultiHeadAttention in place of everything between query, key, value and the context, if it is just that."""
        scaled = self._maker(softmax.input[0], "Mul", "MatMul")
        scale, scores = self._scale(scaled)
        context = self._only_reader(softmax.output[0], "MatMul")
        if scores is None or context is None or context.input[0] != softmax.output[0] or _axis(softmax) not in (-1, 3):
            return
        query, key = self._heads(scores.input[0], _HEADS_FIRST), self._heads(scores.input[1], _KEYS_LAST)
        value = self._heads(context.input[1], _HEADS_FIRST)
        back = self._only_reader(context.output[0], "Transpose")
        joined = self._only_reader(back.output[0], "Reshape") if back is not None else None
        if query is None or key is None or value is None or back is None or joined is None:
            return
        width, depth = self._width(query[0]), query[1]
        if _perm(back) != _HEADS_FIRST or self._shape(joined) not in ([0, 0, -1], [0, 0, width]) or not width:
            return
        names = [query[0], key[0], value[0]]
        attributes: dict[str, Any] = {"num_heads": width // depth, "scale": scale, "domain": MICROSOFT}
        made = helper.make_node(
            "MultiHeadAttention", names, list(joined.output), name=softmax.name + "_attention", **attributes
        )
        self.replace([joined], [made], before=joined)

    def products(self) -> list[NodeProto]:
        """The products of an activation with a constant matrix, in order."""
        return [node for node in self.of_type("MatMul") if self._rank(node.input[1]) == 2]

    def bias_after(self, product: NodeProto) -> tuple[NodeProto, str] | None:
        """(the Add, the name of the vector) that is all that follows a product."""
        add = self._only_reader(product.output[0], "Add")
        bias = self._bias(product, add) if add is not None else ""
        return (add, bias) if add is not None and self._rank(bias) == 1 else None

    def scale_value(self, context: str, factor: Array) -> bool:
        """Multiply the channels of an attention's output, by its constants: those that make its value are multiplied.

        What weights each row of the value does not mix channels. False, and nothing is changed, where the output is
        not that of an attention over a merged product.
        """
        attention = self._maker(context, "MultiHeadAttention")
        split = self._maker(attention.input[2], "Split") if attention is not None else None
        add = self._maker(split.input[0], "Add") if split is not None else None
        product = next((made for name in add.input if (made := self._maker(name, "MatMul"))), None) if add else None
        if attention is None or split is None or add is None or product is None or len(self._readers[context]) != 1:
            return False
        sizes, place = self._parts(split), list(split.output).index(attention.input[2])
        bias = self._bias(product, add)
        changed = (product.input[1], bias)
        own = all(name not in self._makers and len(self._readers[name]) == 1 for name in changed)
        if not own or [self._rank(name) for name in changed] != [2, 1] or not sizes:
            return False
        columns = slice(sum(sizes[:place]), sum(sizes[: place + 1]))
        for name in changed:
            scaled = self.constants[name].copy()
            scaled[..., columns] *= factor
            self.constant(scaled, name)
        return True

    def write(self) -> None:
        """Put what is needed back into the model; the graph may go on from there."""
        graph = self._model.graph
        kept = self._needed()
        used = {name for node in kept for name in node.input}
        added = [numpy_helper.from_array(value, name) for name, value in self._added.items()]
        own = [tensor for tensor in graph.initializer if tensor.name not in self._added]
        tensors = [tensor for tensor in [*own, *added] if tensor.name in used]
        nodes = [NodeProto.FromString(node.SerializeToString()) for node in kept]
        tensors = [type(tensor).FromString(tensor.SerializeToString()) for tensor in tensors]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(nodes)
        graph.initializer.extend(tensors)
        known = {opset.domain for opset in self._model.opset_import}
        if MICROSOFT not in known and any(node.domain == MICROSOFT for node in nodes):
            self._model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))

    def _needed(self) -> list[NodeProto]:
        """The nodes that the outputs depend on, in order."""
        wanted = {output.name for output in self._model.graph.output}
        kept = []
        for node in reversed(self._nodes):
            if wanted.intersection(node.output):
                kept.append(node)
                wanted.update(node.input)
        return kept[::-1]

    def _index(self) -> None:
        self._makers = {name: node for node in self._nodes for name in node.output}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in self._nodes:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def replace(self, old: Iterable[NodeProto], new: list[NodeProto], before: NodeProto) -> None:
        """Put new nodes where `before` stands, and take old ones out."""
        place = next(place for place, node in enumerate(self._nodes) if node is before)
        gone = {id(node) for node in old}
        head = [node for node in self._nodes[:place] if id(node) not in gone]
        self._nodes = [*head, *new, *(node for node in self._nodes[place:] if id(node) not in gone)]
        self._index()

    def constant(self, value: Array, name: str) -> str:
        """Add a constant, or change it; its name."""
        self._added[name] = self.constants[name] = value
        return name

    def _maker(self, name: str, *types: str) -> NodeProto | None:
        node = self._makers.get(name)
        return node if node is not None and node.op_type in types else None

    def _only_reader(self, name: str, type_: str) -> NodeProto | None:
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and readers[0].op_type == type_ else None

    def _rank(self, name: str) -> int:
        return self.constants[name].ndim if name in self.constants else -1

    def _bias(self, product: NodeProto, add: NodeProto) -> str:
        return str(next((name for name in add.input if name != product.output[0]), ""))

    def _size(self, name: str, place: int) -> int | None:
        """One entry of a shape: a constant, 0 for dimension `place` of some value, None for anything else."""
        if name in self.constants:
            return int(self.constants[name].item()) if self.constants[name].size == 1 else None
        unsqueeze = self._maker(name, "Unsqueeze")
        gather = self._maker(unsqueeze.input[0], "Gather") if unsqueeze is not None else None
        if gather is None or self._maker(gather.input[0], "Shape") is None:
            return None
        index = self.constants.get(gather.input[1])
        return 0 if index is not None and index.size == 1 and int(index.item()) == place else None

    def _shape(self, reshape: NodeProto) -> list[int] | None:
        value = self.constants.get(reshape.input[1])
        return None if value is None else [int(size) for size in value]

    def _scale(self, node: NodeProto | None) -> tuple[float, NodeProto | None]:
        """The factor of the scores, and the product that makes them."""
        if node is None or node.op_type == "MatMul":
            return 1.0, node
        factor = next((self.constants[name] for name in node.input if name in self.constants), None)
        scores = next((self._maker(name, "MatMul") for name in node.input if name not in self.constants), None)
        return (float(factor.item()), scores) if factor is not None and factor.size == 1 else (1.0, None)

    def _heads(self, name: str, perm: list[int]) -> tuple[str, int] | None:
        """(value, depth of a head) where `name` is that value cut into heads and turned by `perm`."""
        turned = self._maker(name, "Transpose")
        cut = self._maker(turned.input[0], "Reshape") if turned is not None and _perm(turned) == perm else None
        shape = self._shape(cut) if cut is not None else None
        if cut is None or shape is None or len(shape) != 4 or shape[:2] != [0, 0] or shape[3] < 1:
            return None
        return cut.input[0], shape[3]

    def _parts(self, split: NodeProto | None) -> list[int]:
        """How wide the parts of the last dimension are; none where another one is split, or it is not known."""
        if split is None or _axis(split, 0) not in (-1, 2) or self._rank(split.input[-1]) != 1:
            return []
        return [int(size) for size in self.constants[split.input[-1]]]

    def _width(self, name: str) -> int:
        """The last dimension of a part of a merged product; 0 when it is not known."""
        split = self._maker(name, "Split")
        sizes = self._parts(split)
        return sizes[list(split.output).index(name)] if split is not None and sizes else 0


def _perm(transpose: NodeProto) -> list[int]:
    return next((list(one.ints) for one in transpose.attribute if one.name == "perm"), [])


def _axis(node: NodeProto, default: int = -1) -> int:
    return next((int(one.i) for one in node.attribute if one.name == "axis"), default)
