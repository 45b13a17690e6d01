//! What only the plugins themselves know: whether their sections of the configuration fit.

use std::path::Path;

use futures::future::join_all;

use crate::cli::failure::Failure;
use crate::config::{ConfigError, ConfigErrors, Loaded, Place};
use crate::plugin::{check_in_child, find, misfits, missing_file};

/// Checks each configured plugin: that there is a file, that it fits this host, and that its section fits its schema. The
/// libraries are loaded in child processes. A plugin that is missing and that only the defaults name is a warning: the
/// operator wrote nothing wrong.
pub(super) async fn check(loaded: &mut Loaded) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(Failure::io)?;
    let listed = loaded.origins.get("plugins.load").cloned().unwrap_or(Place::Default);
    let dirs = loaded.config.plugin_dirs();
    let (mut errors, mut files) = (Vec::new(), Vec::new());
    for name in &loaded.config.plugins.load {
        match find(name, &dirs) {
            Some(file) => files.push((name, file)),
            None if listed == Place::Default => {
                loaded.warnings.push(format!("plugin {name}: {}", missing_file(name, &dirs)));
            }
            None => {
                let message = format!("plugin `{name}`: {}", missing_file(name, &dirs));
                errors.push(ConfigError { place: listed.clone(), message });
            }
        }
    }
    let loaded = &*loaded;
    let checks = files.iter().map(|(name, file)| check_one(loaded, &program, name, file, &listed));
    errors.extend(join_all(checks).await.into_iter().flatten());
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors).into()) }
}

async fn check_one(loaded: &Loaded, program: &Path, name: &str, file: &Path, listed: &Place) -> Vec<ConfigError> {
    let report = check_in_child(program, file).await;
    let in_list = |message: String| vec![ConfigError { place: listed.clone(), message }];
    if let Some(problem) = report.problem {
        let found = format!("found {}; wanted {}. {}", problem.found, problem.wanted, problem.remedy);
        return in_list(format!("plugin `{name}`, {}: {found}", file.display()));
    }
    let schema = report.plugin.map(|plugin| plugin.config_schema).unwrap_or_default();
    match misfits(&schema, &loaded.config.plugin_config(name)) {
        Ok(misfits) => misfits
            .into_iter()
            .map(|misfit| ConfigError {
                place: loaded.place_in_plugin(name, &misfit.key),
                message: format!("[plugins.{name}]: {misfit}"),
            })
            .collect(),
        Err(problem) => in_list(format!("plugin `{name}`: found {}", problem.explain(file).found)),
    }
}
