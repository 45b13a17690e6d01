//! `qpq plugin check FILE`: all load checks, in a child process, so that a bad library can't take the caller down.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::child::run_within;
use super::config;
use super::descriptor::PluginInfo;
use super::error::Problem;
use super::file;
use super::loader::Loader;
use super::trial::{self, TRIAL_ARGUMENT};

/// The hidden first argument with which the binary calls itself; the file's path follows. See [`child_main`].
pub const CHILD_ARGUMENT: &str = "__plugin-check";
/// How long a check may take.
const CHECK_DEADLINE: Duration = Duration::from_secs(20);

/// What a check found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CheckReport {
    /// `qpq.plugin-check/1`.
    pub schema: String,
    /// The file.
    pub file: String,
    /// Its SHA-256 digest, for `plugins.pinned`. Empty when it could not be read.
    pub sha256: String,
    /// Whether the node would load it.
    pub ok: bool,
    /// What the descriptor says; what could be read before a problem.
    pub plugin: Option<CheckedPlugin>,
    /// What doesn't fit.
    pub problem: Option<CheckProblem>,
}

/// What a descriptor says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CheckedPlugin {
    /// The plugin's name.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// Its licence.
    pub licence: String,
    /// What built it.
    pub build: String,
    /// Version of the ABI, such as `1.1`.
    pub abi: String,
    /// Interfaces that it offers.
    pub interfaces: Vec<String>,
    /// Host interfaces that it needs.
    pub needs: Vec<String>,
    /// URI schemes that a transport serves.
    #[serde(default)]
    pub schemes: Vec<String>,
    /// JSON Schema of its configuration; `null` when it has none.
    pub config_schema: Value,
}

/// What doesn't fit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckProblem {
    /// A stable word in kebab case.
    pub code: String,
    /// What was found.
    pub found: String,
    /// What was wanted.
    pub wanted: String,
    /// How to mend it.
    pub remedy: String,
}

/// Runs all load checks in this process. The library stays mapped, and its initialisers run: prefer [`check_in_child`].
pub fn check_file(path: &Path) -> CheckReport {
    let mut info = PluginInfo::default();
    let checked = file::check(path, &[]);
    let sha256 = checked.as_ref().map(|checked| checked.sha256.clone()).unwrap_or_default();
    let problem = checked.and_then(|_| map(path, &mut info)).err();
    let plugin = (info.size != 0).then(|| describe(&info));
    report(path, sha256, plugin, problem.as_ref())
}

fn map(path: &Path, info: &mut PluginInfo) -> Result<(), Problem> {
    // A folder of its own, that nobody can foresee: neither the node's copies nor another check are touched.
    let folder = std::env::temp_dir().join(format!("qpq-check-{:016x}", rand::random::<u64>()));
    let image = Loader::new(&folder, Vec::new()).image("check", path, info);
    let _ = std::fs::remove_dir_all(&folder);
    let image = image?;
    if image.descriptor.info.config_schema.trim().is_empty() {
        return Ok(());
    }
    config::compile(&image.descriptor.info.config_schema).map(drop)
}

fn describe(info: &PluginInfo) -> CheckedPlugin {
    CheckedPlugin {
        id: info.id.clone(),
        kind: info.kind.clone(),
        version: info.version.clone(),
        licence: info.licence.clone(),
        build: info.build.clone(),
        abi: format!("{}.{}", info.abi.0, info.abi.1),
        interfaces: info.interfaces.clone(),
        needs: info.needs.clone(),
        schemes: info.schemes.clone(),
        config_schema: serde_json::from_str(&info.config_schema).unwrap_or(Value::Null),
    }
}

fn report(path: &Path, sha256: String, plugin: Option<CheckedPlugin>, problem: Option<&Problem>) -> CheckReport {
    let problem = problem.map(|problem| {
        let said = problem.explain(path);
        CheckProblem { code: problem.code().to_owned(), found: said.found, wanted: said.wanted, remedy: said.remedy }
    });
    CheckReport {
        schema: "qpq.plugin-check/1".to_owned(),
        file: path.display().to_string(),
        sha256,
        ok: problem.is_none(),
        plugin,
        problem,
    }
}

/// Why a check brought no report.
enum NoReport {
    /// The library hangs, or ends the process, as it is loaded.
    Fatal(String),
    /// The system gave no process or thread.
    NotTried(String),
}

/// Runs the checks in a child process: `exe` (this binary, from `std::env::current_exe`) with [`CHILD_ARGUMENT`].
pub async fn check_in_child(exe: &Path, path: &Path) -> CheckReport {
    let found = match try_in_child(exe, path).await {
        Ok(report) => return report,
        Err(NoReport::Fatal(found) | NoReport::NotTried(found)) => found,
    };
    let mut report = report(path, String::new(), None, None);
    report.ok = false;
    report.problem = Some(CheckProblem {
        code: "crashed".to_owned(),
        found,
        wanted: "a library that loads".to_owned(),
        remedy: "This is a mistake in the plugin: report it to its author.".to_owned(),
    });
    report
}

/// What is found when loading that file would hang or end this process. `exe` as for [`check_in_child`]. `None` also where
/// it could not be tried.
pub(super) async fn fatal(exe: &Path, path: &Path) -> Option<String> {
    match try_in_child(exe, path).await {
        Err(NoReport::Fatal(found)) => Some(found),
        Ok(_) | Err(NoReport::NotTried(_)) => None,
    }
}

async fn try_in_child(exe: &Path, path: &Path) -> Result<CheckReport, NoReport> {
    let mut command = Command::new(exe);
    command.arg(CHILD_ARGUMENT).arg(path);
    let run = tokio::task::spawn_blocking(move || run_within(command, CHECK_DEADLINE));
    let ran = run.await.map_err(|error| NoReport::NotTried(format!("no thread to wait for the check: {error}")))?;
    let ran = ran.map_err(|error| NoReport::NotTried(format!("no process to check it in: {error}")))?;
    match (find_report(&ran.stdout), ran.status) {
        (Some(report), Some(_)) => Ok(report),
        (_, Some(status)) => Err(NoReport::Fatal(format!("a library that ends the process that loads it ({status})"))),
        (_, None) => {
            let secs = CHECK_DEADLINE.as_secs();
            Err(NoReport::Fatal(format!("a library that takes over {secs} s to load")))
        }
    }
}

/// The report among what the child printed: the library may print too, before it and at the end.
fn find_report(stdout: &[u8]) -> Option<CheckReport> {
    stdout.rsplit(|byte| *byte == b'\n').find_map(|line| serde_json::from_slice(line).ok())
}

/// The child's side: call it first in `main`, with the arguments after the program's name. When they ask for a check or a trial
/// it prints the report as JSON and returns `true`; then `main` ends with success.
pub fn child_main(mut arguments: impl Iterator<Item = std::ffi::OsString>) -> bool {
    let Some(first) = arguments.next() else { return false };
    if first == TRIAL_ARGUMENT {
        trial::main(arguments.next());
        return true;
    }
    if first != CHILD_ARGUMENT {
        return false;
    }
    let report = check_file(Path::new(&arguments.next().unwrap_or_default()));
    let text = format!("\n{}\n", serde_json::to_string(&report).unwrap_or_default());
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    true
}
