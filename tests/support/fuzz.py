"""Coverage-guided fuzzing of what reads strangers' bytes: the same seed reads the same bodies.

Bodies are mutations of a corpus of invented events. A body that runs a line after another one which it never
followed before joins the corpus, so that later bodies go on from there. Nothing but the standard library is
needed: atheris has no build for every platform that oktawatch runs on, and sees no more of msgspec's C than this does.
"""

import inspect
import random
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from types import CodeType, FrameType, ModuleType
from typing import Any

Arc = tuple[CodeType, int, int]
"""Two lines of a function that ran consecutively."""

_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null')
_LONGEST = 100_000
"""Maximum bytes of a body. Larger bodies are slower and find nothing more."""


class Tracer:
    """Records the executed arcs of some modules."""

    def __init__(self, modules: Sequence[ModuleType]) -> None:
        self._files = {inspect.getsourcefile(module) for module in modules}
        self._last: dict[int, int] = {}
        self.arcs: set[Arc] = set()

    def run(self, function: Callable[[bytes], None], body: bytes) -> bool:
        """Call a function and return whether an arc ran for the first time."""
        before = len(self.arcs)
        sys.settrace(self._called)
        try:
            function(body)
        finally:
            sys.settrace(None)
            self._last.clear()
        return len(self.arcs) > before

    def _called(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._moved if frame.f_code.co_filename in self._files else None

    def _moved(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            number = id(frame)
            self.arcs.add((frame.f_code, self._last.get(number, 0), frame.f_lineno))
            self._last[number] = frame.f_lineno
        elif event == "return":
            self._last.pop(id(frame), None)
        return self._moved

    def missed(self, module: ModuleType) -> tuple[int, list[int]]:
        """Return the number of lines in a module's functions, and the lines that did not run."""
        ran = {line for code, _, line in self.arcs if code.co_filename == inspect.getsourcefile(module)}
        lines = set(chain.from_iterable(map(_lines, _functions(module))))
        return len(lines), sorted(lines - ran)


def _functions(module: ModuleType) -> Iterator[CodeType]:
    waiting = [compile(inspect.getsource(module), inspect.getsourcefile(module) or "", "exec")]
    while waiting:
        code = waiting.pop()
        inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        waiting += inner
        yield from (one for one in inner if one.co_flags & inspect.CO_OPTIMIZED)  # no class bodies


def _lines(code: CodeType) -> Iterator[int]:
    # A function's own line runs as its call, which is no line event.
    return (line for _, _, line in code.co_lines() if line and line != code.co_firstlineno)


def mutations(seed: int, corpus: list[bytes], values: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the corpus, then an endless sequence of mutations of it. The corpus may grow meanwhile."""
    yield from tuple(corpus)
    chance = random.Random(seed)
    while True:
        body = chance.choice(corpus)
        for _ in range(chance.choice((1, 1, 2, 4))):
            body = chance.choice(_MUTATIONS)(chance, body, corpus, values)
        yield body[:_LONGEST]


def fuzz(
    read: Callable[[bytes], None],
    tracer: Tracer,
    *,
    seed: int,
    corpus: list[bytes],
    values: Sequence[bytes],
    bodies: int,
) -> int:
    """Read ``bodies`` mutations of a corpus; return the final size of the corpus.

    What ``read`` raises has the body as a note.
    """
    known = set(corpus)
    for body in islice(mutations(seed, corpus, values), len(corpus) + bodies):
        try:
            new = tracer.run(read, body)
        except BaseException as error:
            error.add_note(f"the body: {body!r}")
            raise
        if new and body not in known:
            known.add(body)
            corpus.append(body)
    return len(corpus)


def _replace_value(
    chance: random.Random, body: bytes, _corpus: list[bytes], values: Sequence[bytes]
) -> bytes:
    places = list(_VALUE.finditer(body))
    if not places:
        return body
    place = chance.choice(places)
    return body[: place.start()] + chance.choice(values) + body[place.end() :]


def _move_value(chance: random.Random, body: bytes, corpus: list[bytes], _values: Sequence[bytes]) -> bytes:
    places = list(_VALUE.finditer(chance.choice(corpus)))
    return _replace_value(chance, body, corpus, [place[0] for place in places] or [b"null"])


def _replace_byte(
    chance: random.Random, body: bytes, _corpus: list[bytes], _values: Sequence[bytes]
) -> bytes:
    at = chance.randrange(len(body) + 1)
    return body[:at] + bytes([chance.randrange(256)]) + body[at + 1 :]


def _cut(chance: random.Random, body: bytes, _corpus: list[bytes], _values: Sequence[bytes]) -> bytes:
    start, end = sorted(chance.randrange(len(body) + 1) for _ in range(2))
    return body[:start] + body[end:]


def _splice(chance: random.Random, body: bytes, corpus: list[bytes], _values: Sequence[bytes]) -> bytes:
    other = chance.choice(corpus)
    return body[: chance.randrange(len(body) + 1)] + other[chance.randrange(len(other) + 1) :]


def _join(chance: random.Random, body: bytes, corpus: list[bytes], _values: Sequence[bytes]) -> bytes:
    return body.rstrip()[:-1] + b"," + chance.choice(corpus).lstrip()[1:]


_MUTATIONS = (
    _replace_value,
    _replace_value,
    _replace_value,
    _move_value,
    _replace_byte,
    _cut,
    _splice,
    _join,
)
