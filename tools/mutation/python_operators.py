"""The edits of Python code: chosen operators of cosmic-ray, and a few of our own.

Owns what is mutated and what is not: annotations, docstrings, assertions, log calls and the texts
of errors say nothing about behaviour.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import cast

from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Name, Number
from parso.tree import BaseNode, Leaf, NodeOrLeaf

from tools.mutation.lua import Edit

# One or two replacements an operator: twelve for each say little more and take six times as long.
_COMPARISONS = (
    "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is"
)
_BINARY = (
    "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Div FloorDiv_Mul Mod_Mul Pow_Mul "
    "LShift_RShift RShift_LShift BitOr_BitAnd BitAnd_BitOr BitXor_BitAnd"
)
_COSMIC_RAY = [
    *(f"ReplaceComparisonOperator_{pair}" for pair in _COMPARISONS.split()),
    *(f"ReplaceBinaryOperator_{pair}" for pair in _BINARY.split()),
    *(f"ReplaceUnaryOperator_Delete_{sign}" for sign in ("USub", "Not", "Invert")),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ZeroIterationForLoop"),
    *("AddNot", "NumberReplacer", "RemoveDecorator"),
]

# Without these nothing works, or a type checker notices.
_KEPT_DECORATORS = set(
    "dataclass property cached_property contextmanager asynccontextmanager staticmethod "
    "classmethod abstractmethod overload override final runtime_checkable".split()
)
_TYPES = {"None", "str", "bytes", "int", "float", "bool", "dict", "list", "tuple"}
_BINARY_NODES = {"arith_expr", "term", "power", "expr", "and_expr", "xor_expr", "shift_expr"}
_AUGMENTED = {"+=": "-=", "-=": "+=", "*=": "/=", "/=": "*="}
_LOGS = ("log.", "logger.", "logging.")


class Source:
    """A text by parso's positions (line, column)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def offset(self, position: tuple[int, int]) -> int:
        return self._starts[position[0] - 1] + position[1]

    def span(self, node: NodeOrLeaf) -> tuple[int, int]:
        return self.offset(node.start_pos), self.offset(node.end_pos)


def python_edits(tree: BaseNode, source: Source) -> Iterator[Edit]:
    provider = OperatorProvider()
    operators = {name: provider[name]() for name in _COSMIC_RAY}
    for node in mutable_nodes(tree):
        for name, operator in operators.items():
            for index, _ in enumerate(operator.mutation_positions(node)):
                if not _is_redundant(name, node):
                    yield _cosmic_ray_edit(name, operator, node, index, source)
        for operator_name, replacement in _own(node):
            yield Edit(operator_name, *source.span(node), replacement)
        if node.type == "except_clause":
            for exception in _exceptions(node.children[1]):
                yield Edit("ExceptionType", *source.span(exception), "KeyboardInterrupt")


def mutable_nodes(node: NodeOrLeaf, annotation: bool = False) -> Iterator[NodeOrLeaf]:
    """The tree from the top, without what is not mutated. Of an annotation, only the calls in it:
    Annotated[int, Field(ge=1)]."""
    if not annotation:
        yield node
    elif _is_call(node):
        annotation = False
    if isinstance(node, BaseNode):
        for before, child in pairwise([None, *node.children]):
            assert child is not None
            if not _is_skipped(child, before):
                is_type = _text(before) in (":", "->") and (
                    node.type in ("annassign", "tfpdef") or _text(before) == "->"
                )
                yield from mutable_nodes(child, annotation or is_type)


def _is_skipped(node: NodeOrLeaf, before: NodeOrLeaf | None) -> bool:
    parent = node.parent
    assert parent is not None
    if node.type in ("assert_stmt", "import_name", "import_from"):
        return True
    if node.type == "decorator":
        return _decorator_name(node) in _KEPT_DECORATORS
    if node.type == "if_stmt":
        return "TYPE_CHECKING" in _text(cast(BaseNode, node).children[1])
    if node.type == "fstring":
        return parent.search_ancestor("raise_stmt") is not None
    if parent.type == "simple_stmt":
        return node.type == "string" or _text(node).startswith(("__all__", *_LOGS))
    # A zip of unequal lengths is a fault of its caller.
    return node.type == "argument" and _text(node).startswith("strict=") and before is not None


