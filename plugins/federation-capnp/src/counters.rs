//! Figures for `stats`.

qpq_quic_common::counters! {
    /// Frames that were received.
    frames_in,
    /// Their bytes.
    bytes_in,
    /// Frames that were sent.
    frames_out,
    /// Their bytes.
    bytes_out,
    /// How often the host took fewer frames than came in.
    stalls,
    /// Frames of the host that were above the limit.
    oversize_dropped,
    /// Links that came up.
    links_up,
    /// Links that ended.
    links_ended,
    /// Of them, because the peer fell silent.
    peers_silent,
    /// Of them, because the peer broke the protocol.
    peers_at_fault,
    /// Dials that failed.
    dials_failed,
    /// Inbound handshakes that failed.
    handshakes_failed,
    /// Inbound handshakes that had to make room for newer ones.
    handshakes_given_up,
    /// Inbound connections whose address had to prove itself first.
    retries,
    /// Peers that were refused, in both directions.
    refused,
    /// Envelopes that servers of the older kind took from us.
    relayed_out,
    /// Envelopes that they did not take.
    relays_failed,
    /// Envelopes that the node took from them.
    relayed_in,
    /// Calls of theirs that were refused.
    relays_refused,
}
