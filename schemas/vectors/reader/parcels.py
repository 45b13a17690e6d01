"""Files of envelopes (spec/parcel.md)."""

import hashlib

MAGIC = b"qpqmail\n"
LARGEST = 157 + (1 << 20)


def digest(length, *parts):
    return hashlib.sha256(b"".join(parts)).digest()[:length]


def read_parcel(data):
    """The items of a file, and the code with which reading ended, or none."""
    items = []
    if data[:8] != MAGIC[:len(data)]:
        return items, "parcel-not-one"
    if len(data) > 8 and data[8] != 1:
        return items, "parcel-version"
    if len(data) < 64:
        return items, "parcel-truncated"
    header, data = data[:64], data[64:]
    if digest(8, header[:56]) != header[56:]:
        return items, "parcel-header"
    items.append({"made_ms": int.from_bytes(header[16:24], "big"), "by": header[24:56].hex()})
    expected = 0
    while True:
        if len(data) < 16:
            return items, "parcel-truncated"
        head = data[:16]
        length, number = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:12], "big")
        if digest(4, MAGIC, head[:12]) != head[12:] or length > LARGEST or number < expected:
            return items, "parcel-damaged"
        if number > expected:
            items.append({"missing": [expected, number]})
            expected = number
        if len(data) < 24 + length:
            return items, "parcel-truncated"
        wire, found, data = data[16:16 + length], data[16 + length:24 + length], data[24 + length:]
        if length == 0:
            items.append({"count": number})
            return items, "parcel-trailing" if data else None
        good = digest(8, head, wire) == found
        items.append({"envelope": wire.hex()} if good else {"damaged": number})
        expected += 1
