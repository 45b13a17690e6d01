"""Curve25519 from its definitions: Ed25519 checks after ZIP 215, and X25519 (RFC 7748). Slow and not constant-time: for tests."""

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


class Refused(Exception):
    """Carries the stable code."""


def decompress(data):
    """A point in extended coordinates, or None. Neither y >= p nor a sign on x = 0 is an error: ZIP 215 allows both."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, (number & (2**255 - 1)) % P
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if v * x * x % P != u:
        return None
    if x & 1 != sign:
        x = -x % P
    return (x, y, 1, x * y % P)


def add(a, b):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    e, f = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    g, h = 2 * D * t1 * t2 % P, 2 * z1 * z2 % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar, point):
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def is_neutral(point):
    x, y, z, _ = point
    return x % P == 0 and (y - z) % P == 0


BASE = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def negate(point):
    x, y, z, t = point
    return (-x % P, y, z, -t % P)


def check_signature(key, domain, message, signature):
    """[8][s]B = [8]R + [8][k]A, and A not of small order."""
    a = decompress(key)
    if a is None:
        raise Refused("invalid")
    if is_neutral(multiply(8, a)):
        raise Refused("small-order-key")
    r, s = decompress(signature[:32]), int.from_bytes(signature[32:], "little")
    if r is None or s >= ORDER:
        raise Refused("invalid")
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + domain + message).digest(), "little") % ORDER
    difference = add(multiply(s, BASE), negate(add(r, multiply(k, a))))
    if not is_neutral(multiply(8, difference)):
        raise Refused("invalid")


def to_montgomery(key):
    """The X25519 key of an Ed25519 key: u = (1 + y) / (1 - y)."""
    _, y, _, _ = decompress(key)
    return ((1 + y) * pow(1 - y, -1, P) % P).to_bytes(32, "little")


def x25519(secret, public):
    """RFC 7748 section 5, with the ladder written out."""
    k = int.from_bytes(secret, "little")
    k = k & ~7 & (2**255 - 1) | 2**254
    u = (int.from_bytes(public, "little") & (2**255 - 1)) % P
    x2, z2, x3, z3, swapped = 1, 0, u, 1, 0
    for bit in range(254, -1, -1):
        now = k >> bit & 1
        if now != swapped:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swapped = now
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a % P, c * b % P, a * a % P, b * b % P
        x3, z3 = (da + cb) ** 2 % P, u * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, (aa - bb) * (aa + 121665 * (aa - bb)) % P
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")
