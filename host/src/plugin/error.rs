//! What can go wrong with a plugin: always what was found, what was wanted, and how to mend it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use qpq_plugin_api::Status;

/// A library that was refused before any instance of it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

impl LoadError {
    pub(crate) fn new(file: &Path, problem: Problem) -> Self {
        Self { file: file.to_owned(), problem }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explained { found, wanted, remedy } = self.problem.explain(&self.file);
        write!(f, "plugin {}: found {found}; wanted {wanted}. {remedy}", self.file.display())
    }
}

impl std::error::Error for LoadError {}

/// Why a library was refused, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The file can't be read.
    Unreadable(String),
    /// Not a regular file, or larger than [`super::MAX_FILE`].
    NotAFile(String),
    /// Others may change the file (its octal mode), or it belongs to somebody else.
    WritableByOthers(String),
    /// Others may replace files in its folder.
    FolderWritableByOthers(PathBuf),
    /// `plugins.pinned` doesn't list the file's digest.
    NotPinned(String),
    /// Not an ELF shared library: what the file begins with.
    NotALibrary(String),
    /// The file ends before its headers say.
    Truncated(String),
    /// Built for another kind of machine: found, wanted.
    OtherMachine(String, String),
    /// So many libraries are mapped already that no other is taken before a restart.
    TooManyGenerations(u32),
    /// The copy to the data directory failed.
    Copy(String),
    /// The system's loader refused it.
    Loader(String),
    /// It hangs, or takes the process down, as it is loaded: what was found.
    Fatal(String),
    /// The symbol isn't there.
    NoSymbol,
    /// The symbol returned NULL or an unreadable address.
    NoDescriptor,
    /// The descriptor begins with another number.
    Magic(u64),
    /// The descriptor's size: found, wanted at least.
    Size(u32, usize),
    /// The ABI's major version.
    Major(u32),
    /// The plugin's panics would abort the node.
    PanicAborts,
    /// Flags that this host doesn't understand and must not ignore.
    UnknownFlags(u32),
    /// A text of the descriptor: which, and what is wrong.
    Text(&'static str, String),
    /// A required function is NULL: struct and function.
    MissingFunction(&'static str, &'static str),
    /// No interface that belongs to the kind: kind, what is offered, what is wanted.
    MissingInterface(String, String, String),
    /// The kind is none that this host knows.
    UnknownKind(String),
    /// An interface that is offered, but NULL, unreadable or too small.
    BadInterface(String, String),
    /// Needs a host interface that this host doesn't offer.
    NeedsInterface(String),
    /// The configuration schema is no JSON Schema.
    BadSchema(String),
    /// The configuration doesn't fit the schema: where, and why.
    Configuration(Vec<String>),
    /// Another library with this id is loaded: the id and the other file.
    DuplicateId(String, PathBuf),
}

/// A [`Problem`] for people.
pub struct Explained {
    /// What was found.
    pub found: String,
    /// What was wanted.
    pub wanted: String,
    /// How to mend it.
    pub remedy: String,
}

const REBUILD: &str = "Build the plugin again for this version of qpq, or install a matching qpq.";
const AUTHOR: &str = "This is a mistake in the plugin: report it to its author, or use another version of it.";

