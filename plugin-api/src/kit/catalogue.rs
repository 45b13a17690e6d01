//! The table of trials.

use super::case::{Case, Stop};
use super::trials::{ends, flow, life, reach, routing, search, structs};

/// What a plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Carries frames; `federation` too.
    Transport,
    /// Finds nodes.
    Discovery,
    /// Finds ways.
    Routing,
    /// Something else; only its life is tried.
    Other,
}

impl Kind {
    /// The kind of that name in a descriptor.
    pub fn of(name: &str) -> Self {
        match name {
            "transport" | "federation" => Self::Transport,
            "discovery" => Self::Discovery,
            "routing" => Self::Routing,
            _ => Self::Other,
        }
    }
}

/// One trial.
#[derive(Clone, Copy)]
pub struct Trial {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// What the plugin promises.
    pub promise: &'static str,
    /// Where to look when it fails.
    pub mend: &'static str,
    pub(super) run: fn(&Case) -> Result<(), Stop>,
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! trials {
    ($($name:literal $run:path, $promise:literal, $mend:literal;)*) => {
        &[$(Trial { name: $name, promise: $promise, mend: $mend, run: $run }),*]
    };
}

/// The trials for plugins of a kind, in the order in which they are run.
pub fn catalogue(kind: Kind) -> Vec<Trial> {
    let more = match kind {
        Kind::Transport => TRANSPORT,
        Kind::Discovery => DISCOVERY,
        Kind::Routing => ROUTING,
        Kind::Other => &[],
    };
    LIFE.iter().chain(more).copied().collect()
}

const LIFE: &[Trial] = trials! {
    "pure-entry" life::pure_entry,
        "the entry and get_interface start nothing and answer the same each time",
        "Return the address of a static. Start threads in `start`, not in a constructor.";
    "create-destroy" life::create_destroy,
        "create starts no thread and opens nothing; destroy leaves nothing",
        "Open sockets and start threads in `start`. Free in `destroy` whatever `create` made.";
    "bad-configuration" life::bad_configuration,
        "a configuration that makes no sense is refused with the reason, or harmless; the schema refuses misspelt keys",
        "Report through `host->fail` and return QPQ_INVALID. In the schema, set \"additionalProperties\": false, so that misspelt keys are noticed.";
    "two-instances" life::two_instances,
        "two instances work side by side, and outlive each other",
        "Keep all state in the instance, none in statics. If that can't be, set QPQ_PLUGIN_NEEDS_EXCLUSIVE.";
    "restarts" life::restarts,
        "thirty instances in a row leave no thread, no file handle and no memory",
        "Join each thread in `stop`, also after a failed start, and close each handle; free the instance in `destroy`.";
    "poor-host" life::poor_host,
        "with a host that offers none of its interfaces, create fails and says why",
        "Check the result of `get_interface` for NULL.";
    "oldest-host" structs::oldest_host,
        "works with a host of version 1.0, whose structs are shorter",
        "Look at a struct's `size` before you read a field that was appended later, and at the function for NULL.";
    "newer-host" structs::newer_host,
        "works with a host of a later minor version, whose structs are longer",
        "Accept a `size` that is larger than yours, and any `abi_minor`.";
};

const TRANSPORT: &[Trial] = trials! {
    "both-ways" reach::both_ways,
        "frames of all sizes cross a link both ways, whole",
        "Frames are bytes with borders: prefix each with its length on a stream.";
    "borrowed-frames" flow::borrowed_frames,
        "frames with QPQ_FRAME_BORROWED are copied before send returns",
        "Copy the bytes of a BORROWED frame in `send`; they are gone afterwards.";
    "releases" flow::releases,
        "each frame that was taken is released once, and none of the others",
        "Call `buf.release(buf.owner)` when a taken frame is sent, dropped or copied. A short return leaves the rest to the host.";
    "sizes" flow::sizes,
        "the largest and the empty frame pass; one that is too large harms nobody",
        "Check lengths in `send`, and what the other end announces before you make room for it.";
    "backpressure" flow::backpressure,
        "when the other host takes nothing, queues stay bounded, and nothing is lost",
        "Take at most 1,024 frames and 8 MiB for a link. While on_frames returns short, read no more.";
    "lost-wakeup" flow::lost_wakeup,
        "whatever is taken in part goes on later: nothing waits for ever",
        "After a short `send`: note that you owe on_writable, THEN look for room again. Note a `resume` that comes before on_frames has returned.";
    "many-threads" flow::many_threads,
        "all functions may be called at once on several threads",
        "Guard what the functions share with a lock, and don't hold it while you call the host.";
    "close" ends::close,
        "close sends what was taken, then both ends hear DOWN, once",
        "Drain the link's queue, then close. Report DOWN once, after the last frame, at both ends.";
    "refused-link" ends::refused_link,
        "a link that the host refuses is closed, and the other end hears of it",
        "When on_link returns QPQ_REFUSED, close the connection and forget the link.";
    "quiesce" ends::quiesce,
        "quiesce under load: what was taken is delivered or handed back, exactly",
        "Write out each queue, wait until the other end has read it, hand back the rest in order through on_unsent before DOWN, then answer the operation.";
    "stop-under-load" ends::stop_under_load,
        "stop amid traffic ends all threads; no call comes after it",
        "Tell each thread to end, wake it, join it. Make the last call to the host before `stop` returns.";
    "stop-answers" ends::stop_answers,
        "operations under way have their answer when stop returns",
        "Keep the numbers of open operations and answer them with QPQ_CLOSED in `stop`.";
    "dial-nobody" reach::dial_nobody,
        "dialling where nobody listens fails with a reason, once",
        "Answer with QPQ_UNREACHABLE or QPQ_TIMEOUT, and a sentence; use a timeout of your own.";
    "wrong-peer" reach::wrong_peer,
        "a transport that proves keys refuses a peer with another key",
        "Compare the proven key with the `peer_key` of dial before you report UP.";
    "hostile-arguments" reach::hostile_arguments,
        "unknown links, broken text and URIs that are none do no harm",
        "Check lengths and UTF-8 before you use a text; ignore unknown links; take and drop their frames.";
    "stats" reach::stats,
        "stats writes one JSON object",
        "Write an object such as {\"links\": 1}, with text escaped.";
};

const DISCOVERY: &[Trial] = trials! {
    "operations" search::operations,
        "advertise and browse are answered once; cancel ends them",
        "Answer each operation once, when it is announced or watched, not when it ends.";
    "hostile-records" search::hostile_records,
        "records that make no sense are refused and do no harm",
        "Parse the record and check each field before you announce it.";
    "quiet-after-cancel" search::quiet_after_cancel,
        "after cancel nothing is reported for that operation",
        "Look whether the operation still stands before each on_peer.";
};

const ROUTING: &[Trial] = trials! {
    "deterministic" routing::deterministic,
        "the same calls with the same randomness give the same answers",
        "Take time from `now_ms` and randomness from the host. Don't let the order of a hash map decide.";
    "no-life-of-its-own" routing::no_life_of_its_own,
        "it starts no thread and calls the host only while it is called",
        "Routing is a state machine: keep what there is to say until the next call.";
    "hostile-control" routing::hostile_control,
        "control bytes from outside do no harm and cost bounded memory",
        "Check each length before you read; forget the oldest when a table is full.";
    "many-origins" routing::many_origins,
        "a flood of unknown senders costs bounded memory",
        "Bound each table, and forget what is oldest.";
    "sound-answers" routing::sound_answers,
        "answers are links that are up, once each, never back where it came from",
        "Forget a link when it goes down; leave out `from_link`; write no more than `cap` links.";
    "time" routing::time,
        "leaps of time do no harm, and the next call is wanted in the future",
        "Compute with saturating additions; return a time after `now_ms`, or UINT64_MAX.";
    "dump" routing::dump,
        "dump writes a JSON object with a list of routes",
        "Write {\"routes\": [...]}.";
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_explained() {
        for kind in [Kind::Transport, Kind::Discovery, Kind::Routing, Kind::Other] {
            let trials = catalogue(kind);
            let names: std::collections::HashSet<_> = trials.iter().map(|trial| trial.name).collect();
            assert_eq!(names.len(), trials.len());
            assert!(trials.iter().all(|trial| !trial.promise.is_empty() && trial.mend.ends_with('.')));
        }
    }
}
