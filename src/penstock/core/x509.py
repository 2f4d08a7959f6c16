"""What an X.509 certificate says (RFC 5280): as much of it as is shown, compared and pinned. Read, never judged.

Whether to trust it is OpenSSL's to say; this only reads what OpenSSL has accepted, and what a user's file holds.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s*(.*?)-----END CERTIFICATE-----", re.DOTALL)

# Tags of DER.
_OBJECT_ID, _UTC_TIME, _SEQUENCE, _EXTENSIONS = 0x06, 0x17, 0x30, 0xA3
_VERSION: Final = 0xA0
_OCTETS: Final = 0x04
_WIDE: Final = 0x1E  # BMPString: two bytes a character
# Of a GeneralName.
_EMAIL, _DNS, _URI, _IP = 0x81, 0x82, 0x86, 0x87
_SUBJECT_ALT_NAME: Final = "2.5.29.17"
_ATTRIBUTES: Final = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "1.2.840.113549.1.9.1": "emailAddress",
}


class NotACertificateError(ValueError):
    """The bytes are no certificate."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What one certificate says.

    Attributes:
        der: All of it.
        subject: Whose it is, as ``CN=example.org, O=Example``.
        issuer: Who signed it, likewise.
        serial: Its number.
        not_before: From when on it is valid.
        not_after: Until when.
        dns_names: Names of hosts it is for, as written: ``*.example.org``.
        ip_addresses: Addresses it is for.
        email_addresses: Mailboxes it is for.
        uris: URIs it is for, a SPIFFE id say.
        spki: The key, as a SubjectPublicKeyInfo.
    """

    der: bytes
    subject: str
    issuer: str
    serial: int
    not_before: datetime
    not_after: datetime
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    email_addresses: tuple[str, ...]
    uris: tuple[str, ...]
    spki: bytes

    def __repr__(self) -> str:
        return f"<Certificate {self.subject} until {self.not_after:%Y-%m-%d}>"

    @property
    def names(self) -> tuple[str, ...]:
        """All names it is for; its common name where it has none."""
        names = self.dns_names + self.ip_addresses + self.email_addresses + self.uris
        common = self.common_name
        return names or ((common,) if common else ())

    @property
    def common_name(self) -> str:
        """The CN of its subject; empty where that has none."""
        found = re.search(r"(?:^|, )CN=((?:[^,\\]|\\.)*)", self.subject)
        return re.sub(r"\\(.)", r"\1", found[1]) if found else ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all of it, in hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def pin(self) -> str:
        """SHA-256 of its key as in RFC 7469, ``sha256/`` and base64: stays when it is renewed for the same key."""
        return "sha256/" + base64.b64encode(hashlib.sha256(self.spki).digest()).decode()

    def days_left(self, now: float) -> float:
        """Return how many days it is still valid; negative once it has expired.

        Args:
            now: Seconds since 1970.
        """
        return (self.not_after.timestamp() - now) / 86400

    def is_for(self, name: str) -> bool:
        """Say whether it is for a host of that name, as RFC 6125 has it: a wildcard stands for one whole label."""
        name = name.lower().removesuffix(".")
        _, _, parent = name.partition(".")
        for known in self.dns_names:
            lower = known.lower()
            if lower == name or (lower.startswith("*.") and parent and lower[2:] == parent):
                return True
        return False


def certificates_of_pem(text: bytes) -> list[Certificate]:
    """Return the certificates of a PEM file, in its order; none where it has none.

    Raises:
        NotACertificateError: One of them cannot be read.
    """
    found = []
    for block in _PEM.findall(text):
        try:
            der = base64.b64decode(b"".join(block.split()), validate=True)
        except binascii.Error as error:
            raise NotACertificateError(f"its base64 is broken: {error}") from None
        found.append(certificate_of(der))
    return found


def certificate_of(der: bytes) -> Certificate:
    """Read a certificate.

    Raises:
        NotACertificateError: It is none.
    """
    try:
        return _read(der)
    except (IndexError, ValueError, StopIteration, OverflowError) as error:
        raise NotACertificateError(f"it is no X.509 certificate: {str(error) or type(error).__name__}") from None


def _read(der: bytes) -> Certificate:
    outer = _contents(_one(der, _SEQUENCE))
    fields = _contents(_value(next(outer), _SEQUENCE))
    field = next(fields)
    if field[0] == _VERSION:
        field = next(fields)
    serial = int.from_bytes(field[1], "big", signed=True)
    next(fields)  # the algorithm of the signature
    issuer = _name(_value(next(fields), _SEQUENCE))
    validity = _contents(_value(next(fields), _SEQUENCE))
    not_before, not_after = _time(*next(validity)[:2]), _time(*next(validity)[:2])
    subject = _name(_value(next(fields), _SEQUENCE))
    spki = next(fields)[2]
    names: list[tuple[int, bytes]] = []
    for tag, value, _ in fields:
        if tag == _EXTENSIONS:
            names = _alternative_names(value)
    return Certificate(
        der,
        subject,
        issuer,
        serial,
        not_before,
        not_after,
        tuple(_text(value) for tag, value in names if tag == _DNS),
        tuple(str(ip_address(value)) for tag, value in names if tag == _IP),
        tuple(_text(value) for tag, value in names if tag == _EMAIL),
        tuple(_text(value) for tag, value in names if tag == _URI),
        spki,
    )


def _contents(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield tag, value and the whole encoding of each element."""
    at = 0
    while at < len(data):
        began = at
        tag, length, at = data[at], data[at + 1], at + 2
        if length >= 0x80:
            size = length & 0x7F
            if not 0 < size <= 4:
                raise ValueError("a length has no such form in DER")
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        if at + length > len(data):
            raise ValueError("it ends too early")
        yield tag, data[at : at + length], data[began : at + length]
        at += length


