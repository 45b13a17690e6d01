//! The configuration file, read with the position of every value.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};
use super::key::Key;
use super::sections::keys;
use super::setting::Fault;

/// Largest configuration file, in bytes. Far more than anyone writes by hand.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Other names of keys: the other name, the key's full name.
pub(super) const ALIASES: [(&str, &str); 1] = [("federation_domain", "domain")];

/// Names nearer to each other than this are taken for a slip of the keyboard (Jaro-Winkler, 0 to 1).
const NEAR: f64 = 0.8;

type Spanned<T> = toml::Spanned<T>;

/// A value found in the file.
pub(super) enum Entry {
    /// Of a key in the table of keys.
    Key { key: &'static Key, value: toml::Value, place: Place, elements: Vec<Place> },
    /// `[plugins.NAME]`, with the place of each key in it; dots stand between the tables.
    Plugin { name: String, value: toml::Value, place: Place, keys: Vec<(String, Place)> },
    /// `[scripts.config.NAME]`
    Script { name: String, value: toml::Value, place: Place },
    /// `[scripts.bots.NAME]`
    Bot { name: String, value: toml::Value, place: Place },
}

/// Reads a file's text. What can be read is returned beside what is wrong.
pub(super) fn parse(path: &Path, text: &str) -> (Vec<Entry>, Vec<ConfigError>) {
    let mut reader = Reader { path, text, entries: vec![], errors: vec![] };
    let (table, faults) = DeTable::parse_recoverable(text);
    for fault in faults {
        let offset = fault.span().map_or(0, |span| span.start);
        reader.refuse(offset, fault.message().to_owned());
    }
    // After a syntax error the rest may be misread, and would be blamed for it.
    if reader.errors.is_empty() {
        reader.root(table.get_ref());
    }
    (reader.entries, reader.errors)
}

/// The nearest of some names.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &'a str| (strsim::jaro_winkler(name, candidate), candidate);
    let best = candidates.map(near).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= NEAR).then_some(best.1)
}

pub(super) fn find_key(section: &str, name: &str) -> Option<&'static Key> {
    keys().find(|key| key.section == section && key.name == name)
}

fn is_section(name: &str) -> bool {
    section_names().any(|section| section == name)
}

fn section_names() -> impl Iterator<Item = &'static str> {
    keys().map(|key| key.section).filter(|section| !section.is_empty())
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    entries: Vec<Entry>,
    errors: Vec<ConfigError>,
}