impl Problem {
    /// A stable word in kebab case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::NotAFile(_) => "not-a-file",
            Self::WritableByOthers(_) | Self::FolderWritableByOthers(_) => "writable-by-others",
            Self::NotPinned(_) => "not-pinned",
            Self::NotALibrary(_) => "not-a-library",
            Self::Truncated(_) => "truncated",
            Self::OtherMachine(..) => "other-machine",
            Self::TooManyGenerations(_) => "too-many-generations",
            Self::Copy(_) => "copy-failed",
            Self::Loader(_) => "loader",
            Self::Fatal(_) => "fatal",
            Self::NoSymbol => "no-symbol",
            Self::NoDescriptor => "no-descriptor",
            Self::Magic(_) => "magic",
            Self::Size(..) => "size",
            Self::Major(_) => "abi-major",
            Self::PanicAborts => "panic-aborts",
            Self::UnknownFlags(_) => "unknown-flags",
            Self::Text(..) => "descriptor-text",
            Self::MissingFunction(..) => "missing-function",
            Self::MissingInterface(..) => "missing-interface",
            Self::UnknownKind(_) => "unknown-kind",
            Self::BadInterface(..) => "bad-interface",
            Self::NeedsInterface(_) => "needs-interface",
            Self::BadSchema(_) => "bad-schema",
            Self::Configuration(_) => "configuration",
            Self::DuplicateId(..) => "duplicate-id",
        }
    }

    /// The three sentences for people.
    pub fn explain(&self, file: &Path) -> Explained {
        let (found, wanted, remedy) = self.sentences(file);
        Explained { found, wanted, remedy }
    }

    fn sentences(&self, file: &Path) -> (String, String, String) {
        match self {
            Self::Unreadable(_)
            | Self::NotAFile(_)
            | Self::WritableByOthers(_)
            | Self::FolderWritableByOthers(_)
            | Self::NotPinned(_)
            | Self::NotALibrary(_)
            | Self::Truncated(_)
            | Self::OtherMachine(..)
            | Self::TooManyGenerations(_)
            | Self::Copy(_)
            | Self::Loader(_)
            | Self::Fatal(_) => self.about_the_file(file),
            Self::BadSchema(_) | Self::Configuration(_) | Self::DuplicateId(..) => self.about_the_setup(),
            _ => self.about_the_descriptor(),
        }
    }

    fn about_the_file(&self, file: &Path) -> (String, String, String) {
        let path = file.display();
        let say = |found: String, wanted: &str, remedy: String| (found, wanted.to_owned(), remedy);
        match self {
            Self::Unreadable(why) => {
                say(why.clone(), "a readable file", "Check the path in the configuration and the file's mode.".into())
            }
            Self::NotAFile(what) => {
                say(what.clone(), "a regular file of at most 256 MiB", "Name the .so file itself.".into())
            }
            Self::WritableByOthers(mode) => {
                say(mode.clone(), "a file that only you or root can change", format!("Run: chmod go-w '{path}'"))
            }
            Self::FolderWritableByOthers(folder) => say(
                format!("a folder, {}, in which others may replace it", folder.display()),
                "a folder that only you or root can change",
                format!("Run: chmod go-w '{}'", folder.display()),
            ),
            Self::NotPinned(digest) => say(
                format!("the SHA-256 digest {digest}"),
                "one that plugins.pinned lists",
                "If you trust this file, add its digest to plugins.pinned in the configuration.".into(),
            ),
            Self::NotALibrary(begin) => {
                say(begin.clone(), "an ELF shared library", "Name the compiled .so file, not its source.".into())
            }
            Self::Truncated(what) => say(what.clone(), "a complete file", "Copy or build the file again.".into()),
            Self::OtherMachine(found, wanted) => say(
                format!("a library for {found}"),
                wanted,
                "Build the plugin for this machine, or get the file for it.".into(),
            ),
            Self::TooManyGenerations(cap) => say(
                format!("{cap} libraries loaded since the node started"),
                "fewer, since a library is never unloaded",
                "Restart the node.".into(),
            ),
            Self::Copy(why) => {
                say(why.clone(), "to copy it to the data directory", "Check the disk and the data directory.".into())
            }
            Self::Loader(why) => say(
                why.clone(),
                "a library that the system can load",
                "Install the libraries that it needs, or build it on an older system.".into(),
            ),
            Self::Fatal(found) => say(found.clone(), "a library that loads", AUTHOR.into()),
            _ => say("nothing wrong".into(), "nothing", String::new()),
        }
    }

    fn about_the_descriptor(&self) -> (String, String, String) {
        use qpq_plugin_api::abi::{ABI_MAJOR, ENTRY_SYMBOL, MAGIC};
        let say = |found: String, wanted: String, remedy: &str| (found, wanted, remedy.to_owned());
        match self {
            Self::NoSymbol => say(
                format!("no symbol {ENTRY_SYMBOL}"),
                "a qpq plugin, which exports it".into(),
                "This is another kind of library, or a plugin that lacks export_plugin!.",
            ),
            Self::NoDescriptor => {
                say(format!("no descriptor behind {ENTRY_SYMBOL}"), "a pointer to a static one".into(), AUTHOR)
            }
            Self::Magic(found) => say(format!("the magic number {found:#018x}"), format!("{MAGIC:#018x}"), REBUILD),
            Self::Size(found, least) => {
                say(format!("a descriptor of {found} bytes"), format!("{least} to 65,536 bytes"), REBUILD)
            }
            Self::Major(found) => say(format!("major version {found} of the ABI"), format!("{ABI_MAJOR}"), REBUILD),
            Self::PanicAborts => say(
                "a plugin whose panics abort the process".into(),
                "panics that unwind".into(),
                "Build it with panic = \"unwind\" in its Cargo profile.",
            ),
            Self::UnknownFlags(bits) => say(
                format!("flags {bits:#x} that this qpq does not know"),
                "none of them".into(),
                "Install a newer qpq.",
            ),
            Self::Text(field, why) => say(format!("a bad {field}: {why}"), "a short UTF-8 text".into(), AUTHOR),
            Self::MissingFunction(of, name) => {
                say(format!("no function {name} in {of}"), "one, since nothing works without it".into(), AUTHOR)
            }
            Self::MissingInterface(kind, offered, wanted) => {
                say(format!("a {kind} that offers '{offered}'"), wanted.clone(), REBUILD)
            }
            Self::UnknownKind(kind) => say(
                format!("a plugin of kind '{kind}'"),
                "transport, federation, discovery, routing or store".into(),
                REBUILD,
            ),
            Self::BadInterface(id, why) => say(format!("{id} offered, but {why}"), "a complete one".into(), AUTHOR),
            Self::NeedsInterface(id) => say(
                format!("a plugin that needs {id}"),
                "needs that this qpq can fill".into(),
                "Install a newer qpq, or an older plugin.",
            ),
            _ => say("nothing wrong".into(), "nothing".into(), ""),
        }
    }

    fn about_the_setup(&self) -> (String, String, String) {
        match self {
            Self::BadSchema(why) => {
                (format!("a configuration schema that is none: {why}"), "a JSON Schema".into(), AUTHOR.into())
            }
            Self::Configuration(errors) => (
                errors.join("; "),
                "a configuration that fits the plugin's schema".into(),
                "Correct the plugin's section in the configuration; qpq plugin check FILE --json prints the schema."
                    .into(),
            ),
            Self::DuplicateId(id, other) => (
                format!("a second library with the id '{id}' beside {}", other.display()),
                "one library for each id".into(),
                "Remove one of the two from the configuration.".into(),
            ),
            _ => ("nothing wrong".into(), "nothing".into(), String::new()),
        }
    }
}

