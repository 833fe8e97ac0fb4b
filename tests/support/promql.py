"""PromQL expressions, taken apart by a parser of Prometheus' grammar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import promql_parser

_VARIABLES = {"$__rate_interval": "5m", "$instance": ".+"}
"""Grafana's, as it would put them in."""


def parsed(expression: str) -> promql_parser.Expr:
    """The expression; ValueError where Prometheus would not take it."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return promql_parser.parse(expression)


def selectors(expression: promql_parser.Expr) -> Iterator[promql_parser.VectorSelector]:
    """Every selector in it."""
    for node in _nodes(expression):
        if isinstance(node, promql_parser.VectorSelector):
            yield node
        elif isinstance(node, promql_parser.MatrixSelector):
            yield node.vector_selector


def increases(expression: promql_parser.Expr) -> Iterator[promql_parser.VectorSelector]:
    """Every selector whose `increase` is taken."""
    for node in _nodes(expression):
        if isinstance(node, promql_parser.Call) and node.func.name == "increase":
            yield from selectors(node)


def groupings(expression: promql_parser.Expr) -> Iterator[tuple[str, ...]]:
    """The labels of every `by (...)`."""
    for node in _nodes(expression):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            yield tuple(node.modifier.labels)


def matchings(expression: promql_parser.Expr) -> Iterator[tuple[str, ...]]:
    """The labels of every `on(...)`."""
    for node in _nodes(expression):
        matching = node.modifier and node.modifier.matching if isinstance(node, promql_parser.BinaryExpr) else None
        if matching is not None:
            yield tuple(matching.labels)


def alternatives(matcher: Any) -> list[str]:
    """What a matcher asks for, where it asks for plain words."""
    words: list[str] = matcher.value.split("|")
    return [word for word in words if word and re.fullmatch(r"[\w-]+", word)]


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for name in ("lhs", "rhs", "expr", "param"):
        child = getattr(node, name, None)
        if isinstance(child, promql_parser.Expr):
            yield from _nodes(child)
    for child in getattr(node, "args", None) or ():
        yield from _nodes(child)
