"""Floor 1. YAML and JSON Lines text to one plain tree whose every node knows its line.

Rules of this room:

1. A scalar stays the text that was written. What it means is decided by the field that takes it, so `no`, `1e3` and
   `22:30` are never turned into something else on the way (YAML 1.1 would).
2. One way to write a thing: no anchors, aliases, tags or second documents. An alias is cheap to load and explodes
   when it is walked; a tag names a type, and types are our business.
3. The tree is built from parser events, not from `yaml.compose`: only events still show anchors and tags, and the
   walk is a loop, so that no nesting can exhaust the stack.
4. A file with a problem of form gives no tree: its fields would only add noise to the one message that helps.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import yaml

from agent.policy.problems import Code, Problems, Wrong, quote

#: A YAML file is written by hand; a larger inventory belongs in JSON Lines.
MAX_YAML = 1024 * 1024
#: One company is one line.
MAX_LINE = 1024 * 1024
#: A whole JSON Lines file; it is read as a stream.
MAX_LINES_FILE = 512 * 1024 * 1024
_MAX_DEPTH: Final = 16

#: libyaml where PyYAML was built with it (about ten times faster), the Python parser otherwise. Same events.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})


class Node(NamedTuple):
    """A value and the line it stands on (inside a mapping: the line of its key). `None` is an empty value.

    A named tuple, because an inventory of 100 000 companies makes some ten million of them.
    """

    line: int
    value: "str | list[Node] | dict[str, Node] | None"


def decode(raw: bytes, *, limit: int) -> str:
    """The text of a file.

    Args:
        raw: its bytes, read up to one byte past `limit`.
        limit: largest size in bytes.

    Raises:
        Wrong: too big, not UTF-8, or with a byte order mark.
    """
    if len(raw) > limit:
        raise Wrong(
            Code.TOO_BIG, f"larger than {limit // 1024} KiB", "Split it, or give customers as JSON Lines (one company per line)."
        )
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Wrong(Code.NOT_UTF8, f"not UTF-8 (line {line})", "Save the file as UTF-8.") from None
    if text.startswith("\ufeff"):
        raise Wrong(Code.NOT_UTF8, "begins with a byte order mark", "Save the file as UTF-8 without a byte order mark.")
    return text


def yaml_tree(file: str, text: str, problems: Problems) -> Node | None:
    """The tree of one YAML document, or None after a problem of form.

    Args:
        file: its name, for problems.
        text: its content, at most `MAX_YAML` bytes.
        problems: where problems go.
    """
    before = problems.count
    try:
        if len(text) > MAX_YAML or len(text.encode()) > MAX_YAML:
            raise Wrong(Code.TOO_BIG, f"larger than {MAX_YAML // 1024} KiB", "Split it, or give customers as JSON Lines.")
        root = _Builder(file, problems).build(yaml.parse(text, Loader=_LOADER))
    except Wrong as wrong:
        problems.add(file=file, line=0, code=wrong.code, what=wrong.what, mend=wrong.mend)
    except UnicodeEncodeError:
        problems.add(file=file, line=0, code=Code.NOT_UTF8, what="not UTF-8", mend="Save the file as UTF-8.")
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        what = f"character U+{error.character:04X} is not allowed in YAML"
        problems.add(file=file, line=line, code=Code.NOT_YAML, what=what, mend="Remove it.")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"not YAML: {error.problem or error.context}"
        mend = "Check the indentation, the brackets and the quotes around this line."
        # The parser sees some faults only behind the last line; a person can not look there.
        line = min(mark.line + 1, len(text.splitlines())) if mark else 0
        problems.add(file=file, line=line, code=Code.NOT_YAML, what=what, mend=mend)
    else:
        if problems.count == before and (root is None or root.value is None):
            problems.add(
                file=file,
                line=0,
                code=Code.EMPTY,
                what="the file is empty",
                mend="Fill it or remove it; an empty file is often one that was cut off while it was written.",
            )
        if problems.count == before:
            return root
    return None


class _Stop(Exception):
    """The rest of the file can not be read in a meaningful way; the problem is noted already."""


class _Frame:
    """A collection being filled."""

    __slots__ = ("key", "key_line", "node")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.key: str | None = None
        self.key_line = 0


class _Builder:
    """Parser events to a tree. It lives as long as one file is read."""

    def __init__(self, file: str, problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._stack: list[_Frame] = []
        self._root: Node | None = None
        self._documents = 0

    def build(self, events: Iterator[yaml.Event]) -> Node | None:
        try:
            for event in events:
                self._event(event)
        except _Stop:
            return None
        return self._root

    def _add(self, line: int, code: Code, what: str, mend: str) -> None:
        self._problems.add(file=self._file, line=line, code=code, what=what, mend=mend)

    def _event(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.ScalarEvent):
            self._form(event, line)
            plain = bool(event.implicit[0])
            self._put(None if plain and event.value in _NULLS else event.value, line)
        elif isinstance(event, yaml.MappingStartEvent):
            self._form(event, line)
            self._open({}, line)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._form(event, line)
            self._open([], line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._stack.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._add(line, Code.ALIAS, f"alias *{event.anchor}", "Write the value out; aliases are not allowed.")
            self._put("", line)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._add(line, Code.SEVERAL_DOCUMENTS, "a second document begins", "Keep one document per file; remove the '---'.")
                raise _Stop

    def _form(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int) -> None:
        if event.anchor is not None:
            self._add(line, Code.ALIAS, f"anchor &{event.anchor}", "Remove it; anchors and aliases are not allowed.")
        if event.tag is not None:
            self._add(line, Code.TAG, f"tag {event.tag}", "Remove it; the field decides the type.")

    def _open(self, value: "list[Node] | dict[str, Node]", line: int) -> None:
        if len(self._stack) >= _MAX_DEPTH:
            self._add(line, Code.TOO_DEEP, f"more than {_MAX_DEPTH} levels deep", "No field is that deep; check the brackets.")
            raise _Stop
        self._stack.append(_Frame(self._put(value, line)))

    def _put(self, value: "str | list[Node] | dict[str, Node] | None", line: int) -> Node:
        """Place a value in the collection that is open; a scalar may be the next key of a mapping."""
        node = Node(line, value)
        if not self._stack:
            self._root = node
            return node
        frame = self._stack[-1]
        into = frame.node.value
        if isinstance(into, list):
            into.append(node)
            return node
        assert isinstance(into, dict)  # only collections are open
        if frame.key is None:
            self._key(frame, into, node)
        else:
            node = into[frame.key] = Node(frame.key_line, value)
            frame.key = None
        return node

    def _key(self, frame: _Frame, into: dict[str, Node], node: Node) -> None:
        if not isinstance(node.value, str):
            self._add(node.line, Code.WRONG_TYPE, "a key that is not a text", "Write keys as plain names.")
            raise _Stop
        if node.value in into:
            first = into[node.value].line
            self._add(
                node.line, Code.DUPLICATE_KEY, f"{quote(node.value)} is given twice, first in line {first}", "Keep one of the two."
            )
        frame.key, frame.key_line = node.value, node.line


# --- JSON Lines -------------------------------------------------------------------------------------------------


def json_tree(file: str, line: int, text: str | bytes, problems: Problems) -> Node | None:
    """The tree of one line of a JSON Lines file, or None after a problem of form.

    Args:
        file: the file's name, for problems.
        line: the line's number, from 1; every node gets it.
        text: the line.
        problems: where problems go.
    """
    try:
        if len(text) > MAX_LINE:
            raise Wrong(Code.TOO_BIG, f"a line longer than {MAX_LINE // 1024} KiB", "Put one company on each line.")
        value = _DECODER.decode(decode(text, limit=MAX_LINE) if isinstance(text, bytes) else text)
        return _node(line, value, 0)
    except Wrong as wrong:
        problems.add(file=file, line=line, code=wrong.code, what=wrong.what, mend=wrong.mend)
    except RecursionError:
        problems.add(file=file, line=line, code=Code.TOO_DEEP, what="nested too deeply", mend="No field is that deep.")
    except ValueError as error:
        what = f"not JSON: {error}"[:200]
        problems.add(file=file, line=line, code=Code.NOT_JSON, what=what, mend="Write one company as one JSON object on one line.")
    return None


def _node(line: int, value: Any, depth: int) -> Node:
    if isinstance(value, str):
        return Node(line, value)
    if depth > _MAX_DEPTH:
        raise Wrong(Code.TOO_DEEP, f"more than {_MAX_DEPTH} levels deep", "No field is that deep; check the brackets.")
    if isinstance(value, dict):
        return Node(line, {key: _node(line, item, depth + 1) for key, item in value.items()})
    if isinstance(value, list):
        return Node(line, [_node(line, item, depth + 1) for item in value])
    return Node(line, {True: "true", False: "false", None: None}[value])


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) != len(items):
        seen: set[str] = set()
        twice = next(name for name, _ in items if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Wrong(Code.DUPLICATE_KEY, f"{quote(twice)} is given twice", "Keep one of the two.")
    return found


def _constant(name: str) -> Any:
    raise Wrong(Code.NOT_JSON, f"{name} is not JSON", "Write a number.")


#: Numbers stay text, as in YAML; the field decides.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_constant, object_pairs_hook=_pairs)
