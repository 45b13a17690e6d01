//! The log: filtered, one event a line, with nothing in it that a terminal or a reader could be fooled by.

mod line;

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogConfig, LogFormat};
use line::Escape;

/// Starts logging, into a file or to the standard error output. Does nothing when the process logs already.
pub(super) fn init(config: &LogConfig, file: Option<File>) {
    let filter = EnvFilter::builder().parse_lossy(&config.filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let file = file.map(Arc::new);
    let _ = match config.format {
        LogFormat::Text => builder.with_writer(Log { file, escape: Escape::Braces }).finish().try_init(),
        LogFormat::Json => builder.json().with_writer(Log { file, escape: Escape::Json }).finish().try_init(),
    };
}

/// Where log lines go, and how they are made safe.
struct Log {
    file: Option<Arc<File>>,
    escape: Escape,
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Safe<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Safe(self)
    }
}

/// Writes one event, which comes in one piece.
struct Safe<'a>(&'a Log);

impl Write for Safe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = line::safe(&String::from_utf8_lossy(bytes), self.0.escape);
        match &self.0.file {
            Some(file) => (&**file).write_all(line.as_bytes())?,
            None => io::stderr().write_all(line.as_bytes())?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
