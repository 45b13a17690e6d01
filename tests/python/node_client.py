"""A client of a node, from nothing but `node.capnp` and its control socket.

    python3 node_client.py schemas/node.capnp HOME/node.sock

Prints one JSON object with what it saw.
"""

import asyncio
import json
import sys

import capnp


async def main(schema, socket):
    node_capnp = capnp.load(schema)
    stream = await capnp.AsyncIoStream.create_unix_connection(path=socket)
    node = capnp.TwoPartyClient(stream).bootstrap().cast_as(node_capnp.NodeService)
    health = (await node.health()).health
    who = await node.whoami()
    channel = (await node.subscribe(topic="python")).channel
    receipt = (await node.broadcast(request={"topic": "python", "payload": b"from Python"})).receipt
    page = (await node.fetchWait(query={"reader": "python"}, waitMs=10_000)).page
    item = next(item for item in page.items if item.id == receipt.id)
    await node.ack(reader="python", seq=item.seq)
    rest = (await node.fetch(query={"reader": "python"})).page
    try:
        await node.mailbox()
        refused = None
    except capnp.KjException as error:
        refused = error.description
    print(json.dumps({
        "api_level": health.apiLevel,
        "peer_id": health.peerId.hex(),
        "role": who.role,
        "who": who.peerId.hex(),
        "channel": channel.name,
        "text": item.payload.decode(),
        "own": item.own,
        "left": len(rest.items),
        "mailbox": refused,
    }))


asyncio.run(capnp.run(main(*sys.argv[1:])))
