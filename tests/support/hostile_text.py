"""Strangers' texts that try to add links, mentions, markup or lines to a message."""

from hypothesis import strategies as st

PIECES = [
    "<!channel>", "<@U024BE7LH>", "@everyone", "@here", "ops@here", "\uff20channel", "[Sign in](https://evil.example.org)",
    "<https://evil.example.org|Okta>", "https://evil.example.org", "HTTPS ://", "www.evil.example.org", "javascript:alert(1)",
    "mailto:eve@example.org", "||hidden||", "**bold**", "__under__", "`code`", "```", "# heading", "> quote", "![x](http://a)",
    "\x1b[31m", "\x9b", "\r\n", "\u2028", "\u202e", "\u2066", "\u200b", "\x00", "\ud800", "<img src=x onerror=y>", "&lt;", "\uff1cb\uff1e",
    "evil.example.org/login", "eve@evil.example.org/login", "login.\u4f8b\u3048", "a_b", "_x_", "nora@example.com", "2001:db8::7", "203.0.113.7", "|", "\\", "@",
]  # fmt: skip
hostile = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=20)), max_size=30).map("".join)
