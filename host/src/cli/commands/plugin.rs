//! `plugin …`

use super::{Connect, offline};
use crate::api::PluginStatus;
use crate::cli::answer::Answer;
use crate::cli::args::PluginCommand;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, Table, clean};

pub(super) async fn run(connect: Connect<'_>, command: PluginCommand, style: Style) -> Result<Answer, Failure> {
    Ok(match command {
        PluginCommand::List => {
            let plugins = connect()?.plugins().await?;
            Answer::list("qpq.plugins/1", "plugins", &plugins, plugin_table(&plugins, style))
        }
        PluginCommand::Enable { name } => {
            let plugin = connect()?.plugin_enable(name).await?;
            let text = format!("{} is {}.", clean(&plugin.name), clean(&plugin.state));
            Answer::new("qpq.plugin/1", &plugin, text)
        }
        PluginCommand::Check { file } => offline::plugin_check(&file).await?,
    })
}

/// The plugins and what is wrong with them.
pub(super) fn plugin_table(plugins: &[PluginStatus], style: Style) -> String {
    let mut table = Table::new(&["PLUGIN", "KIND", "VERSION", "STATE", "FAILURES", "PROBLEM"]);
    for plugin in plugins {
        table.row([
            plugin.name.clone(),
            plugin.kind.clone(),
            plugin.version.clone(),
            plugin.state.clone(),
            plugin.failures.to_string(),
            plugin.last_error.clone().unwrap_or_default(),
        ]);
    }
    table.show(style, "No plugins are loaded.")
}
