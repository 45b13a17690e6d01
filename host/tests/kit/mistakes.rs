//! Each trial finds the mistake that it is for.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use qpq_host::plugin::trials;

use crate::workbench::{Change, attempt, c_transport, compile};

/// A mistake in a transport: the trial that finds it, some words of what it says, and the mistake.
struct Mistake {
    trial: &'static str,
    says: &'static str,
    changes: &'static [Change],
}

macro_rules! mistakes {
    ($($trial:literal $says:literal: $($file:literal $from:literal => $to:literal),+;)*) => {
        &[$(Mistake {
            trial: $trial,
            says: $says,
            changes: &[$(Change { file: $file, from: $from, to: $to }),+],
        }),*]
    };
}

/// The mistakes; each is one that authors make.
const TRANSPORT: &[Mistake] = mistakes! {
    "pure-entry" "threads were started":
        "plugin.c" "" => "static void *idle(void *a) { for (;;) pause(); return a; }\n\
            __attribute__((constructor)) static void early(void) { pthread_t t; pthread_create(&t, 0, idle, 0); }";
    "pure-entry" "another vtable":
        "plugin.c" "? &TRANSPORT : NULL" => "? memcpy(malloc(sizeof TRANSPORT), &TRANSPORT, sizeof TRANSPORT) : NULL";
    "create-destroy" "opened a file":
        "plugin.c" "self->host = host;" => "self->host = host; dup(0);";
    "bad-configuration" "misspelt":
        "plugin.c" ", \\\"additionalProperties\\\": false" => "";
    "bad-configuration" "gave no reason":
        "plugin.c" "self->host = host;" =>
            "self->host = host; if (config_json.len != 2 || config_json.ptr[1] != '}') { free(self); return QPQ_INVALID; }";
    "two-instances" "same instance":
        "plugin.c" "instance *self = events ? calloc(1, sizeof *self) : NULL;" =>
            "static instance one; instance *self = events ? &one : NULL;",
        "plugin.c" "  free(self);\n}" => "}";
    "restarts" "file handles":
        "plugin.c" "if (self->wake[i] >= 0) close(self->wake[i])" => "{}";
    "restarts" "memory":
        "plugin.c" "  free(self);\n}" => "  explicit_bzero(malloc(1 << 20), 1 << 20);\n}";
    "restarts" "threads still run":
        "plugin.c" "self->started = !failed;" =>
            "self->started = !failed; pthread_t t; pthread_create(&t, 0, (void *(*)(void *))sleep, (void *)30);";
    "poor-host" "does not offer":
        "plugin.c" "events ? calloc(1, sizeof *self) : NULL" => "calloc(1, sizeof *self)";
    "oldest-host" "behind the end":
        "plugin.c" "self->host = host;" => "self->host = host; uint8_t key[32]; const qpq_host_identity *identity = \
            host->get_interface(host->ctx, str(\"qpq.host.identity/1\")); if (identity) identity->secret(host->ctx, key);";
    "newer-host" "create answered":
        "plugin.c" "instance *self = events ? calloc" =>
            "instance *self = host->size == sizeof *host && events ? calloc";
    "both-ways" "arrived with other bytes":
        "work.c" "memmove(l->in, l->in + at, l->have - at);" =>
            "memmove(l->in, l->in + at, l->have - at); if (l->have > 100) l->in[99] ^= 1;";
    "both-ways" "came twice":
        "plugin.c" "answer(self, op, QPQ_OK, bound);" =>
            "answer(self, op, QPQ_OK, bound); answer(self, op, QPQ_OK, bound);";
    "both-ways" "no URI":
        "address.c" "SCHEME \"%s:%u\"" => "\"%s:%u\"";
    "both-ways" "from inside":
        "plugin.c" "int gone = !l" => "if (l) { qpq_link_event path = { .size = sizeof path, .kind = QPQ_LINK_PATH, \
            .link = l->id, .remote = str(SCHEME) }; self->events->on_link(self->host->ctx, &path); }\n  int gone = !l";
    "borrowed-frames" "only borrowed":
        "plugin.c" "int borrowed = (given->flags & QPQ_FRAME_BORROWED) != 0;" => "int borrowed = 0;";
    "releases" "never released":
        "plugin.c" "if (!(given->flags & QPQ_FRAME_BORROWED) && given->buf.release)" => "if (0)";
    "releases" "released 2 times":
        "work.c" "if (f->buf.release) f->buf.release(f->buf.owner);" =>
            "if (f->buf.release) { f->buf.release(f->buf.owner); f->buf.release(f->buf.owner); }";
    "sizes" "an empty frame":
        "plugin.c" "if (given->buf.len > MAX_FRAME)" => "if (!given->buf.len || given->buf.len > MAX_FRAME)";
    "sizes" "arrived as another":
        "plugin.c" "if (given->buf.len > MAX_FRAME) { drop(given); continue; }" => "",
        "plugin.c" "uint32_t len = (uint32_t)given->buf.len;" =>
            "uint32_t len = given->buf.len > MAX_FRAME ? MAX_FRAME : (uint32_t)given->buf.len;",
        "plugin.c" "f->buf = given->buf;" => "f->buf = given->buf; f->buf.len = len;";
    "backpressure" "takes nothing":
        "transport.h" "#define MAX_QUEUED_FRAMES 1024u" => "#define MAX_QUEUED_FRAMES 100000000u",
        "transport.h" "#define MAX_QUEUED_BYTES (8u << 20)" => "#define MAX_QUEUED_BYTES (1u << 30)";
    "backpressure" "takes nothing":
        "work.c" "    if (taken == n) continue;" => "    l->have = 0; continue;";
    "lost-wakeup" "on_writable":
        "plugin.c" "if (full && l->frames) { l->host_waits = 1; break; }" => "if (full && l->frames) break;";
    "lost-wakeup" "stands still":
        "work.c" "l->stalled = !l->resumed;" => "l->stalled = 1;";
    "many-threads" "":
        "transport.h" "static inline void lock(instance *self) { pthread_mutex_lock(&self->lock); }" =>
            "static inline void lock(instance *self) { (void)self; }",
        "transport.h" "static inline void unlock(instance *self) { pthread_mutex_unlock(&self->lock); }" =>
            "static inline void unlock(instance *self) { (void)self; }",
        // Time for another thread to come in between.
        "plugin.c" "if (l->last) l->last->next = f; else l->first = f;" =>
            "frame *last = l->last; usleep(20); if (last) last->next = f; else l->first = f;";
    "close" "went down twice":
        "work.c" "if (!silent && l->dead != 2) self->events->on_link(self->host->ctx, &down);" =>
            "if (!silent && l->dead != 2) { self->events->on_link(self->host->ctx, &down); \
             self->events->on_link(self->host->ctx, &down); }";
    "refused-link" "which the host refused":
        "work.c" "if (status != QPQ_OK) l->dead = 2;" => "";
    "quiesce" "were handed back":
        "plugin.c" "int64_t patience = deadline_ms * 3 / 4;" => "int64_t patience = 0;",
        "work.c" "self->events->on_unsent(self->host->ctx, &unsent, 1);" => "release(f); continue;";
    "quiesce" "after it was down":
        "plugin.c" "int64_t patience = deadline_ms * 3 / 4;" => "int64_t patience = 0;",
        "work.c" "for (frame *f = l->first, *next; f; f = next) {" =>
            "qpq_link_event early = { .size = sizeof early, .kind = QPQ_LINK_DOWN, .link = l->id };\n\
             self->events->on_link(self->host->ctx, &early);\n  for (frame *f = l->first, *next; f; f = next) {";
    "stop-under-load" "after stop had returned":
        "plugin.c" "static qpq_status start(" => "static void *chat(void *plugin) { instance copy = *(instance *)plugin;\n\
            for (;;) { usleep(50000); copy.host->log_level(copy.host->ctx); } return NULL; }\n\
            static qpq_status start(",
        "plugin.c" "self->started = !failed;" =>
            "self->started = !failed; pthread_t t; pthread_create(&t, NULL, chat, self);";
    "stop-answers" "had no answer":
        "work.c" "answer(self, l->op, QPQ_CLOSED, \"stopped\");" => "";
    "dial-nobody" "succeeded":
        "work.c" "if (events) connected(self, l, error);" => "if (events) connected(self, l, 0);";
    "wrong-peer" "another key":
        "work.c" ".flags = QPQ_LINK_RELIABLE |" => ".flags = QPQ_LINK_RELIABLE | QPQ_LINK_PEER_PROVEN |";
    "hostile-arguments" "all must be":
        "plugin.c" "for (; gone && taken < n; taken++) drop(&frames[taken]);" => "";
    "hostile-arguments" "":
        "address.c" "uri.len <= head || uri.len >= sizeof text || !uri.ptr ||" => "";
    "stats" "no JSON object":
        "plugin.c" "{\\\"links\\\":%u}" => "links: %u";
    "stats" "blocked":
        "plugin.c" "unsigned links = self->link_count;" => "unsigned links = self->link_count; sleep(4);";
};

