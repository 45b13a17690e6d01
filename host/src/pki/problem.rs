//! Why nothing was made, whose fault it is, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::identity::IdentityError;

/// Why a certificate, key or request was not made. No variant ever holds a secret.
#[derive(Debug)]
pub enum Problem {
    /// A secret file can't be read or written, or is open to others.
    Secret(IdentityError),
    /// A file or folder can't be read or written.
    File {
        /// The file or folder.
        path: PathBuf,
        /// What was being done, as in "can't … PATH".
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file that would be overwritten.
    Exists {
        /// The file.
        path: PathBuf,
        /// What to do, as a sentence.
        remedy: &'static str,
    },
    /// A file doesn't hold what it should.
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do, in sentences.
        text: String,
    },
    /// What was asked for would be refused by the other side.
    Refused {
        /// What is wrong and what to do, in sentences.
        text: String,
    },
    /// Making a key or a certificate failed.
    Making(rcgen::Error),
}

impl Problem {
    pub(super) fn file(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { path: path.to_owned(), doing, source }
    }

    pub(super) fn unusable(path: &Path, text: impl Into<String>) -> Self {
        Self::Unusable { path: path.to_owned(), text: text.into() }
    }

    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self::Refused { text: text.into() }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Secret(error) => error.code(),
            Self::File { .. } => "certificate-io",
            Self::Exists { .. } => "certificate-exists",
            Self::Unusable { .. } => "certificate-unusable",
            Self::Refused { .. } => "certificate-refused",
            Self::Making(_) => "certificate-making",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(error) => write!(f, "{error}."),
            Self::File { path, doing, source } => {
                write!(f, "can't {doing} {}: {source}.{}", path.display(), remedy(source))
            }
            Self::Exists { path, remedy } => {
                write!(f, "{} is there already and is left alone. {remedy}", path.display())
            }
            Self::Unusable { path, text } => write!(f, "{}: {text}", path.display()),
            Self::Refused { text } => f.write_str(text),
            Self::Making(error) => write!(f, "no certificate could be made: {error}."),
        }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " Check the path.",
        io::ErrorKind::PermissionDenied => " Run it as the user whom the file belongs to, or change its owner.",
        _ => "",
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Secret(error) => Some(error),
            Self::File { source, .. } => Some(source),
            Self::Making(error) => Some(error),
            Self::Exists { .. } | Self::Unusable { .. } | Self::Refused { .. } => None,
        }
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        Self::Secret(error)
    }
}

impl From<rcgen::Error> for Problem {
    fn from(error: rcgen::Error) -> Self {
        Self::Making(error)
    }
}
