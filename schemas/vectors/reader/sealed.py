"""Channels, invites and sealed payloads. See spec/channel.md and spec/sealing.md."""

import hashlib

from .cipher import hkdf, open_aead, open_hpke
from .curve import Refused
from .fields import Fields, is_control

SALT = b"qpq-channel-v1"
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def normal_name(text):
    """The one form of a topic name, or None when the rules forbid it."""
    text = text.lstrip(" #")
    if any(is_control(c) or "\u0300" <= c <= "\u036f" for c in text):
        return None
    text = " ".join(word for word in text.split(" ") if word)
    text = "".join(c.lower() if c.isascii() else c for c in text)
    return text if 0 < len(text.encode()) <= 64 else None


def describe_channel(name, secret, epoch):
    private = epoch != 0 or hkdf(SALT, name.encode(), b"open") != secret
    return {
        "name": name, "secret": secret.hex(), "epoch": epoch, "private": private,
        "topic_id": hkdf(SALT, secret, b"topic").hex(), "invite": make_invite(name, secret, epoch),
    }


def open_channel_payload(secret, epoch, aad, payload):
    f = Fields(payload, "channel-malformed")
    version, theirs = f.number(1), f.number(4)
    if version != 1:
        raise Refused("channel-version")
    if theirs != epoch:
        raise Refused("channel-epoch")
    key = hkdf(SALT, secret, b"message" + theirs.to_bytes(4, "big") + aad[8:56])
    plaintext = open_aead(key, bytes(12), aad, f.rest())
    if plaintext is None:
        raise Refused("channel-corrupt")
    return {"plaintext": plaintext.hex()}


def checksum(data):
    return hashlib.sha256(b"qpq-invite-v1\0" + data).digest()[:4]


def make_invite(name, secret, epoch):
    data = b"\1" + epoch.to_bytes(4, "big") + secret + name.encode()
    data += checksum(data)
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return "qpqinvite" + "".join(ALPHABET[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


def read_invite(text):
    if len(text.encode()) > 512:
        raise Refused("invite-length")
    text = "".join(c for c in text if c not in " \t\n\r\f-")
    if text[:9].lower() != "qpqinvite":
        raise Refused("invite-prefix")
    data = from_base32(text[9:].lower().translate({ord("i"): "1", ord("l"): "1", ord("o"): "0"}))
    if len(data) < 4:
        raise Refused("invite-length")
    data, claimed = data[:-4], data[-4:]
    if checksum(data) != claimed:
        raise Refused("invite-checksum")
    f = Fields(data, "invite-length")
    if f.number(1) != 1:
        raise Refused("invite-version")
    epoch, secret, name = f.number(4), f.take(32), f.rest()
    try:
        name = name.decode()
    except UnicodeDecodeError:
        raise Refused("invite-name") from None
    if normal_name(name) != name:
        raise Refused("invite-name")
    return describe_channel(name, secret, epoch)


def from_base32(text):
    if set(text) - set(ALPHABET):
        raise Refused("invite-character")
    bits = "".join(f"{ALPHABET.index(c):05b}" for c in text)
    filling = len(bits) % 8
    if filling >= 5 or "1" in bits[len(bits) - filling :]:
        raise Refused("invite-length")
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits) - filling, 8))


def key_id(public):
    return hashlib.sha256(b"qpq-sealing-key-v1\0" + public).digest()[:8]


def open_sealed(source, secret, public, aad, payload):
    f = Fields(payload, "sealing-malformed")
    theirs = {1: "record", 2: "identity"}.get(f.number(1))
    identifier, encapsulated, sealed = f.take(8), f.take(32), f.rest()
    if theirs is None or len(sealed) < 16:
        raise Refused("sealing-malformed")
    if theirs != source or identifier != key_id(public):
        raise Refused("sealing-unknown-key")
    return {"plaintext": open_hpke(secret, public, encapsulated, b"qpq-seal-v1", aad, sealed).hex()}
