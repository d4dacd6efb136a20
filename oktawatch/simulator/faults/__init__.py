"""Faults between an Okta org and its client, and the script that injects them.

    org.faults.next(3, faults.html(502))                       # the next three requests
    org.faults.kth(5, faults.reset())                          # the fifth from now
    org.faults.some(0.2, faults.every(), seed=7)               # one request in five, at random
    org.faults.between(start, end, faults.refused_token())     # by the org's clock

Faults apply to System Log requests unless `path` names another endpoint. A fault that needs a cursor applies only
to requests with a cursor. Every request counts against the rate limit, with or without a fault. That
includes the requests that oktawatch repeats after a broken connection.
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
from .bodies import bomb, cut_off, cut_short, empty, longer_than_declared, not_a_list, shorter_than_declared
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
    "longer_than_declared",
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
    "shorter_than_declared",
    "stall",
    "strip_links",
    "timed_out",
    "too_many_requests",
    "unlinked",
]


def every() -> list[Fault]:
    """Return one of each fault, except the faults that hang."""
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
        longer_than_declared(),
        shorter_than_declared(),
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
