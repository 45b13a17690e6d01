//! The log: filtered, one event a line, with nothing in it that a terminal or a reader could be fooled by.

mod flood;
mod line;

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat};
use flood::{Limiter, Verdict};
use line::Escape;

/// Starts logging, into a file or to the standard error output. Does nothing when the process logs already.
pub(super) fn init(config: &LogConfig, file: Option<File>) {
    let filter = EnvFilter::builder().parse_lossy(&config.filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let file = file.map(Arc::new);
    let _ = match config.format {
        LogFormat::Text => builder.with_writer(Log::new(file, Escape::Braces)).finish().try_init(),
        LogFormat::Json => builder.json().with_writer(Log::new(file, Escape::Json)).finish().try_init(),
    };
}

/// Where log lines go, and how they are made safe.
struct Log {
    file: Option<Arc<File>>,
    escape: Escape,
    limiter: Limiter,
}

impl Log {
    fn new(file: Option<Arc<File>>, escape: Escape) -> Self {
        Self { file, escape, limiter: Limiter::default() }
    }

    fn write(&self, text: &str) -> io::Result<()> {
        match &self.file {
            Some(file) => (&**file).write_all(text.as_bytes()),
            None => io::stderr().write_all(text.as_bytes()),
        }
    }

    /// A line about the lines that were left out, in the log's own format.
    fn left_out(&self, count: u64) -> String {
        match self.escape {
            Escape::Braces => format!("({count} lines like the next one were left out)\n"),
            Escape::Json => format!("{{\"left_out\":{count}}}\n"),
        }
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Safe<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Safe(self, Verdict::Write { left_out: 0 })
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        Safe(self, self.limiter.look(meta.callsite(), Instant::now()))
    }
}

/// Writes one event, which comes in one piece.
struct Safe<'a>(&'a Log, Verdict);

impl Write for Safe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Verdict::Write { left_out } = self.1 else { return Ok(bytes.len()) };
        let mut line = line::safe(&String::from_utf8_lossy(bytes), self.0.escape);
        if left_out > 0 {
            line.insert_str(0, &self.0.left_out(left_out));
        }
        self.0.write(&line)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
