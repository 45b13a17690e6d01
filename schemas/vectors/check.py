#!/usr/bin/env python3
"""Checks every test vector with a reader that shares no code with the Rust crate and needs the standard library only."""

import hashlib
import json
import pathlib
import sys

from reader import curve, links, messages, notices, packets, parcels, sealed
from reader.curve import Refused

FOLDER = pathlib.Path(__file__).parent
problems = []
checked = 0


def load(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def expect(where, wanted, made):
    global checked
    checked += 1
    if wanted != made:
        problems.append(f"{where}\n  vector: {json.dumps(wanted)}\n  reader: {json.dumps(made)}")


def outcome(read, *arguments):
    try:
        return read(*arguments)
    except Refused as refused:
        return {"refused": refused.args[0]}


def raw(case, *names):
    return [bytes.fromhex(case[name]) for name in names]


def envelopes():
    vectors = load("envelope")
    for case in vectors["cases"]:
        (wire,) = raw(case, "wire")
        made = outcome(messages.read_envelope, wire, case["now_ms"], vectors["max_payload"])
        expect(f"envelope: {case['name']}", case["outcome"], made)


def signatures():
    vectors = load("signature")
    domain, message = raw(vectors, "domain", "message")
    for case in vectors["cases"]:
        key, signature = raw(case, "key", "signature")
        made = outcome(curve.check_signature, key, domain, message, signature)
        expect(f"signature: {case['name']}", case["outcome"], made["refused"] if made else "good")


def channels():
    vectors = load("channel")
    for case in vectors["names"]:
        expect(f"topic name: {case['text']!r}", case["normal"], sealed.normal_name(case["text"]))
    for case in vectors["channels"]:
        (secret,) = raw(case, "secret")
        expect(f"channel: {case['name']}", case, sealed.describe_channel(case["name"], secret, case["epoch"]))
    for case in vectors["payloads"]:
        secret, aad, payload = raw(case, "secret", "aad", "payload")
        made = outcome(sealed.open_channel_payload, secret, case["epoch"], aad, payload)
        expect(f"channel payload: {case['name']}", case["outcome"], made)
    for case in vectors["invites"]:
        expect(f"invite: {case['text']!r}", case["outcome"], outcome(sealed.read_invite, case["text"]))


def sealings():
    vectors = load("sealing")
    for case in vectors["identities"]:
        seed, peer, public = raw(case, "seed", "peer", "public")
        expect(f"identity: {case['peer']}", public, curve.to_montgomery(peer))
        base = (9).to_bytes(32, "little")
        expect(f"identity's secret: {case['peer']}", public, curve.x25519(hashlib.sha512(seed).digest()[:32], base))
        expect(f"identity's key id: {case['peer']}", case["key_id"], sealed.key_id(public).hex())
    for case in vectors["cases"]:
        secret, public, aad, payload = raw(case, "secret", "public", "aad", "payload")
        made = outcome(sealed.open_sealed, case["source"], secret, public, aad, payload)
        expect(f"sealing: {case['name']}", case["outcome"], made)


def records():
    for case in load("record")["cases"]:
        (data,) = raw(case, "bytes")
        expect(f"record: {case['name']}", case["outcome"], outcome(messages.read_record, data, case["now_ms"]))


def link_frames():
    vectors = load("link")
    for case in vectors["blocks"]:
        (block,) = raw(case, "block")
        expect(f"block: {case['name']}", case["frames"], links.read_block(block))
    for case in vectors["auths"]:
        initiator, responder, binding, signature = raw(case, "initiator", "responder", "channel_binding", "signature")
        message = links.auth_message(case["role"], initiator, responder, binding)
        expect(f"auth message: {case['name']}", case["message"], message.hex())
        key = [initiator, responder][case["role"]][1:33]
        made = outcome(curve.check_signature, key, b"qpq-link-v1\0", message, signature)
        expect(f"auth: {case['name']}", case["good"], made is None)
    for number, case in enumerate(vectors["fingerprints"]):
        expect(f"fingerprint {number}", case["fingerprint"], links.fingerprint(case["ids"]))


def link_packets():
    vectors = load("packet")
    for case in vectors["openings"]:
        (packet,) = raw(case, "packet")
        expect(f"packet: {case['name']}", case["outcome"], outcome(packets.read_packet, packet))
    for link in vectors["links"]:
        secret, initiator, responder = raw(link, "secret", "initiator", "responder")
        for case in link["packets"]:
            key = packets.key_of(secret, initiator, responder, case["from"])
            (packet,) = raw(case, "packet")
            expect(f"sealed: {case['name']}", case["outcome"], outcome(packets.open_packet, key, packet))
    for case in vectors["bodies"]:
        (body,) = raw(case, "body")
        expect(f"body: {case['name']}", case["outcome"], outcome(packets.read_body, body))


def files():
    for case in load("parcel")["cases"]:
        (data,) = raw(case, "file")
        items, end = parcels.read_parcel(data)
        expect(f"parcel: {case['name']}", [case["items"], case["end"]], [items, end])


def emergencies():
    vectors = load("emergency")
    for case in vectors["cases"]:
        (data,) = raw(case, "bytes")
        expect(f"notice: {case['name']}", case["outcome"], outcome(notices.read_notice, data))
    for case in vectors["texts"]:
        expect(f"notice: {case['text']:.40}", case["outcome"], outcome(notices.read_text, case["text"]))


def main():
    groups = (envelopes, signatures, channels, sealings, records, link_frames, link_packets, files, emergencies)
    for group in groups:
        group()
    for problem in problems:
        print(problem)
    print(f"{checked} vectors checked, {len(problems)} disagree")
    return 1 if problems or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
