"""JSON values and times that anyone could put into an event."""

import json
import random
from typing import Any

from tests.support.streams import body

_ASTRAL = "".join(map(chr, random.Random(7).choices(range(0x1F300, 0x1F5FF), k=600)))
_CONTROL = "".join(map(chr, random.Random(7).choices(range(1, 32), k=600)))
VALUES: dict[str, bytes] = {
    "nul": rb'"\u0000"',
    "nul_inside": rb'"before\u0000after"',
    "nul_as_byte": b'"before\0after"',
    "nul_as_key": rb'{"\u0000": {"a\u0000": ["\u0000"]}}',
    "surrogate": rb'"\ud800"',
    "surrogates_the_wrong_way_round": rb'"\udc00\ud800"',
    "surrogate_as_key": rb'{"\udfff": 1}',
    "no_utf8": b'"\xff\xfe\xc0\x80"',
    "no_character": rb'"\uffff\ufffe\ufdd0"',
    "more_than_64_bits": b"18446744073709551616",
    "64_bits": b"18446744073709551615",
    "63_bits": b"9223372036854775807",
    "less_than_63_bits": b"-9223372036854775809",
    "more_than_a_double": b"9" * 400,
    "less_than_a_double": b"-" + b"9" * 5_000,
    "1e400": b"1e400",
    "-1e400": b"-1e400",
    "1e308": b"1e308",
    "1e-400": b"1e-400",
    "5e-324": b"5e-324",
    "0.1": b"0.1",
    "-0.0": b"-0.0",
    "1e22": b"1e22",
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "like_nan": b'"NaN"',
    "like_infinity": b'"-Infinity"',
    "like_null": b'"NULL"',
    "like_an_array": rb'"{\"a\",NULL,\\}"',
    "like_bytes": rb'"\\x41"',
    "like_a_document": rb'"{\"a\": \"\\u0000\"}"',
    "like_sql": rb'"%s %(a)s :b ? $1 \u0027; DROP TABLE alerts; --"',
    "deep": b"[" * 5_000 + b"]" * 5_000,
    "deep_objects": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "long": b'"' + b"x" * 1_000_000 + b'"',
    "long_key": b'{"' + b"k" * 100_000 + b'": 1}',
    "long_list": b"[" + b"1," * 10_000 + b"1]",
    "long_in_bytes": json.dumps(_ASTRAL).encode(),
    "long_in_escapes": json.dumps(_CONTROL).encode(),
    "empty": b'""',
    "blank": rb'" \t\n\u2028"',
    "null": b"null",
    "true": b"true",
    "list": b"[[], {}, null]",
    "object": b'{"id": {"id": 1}, "id": 2}',
}
TIMES = [
    "-0001-01-01T00:00:00.000Z", "0000-12-31T23:59:59.999Z", "0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00+14:00",
    "1582-10-10T00:00:00.000Z", "2016-12-31T23:59:60.000Z", "2026-02-30T00:00:00.000Z", "2026-11-02T11:00:00.123456789Z",
    "2026-11-02T25:00:00.000Z", "2026-11-02", "2026-W45-1", "20261102T110000Z", "9999-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59.999-12:00", "9999-12-31T24:00:00.000Z", "10000-01-01T00:00:00.000Z", "294277-01-01T00:00:00.000Z",
    "infinity", "-infinity", "now", "epoch", "today", "4713-01-01 BC", "\u0662\u0660\u0662\u0666-11-02T11:00:00.000Z",
]  # fmt: skip
FIELDS = [
    "uuid", "published", "eventType", "displayMessage", "severity", "version",
    "actor", "actor.id", "actor.alternateId", "actor.displayName", "actor.type",
    "client", "client.ipAddress", "client.userAgent", "client.userAgent.rawUserAgent", "client.geographicalContext",
    "client.geographicalContext.country", "client.geographicalContext.city", "client.geographicalContext.geolocation.lat",
    "outcome", "outcome.result", "outcome.reason",
    "securityContext.asNumber", "securityContext.asOrg", "securityContext.isp", "securityContext.domain",
    "securityContext.risk", "securityContext.userBehaviors", "securityContext.ipDetails",
    "securityContext.ipDetails.asNumber", "securityContext.ipDetails.ipServiceCategories",
    "authenticationContext", "authenticationContext.externalSessionId", "authenticationContext.rootSessionId",
    "debugContext", "debugContext.debugData", "debugContext.debugData.dtHash", "debugContext.debugData.risk",
    "debugContext.debugData.behaviors", "debugContext.debugData.tunnels", "debugContext.debugData.logOnlySecurityData",
    "target", "request", "request.ipChain", "p_enrichment", "p_enrichment.ipinfo_privacy", "raw", "known",
]  # fmt: skip
TYPES = ["user.session.start", "user.authentication.auth_via_mfa", "policy.evaluate_sign_on", "user.account.privilege.grant"]  # fmt: skip


def element(number: int, field: str, value: bytes) -> bytes:
    """Return the bytes of an event with a value at a field."""
    mark = f"@{number}@"
    whole = body(number, eventType=TYPES[number % len(TYPES)]) | {
        "actor": {"id": f"00u{number % 7}", "alternateId": "nora@example.com", "displayName": "Nora Vale"},
        "outcome": {"result": "SUCCESS"},
        "authenticationContext": {"externalSessionId": f"s{number % 5}"},
        "debugContext": {"debugData": {"dtHash": "d1", "risk": "{level=HIGH}"}},
        "securityContext": {"isProxy": True, "asNumber": 64500},
    }
    *path, last = field.split(".")
    inner: dict[str, Any] = whole
    for part in path:
        inner = inner.setdefault(part, {})
    inner[last] = mark
    return json.dumps(whole).encode().replace(json.dumps(mark).encode(), value)