impl Reader<'_> {
    fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Place::File { path: self.path.to_owned(), line, column }
    }

    fn refuse(&mut self, offset: usize, message: String) {
        let place = self.place(offset);
        self.errors.push(ConfigError { place, message });
    }

    fn root(&mut self, table: &DeTable<'_>) {
        for (name, value) in table {
            let offset = name.span().start;
            let name = name.get_ref().as_ref();
            let alias = ALIASES.iter().find(|(other, _)| *other == name);
            if let Some(key) = find_key("", alias.map_or(name, |(_, key)| key)) {
                self.key(key, value);
            } else if is_section(name) {
                match value.get_ref() {
                    DeValue::Table(table) => self.section(name, table),
                    _ => self.refuse(offset, format!("`{name}` is a table: write `[{name}]` on a line of its own")),
                }
            } else {
                self.unknown("", name, offset);
            }
        }
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let offset = name.span().start;
            let name = name.get_ref().as_ref();
            match (find_key(section, name), value.get_ref()) {
                (Some(key), _) => self.key(key, value),
                (None, DeValue::Table(inner)) if section == "plugins" => {
                    if let Some((value, place)) = self.table(value) {
                        let mut keys = vec![];
                        self.keys("", inner, &mut keys);
                        self.entries.push(Entry::Plugin { name: name.to_owned(), value, place, keys });
                    }
                }
                (None, DeValue::Table(inner)) if is_section(&format!("{section}.{name}")) => {
                    self.section(&format!("{section}.{name}"), inner);
                }
                (None, DeValue::Table(bots)) if section == "scripts" && (name == "config" || name == "bots") => {
                    self.bots(name, bots);
                }
                _ => self.unknown(section, name, offset),
            }
        }
    }

    /// `[scripts.config]` and `[scripts.bots]`: a table for each bot.
    fn bots(&mut self, tables: &str, bots: &DeTable<'_>) {
        for (name, value) in bots {
            let offset = name.span().start;
            let name = name.get_ref().to_string();
            if !matches!(value.get_ref(), DeValue::Table(_)) {
                let text = format!("`{name}` must be a table, `[scripts.{tables}.NAME]`, with the settings of one bot");
                self.refuse(offset, text);
            } else if let Some((value, place)) = self.table(value) {
                self.entries.push(match tables {
                    "config" => Entry::Script { name, value, place },
                    _ => Entry::Bot { name, value, place },
                });
            }
        }
    }

    /// Where each key of a free table stands, and of the tables in it.
    fn keys(&self, before: &str, table: &DeTable<'_>, into: &mut Vec<(String, Place)>) {
        for (name, value) in table {
            let key = format!("{before}{}", name.get_ref());
            into.push((key.clone(), self.place(name.span().start)));
            if let DeValue::Table(inner) = value.get_ref() {
                self.keys(&format!("{key}."), inner, into);
            }
        }
    }

    fn table(&mut self, value: &Spanned<DeValue<'_>>) -> Option<(toml::Value, Place)> {
        let place = self.place(value.span().start);
        match convert(value.get_ref()) {
            Ok(value) => Some((value, place)),
            Err(fault) => {
                self.refuse(value.span().start, fault.message);
                None
            }
        }
    }

    fn key(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>) {
        let place = self.place(value.span().start);
        let elements = match value.get_ref() {
            DeValue::Array(items) => items.iter().map(|item| self.place(item.span().start)).collect(),
            _ => vec![],
        };
        match convert(value.get_ref()) {
            Ok(value) => self.entries.push(Entry::Key { key, value, place, elements }),
            Err(fault) => self.refuse(value.span().start, fault.message),
        }
    }

    fn unknown(&mut self, section: &str, name: &str, offset: usize) {
        let here = if section.is_empty() { "there is no key".into() } else { format!("[{section}] has no key") };
        let hint = hint(section, name);
        self.refuse(offset, format!("{here} `{name}`{hint}"));
    }
}

/// What was probably meant by an unknown key.
fn hint(section: &str, name: &str) -> String {
    if let Some(key) = keys().find(|key| key.name == name) {
        return match key.section {
            "" => format!("; `{name}` stands before all tables"),
            other => format!("; `{name}` belongs to [{other}]"),
        };
    }
    let siblings = keys().filter(|key| key.section == section).map(|key| key.name);
    let at_top = |_: &&str| section.is_empty();
    let tables = section_names().filter(at_top);
    let aliases = ALIASES.iter().map(|(other, _)| *other).filter(at_top);
    match nearest(name, siblings.chain(tables).chain(aliases)) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => "; see `qpq config reference`".to_owned(),
    }
}

/// A value without its positions.
fn convert(value: &DeValue<'_>) -> Result<toml::Value, Fault> {
    Ok(match value {
        DeValue::String(text) => toml::Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(toml::Value::Integer)
            .map_err(|_| Fault::new(format!("{number} is too large")))?,
        DeValue::Float(number) => {
            number.as_str().parse().map(toml::Value::Float).map_err(|_| Fault::new(format!("{number} is no number")))?
        }
        DeValue::Boolean(flag) => toml::Value::Boolean(*flag),
        DeValue::Datetime(date) => toml::Value::Datetime(*date),
        DeValue::Array(items) => {
            toml::Value::Array(items.iter().map(|item| convert(item.get_ref())).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
                Ok((key.get_ref().to_string(), convert(value.get_ref())?))
            };
            toml::Value::Table(table.iter().map(entry).collect::<Result<_, Fault>>()?)
        }
    })
}