/// Why a call of a plugin, or its start, did not work. The plugin's fault, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginError {
    /// The library was refused.
    Load(LoadError),
    /// The plugin answered with a failure.
    Failed {
        /// The plugin's name.
        plugin: String,
        /// Which call.
        call: &'static str,
        /// What kind of failure.
        status: Status,
        /// The plugin's own words.
        detail: String,
    },
    /// The plugin didn't answer in time.
    Hung {
        /// The plugin's name.
        plugin: String,
        /// Which call.
        call: &'static str,
        /// How long the host waited.
        waited: Duration,
    },
    /// The admin's to decide: the plugin does not work without the node's key, and is not trusted with it.
    KeyKept {
        /// The plugin's name.
        plugin: String,
    },
    /// This instance is stopped; a restart makes a new one.
    Closed {
        /// The plugin's name.
        plugin: String,
    },
    /// No plugin of that name is configured.
    Unknown {
        /// The name asked for.
        plugin: String,
    },
    /// The library can't take the place of the running one.
    Swap {
        /// The plugin's name.
        plugin: String,
        /// Why.
        problem: SwapProblem,
    },
}

/// Why one library can't take the place of another. Whose fault it is stands with each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwapProblem {
    /// The admin's: a plugin of another kind, found and wanted.
    OtherKind(String, String),
    /// The admin's: the file that was replaced holds a plugin with another id, found and wanted.
    OtherId(String, String),
    /// Nobody's: plugins of this kind can't be swapped.
    Unsupported(String),
    /// The admin's: the plugin does not run, so there is nothing to replace. The state that it is in.
    NotRunning(String),
    /// The new library's: it hangs, or takes the process down, as it is loaded. What was found.
    Fatal(String),
    /// The new library's, or the configuration's: it could not take over, and the old one goes on or runs again.
    TakeOver(String),
    /// It could not take over, and the old one could not be started again: why the one, why the other.
    BothFailed(String, String),
}

