"""The XML of providers that is read: plain, and as small as theirs is."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"
SIGNATURES = "{http://www.w3.org/2000/09/xmldsig#}"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"

MOST_BYTES = 256 << 10
# Of answers. What looks at a signature works on it before it looks at the key, and takes the longer the more elements
# there are, the deeper they are, and the more names stand in them.
MOST_ANSWERED_BYTES = 128 << 10
MOST_ELEMENTS = 2000
MOST_DEPTH = 30
# Attributes of one element, and prefixes that are declared at one place.
MOST_NAMES = 50
MOST_IN_ATTRIBUTE = 4096

_DECLARED = re.compile(
    r"""<\?xml version=["']1\.0["'](?: encoding=["'][Uu][Tt][Ff]-8["'])?(?: standalone=["']\w+["'])?\s*\?>"""
)


def parsed(text: str) -> Element | None:
    """The root of a text that is XML in UTF-8 without declarations, comments or instructions; None for any other.

    Comments split names in two for some readers, declarations bring entities without end, and another encoding would
    be read by one reader and not by another. None of it is in what providers send.
    """
    from defusedxml.ElementTree import ParseError, fromstring

    declared = _DECLARED.match(text := text.strip())
    body = text[declared.end() :] if declared else text
    if "<!" in body or "<?" in body or len(body) > MOST_BYTES:
        return None
    try:
        return fromstring(body, forbid_dtd=True)
    except (ParseError, ValueError):  # what is forbidden is a ValueError too
        return None


def is_small(text: str) -> bool:
    """Whether a text that can be parsed is as small as answers are, in every way that costs time."""
    from defusedxml.ElementTree import iterparse

    if len(content := text.encode()) > MOST_ANSWERED_BYTES:
        return False
    elements = depth = prefixes = 0
    events: Any = iterparse(BytesIO(content), ("start", "end", "start-ns", "end-ns"), forbid_dtd=True)
    for event, one in events:
        if event == "start":
            elements, depth = elements + 1, depth + 1
            long = len(one.attrib) > MOST_NAMES or any(len(value) > MOST_IN_ATTRIBUTE for value in one.attrib.values())
        elif event == "start-ns":
            prefixes, long = prefixes + 1, len(one[1]) > MOST_IN_ATTRIBUTE
        else:
            depth, prefixes, long = depth - (event == "end"), prefixes - (event == "end-ns"), False
        if long or elements > MOST_ELEMENTS or depth > MOST_DEPTH or prefixes > MOST_NAMES:
            return False
    return True