/// How many are tried at once: most of the time they wait.
const AT_ONCE: usize = 4;

#[test]
fn each_trial_for_transports_finds_its_mistake() {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(mistake) = TRANSPORT.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = find(mistake) {
                        wrong.lock().unwrap().push(why);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn find(mistake: &Mistake) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = c_transport(&folder, mistake.changes);
    let report = attempt("transport", mistake.trial, &file);
    let why = report.why.clone().unwrap_or_default();
    let found = report.outcome == "failed" && why.contains(mistake.says);
    if found { Ok(()) } else { Err(format!("{}, `{}`: {} {why}", mistake.trial, mistake.says, report.outcome)) }
}

#[test]
fn every_trial_for_transports_has_a_mistake() {
    let tried: BTreeSet<_> = TRANSPORT.iter().map(|mistake| mistake.trial).collect();
    let all: BTreeSet<_> = trials("transport").iter().map(|trial| trial.name).collect();
    assert_eq!(tried, all);
}

/// Mistakes in the small plugins of `tests/c`, by macro.
fn small(kind: &str, source: &str, mistakes: &[(&str, &str, &str)], good: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = compile(&folder, source, &[]);
    for trial in good {
        let report = attempt(kind, trial, &file);
        assert_eq!(report.outcome, "passed", "{trial}: {:?}", report.why);
    }
    for (trial, says, name) in mistakes {
        let folder = tempfile::tempdir().unwrap();
        let report = attempt(kind, trial, &compile(&folder, source, &[name]));
        let why = report.why.unwrap_or_default();
        assert!(report.outcome == "failed" && why.contains(says), "{trial} with {name}: {} {why}", report.outcome);
    }
}

#[test]
fn each_trial_for_routing_finds_its_mistake() {
    let mistakes = [
        ("deterministic", "were answered with", "BAD_CHANCE"),
        ("no-life-of-its-own", "started threads", "BAD_THREAD"),
        ("no-life-of-its-own", "from outside a call", "BAD_OUTSIDE"),
        ("hostile-control", "", "BAD_LENGTH"),
        ("hostile-control", "cost", "BAD_KEEPS_CONTROL"),
        ("many-origins", "cost", "BAD_KEEPS_ORIGINS"),
        ("sound-answers", "isn't up", "BAD_FORGETS_DOWN"),
        ("sound-answers", "over which the envelope came", "BAD_BACK"),
        ("sound-answers", "more than the", "BAD_CAP"),
        ("time", "not later", "BAD_TICK"),
        ("dump", "no JSON", "BAD_DUMP"),
    ];
    let own =
        ["deterministic", "no-life-of-its-own", "hostile-control", "many-origins", "sound-answers", "time", "dump"];
    small("routing", "routing.c", &mistakes, &own);
}

#[test]
fn each_trial_for_discovery_finds_its_mistake() {
    let mistakes = [
        ("operations", "came twice", "BAD_TWICE"),
        ("operations", "did not come", "BAD_SILENT"),
        ("hostile-records", "accepted", "BAD_ANY_RECORD"),
        ("quiet-after-cancel", "after cancel", "BAD_GOES_ON"),
        ("quiet-after-cancel", "no JSON object", "BAD_RECORD"),
    ];
    small("discovery", "discovery.c", &mistakes, &["operations", "hostile-records", "quiet-after-cancel"]);
}