def _is_redundant(name: str, node: NodeOrLeaf) -> bool:
    """Whether the edit is another one again, or only breaks a type."""
    if name == "AddNot":
        # Of `a or b` cosmic-ray negates a.
        condition = cast(BaseNode, node).children[2 if node.type == "test" else 1]
        if condition.type in ("or_test", "and_test"):
            condition = cast(BaseNode, condition).children[0]
        return condition.type in ("comparison", "not_test")
    if name == "NumberReplacer":
        return _is_constant(node) or not isinstance(ast.literal_eval(_text(node)), int)
    if name.startswith("ReplaceBinaryOperator"):
        operands = cast(BaseNode, node.parent).children
        return node.parent.type not in _BINARY_NODES or any(
            operand.type in ("string", "fstring", "strings")
            or (_text(node) == "|" and _is_type(operand))
            for operand in operands
        )
    return False


def _is_type(operand: NodeOrLeaf) -> bool:
    text = _text(operand)
    return text in _TYPES or (
        isinstance(operand, Name) and text[0].isupper() and not text.isupper()
    )


def _is_constant(node: NodeOrLeaf) -> bool:
    """Whether a number stands at the level of a module or class, not in a function."""
    return node.search_ancestor("funcdef", "lambdef") is None


def _cosmic_ray_edit(
    name: str, operator: object, node: NodeOrLeaf, index: int, source: Source
) -> Edit:
    parent, node.parent = node.parent, None
    clone = copy.deepcopy(node)
    node.parent = clone.parent = parent
    mutated = operator.mutate(clone, index)  # type: ignore[attr-defined]  # cosmic-ray: no types
    start = source.offset(node.get_start_pos_of_prefix())
    end = source.offset(node.end_pos)
    return Edit(name, start, end, "" if mutated is None else mutated.get_code())


def _own(node: NodeOrLeaf) -> Iterator[tuple[str, str]]:
    """Our operators: the name, and what stands in the node's place."""
    if isinstance(node, Number):
        value = ast.literal_eval(node.value)
        if isinstance(value, float):
            yield from (
                ("Constant", repr(other)) for other in ((value * 2, value / 2) if value else (1.0,))
            )
        elif _is_constant(node):
            yield from (("Constant", str(other)) for other in sorted({value + 1, value * 2 or 1}))
    elif isinstance(node, Leaf):
        if node.type == "operator" and node.value in _AUGMENTED:
            yield "AugmentedAssignment", _AUGMENTED[node.value]
        elif node.type == "keyword" and node.value == "in" and node.parent.type == "comparison":
            yield "Membership", "not in"
    elif node.type == "comp_op" and _text(node).split() == ["not", "in"]:
        yield "Membership", "in"
    elif node.parent is not None and node.parent.type == "simple_stmt" and _is_deletable(node):
        yield "DeleteStatement", "pass"


def _exceptions(caught: NodeOrLeaf) -> list[NodeOrLeaf]:
    """The types in an except clause. cosmic-ray's own operator knows no dotted ones in a tuple."""
    if caught.type != "atom":
        return [caught]
    inner = cast(BaseNode, caught).children[1]
    return inner.children[::2] if inner.type == "testlist_comp" else [inner]


def _is_deletable(statement: NodeOrLeaf) -> bool:
    """A call, or an assignment to an attribute or an item outside of the construction."""
    if statement.type != "expr_stmt":
        return _is_call(statement)
    target, sign = cast(BaseNode, statement).children[:2]
    function = statement.search_ancestor("funcdef")
    is_made = function is not None and _text(function.children[1]) == "__init__"
    return target.type in ("atom_expr", "power") and _text(sign) == "=" and not is_made


def _is_call(node: NodeOrLeaf) -> bool:
    return node.type in ("atom_expr", "power") and _text(node).endswith(")")


def _decorator_name(node: NodeOrLeaf) -> str:
    return _text(node).removeprefix("@").split("(")[0].split(".")[-1].strip()


def _text(node: NodeOrLeaf | None) -> str:
    return "" if node is None else node.get_code(include_prefix=False)
