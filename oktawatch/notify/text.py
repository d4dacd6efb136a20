r"""Make text that strangers typed safe for messages that other programs display.

Chats, mail programs and pagers interpret text: ``<!channel>`` and ``@everyone`` notify people,
``[Sign in](https://…)`` and bare addresses become links, ``||…||`` hides text. The program that displays a
message is not known here. So every character sequence that any of these programs interprets is replaced by one
that looks similar. Only white space and the end of a long text are removed, so the result still shows what was
typed.
"""

import html
import re
import unicodedata

LONGEST = 200  # characters of one value
_LOOK_ALIKES = str.maketrans(
    {
        "<": "\u2039",
        ">": "\u203a",
        "[": "(",
        "]": ")",
        "`": "'",
        "*": "\u2217",
        "|": "\u00a6",
        "~": "\u223c",
        "\\": "\u29f5",
        "_": "\u02cd",
        "#": "\u266f",
    }
)
_AT = "\uff20"  # a full-width at sign
_MENTION = re.compile(r"(?<![\w.%+-])@|@(?=(?:all|channel|everyone|here)\b)", re.IGNORECASE)
# Starts with a letter beyond f, so that a group of an IPv6 address is not taken for a scheme.
_SCHEME = re.compile(r"([g-z][a-z0-9+.-]*):(?=\S)", re.IGNORECASE)
_WWW = re.compile(r"\bwww\.", re.IGNORECASE)
_ONE_DOT = "\u2024"  # looks like a full stop
# Chats and mail programs also turn a host without a scheme into a link. The dots of an e-mail address are kept. Programs
# differ in how they read a text with several at signs, so its dots are replaced.
_HOST_DOT = re.compile(r"(?<![\w.%+@-])[\w.%+-]+@[\w-]+(?:\.[\w-]+)+(?![\w/:?#@])|(?<=[^\W_])\.(?=[^\W\d_])")
_INNER_UNDERSCORE = re.compile("(?<=[^\\W_\u02cd])\u02cd(?=[^\\W_\u02cd])")


def harmless(value: object, limit: int = LONGEST) -> str:
    """Return one line of plain text that no program interprets, of at most ``limit`` characters."""
    return _HOST_DOT.sub(lambda found: _ONE_DOT if found[0] == "." else found[0], harmless_name(value, limit))


def harmless_name(value: object, limit: int = LONGEST) -> str:
    """Return a configured name as harmless text, but keep its dots: ``acme.okta.com``."""
    # Normalize first: another program could turn a full-width sign into the plain one later.
    text = unicodedata.normalize("NFKC", str(value)[: 4 * limit])
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    text = " ".join(text.split()).translate(_LOOK_ALIKES)
    text = _WWW.sub("www(.)", _SCHEME.sub(r"\1(:)", text).replace("://", "(:)//"))
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    # These replacements keep the length. They are last, because shortening can change what they match.
    return _INNER_UNDERSCORE.sub("_", _MENTION.sub(_AT, text))


def as_code(text: str) -> str:
    """Return a harmless text as Markdown code, which is displayed unchanged."""
    return f"`{text}`" if text else ""


def as_html(text: str) -> str:
    """Return a text escaped for HTML."""
    return html.escape(text, quote=True)
