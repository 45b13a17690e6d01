# What two domains say to each other.
#
# A server of a domain serves one capability as the bootstrap of each connection: a `FederationService`, and where both
# ends are nodes of the mesh a `MeshFederation`, which is the same and more. The connection is QUIC with TLS 1.3 on both
# sides (ALPN `quicproquo/federation/1`), and each side has proven its domain with a certificate of the operator's CA
# before the first call. Calls travel on the first bidirectional stream of the side that dialled.
#
# Conventions
# - Keys are Data of 32 bytes.
# - A call that could not be done fails with an exception whose reason is `code: sentence`, the code in kebab case. When
#   the same call may succeed later, the exception's type is `overloaded`.
# - Ordinals are only ever added.

@0xb7e3f4a1c9d82056;

struct FederationAuth {
  # Who asks.

  origin @0 :Text;
  # The domain that the caller speaks for. It must be one of the DNS names in the certificate that the caller has shown,
  # or the call is refused.
}

interface FederationService {
  # What any server of a domain offers, also one that knows nothing of the mesh.

  relayEnqueue @0 (recipientKey :Data, payload :Data, channelId :Data, version :UInt16, auth :FederationAuth) -> (seq :UInt64);
  # Takes in a payload for a recipient of this domain. Returns once it is durable here; `seq` grows with each one.
  # `version` is 1; another one is refused. Between nodes of the mesh the payload is a direct envelope in wire form whose
  # destination is `recipientKey`, and `channelId` is empty. What becomes of other payloads is for the operator to say.

  relayBatchEnqueue @1 (recipientKeys :List(Data), payload :Data, channelId :Data, version :UInt16, auth :FederationAuth) -> (seqs :List(UInt64));
  # The same payload for several recipients. All of them got it when the call returns; `seqs` are in the order of the keys.

  proxyFetchKeyPackage @2 (identityKey :Data, auth :FederationAuth) -> (package :Data);
  # A key package of a user. A node has none: `unimplemented`.

  proxyFetchHybridKey @3 (identityKey :Data, auth :FederationAuth) -> (hybridPublicKey :Data);
  # A hybrid key of a user. A node has none: `unimplemented`.

  proxyResolveUser @4 (username :Text, auth :FederationAuth) -> (identityKey :Data);
  # The key of a user's name. A node answers such questions over its links: `unimplemented`.

  federationHealth @5 () -> (status :Text, serverDomain :Text);
  # A sign of life, and the domain of the server. Asked first on each connection: a peer counts as reached when this has
  # returned, since TLS lets a client in before the server has judged its certificate.
}

interface MeshFederation extends(FederationService) {
  # What nodes of the mesh offer to each other.

  open @0 (auth :FederationAuth, back :Frames) -> (forth :Frames);
  # Makes a link: the caller receives on `back`, the server on `forth`. Once for each connection. A server that fails
  # this call with `unimplemented` knows only FederationService.
}

interface Frames {
  # One direction of a link. Frames are opaque here: they are what the link protocol of the mesh sends.

  carry @0 (frames :List(Data)) -> stream;
  # The next frames, in order: at most 1,024 and 262,144 bytes in one call, unless a single frame is larger (up to
  # 262,144 bytes). Not answered before the receiver has room for more, and that is what holds a fast sender back.

  finish @1 (reason :Text) -> ();
  # Nothing more will come in this direction. Answered when all frames before it were taken.
}
