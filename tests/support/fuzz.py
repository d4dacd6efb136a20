"""Coverage-guided fuzzing of the code that parses untrusted bytes. The same seed gives the same bodies.

Bodies are mutations of a corpus of invented events. A body that runs two lines one after the other for the first time is
added to the corpus, so that later bodies are mutations of it. Only the standard library is needed: atheris is not
available for every platform that oktawatch runs on, and can't trace msgspec's C code either.
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
"""Maximum bytes of a body. Larger bodies are slower and find no further faults."""


class Tracer:
    """Records the executed arcs of some modules."""

    def __init__(self, modules: Sequence[ModuleType]) -> None:
        self._files = {inspect.getsourcefile(module) for module in modules}
        self._last: dict[int, int] = {}
        self.arcs: set[Arc] = set()

    def run(self, function: Callable[[bytes], None], body: bytes) -> bool:
        """Call a function and return whether an arc ran for the first time."""
        before = len(self.arcs)
        sys.settrace(self._trace_call)
        try:
            function(body)
        finally:
            sys.settrace(None)
            self._last.clear()
        return len(self.arcs) > before

    def _trace_call(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._trace_line if frame.f_code.co_filename in self._files else None

    def _trace_line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            number = id(frame)
            self.arcs.add((frame.f_code, self._last.get(number, 0), frame.f_lineno))
            self._last[number] = frame.f_lineno
        elif event == "return":
            self._last.pop(id(frame), None)
        return self._trace_line

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
    # The line of a function's definition is reported as a call, not as a line.
    return (line for _, _, line in code.co_lines() if line and line != code.co_firstlineno)


def mutations(seed: int, corpus: list[bytes], values: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the corpus, then an endless sequence of its mutations. The caller may add to the corpus meanwhile."""
    yield from tuple(corpus)
    rng = random.Random(seed)
    while True:
        body = rng.choice(corpus)
        for _ in range(rng.choice((1, 1, 2, 4))):
            body = rng.choice(_MUTATIONS)(rng, body, corpus, values)
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
    """Call ``read`` with a number of mutations of a corpus (``bodies``). Return the final size of the corpus.

    If ``read`` raises an exception, the body is added to it as a note.
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


def _replace_value(rng: random.Random, body: bytes, _corpus: list[bytes], values: Sequence[bytes]) -> bytes:
    places = list(_VALUE.finditer(body))
    if not places:
        return body
    place = rng.choice(places)
    return body[: place.start()] + rng.choice(values) + body[place.end() :]


def _move_value(rng: random.Random, body: bytes, corpus: list[bytes], _values: Sequence[bytes]) -> bytes:
    places = list(_VALUE.finditer(rng.choice(corpus)))
    return _replace_value(rng, body, corpus, [place[0] for place in places] or [b"null"])


def _replace_byte(rng: random.Random, body: bytes, _corpus: list[bytes], _values: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(body) + 1)
    return body[:at] + bytes([rng.randrange(256)]) + body[at + 1 :]


def _cut(rng: random.Random, body: bytes, _corpus: list[bytes], _values: Sequence[bytes]) -> bytes:
    start, end = sorted(rng.randrange(len(body) + 1) for _ in range(2))
    return body[:start] + body[end:]


def _splice(rng: random.Random, body: bytes, corpus: list[bytes], _values: Sequence[bytes]) -> bytes:
    other = rng.choice(corpus)
    return body[: rng.randrange(len(body) + 1)] + other[rng.randrange(len(other) + 1) :]


def _join(rng: random.Random, body: bytes, corpus: list[bytes], _values: Sequence[bytes]) -> bytes:
    return body.rstrip()[:-1] + b"," + rng.choice(corpus).lstrip()[1:]


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
