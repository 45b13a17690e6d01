"""HKDF-SHA256 (RFC 5869), ChaCha20-Poly1305 (RFC 8439) and opening in HPKE's base mode (RFC 9180)."""

import hashlib
import hmac
import struct

from .curve import Refused, x25519


def extract(salt, key):
    return hmac.new(salt, key, hashlib.sha256).digest()


def expand(key, info, length):
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = hmac.new(key, block + info + bytes([n]), hashlib.sha256).digest()
        out, n = out + block, n + 1
    return out[:length]


def hkdf(salt, key, info, length=32):
    return expand(extract(salt, key), info, length)


def _quarter(s, a, b, c, d):
    for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & 0xFFFFFFFF
        word = s[z] ^ s[x]
        s[z] = (word << turn | word >> 32 - turn) & 0xFFFFFFFF


def _chacha_block(key, counter, nonce):
    start = list(struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce))
    s = start[:]
    for _ in range(10):
        for i in range(4):
            _quarter(s, i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            _quarter(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xFFFFFFFF for a, b in zip(s, start)))


def _poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(message), 16):
        total = (total + int.from_bytes(message[at : at + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


def _padded(data):
    return data + bytes(-len(data) % 16)


def open_aead(key, nonce, aad, sealed):
    """The plaintext, or None when the tag doesn't fit."""
    if len(sealed) < 16:
        return None
    body, tag = sealed[:-16], sealed[-16:]
    one_time = _chacha_block(key, 0, nonce)[:32]
    covered = _padded(aad) + _padded(body) + struct.pack("<QQ", len(aad), len(body))
    if not hmac.compare_digest(_poly1305(one_time, covered), tag):
        return None
    stream = b"".join(_chacha_block(key, 1 + n, nonce) for n in range(-(-len(body) // 64)))
    return bytes(a ^ b for a, b in zip(body, stream))


KEM_SUITE = b"KEM" + struct.pack(">H", 0x0020)
HPKE_SUITE = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0003)


def _labeled_extract(suite, salt, label, key):
    return extract(salt, b"HPKE-v1" + suite + label + key)


def _labeled_expand(suite, key, label, info, length):
    return expand(key, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)


def open_hpke(secret, public, encapsulated, info, aad, sealed):
    """DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305, base mode, first message."""
    shared = x25519(secret, encapsulated)
    if shared == bytes(32):
        raise Refused("sealing-corrupt")
    prk = _labeled_extract(KEM_SUITE, b"", b"eae_prk", shared)
    shared = _labeled_expand(KEM_SUITE, prk, b"shared_secret", encapsulated + public, 32)
    psk_id = _labeled_extract(HPKE_SUITE, b"", b"psk_id_hash", b"")
    context = b"\0" + psk_id + _labeled_extract(HPKE_SUITE, b"", b"info_hash", info)
    prk = _labeled_extract(HPKE_SUITE, shared, b"secret", b"")
    key = _labeled_expand(HPKE_SUITE, prk, b"key", context, 32)
    nonce = _labeled_expand(HPKE_SUITE, prk, b"base_nonce", context, 12)
    plaintext = open_aead(key, nonce, aad, sealed)
    if plaintext is None:
        raise Refused("sealing-corrupt")
    return plaintext
