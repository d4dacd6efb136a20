"""Build an HTML page from elements, so that every text is escaped when the page is written."""

import base64
import hashlib
from xml.etree import ElementTree as ET

from oktawatch.report.text import clean, printable

Child = ET.Element | str


def element(tag: str, *children: Child, css_class: str = "", **attributes: str) -> ET.Element:
    """Return an element with elements and texts as children. Texts are escaped when the page is written."""
    made = ET.Element(tag, attributes | ({"class": css_class} if css_class else {}))
    for child in children:
        if isinstance(child, ET.Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + printable(child)
        else:
            made.text = (made.text or "") + printable(child)
    return made


def stranger(text: str) -> ET.Element:
    """Return a stranger's text as an element. Right-to-left letters in it don't reorder the text around it."""
    return element("bdi", clean(text))


def page(title: str, style: str, *body: ET.Element) -> str:
    """Return a complete page. Its content security policy forbids scripts, and loading of files."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    style_element = ET.Element("style")
    style_element.text = style
    head = element(
        "head",
        ET.Element("meta", {"charset": "utf-8"}),
        ET.Element("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        ET.Element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        ET.Element("meta", {"name": "referrer", "content": "no-referrer"}),
        element("title", title),
        style_element,
    )
    root = element("html", head, element("body", *body), lang="en")
    return f"<!doctype html>\n{ET.tostring(root, encoding='unicode', method='html')}\n"
