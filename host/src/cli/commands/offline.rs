//! Commands that look at a file and need no node.

use std::path::Path;

use crate::cli::Setting;
use crate::cli::answer::Answer;
use crate::cli::failure::Failure;

fn missing(what: &str) -> Failure {
    Failure::new("unavailable", format!("This program was built without {what}."))
}

pub(super) fn plugin_check(_file: &Path) -> Result<Answer, Failure> {
    Err(missing("the plugin loader"))
}

pub(super) fn script_check(_setting: &Setting, _path: &Path) -> Result<Answer, Failure> {
    Err(missing("the script host"))
}

pub(super) async fn script_run(_setting: &Setting, _file: &Path, _event: &str) -> Result<Answer, Failure> {
    Err(missing("the script host"))
}
