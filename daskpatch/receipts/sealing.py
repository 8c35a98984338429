"""Checksums inside of documents: one flipped bit must not make another run of a run.

A document, JSON of named fields, has it as its last field; any other JSON beside it. What was
written before documents had checksums has none, and is taken as it is.
"""

from __future__ import annotations

import re

import crc32c

_FIELD = re.compile(rb',\n "crc32c": "[^"]*"\n\}\Z')

_END = b"\n}"

_WRAPPED = re.compile(rb'\A\{"crc32c": "[^"]*", "found": (.*)\}\Z', re.DOTALL)

_OTHER = "it is not what was written (it has another checksum)"


def sealed(document: bytes) -> bytes:
    r"""An indented JSON document with the checksum of its text.

    >>> sealed(b'{\n "shape": 1\n}')
    b'{\n "shape": 1,\n "crc32c": "d4a55ab6"\n}'
    """
    digest = f"{crc32c.crc32c(document):08x}".encode()
    return document.removesuffix(_END) + b',\n "crc32c": "' + digest + b'"' + _END


def check_sealed(document: bytes) -> None:
    """Refuse a document that is not what it was when it was sealed.

    Raises
    ------
    ValueError
        If its text has another checksum; as part of a sentence.
    """
    found = _FIELD.search(document)
    if found and sealed(document[: found.start()] + _END) != document:
        raise ValueError(_OTHER)


def wrapped(content: bytes) -> bytes:
    """Any JSON with its checksum beside it."""
    digest = f"{crc32c.crc32c(content):08x}".encode()
    return b'{"crc32c": "' + digest + b'", "found": ' + content + b"}"


def unwrapped(document: bytes) -> bytes:
    """What was wrapped; what never was, as it is.

    Raises
    ------
    ValueError
        If it is not what it was; as part of a sentence.

    >>> unwrapped(wrapped(b"[1]")), unwrapped(b"[1]")
    (b'[1]', b'[1]')
    """
    found = _WRAPPED.match(document)
    if found is None:
        return document
    if wrapped(found[1]) != document:
        raise ValueError(_OTHER)
    return found[1]
