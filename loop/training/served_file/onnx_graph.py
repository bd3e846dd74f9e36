"""The exported graph with less in it: the same numbers from a third of the nodes.

At one short window a run, every node costs more for being there than for what it computes. Three things are rewritten,
each only where it is recognised:

- `Reshape` to a shape put together from the sizes of the very dimensions it keeps: a constant shape, in which 0 says
  "as it is".
- Products of one input with several weights (query, key, value): one product and a split, so that the input is also
  quantised once rather than three times.
- Attention, from its three inputs to its output: ONNX Runtime's `MultiHeadAttention`, in float as before; and where
  the product before it was quantised, both together: `QAttention`, which works on the parts of the product as they are.

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
    """Fold shapes and merge products of an FP32 graph, in place; what is not recognised stays as it is."""
    graph = _Graph(model)
    for node in graph.of_type("Reshape"):
        graph.fold_shape(node)
    for products in graph.products_by_input():
        graph.merge(products)
    graph.write()


def fuse_attention(model: ModelProto) -> None:
    """Fuse the attention of a simplified graph, in place; after quantising, which does not know the new operators."""
    graph = _Graph(model)
    for node in graph.of_type("Softmax"):
        graph.fuse(node)
    for node in graph.of_type("MultiHeadAttention"):
        graph.absorb(node)
    graph.write()


class _Graph:
    """A model's nodes in order, who makes and who reads each value, and the constants."""

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        self._nodes = list(model.graph.node)
        self._constants: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for node in self.of_type("Constant"):
            self._constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        # The exporter keeps equal tensors once, and refers to them so.
        for node in self.of_type("Identity"):
            if node.input[0] in self._constants:
                self._constants[node.output[0]] = self._constants[node.input[0]]
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
            reshape.input[1] = self._constant(np.array(sizes, dtype=np.int64), reshape.name + "_shape")

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
        weights = [self._constants[product.input[1]] for product, _ in products]
        biases = [self._constants[self._bias(product, add)] for product, add in products]
        weight = self._constant(np.concatenate(weights, axis=1), name + "_weight")
        bias = self._constant(np.concatenate(biases), name + "_bias")
        sizes = self._constant(np.array([len(one) for one in biases], dtype=np.int64), name + "_sizes")
        made = [
            helper.make_node("MatMul", [products[0][0].input[0], weight], [name + "_product"], name=name + "_product"),
            helper.make_node("Add", [name + "_product", bias], [name + "_sum"], name=name + "_sum"),
            helper.make_node(
                "Split", [name + "_sum", sizes], [add.output[0] for _, add in products], name=name, axis=2
            ),
        ]
        self._replace([node for pair in products for node in pair], made, before=products[0][0])

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
        self._replace([joined], [made], before=joined)

    def absorb(self, attention: NodeProto) -> None:
        """QAttention in place of attention over query, key and value that are equal parts of a quantised product."""
        split = self._maker(attention.input[0], "Split")
        parts = self._parts(split)
        if split is None or list(split.output) != list(attention.input) or len(parts) != 3 or len(set(parts)) != 1:
            return
        added = self._maker(split.input[0], "Add")
        scaled = self._fed_by(added, "Mul")
        product = self._fed_by(self._fed_by(scaled, "Cast"), "MatMulInteger")
        scales = self._fed_by(scaled, "Mul")
        if added is None or scaled is None or product is None or scales is None or len(product.input) != 4:
            return
        bias = self._bias(scaled, added)
        weight_scale = next((name for name in scales.input if name in self._constants), "")
        if self._rank(bias) != 1 or self._rank(product.input[1]) != 2 or not weight_scale:
            return
        activation_scale = next(name for name in scales.input if name != weight_scale)
        values, weight, zero_point, weight_zero_point = product.input
        inputs = [values, weight, bias, activation_scale, weight_scale, "", zero_point, weight_zero_point]
        made = helper.make_node(
            "QAttention", inputs, list(attention.output), name=attention.name + "_quantised", domain=MICROSOFT
        )
        made.attribute.extend(attention.attribute)
        self._replace([attention], [made], before=attention)

    def write(self) -> None:
        """Put what is needed back into the model."""
        graph = self._model.graph
        kept = self._needed()
        used = {name for node in kept for name in node.input}
        added = [numpy_helper.from_array(value, name) for name, value in self._added.items()]
        tensors = [tensor for tensor in [*graph.initializer, *added] if tensor.name in used]
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

    def _replace(self, old: Iterable[NodeProto], new: list[NodeProto], before: NodeProto) -> None:
        place = next(place for place, node in enumerate(self._nodes) if node is before)
        gone = {id(node) for node in old}
        head = [node for node in self._nodes[:place] if id(node) not in gone]
        self._nodes = [*head, *new, *(node for node in self._nodes[place:] if id(node) not in gone)]
        self._index()

    def _constant(self, value: Array, name: str) -> str:
        self._added[name] = self._constants[name] = value
        return name

    def _maker(self, name: str, *types: str) -> NodeProto | None:
        node = self._makers.get(name)
        return node if node is not None and node.op_type in types else None

    def _only_reader(self, name: str, type_: str) -> NodeProto | None:
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and readers[0].op_type == type_ else None

    def _rank(self, name: str) -> int:
        return self._constants[name].ndim if name in self._constants else -1

    def _bias(self, product: NodeProto, add: NodeProto) -> str:
        return str(next((name for name in add.input if name != product.output[0]), ""))

    def _size(self, name: str, place: int) -> int | None:
        """One entry of a shape: a constant, 0 for dimension `place` of some value, None for anything else."""
        if name in self._constants:
            return int(self._constants[name].item()) if self._constants[name].size == 1 else None
        unsqueeze = self._maker(name, "Unsqueeze")
        gather = self._maker(unsqueeze.input[0], "Gather") if unsqueeze is not None else None
        if gather is None or self._maker(gather.input[0], "Shape") is None:
            return None
        index = self._constants.get(gather.input[1])
        return 0 if index is not None and index.size == 1 and int(index.item()) == place else None

    def _shape(self, reshape: NodeProto) -> list[int] | None:
        value = self._constants.get(reshape.input[1])
        return None if value is None else [int(size) for size in value]

    def _scale(self, node: NodeProto | None) -> tuple[float, NodeProto | None]:
        """The factor of the scores, and the product that makes them."""
        if node is None or node.op_type == "MatMul":
            return 1.0, node
        factor = next((self._constants[name] for name in node.input if name in self._constants), None)
        scores = next((self._maker(name, "MatMul") for name in node.input if name not in self._constants), None)
        return (float(factor.item()), scores) if factor is not None and factor.size == 1 else (1.0, None)

    def _heads(self, name: str, perm: list[int]) -> tuple[str, int] | None:
        """(value, depth of a head) where `name` is that value cut into heads and turned by `perm`."""
        turned = self._maker(name, "Transpose")
        cut = self._maker(turned.input[0], "Reshape") if turned is not None and _perm(turned) == perm else None
        shape = self._shape(cut) if cut is not None else None
        if cut is None or shape is None or len(shape) != 4 or shape[:2] != [0, 0] or shape[3] < 1:
            return None
        return cut.input[0], shape[3]

    def _fed_by(self, node: NodeProto | None, type_: str) -> NodeProto | None:
        """Who makes an input of the node, when that is of this type."""
        makers = [self._maker(name, type_) for name in node.input] if node is not None else []
        return next((maker for maker in makers if maker is not None), None)

    def _parts(self, split: NodeProto | None) -> list[int]:
        """How wide the parts of the last dimension are; none where another one is split, or it is not known."""
        if split is None or _axis(split, 0) not in (-1, 2) or self._rank(split.input[-1]) != 1:
            return []
        return [int(size) for size in self._constants[split.input[-1]]]

    def _width(self, name: str) -> int:
        """The last dimension of a part of a merged product; 0 when it is not known."""
        split = self._maker(name, "Split")
        sizes = self._parts(split)
        return sizes[list(split.output).index(name)] if split is not None and sizes else 0


def _perm(transpose: NodeProto) -> list[int]:
    return next((list(one.ints) for one in transpose.attribute if one.name == "perm"), [])


def _axis(node: NodeProto, default: int = -1) -> int:
    return next((int(one.i) for one in node.attribute if one.name == "axis"), default)
