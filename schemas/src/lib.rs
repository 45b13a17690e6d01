//! Every byte of a quicproquo mesh that crosses a wire or a disk. No I/O.
#![forbid(unsafe_code)]

mod ids;

pub use ids::{MessageId, ParseIdError, PeerId, TopicId};
