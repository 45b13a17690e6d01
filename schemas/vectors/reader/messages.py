"""Envelopes, what is in them, and node records. See spec/envelope.md and spec/record.md."""

import hashlib

from .curve import Refused, check_signature
from .fields import Fields, is_control

HEADER, AROUND, LARGEST = 92, 157, 2**20
DAY_MS = 86_400_000


def read_envelope(wire, now_ms, max_payload):
    parse_form(wire, min(max_payload, LARGEST))
    f = Fields(wire, "length")
    f.take(1)
    kind, flags, max_hops, ttl, created = f.number(1), f.number(1), f.number(1), f.number(4), f.number(8)
    nonce, sender, destination, length = f.take(8), f.take(32), f.take(32), f.number(4)
    payload, signature, hop_count = f.take(length), f.take(64), f.number(1)
    expires = min(created + ttl * 1000, 2**64 - 1)
    if ttl > 30 * 86_400:
        raise Refused("ttl-too-long")
    if created - now_ms > 300_000:
        raise Refused("from-the-future")
    if expires <= now_ms:
        raise Refused("expired")
    if hop_count >= max_hops:
        raise Refused("hops")
    signed = wire[: HEADER + length]
    check(sender, b"qpq-envelope-v1\0", signed, signature, {"invalid": "signature"})
    return {
        "id": hashlib.sha256(signed).hexdigest(), "kind": kind, "sealed": bool(flags & 1),
        "receipt_wanted": bool(flags & 2), "priority": flags >> 2, "max_hops": max_hops, "ttl_secs": ttl,
        "created_ms": created, "expires_ms": expires, "nonce": nonce.hex(), "sender": sender.hex(),
        "destination": destination.hex(), "payload": payload.hex(), "hop_count": hop_count,
        "content": or_none(read_content, payload), "receipt": or_none(read_receipt, payload),
    }


def parse_form(wire, max_payload):
    if len(wire) < HEADER:
        raise Refused("length")
    if wire[0] != 1:
        raise Refused("version")
    if wire[1] > 2:
        raise Refused("kind")
    if wire[2] & 0xF0:
        raise Refused("reserved-bits")
    length = int.from_bytes(wire[88:92], "big")
    if length > max_payload:
        raise Refused("payload-too-large")
    if len(wire) != AROUND + length:
        raise Refused("length")


def check(key, domain, message, signature, codes):
    try:
        check_signature(key, domain, message, signature)
    except Refused as refused:
        raise Refused(codes.get(refused.args[0], refused.args[0])) from None


def or_none(read, data):
    try:
        return read(data)
    except Refused:
        return None


def read_content(data):
    f = Fields(data, "content-length")
    header = f.take(3)
    if header[0] != 1:
        raise Refused("content-version")
    if header[1] & ~3:
        raise Refused("content-flags")
    reply_to = f.take(32).hex() if header[1] & 2 else None
    return {"automatic": bool(header[1] & 1), "kind": header[2], "reply_to": reply_to, "body": f.rest().hex()}


def read_receipt(data):
    if len(data) != 41:
        raise Refused("content-length")
    if data[0] != 1:
        raise Refused("content-version")
    return {"id": data[1:33].hex(), "received_ms": int.from_bytes(data[33:], "big")}


def read_record(data, now_ms):
    if len(data) > 1024:
        raise Refused("record-too-long")
    if not data:
        raise Refused("record-malformed")
    if data[0] != 1:
        raise Refused("record-version")
    if len(data) < 64:
        raise Refused("record-malformed")
    signed, signature = data[:-64], data[-64:]
    record = record_fields(Fields(signed[1:], "record-malformed"))
    check_record(record)
    codes = {"invalid": "record-signature", "small-order-key": "record-signature"}
    check(bytes.fromhex(record["peer"]), b"qpq-record-v1\0", signed, signature, codes)
    if record["seq_ms"] - now_ms > 300_000:
        raise Refused("record-from-the-future")
    if record["expires_ms"] <= now_ms:
        raise Refused("record-expired")
    return record


def record_fields(f):
    peer, seq, expires, sealing = f.take(32), f.number(8), f.number(8), f.take(32)
    record = {
        "peer": peer.hex(), "seq_ms": seq, "expires_ms": expires, "sealing": sealing.hex(),
        "sealing_id": hashlib.sha256(b"qpq-sealing-key-v1\0" + sealing).hexdigest()[:16],
        "nickname": text(f), "domain": text(f), "addresses": [text(f) for _ in range(min(f.number(1), 9))],
    }
    if f.rest():
        raise Refused("record-malformed")
    return record


def text(f):
    try:
        return f.take(f.number(1)).decode()
    except UnicodeDecodeError:
        raise Refused("record-malformed") from None


def check_record(record):
    if not 0 <= record["expires_ms"] - record["seq_ms"] <= 30 * DAY_MS:
        raise Refused("record-life")
    if len(record["nickname"].encode()) > 32 or any(map(is_control, record["nickname"])):
        raise Refused("record-nickname")
    if len(record["domain"]) > 253 or set(record["domain"]) - set("abcdefghijklmnopqrstuvwxyz0123456789-._"):
        raise Refused("record-domain")
    addresses = record["addresses"]
    printable = all(0 < len(a) <= 128 and all("!" <= c <= "~" for c in a) for a in addresses)
    if len(addresses) > 8 or not printable:
        raise Refused("record-address")
