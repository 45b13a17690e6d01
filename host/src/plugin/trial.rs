//! `qpq plugin test FILE`: the trials of the conformance kit, each in a child process of its own.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use qpq_plugin_api::kit::{self, Kind, Setting, Signer, Stop, Trial};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::child::run_within;
use super::config;
use super::identity::{self, PluginIdentity};
use crate::identity::Identity;

/// The hidden first argument with which the binary calls itself; an [`Order`] as JSON follows.
pub(super) const TRIAL_ARGUMENT: &str = "__plugin-trial";
/// How long one trial may take.
const TRIAL_DEADLINE: Duration = Duration::from_secs(90);
/// Of what a plugin printed, that many lines are shown with a failure, the last ones.
const SHOWN_LINES: usize = 12;
/// Begins the line with the outcome, among what the plugin may print itself.
const OUTCOME: &str = "\u{1}qpq-trial ";

/// What to try, and how.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    /// The library; nobody may change it meanwhile.
    pub file: PathBuf,
    /// The trial's name.
    pub trial: String,
    /// What random decisions are made from.
    pub seed: u64,
    /// The configuration of each instance.
    pub config: Value,
    /// Where a transport listens, instead of `SCHEME://127.0.0.1:0`.
    pub listen: Option<String>,
    /// What is dialled, with `{address}` and `{peer}`, instead of what `listen` answered.
    pub dial: Option<String>,
}

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialReport {
    /// The trial's name.
    pub name: String,
    /// What a plugin promises.
    pub promise: String,
    /// `passed`, `failed` or `skipped`.
    pub outcome: String,
    /// Why it failed or was skipped.
    pub why: Option<String>,
    /// With a failure: where to look.
    pub mend: Option<String>,
    /// With a failure: the last lines that the plugin printed.
    pub printed: Vec<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// The trials for plugins of that kind.
pub fn trials(kind: &str) -> Vec<Trial> {
    kit::catalogue(Kind::of(kind))
}

/// Runs a trial in a child process: `exe` is this binary. Blocks until it is over.
pub fn try_in_child(exe: &Path, trial: &Trial, order: &Order) -> TrialReport {
    let begun = Instant::now();
    let mut command = Command::new(exe);
    command.arg(TRIAL_ARGUMENT).arg(serde_json::to_string(order).unwrap_or_default());
    let (outcome, why, printed) = match run_within(command, TRIAL_DEADLINE) {
        Err(error) => ("failed", Some(format!("no process to try it in: {error}")), Vec::new()),
        Ok(ran) => {
            let (said, mut printed) = read(&ran.stdout);
            printed.extend(lines(&ran.stderr));
            let (outcome, why) = match (said, ran.status) {
                (Some(said), _) => said,
                (None, Some(status)) => ("failed", Some(format!("the plugin ended its process: {status}"))),
                (None, None) => ("failed", Some(format!("it was not over after {} s", TRIAL_DEADLINE.as_secs()))),
            };
            (outcome, why, printed)
        }
    };
    let failed = outcome == "failed";
    let from = printed.len().saturating_sub(SHOWN_LINES);
    TrialReport {
        name: trial.name.to_owned(),
        promise: trial.promise.to_owned(),
        outcome: outcome.to_owned(),
        why,
        mend: failed.then(|| trial.mend.to_owned()),
        printed: if failed { printed.into_iter().skip(from).collect() } else { Vec::new() },
        took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

/// The outcome that a child told, and what else was printed.
fn read(stdout: &[u8]) -> (Option<(&'static str, Option<String>)>, Vec<String>) {
    let (told, printed): (Vec<_>, Vec<_>) = lines(stdout).into_iter().partition(|line| line.contains(OUTCOME));
    let told = told.last().and_then(|line| line.split_once(OUTCOME));
    let said = told.and_then(|(_, json)| serde_json::from_str::<(String, Option<String>)>(json).ok());
    let said = said.map(|(outcome, why)| match outcome.as_str() {
        "passed" => ("passed", why),
        "skipped" => ("skipped", why),
        _ => ("failed", why),
    });
    (said, printed)
}

fn lines(output: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(output).lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

/// The child's side: the order stands in the second argument.
pub(super) fn main(order: Option<OsString>) {
    let order = order.and_then(|text| serde_json::from_str::<Order>(text.to_str()?).ok());
    let told: (&str, Option<String>) = match order.map(run) {
        Some(Ok(())) => ("passed", None),
        Some(Err(Stop::Skipped(why))) => ("skipped", Some(why)),
        Some(Err(Stop::Failed(why))) => ("failed", Some(why)),
        None => ("failed", Some("this process got no order that it understands".to_owned())),
    };
    let text = format!("\n{OUTCOME}{}\n", serde_json::to_string(&told).unwrap_or_default());
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}

fn run(order: Order) -> Result<(), Stop> {
    let setting = Setting {
        file: order.file,
        config: order.config,
        seed: order.seed,
        listen: order.listen,
        dial: order.dial,
        identity: |seed| Box::new(Node(Identity::from_seed(&seed))),
        fits: |schema, config| config::check(schema, config).map_err(|problem| problem.explain(Path::new("")).found),
    };
    kit::run(&order.trial, setting)
}

/// An identity for trials.
struct Node(Identity);

impl Signer for Node {
    fn public_key(&self) -> [u8; 32] {
        PluginIdentity::public_key(&self.0)
    }

    fn sign(&self, id: &str, purpose: u32, message: &[u8]) -> Option<[u8; 64]> {
        identity::sign(&self.0, id, purpose, message)
    }

    fn subkey(&self, id: &str) -> [u8; 32] {
        *PluginIdentity::subkey(&self.0, id)
    }

    fn secret(&self) -> [u8; 32] {
        *PluginIdentity::secret(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_is_found_among_what_the_plugin_prints() {
        let output = format!("hello\npartial line{OUTCOME}[\"failed\",\"why\"]\nbye\n");
        let (said, printed) = read(output.as_bytes());
        assert_eq!(said, Some(("failed", Some("why".to_owned()))));
        assert_eq!(printed, ["hello", "bye"]);
        assert_eq!(read(b"nothing").0, None);
    }
}
