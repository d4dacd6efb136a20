r"""Text that strangers typed, made fit for messages that other programs draw.

A message ends up in chats, mail and pagers, and each of them makes something of what it finds in a
text: ``<!channel>`` and ``@everyone`` wake people up, ``[Sign in](https://…)`` and bare addresses become
links, ``||…||`` hides. Which of them a channel leads to is not known here, so a stranger's text loses
what any of them acts on, in each form. What it loses is replaced by a look-alike, not removed: the text
still says what was typed.
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
_AT = "\uff20"  # the full-width one
_MENTION = re.compile(r"(?<![\w.%+-])@|@(?=(?:all|channel|everyone|here)\b)", re.IGNORECASE)
# A letter beyond f: the groups of an IPv6 address are no schemes.
_SCHEME = re.compile(r"([g-z][a-z0-9+.-]*):(?=\S)", re.IGNORECASE)
_WWW = re.compile(r"\bwww\.", re.IGNORECASE)
_ONE_DOT = "\u2024"  # looks like a full stop
# Chats and mail programs make links of hosts without a scheme, too; in an e-mail address no harm is done, but where
# one at sign follows another nobody knows what they take for the address.
_HOST_DOT = re.compile(r"(?<![\w.%+@-])[\w.%+-]+@[\w-]+(?:\.[\w-]+)+(?![\w/:?#@])|(?<=[^\W_])\.(?=[^\W\d_])")
_INNER_UNDERSCORE = re.compile("(?<=[^\\W_\u02cd])\u02cd(?=[^\\W_\u02cd])")


def harmless(value: object, limit: int = LONGEST) -> str:
    """Make one line of plain text that nothing acts on, of at most ``limit`` characters."""
    return _HOST_DOT.sub(lambda found: _ONE_DOT if found[0] == "." else found[0], given(value, limit))


def given(value: object, limit: int = LONGEST) -> str:
    """Do the same for a name that the operator gave: an org may be called like its host, ``acme.okta.com``."""
    # Compatibility forms first: a full-width sign would turn back into the plain one in somebody else's hands.
    text = unicodedata.normalize("NFKC", str(value)[: 4 * limit])
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    text = " ".join(text.split()).translate(_LOOK_ALIKES)
    text = _WWW.sub("www(.)", _SCHEME.sub(r"\1(:)", text).replace("://", "(:)//"))
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    # These keep the length, and look at what the cut has left.
    return _INNER_UNDERSCORE.sub("_", _MENTION.sub(_AT, text))


def as_code(text: str) -> str:
    """Write a harmless text in Markdown so that it stands as it is."""
    return f"`{text}`" if text else ""


def as_html(text: str) -> str:
    """Write a text in HTML."""
    return html.escape(text, quote=True)
