"""Packets of links over transports that lose frames. See spec/packet.md."""

from .cipher import hkdf, open_aead
from .curve import Refused, x25519
from .fields import Fields

TRUNCATED, MALFORMED = "packet-truncated", "packet-malformed"


def need(condition):
    if not condition:
        raise Refused(MALFORMED)


def read_packet(packet):
    if len(packet) > 16_384:
        raise Refused("packet-too-large")
    f = Fields(packet, TRUNCATED)
    kind = f.number(1)
    if kind == 1:
        session, echo, hello = f.number(8), f.number(8), f.rest()
        need(session != 0 and 5 <= len(hello) <= 261)
        return {"opening": {"session": session, "echo": echo, "hello": hello.hex()}}
    if kind != 2:
        raise Refused("packet-unknown-kind")
    number = f.number(8)
    if len(packet) < 25:
        raise Refused(TRUNCATED)
    return {"sealed": number}


def key_of(secret, initiator, responder, role):
    """The key of the side with that role, from the secret of the side that dialled."""
    shared = x25519(secret, responder[37:69])
    if shared == bytes(32):
        raise Refused("packet-bad-key")
    info = b"".join(len(body).to_bytes(4, "big") + body for body in (initiator, responder))
    return hkdf(b"qpq-packet-v1", shared, info + bytes([role]))


def open_packet(key, packet):
    number = read_packet(packet)["sealed"]
    body = open_aead(key, bytes(4) + packet[1:9], packet[:9], packet[9:])
    if body is None:
        raise Refused("packet-not-sealed")
    return {"number": number, "body": body.hex()}


def read_ack(f):
    largest, delay, limit, length = f.number(8), f.number(2), f.number(8), f.number(1)
    need(length <= 32)
    seen = f.take(length)
    below = [largest - 1 - 8 * n - i for n, byte in enumerate(seen) for i in range(8) if byte >> i & 1]
    need(all(number >= 0 for number in below))
    return {"numbers": [largest] + below, "delay_ms": delay, "limit": limit}


def read_bytes(f):
    data = f.take(f.number(2))
    need(data)
    return data.hex()


def read_body(body):
    f = Fields(body, TRUNCATED)
    flags = f.number(1)
    need(flags < 4)
    ack = read_ack(f) if flags & 1 else None
    word = read_bytes(f) if flags & 2 else None
    blocks = []
    while f.data:
        blocks.append({"number": f.number(8), "bytes": read_bytes(f)})
    return {"ack": ack, "last_word": word, "blocks": blocks}
