//! What a client without a node of its own reads: the answers of a node that it has no reason to trust, and its own files.

use qpq_host::fuzz::{self, client_files};

use super::files::{folder_with, made};
use super::{Seeds, Target};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "answers", feed: feed_answers, seeds: fuzz::answers_seeds },
    Target { name: "client-inbox", feed: feed_inbox, seeds: inboxes },
    Target { name: "known-nodes", feed: feed_known, seeds: known },
];

/// Whatever a node says, each call of the client ends.
fn feed_answers(bytes: &[u8]) {
    fuzz::answers(bytes);
}

fn inboxes() -> Seeds {
    made("inbox.jsonl", client_files::inbox_seed)
}

fn feed_inbox(bytes: &[u8]) {
    if let Some(folder) = folder_with("inbox.jsonl", bytes) {
        client_files::inbox(folder.path());
    }
}

fn known() -> Seeds {
    made("known_nodes", client_files::known_seed)
}

fn feed_known(bytes: &[u8]) {
    if let Some(folder) = folder_with("known_nodes", bytes) {
        client_files::known(folder.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_understands_what_an_honest_node_says() {
        let seeds = fuzz::answers_seeds();
        let seed = seeds.first().expect("one");
        let understood = fuzz::answers(seed);
        assert!(understood >= 13, "only {understood} answers in {} bytes", seed.len());
        assert_eq!(fuzz::answers(&[]), 0);
    }
}
