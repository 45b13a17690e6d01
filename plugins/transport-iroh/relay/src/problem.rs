//! What can go wrong, whose fault it is, and what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Exit code for a configuration that can't be used, as in `sysexits.h`.
const BAD_CONFIGURATION: u8 = 78;

/// A reason to stop, for the admin.
#[derive(Debug)]
pub(crate) enum Problem {
    /// A file or folder can't be read or written.
    File { path: PathBuf, doing: &'static str, source: io::Error },
    /// A file that would be overwritten.
    Exists { path: PathBuf },
    /// A secret that others can read.
    Loose { path: PathBuf, mode: u32 },
    /// The configuration file doesn't fit.
    Config { path: PathBuf, text: String },
    /// A certificate or key file that can't be used.
    Certificate { path: PathBuf, text: String },
    /// Making a key or a certificate failed.
    Making(rcgen::Error),
    /// The relay can't listen.
    Listen { what: &'static str, key: &'static str, address: SocketAddr, source: io::Error },
    /// The system refuses what any process may have: threads, signals.
    System { doing: &'static str, source: io::Error },
    /// The relay ended by itself.
    Server(String),
}

impl Problem {
    /// Wraps an error of the file system.
    pub(crate) fn file(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), doing, source }
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Config { .. } | Self::Certificate { .. } | Self::Loose { .. } => BAD_CONFIGURATION,
            _ => 1,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, doing, source } => {
                write!(f, "can't {doing} {}: {source}{}", path.display(), remedy(source))
            }
            Self::Exists { path } => {
                write!(
                    f,
                    "{} is there already and is left alone. Move it away, or name another folder.",
                    path.display()
                )
            }
            Self::Loose { path, mode } => write!(
                f,
                "others can read {p} (mode {mode:04o}), so it may be known to them. Run `chmod 600 {p}`; if strangers use this machine, make a new one.",
                p = path.display()
            ),
            Self::Config { path, text } => write!(f, "the configuration {} can't be used: {text}", path.display()),
            Self::Certificate { path, text } => write!(f, "{}: {text}", path.display()),
            Self::Making(error) => write!(f, "no certificate could be made: {error}"),
            Self::Listen { what, key, address, source } => {
                write!(f, "can't listen for {what} at {address}: {source}{}", listen_remedy(source, address, key))
            }
            Self::System { doing, source } => write!(f, "can't {doing}: {source}"),
            Self::Server(text) => write!(f, "the relay ended: {text}. Start it again, and report this with its log."),
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => ". Check the path; `qpq-relay init` makes all files that a relay needs.",
        io::ErrorKind::PermissionDenied => ". Run it as the user whom the file belongs to, or change its owner.",
        _ => "",
    }
}

fn listen_remedy(error: &io::Error, address: &SocketAddr, key: &str) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            ". Ports below 1024 need root or AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit; or choose another with `{key}`."
        ),
        io::ErrorKind::AddrInUse => {
            format!(". Another program has that port (see `ss -lntup`); stop it, or choose another with `{key}`.")
        }
        io::ErrorKind::AddrNotAvailable => format!(". This machine doesn't have that address; correct `{key}`."),
        _ if address.is_ipv6() => format!(". If this machine has no IPv6, write 0.0.0.0 instead of [::] in `{key}`."),
        _ => String::new(),
    }
}