def _one(data: bytes, tag: int) -> bytes:
    return _value(next(_contents(data)), tag)


def _value(element: tuple[int, bytes, bytes], tag: int) -> bytes:
    if element[0] != tag:
        raise ValueError(f"tag {element[0]:#x} stands where {tag:#x} belongs")
    return element[1]


def _time(tag: int, value: bytes) -> datetime:
    text = value.decode("ascii")
    if tag == _UTC_TIME:  # RFC 5280 section 4.1.2.5.1: 50 and above are of the last century
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    if not text.endswith("Z"):
        raise ValueError("a time is not in UTC")
    return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _name(data: bytes) -> str:
    parts = []
    for _, group, _ in _contents(data):
        for _, pair, _ in _contents(group):
            elements = _contents(pair)
            kind = _dotted(_value(next(elements), _OBJECT_ID))
            tag, value, _ = next(elements)
            text = value.decode("utf-16-be", "replace") if tag == _WIDE else _text(value)
            text = re.sub(r"([,\\])", r"\\\1", text)
            parts.append(f"{_ATTRIBUTES.get(kind, kind)}={text}")
    return ", ".join(parts)


def _text(value: bytes) -> str:
    """Decode text of a certificate, which a peer may have made: what does not print is shown as escapes."""
    text = value.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _dotted(value: bytes) -> str:
    numbers = [min(value[0] // 40, 2), value[0] - 40 * min(value[0] // 40, 2)]
    number = 0
    for byte in value[1:]:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(number)
            number = 0
    return ".".join(map(str, numbers))


def _alternative_names(extensions: bytes) -> list[tuple[int, bytes]]:
    for _, extension, _ in _contents(_one(extensions, _SEQUENCE)):
        elements = list(_contents(extension))
        if _dotted(elements[0][1]) == _SUBJECT_ALT_NAME:
            names = _one(_value(elements[-1], _OCTETS), _SEQUENCE)
            return [(tag, value) for tag, value, _ in _contents(names)]
    return []
