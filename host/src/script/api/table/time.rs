//! Calls for timers and the clock.

use super::{Call, Group, Kind, OPTS, Param, call, maybe, param, waiting, writing};

const FN: Param = param("fn", Kind::Function).of("fun()").doc("called without arguments; it may wait");
const NAME: Param = maybe("name", Kind::Text);

const CALLS: &[Call] = &[
    writing(call(
        "mesh.every",
        &[param("period", Kind::Duration).doc("how often; 1 s at least"), FN, OPTS],
        &[NAME.doc("a name by which it keeps its pace over a reload")],
        "mesh.timer",
        "",
        "Calls fn again and again, first after one period. A late timer fires once, never in a burst.",
    )),
    writing(call(
        "mesh.after",
        &[param("delay", Kind::Duration).doc("how long from now; 1 s at least"), FN, OPTS],
        &[NAME.doc(
            "a name by which it keeps its moment over a reload, where the new version sets it with the same delay",
        )],
        "mesh.timer",
        "",
        "Calls fn once, later. It is forgotten when the node stops, and at a reload if it has no name: what must last belongs into \
         the store.",
    )),
    writing(call(
        "mesh.at",
        &[
            param("when", Kind::When).doc("a time of day in UTC, a cron expression of five fields, or Unix seconds"),
            FN,
            OPTS,
        ],
        &[NAME.doc("a name, for whoever reads it: over a reload too its moment is what `when` says")],
        "mesh.timer",
        "",
        "Calls fn at each such moment; given Unix seconds, once.",
    )),
    writing(call("timer:cancel", &[], &[], "boolean", "", "Ends the timer; whether it was still set.")),
    waiting(call(
        "mesh.sleep",
        &[param("duration", Kind::Duration).doc("how long; a handler lives 30 s at most")],
        &[],
        "",
        "",
        "Suspends this handler for a while.",
    )),
    call(
        "mesh.seconds",
        &[param("text", Kind::Text).doc("a duration as people write it, such as \"10m\", \"3d\" or \"1h 30m\"")],
        &[],
        "number?, mesh.error?",
        "",
        "The seconds of a duration that somebody typed; nil and an error when it is none.",
    ),
    call("mesh.now", &[], &[], "number", "", "Unix time in seconds, with milliseconds behind the point."),
];

pub(super) const GROUP: Group = Group {
    name: "time",
    help: "Timers and the clock. Durations are strings such as \"90s\", \"10m\", \"6h\", \"3d\", or numbers of seconds.",
    calls: CALLS,
    values: &[],
};
