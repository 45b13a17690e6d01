"""Link frames and the AUTH message. See spec/link.md."""

import hashlib

from .curve import Refused
from .fields import Fields, is_control

TRUNCATED, MALFORMED = "frame-truncated", "frame-malformed"
LARGEST_BODY = {
    1: 256, 2: 64, 3: 2**20 + 157 + 4, 4: 1024 * 35, 5: 1 + 1024 * 32, 6: 65_536, 7: 1 + 1024 * 32, 8: 64 * 1026,
    9: 8, 10: 8, 11: 258, 12: 2**20 + 157 + 4 + 5, 128: 1 + 32 * 1058, 129: 2,
    130: 1 + 1024 * 33, 131: 5 + 41 + 512 * (41 + 1 + 16) + 512 * 32,
}
VERDICTS = [
    "stored", "seen", "recipient-full", "sender-full", "relay-full", "too-old", "too-large", "hops", "refused",
]


def read_block(block):
    """The frames up to the first error, which is given as the last one."""
    f, frames = Fields(block, TRUNCATED), []
    try:
        while f.data:
            frames.append(read_frame(f))
    except Refused as refused:
        frames.append({"refused": refused.args[0]})
    return frames


def read_frame(f):
    header = Fields(f.take(5), TRUNCATED)
    length, kind = header.number(4), header.number(1)
    if length == 0:
        raise Refused("frame-empty")
    largest = 65_536 if kind > 131 else LARGEST_BODY.get(kind)
    if largest is None:
        raise Refused("frame-unknown-type")
    if length - 1 > largest:
        raise Refused("frame-too-large")
    body = f.take(length - 1)
    if kind > 131:
        return {"optional": {"type": kind, "body": body.hex()}}
    return READERS[kind](Fields(body, TRUNCATED))


def need(condition):
    if not condition:
        raise Refused(MALFORMED)


def hello(f):
    version, peer, features, random = f.number(1), f.take(32), f.number(4), f.take(32)
    need(version != 0)
    later = f.rest()
    return {"hello": {
        "version": version, "peer": peer.hex(), "features": features, "random": random.hex(), "later": later.hex(),
    }}


def auth(f):
    need(len(f.data) == 64)
    return {"auth": f.rest().hex()}


def items(name, length_bytes, shortest, longest, most):
    def read(f):
        found = []
        while f.data:
            length = f.number(length_bytes)
            need(shortest <= length <= longest)
            if len(found) == most:
                raise Refused("frame-too-many")
            found.append(f.take(length).hex())
        return {name: found}

    return read


def custody(f):
    if len(f.data) % 35:
        raise Refused(TRUNCATED)
    answers = []
    while f.data:
        message, verdict, retry = f.take(32), f.number(1), f.number(2)
        need(verdict < len(VERDICTS))
        answers.append({"id": message.hex(), "verdict": VERDICTS[verdict], "retry_after_secs": retry})
    return {"custody": answers}


def ids(f):
    form = f.number(1)
    need(len(f.data) % 32 == 0)
    return form, [f.take(32).hex() for _ in range(len(f.data) // 32)]


def subscriptions(f):
    change, topics = ids(f)
    need(change <= 2)
    return {"subscriptions": {"change": change, "topics": topics}}


def sync(f):
    form, found = ids(f)
    need(form <= 1)
    return {["have", "want"][form]: found}


def resolve(f):
    form = f.number(1)
    need(form <= 1)
    if form == 0:
        need(len(f.data) % 32 == 0)
        if len(f.data) > 32 * 32:
            raise Refused("frame-too-many")
        return {"ask": [f.take(32).hex() for _ in range(len(f.data) // 32)]}
    homes = []
    while f.data:
        if len(homes) == 32:
            raise Refused("frame-too-many")
        peer, length = f.take(32), f.number(2)
        need(length <= 1024)
        record = f.take(length)
        homes.append({"peer": peer.hex(), "record": record.hex() if record else None})
    return {"homes": homes}


def moving(f):
    need(len(f.data) == 2)
    port = f.number(2)
    need(port != 0)
    return {"moving": port}


def tree(f):
    form = f.number(1)
    need(form <= 2)
    each = [33, 32, None][form]
    if each is None:
        need(not f.data)
        return {"prune": True}
    need(len(f.data) % each == 0)
    if len(f.data) > 1024 * each:
        raise Refused("frame-too-many")
    count = len(f.data) // each
    if form == 0:
        return {"announce": [{"id": f.take(32).hex(), "hops": f.number(1)} for _ in range(count)]}
    return {"graft": [f.take(32).hex() for _ in range(count)]}


def place(f):
    created_ms, length = f.number(8), f.number(1)
    used = f.take(length)
    need(length <= 32 and not (used and used[-1] == 0))
    return {"created_ms": created_ms, "id": used.ljust(32, b"\0").hex()}


def reconcile(f):
    session, opener = f.number(4), f.number(1)
    need(opener <= 1)
    start, ranges, total = place(f), [], 0
    while f.data:
        if len(ranges) == 512:
            raise Refused("frame-too-many")
        to, form = place(f), f.number(1)
        need(form <= 2)
        if form == 0:
            part = "skip"
        elif form == 1:
            part = {"fingerprint": f.take(16).hex()}
        else:
            count = f.number(2)
            if count > 512:
                raise Refused("frame-too-many")
            total += count
            part = {"ids": [f.take(32).hex() for _ in range(count)]}
        ranges.append({"to": to, "part": part})
    if total > 512:
        raise Refused("frame-too-many")
    places = [(p["created_ms"], p["id"]) for p in [start] + [r["to"] for r in ranges]]
    need(all(before < behind for before, behind in zip(places, places[1:])))
    return {"reconcile": {"session": session, "opener": opener == 1, "from": start, "ranges": ranges}}


def fingerprint(ids):
    total = sum(int(message, 16) for message in ids) % 2**256
    stated = b"qpq-history-v1\0" + len(ids).to_bytes(8, "big") + total.to_bytes(32, "big")
    return hashlib.sha256(stated).digest()[:16].hex()


def number(name):
    def read(f):
        need(len(f.data) == 8)
        return {name: f.number(8)}

    return read


def close(f):
    code = f.number(2)
    try:
        reason = f.rest().decode()
    except UnicodeDecodeError:
        raise Refused(MALFORMED) from None
    return {"close": {"code": code, "reason": "".join("?" if is_control(c) else c for c in reason)}}


def fragment(f):
    message, index, count = f.number(4), f.number(2), f.number(2)
    piece = f.rest()
    need(0 < count <= 4096 and index < count and piece)
    return {"fragment": {"message": message, "index": index, "count": count, "bytes": piece.hex()}}


READERS = {
    1: hello, 2: auth, 3: items("envelopes", 4, 157, 2**32, 1024), 4: custody, 5: subscriptions,
    6: lambda f: {"route": f.rest().hex()}, 7: sync, 8: items("records", 2, 65, 1024, 64), 9: number("ping"),
    10: number("pong"), 11: close, 12: fragment, 128: resolve, 129: moving, 130: tree, 131: reconcile,
}


def auth_message(role, initiator, responder, channel_binding):
    parts = [initiator, responder, channel_binding]
    return bytes([role]) + b"".join(len(part).to_bytes(4, "big") + part for part in parts)
