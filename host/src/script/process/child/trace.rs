//! The child's log goes to the host, which writes it to the node's.

use std::fmt::{self, Write};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::super::super::log::Level;
use super::super::proxy::Link;
use super::super::wire::ToHost;

/// The part of the program whose lines are the bot's.
const TARGET: &str = "qpq::script";

/// Sends the lines about the bot to the host from now on.
pub(super) fn to_host(link: &Arc<Link>) {
    // A second one is not set, and none is: the process has one bot.
    let _ = tracing::subscriber::set_global_default(Tracer(Arc::clone(link)));
}

struct Tracer(Arc<Link>);

impl Subscriber for Tracer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == TARGET
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        };
        self.0.push(&ToHost::Trace { level, text: line.message + &line.rest });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A line as text: its message, and its fields but for the bot's name, which the host knows better.
#[derive(Default)]
struct Line {
    message: String,
    rest: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text can't fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "bot" => Ok(()),
            name => write!(self.rest, " {name}={value:?}"),
        };
    }
}
