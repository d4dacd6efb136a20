"""What can go wrong between an org and who reads it, and when it does.

    org.faults.next(3, faults.html(502))                       # the next three requests
    org.faults.kth(5, faults.reset())                          # the fifth from now
    org.faults.some(0.2, faults.every(), seed=7)               # one in five, drawn from a seed
    org.faults.between(start, end, faults.refused_token())     # by the org's clock

A request counts against the rate limit whatever becomes of it. A fault strikes requests to the System Log unless
another path is named; one that needs a cursor strikes only where there is one. aiohttp's client asks once more by
itself when a connection breaks before an answer: that is a request too.
"""

from .answers import (
    bare,
    concurrent,
    error,
    html,
    login_page,
    no_permission,
    read_only,
    redirect,
    refused_cursor,
    refused_token,
    timed_out,
    too_many_requests,
)
from .bodies import bomb, cut_off, cut_short, empty, longer_than_said, not_a_list, shorter_than_said
from .connections import close, hang, reset, stall
from .fault import Fault
from .links import cap, circle, hollow, self_linked, strip_links
from .pages import contradict, elsewhere, overlap, repeat, short, unlinked
from .script import Script

__all__ = [
    "Fault",
    "Script",
    "bare",
    "bomb",
    "cap",
    "circle",
    "close",
    "concurrent",
    "contradict",
    "cut_off",
    "cut_short",
    "elsewhere",
    "empty",
    "error",
    "every",
    "hang",
    "hollow",
    "html",
    "login_page",
    "longer_than_said",
    "no_permission",
    "not_a_list",
    "overlap",
    "read_only",
    "redirect",
    "refused_cursor",
    "refused_token",
    "repeat",
    "reset",
    "self_linked",
    "short",
    "shorter_than_said",
    "stall",
    "strip_links",
    "timed_out",
    "too_many_requests",
    "unlinked",
]


def every() -> list[Fault]:
    """Return one of each fault that ends by itself: all but those that hang."""
    return [
        reset(),
        close(),
        timed_out(),
        html(502),
        html(504),
        read_only(),
        bare(503),
        bare(429),
        too_many_requests(),
        concurrent(),
        redirect(),
        login_page(),
        refused_token(),
        no_permission(),
        refused_cursor(),
        empty(),
        not_a_list(),
        cut_off(),
        cut_short(),
        longer_than_said(),
        shorter_than_said(),
        bomb(),
        elsewhere(),
        strip_links(),
        circle(),
        self_linked(),
        hollow(),
        cap(),
        unlinked(),
        short(),
        repeat(),
        overlap(),
        contradict(),
    ]