impl fmt::Display for SwapProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherKind(found, wanted) => write!(
                f,
                "found a {found} plugin; wanted a {wanted} plugin. Name a file of the same kind, or load it as a plugin \
                 of its own (plugins.load)."
            ),
            Self::OtherId(found, wanted) => write!(
                f,
                "the file that was replaced holds the plugin '{found}'; wanted '{wanted}'. If you mean it, give the \
                 command with the file: qpq plugin swap NAME FILE"
            ),
            Self::Unsupported(kind) => {
                write!(
                    f,
                    "a {kind} plugin can't be replaced while the node runs. Put the file in place and restart the node."
                )
            }
            Self::NotRunning(state) => {
                write!(
                    f,
                    "it is {state}, so there is nothing to replace. Start it: qpq plugin enable NAME; or another library in its place: qpq plugin swap NAME FILE"
                )
            }
            Self::Fatal(found) => write!(f, "found {found}. Report it to the plugin's author."),
            Self::TakeOver(why) => write!(f, "the new library could not take over: {why}"),
            Self::BothFailed(new, old) => {
                write!(f, "the new library could not take over: {new}; and the old one did not start again: {old}")
            }
        }
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::Failed { plugin, call, status, detail } if detail.is_empty() => {
                write!(f, "plugin {plugin}: {call} failed ({status}) without a reason")
            }
            Self::Failed { plugin, call, status, detail } => {
                write!(f, "plugin {plugin}: {call} failed ({status}): {detail}")
            }
            Self::Hung { plugin, call, waited } => {
                write!(f, "plugin {plugin}: {call} did not end within {} ms", waited.as_millis())
            }
            Self::KeyKept { plugin } => write!(
                f,
                "plugin {plugin}: it needs the node's own key, and plugins.trusted_with_key does not list it. If you trust \
                 this plugin as much as qpq itself, add \"{plugin}\" there."
            ),
            Self::Closed { plugin } => write!(f, "plugin {plugin}: this instance is stopped"),
            Self::Unknown { plugin } => {
                write!(f, "no plugin is named '{plugin}'; qpq plugin list shows those that are configured")
            }
            Self::Swap { plugin, problem } => write!(f, "plugin {plugin}: {problem}"),
        }
    }
}

impl std::error::Error for PluginError {}

impl From<LoadError> for PluginError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl PluginError {
    /// Whether the same file and configuration would fail again, so that only the admin can mend it.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self, Self::Load(_) | Self::KeyKept { .. })
    }

    /// A stable word in kebab case, for [`crate::api::ApiError::code`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.problem.code(),
            Self::Failed { .. } => "plugin-failed",
            Self::Hung { .. } => "plugin-hung",
            Self::KeyKept { .. } => "plugin-key-kept",
            Self::Closed { .. } => "plugin-stopped",
            Self::Unknown { .. } => "unknown-plugin",
            Self::Swap { problem, .. } => problem.code(),
        }
    }
}

impl SwapProblem {
    /// A stable word in kebab case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherKind(..) => "swap-other-kind",
            Self::OtherId(..) => "swap-other-id",
            Self::Unsupported(_) => "swap-unsupported",
            Self::NotRunning(_) => "swap-not-running",
            Self::Fatal(_) => "swap-fatal",
            Self::TakeOver(_) => "swap-take-over",
            Self::BothFailed(..) => "swap-both-failed",
        }
    }
}
