//! Directories: the node's data, its plugins.

use std::fmt;
use std::path::{Path, PathBuf};

/// The variable that names the data directory.
pub const HOME_VARIABLE: &str = "QPQ_HOME";

/// There is no way to tell where the data directory shall be.
#[derive(Debug)]
pub struct NoHome;

impl fmt::Display for NoHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "where is the data directory? Give --home DIR, or set {HOME_VARIABLE} or HOME")
    }
}

impl std::error::Error for NoHome {}

/// The data directory when no flag names it: `$QPQ_HOME`, `$XDG_DATA_HOME/qpq`, or `~/.local/share/qpq`.
///
/// # Errors
/// When none of these variables is set.
pub fn default_home(variable: impl Fn(&str) -> Option<String>) -> Result<PathBuf, NoHome> {
    let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    path(HOME_VARIABLE)
        .or_else(|| path("XDG_DATA_HOME").filter(|dir| dir.is_absolute()).map(|dir| dir.join("qpq")))
        .or_else(|| path("HOME").map(|dir| dir.join(".local/share/qpq")))
        .ok_or(NoHome)
}

/// Where plugins are looked for when nothing is configured.
pub(super) fn default_plugin_dirs(home: &Path) -> Vec<PathBuf> {
    let program = std::env::current_exe().ok();
    let beside = program.as_deref().and_then(Path::parent);
    let near = beside.map(|dir| [dir.to_owned(), dir.join("../lib/qpq/plugins"), dir.join("deps")]);
    near.into_iter().flatten().chain([home.join("plugins")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home_with(variables: &[(&str, &str)]) -> Option<PathBuf> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        default_home(find).ok()
    }

    #[test]
    fn the_data_directory_is_found_in_the_usual_order() {
        let all = [("QPQ_HOME", "/a"), ("XDG_DATA_HOME", "/b"), ("HOME", "/c")];
        assert_eq!(home_with(&all), Some("/a".into()));
        assert_eq!(home_with(&all[1..]), Some("/b/qpq".into()));
        assert_eq!(home_with(&all[2..]), Some("/c/.local/share/qpq".into()));
        assert_eq!(home_with(&[("QPQ_HOME", ""), ("XDG_DATA_HOME", "relative")]), None);
    }
}
