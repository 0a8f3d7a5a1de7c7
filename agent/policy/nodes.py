"""Floor 1. Tree nodes to typed fields: the reader that every kind of file shares.

Rules of this room:

1. `Table` reads one mapping: fields are taken by name, and what nobody took is an unknown key, with the nearest
   known one suggested.
2. A field that is wrong gives None in disguise, and a problem. So a reader takes every field first, and builds its
   value only if `sound` still holds; that is how one pass finds every problem.
3. A problem names the path of the field (`sites.paris.attachments[0].prefix`); in JSON Lines the line alone would
   not say which one.
"""

import difflib
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar, cast

from agent.policy import kinds
from agent.policy.problems import Code, Problems, Wrong, quote
from agent.policy.tree import Node

T = TypeVar("T")
D = TypeVar("D")
Kind = Callable[[str], T]


class Table:
    """One mapping being read. It lives as long as that."""

    __slots__ = ("_before", "_is_mapping", "_known", "fields", "file", "line", "path", "problems")

    def __init__(self, problems: Problems, file: str, node: Node, path: str) -> None:
        self.problems = problems
        self.file = file
        self.line = node.line
        self.path = path
        self._before = problems.count
        self._known: list[str] = []
        self.fields: dict[str, Node] = {}
        self._is_mapping = node.value is None or isinstance(node.value, dict)
        if isinstance(node.value, dict):
            self.fields = node.value
        elif not self._is_mapping:
            self.report(node.line, Code.WRONG_TYPE, f"{_named(node)} where fields are wanted", "Write `name: value` pairs.")

    @property
    def sound(self) -> bool:
        """True while no problem was found in this mapping, nor below it."""
        return self.problems.count == self._before

    def report(self, line: int, code: StrEnum, what: str, mend: str, *, key: str = "") -> None:
        """Note a problem in this mapping, or in its field `key`."""
        path = f"{self.path}.{key}" if self.path and key else self.path or key
        self.problems.add(file=self.file, line=line, code=code, what=f"{path}: {what}" if path else what, mend=mend)

    def wrong(self, wrong: Wrong, *, key: str = "", line: int = 0) -> None:
        """Note what a kind or a check found."""
        self.report(line or self.line_of(key), wrong.code, wrong.what, wrong.mend, key=key)

    def line_of(self, key: str) -> int:
        """The line of a field, or of the mapping where the field is not given."""
        node = self.fields.get(key)
        return node.line if node else self.line

    def need(self, key: str, kind: Kind[T]) -> T:
        """A field that must be given."""
        node = self._node(key)
        if node is None:
            if self._is_mapping:  # otherwise that was said already
                self.report(self.line, Code.MISSING, f"{key} is missing", f"Add `{key}: ...`.")
            return cast("T", None)
        return cast("T", self._scalar(node, kind, key))

    def may(self, key: str, kind: Kind[T], default: D) -> T | D:
        """A field that may be left out."""
        node = self._node(key)
        return default if node is None else cast("T", self._scalar(node, kind, key))

    def many(self, key: str, kind: Kind[T], default: tuple[T, ...] = ()) -> tuple[T, ...]:
        """One value or a list of them; none twice."""
        node = self._node(key)
        if node is None:
            return default
        items = node.value if isinstance(node.value, list) else [node]
        found: list[T] = []
        for index, item in enumerate(items):
            path = f"{key}[{index}]" if items is node.value else key
            value = self._scalar(item, kind, path)
            if value is not None and value in found:
                self.report(item.line, Code.TWICE, f"{quote(str(item.value))} is given twice", "Keep it once.", key=path)
            elif value is not None:
                found.append(value)
        return tuple(found)

    def each(self, key: str, read: Callable[["Table"], T | None]) -> tuple[T, ...]:
        """A list of mappings; those that were read."""
        node = self._node(key)
        if node is None:
            return ()
        if not isinstance(node.value, list):
            self.report(node.line, Code.WRONG_TYPE, f"{_named(node)} where a list is wanted", "Begin each item with '- '.", key=key)
            return ()
        found = (read(self._below(item, f"{key}[{index}]")) for index, item in enumerate(node.value))
        return tuple(value for value in found if value is not None)

    def named(self, key: str, read: Callable[[str, "Table"], T | None]) -> tuple[T, ...]:
        """A mapping of ids to mappings; where no item has fields, a plain list of ids says the same."""
        node = self._node(key)
        if node is None:
            return ()
        if isinstance(node.value, list):
            names = self.many(key, kinds.ident)
            lines = {item.value: item.line for item in node.value if isinstance(item.value, str)}
            node = Node(node.line, {name: Node(lines[name], None) for name in names})
        return self._below(node, key).entries(read)

    def entries(self, read: Callable[[str, "Table"], T | None]) -> tuple[T, ...]:
        """This mapping itself as ids to mappings; those that were read."""
        self._known.extend(self.fields)
        found = []
        for name, node in self.fields.items():
            try:
                value = read(kinds.ident(name), self._below(node, name))
            except Wrong as wrong:
                self.wrong(wrong, line=node.line)
            else:
                if value is not None:
                    found.append(value)
        return tuple(found)

    def mapping(self, key: str, name: Kind[str], kind: Kind[T]) -> dict[str, T]:
        """A mapping of names to values."""
        below = self.below(key)
        if below is None:
            return {}
        found = {}
        for each, node in below.fields.items():
            try:
                value = below.may(name(each), kind, None)
            except Wrong as wrong:
                below.wrong(wrong, line=node.line)
            else:
                if value is not None:
                    found[each] = value
        return found

    def names(self, key: str) -> frozenset[str]:
        """The ids that `named` will meet under a key, whether or not they are sound."""
        node = self.fields.get(key)
        if node is None or not isinstance(node.value, list | dict):
            return frozenset()
        return frozenset(item if isinstance(item, str) else str(item.value) for item in node.value)

    def below(self, key: str) -> "Table | None":
        """A mapping inside this one, or None where it is not given."""
        node = self._node(key)
        return None if node is None else self._below(node, key)

    def done(self) -> bool:
        """End of the reading: whatever nobody took is unknown. True if everything was sound."""
        for key in self.fields.keys() - set(self._known):
            near = difflib.get_close_matches(key, self._known, n=1)
            mend = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(sorted(self._known))}."
            self.report(self.fields[key].line, Code.UNKNOWN_KEY, f"unknown key {quote(key)}", mend)
        return self.sound

    def _node(self, key: str) -> Node | None:
        self._known.append(key)
        return self.fields.get(key)

    def _below(self, node: Node, key: str) -> "Table":
        return Table(self.problems, self.file, node, f"{self.path}.{key}" if self.path else key)

    def _scalar(self, node: Node, kind: Kind[T], key: str) -> T | None:
        if isinstance(node.value, str):
            try:
                return kind(node.value)
            except Wrong as wrong:
                self.wrong(wrong, key=key, line=node.line)
        elif node.value is None:
            self.report(node.line, Code.MISSING, "no value", "Write one, or leave the key out.", key=key)
        else:
            self.report(node.line, Code.WRONG_TYPE, f"{_named(node)} where one value is wanted", "Write a single value.", key=key)
        return None


def _named(node: Node) -> str:
    if isinstance(node.value, dict):
        return "fields"
    if isinstance(node.value, list):
        return "a list"
    return "nothing" if node.value is None else "a single value"
