"""Emergency notices (spec/emergency.md)."""

import hashlib

from .curve import Refused, check_signature
from .fields import Fields, is_control
from .sealed import ALPHABET


def is_good(key, message, signature):
    try:
        check_signature(key, b"qpq-emergency-v1\0", message, signature)
    except Refused:
        return False
    return True


def read_notice(data):
    f = Fields(data, "notice-length")
    if f.number(1) != 1:
        raise Refused("notice-version")
    topic, until = f.take(32), f.take(8)
    raw = f.take(f.number(2))
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Refused("notice-text") from None
    if not 1 <= len(raw) <= 2048:
        raise Refused("notice-length")
    if any(is_control(c) and c not in "\n\t" for c in text):
        raise Refused("notice-text")
    count = f.number(1)
    if count > 16:
        raise Refused("notice-signatures")
    signatures, last = [], b""
    for _ in range(count):
        key, signature = f.take(32), f.take(64)
        if key <= last:
            raise Refused("notice-signatures")
        signatures.append({"key": key.hex(), "good": is_good(key, topic + until + raw, signature)})
        last = key
    if f.rest():
        raise Refused("notice-length")
    until_ms = int.from_bytes(until, "big")
    return {"topic": topic.hex(), "until_ms": until_ms, "text": text, "signatures": signatures}


def read_text(text):
    if len(text.encode()) > 8192:
        raise Refused("notice-length")
    text = "".join(c for c in text if c not in " \t\n\r\f-")
    if text[:9].lower() != "qpqnotice":
        raise Refused("notice-prefix")
    data = from_base32(text[9:].lower().translate({ord("i"): "1", ord("l"): "1", ord("o"): "0"}))
    if len(data) < 4:
        raise Refused("notice-length")
    data, claimed = data[:-4], data[-4:]
    if hashlib.sha256(b"qpq-notice-v1\0" + data).digest()[:4] != claimed:
        raise Refused("notice-checksum")
    return read_notice(data)


def from_base32(text):
    if set(text) - set(ALPHABET):
        raise Refused("notice-character")
    bits = "".join(f"{ALPHABET.index(c):05b}" for c in text)
    filling = len(bits) % 8
    if filling >= 5 or "1" in bits[len(bits) - filling :]:
        raise Refused("notice-length")
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - filling, 8))
