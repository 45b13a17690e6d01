//! What stands around a virtual node and is no part of the mesh: sources, the machine's own routing, plugins. Tests set it,
//! and see what bots did to it.

use std::collections::BTreeMap;

use qpq_schemas::PeerId;

use crate::api::{ApiError, LinkLimit, MachineReport, PluginStatus, SourceText};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Scene {
    /// What bots read, by the sources' names.
    pub sources: BTreeMap<String, Result<SourceText, ApiError>>,
    pub machine: MachineReport,
    pub plugins: Vec<PluginStatus>,
    /// What bots swapped: the plugin, and the file that they named.
    pub swaps: Vec<(String, Option<String>)>,
    /// What bots bounded.
    pub limits: BTreeMap<PeerId, LinkLimit>,
}

impl Scene {
    pub(super) fn source(&self, name: &str) -> Result<SourceText, ApiError> {
        let unknown = || {
            let message = format!("the test has no source '{name}'; t:source(\"{name}\", \"a text\") makes one");
            Err(ApiError::new("unknown-source", message))
        };
        self.sources.get(name).cloned().unwrap_or_else(unknown)
    }

    /// A swapped plugin runs.
    pub(super) fn swap(&mut self, name: String, file: Option<String>) -> Result<PluginStatus, ApiError> {
        let Some(plugin) = self.plugins.iter_mut().find(|plugin| plugin.name == name) else {
            return Err(ApiError::new("unknown-plugin", format!("there is no plugin {name}")));
        };
        plugin.generation += 1;
        "active".clone_into(&mut plugin.state);
        plugin.last_error = None;
        if let Some(file) = &file {
            plugin.file.clone_from(file);
        }
        let status = plugin.clone();
        self.swaps.push((name, file));
        Ok(status)
    }
}
