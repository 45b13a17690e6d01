//! The reference of the configuration, made from the table of keys.

use std::fmt::Write as _;

use super::sections::{self, keys};
use super::{Config, FILE_NAME, Key};

/// The reference: a configuration file with every key, its default, and what it means.
pub fn reference() -> String {
    let mut text = format!(
        "# The configuration of a quicproquo node: {FILE_NAME} in the data directory.\n\
         # Every key is optional; a line that begins with # shows the default.\n\
         # A variable of the environment overrides the file, and a flag of the command line overrides both.\n\
         # In variables, lists are separated by commas.\n"
    );
    let defaults = Config::default();
    let mut section = "";
    for key in keys() {
        if key.section != section {
            section = key.section;
            let _ = write!(text, "\n[{section}]\n");
        }
        let _ = write!(text, "\n{}", describe(key, &defaults));
    }
    text.push_str(
        "\n# What a plugin gets as its configuration; its README says which keys it has.\n# [plugins.transport-quic]\n\
         \n# What a bot gets as its configuration.\n# [scripts.config.announcements]\n",
    );
    text
}

/// One key: its text, its facts, and a line to take over.
fn describe(key: &Key, defaults: &Config) -> String {
    let mut text = String::new();
    for line in key.doc {
        let _ = writeln!(text, "# {}", line.trim());
    }
    let _ = writeln!(text, "# {}", facts(key));
    let value = sections::value(defaults, key);
    let shown = value.map_or_else(|| "(not set)".to_owned(), |value| value.to_string());
    let _ = writeln!(text, "#{} = {shown}", key.name);
    text
}

fn facts(key: &Key) -> String {
    let mut facts = vec![key.kind.to_owned()];
    if let Some((min, max)) = key.bounds {
        facts.push(format!("{min} to {max}"));
    }
    if !key.unit.is_empty() {
        facts.push(format!("in {}", key.unit));
    }
    format!("({}; variable {})", facts.join(", "), key.variable())
}
