//! `plugin …`

mod failed;
mod new;
mod test;

use super::{Connect, offline};
use crate::api::{PluginStatus, SwapReport};
use crate::cli::answer::Answer;
use crate::cli::args::PluginCommand;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, Table, ago, clean};

pub(super) async fn run(
    connect: Connect<'_>,
    command: PluginCommand,
    style: Style,
    json: bool,
) -> Result<Answer, Failure> {
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
        PluginCommand::Swap { name, file } => {
            let plugin = connect()?.plugin_swap(name, file.as_deref().map(absolute).transpose()?).await?;
            Answer::new("qpq.plugin/1", &plugin, swap_text(&plugin))
        }
        PluginCommand::New(args) => new::run(&args)?,
        PluginCommand::Check { file } => offline::plugin_check(&file).await?,
        PluginCommand::Test(args) => test::run(args, json).await?,
    })
}

/// The file as the node, which runs elsewhere, will find it.
fn absolute(file: &std::path::Path) -> Result<String, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::new("bad-path", format!("{}: {error}", file.display()));
    let path = file.canonicalize().map_err(|error| wrong(&error))?;
    path.into_os_string().into_string().map_err(|_| wrong(&"the path is not UTF-8"))
}

fn swap_text(plugin: &PluginStatus) -> String {
    let name = clean(&plugin.name);
    match plugin.swaps.last() {
        Some(swap) => {
            let took = swap.took_ms.map(|ms| format!(" in {ms} ms")).unwrap_or_default();
            let pause = swap.pause_us.map(|us| format!(", nothing was sent for {} ms", us / 1_000)).unwrap_or_default();
            format!("{name} is {}, version {}{took}{pause}.", clean(&plugin.state), clean(&plugin.version))
        }
        None => format!("{name} is {}.", clean(&plugin.state)),
    }
}

/// How the last swap went, or how far it is.
fn last_swap(swap: &SwapReport) -> String {
    match (&swap.reason, swap.took_ms, swap.pause_us) {
        (Some(_), ..) => format!("{}, see below", clean(&swap.state)),
        (None, Some(took), Some(pause)) => format!("{} in {took} ms, paused {} ms", clean(&swap.state), pause / 1_000),
        (None, Some(took), None) => format!("{} in {took} ms", clean(&swap.state)),
        (None, None, _) => clean(&swap.state).to_string(),
    }
}

/// The state, and when it starts by itself.
fn state(plugin: &PluginStatus) -> String {
    match plugin.restart_in_ms {
        Some(wait) if wait >= 1_000 => format!("{}, next try {}", plugin.state, ago(wait, 0)),
        Some(_) => format!("{}, next try now", plugin.state),
        None => plugin.state.clone(),
    }
}

/// The plugins; what is wrong with them stands below the table, which stays narrow so.
pub(super) fn plugin_table(plugins: &[PluginStatus], style: Style) -> String {
    let mut table = Table::new(&["PLUGIN", "KIND", "VERSION", "LIBRARY", "STATE", "FAILURES", "LAST SWAP"]);
    let mut notes = String::new();
    for plugin in plugins {
        let swap = plugin.swaps.last().and_then(|swap| swap.reason.as_ref()).map(|reason| ("last swap", reason));
        for (what, why) in swap.into_iter().chain(plugin.last_error.as_ref().map(|error| ("problem", error))) {
            notes += &format!("\n{}, {what}: {}", clean(&plugin.name), clean(why));
        }
        table.row([
            plugin.name.clone(),
            plugin.kind.clone(),
            plugin.version.clone(),
            plugin.generation.to_string(),
            state(plugin),
            plugin.failures.to_string(),
            plugin.swaps.last().map(last_swap).unwrap_or_default(),
        ]);
    }
    let gap = if notes.is_empty() { "" } else { "\n" };
    format!("{}{gap}{notes}", table.show(style, "No plugins are loaded."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::plugin;

    #[test]
    fn a_plugin_that_is_off_says_when_it_is_tried_again() {
        let off = PluginStatus { state: "disabled".into(), restart_in_ms: Some(240_000), ..plugin() };
        let table = plugin_table(&[off], Style::PLAIN);
        assert!(table.contains("disabled, next try in 4 min"), "{table}");
        let waits = PluginStatus { restart_in_ms: None, ..plugin() };
        assert!(!plugin_table(&[waits], Style::PLAIN).contains("next try"));
    }
}
