//! Putting the configuration together from its sources.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::convert;
use super::error::{ConfigError, ConfigErrors, Place};
use super::file::{self, Entry, MAX_FILE_BYTES, nearest};
use super::key::{Key, VARIABLE_PREFIX};
use super::sections::{self, keys};
use super::setting::{Fault, value_of_text};
use super::tables::to_json;
use super::{Config, FILE_NAME, HOME_VARIABLE};

/// Where a key's value came from.
pub type Origin = Place;

/// Other names of variables: the other name, the key's full name.
const VARIABLE_ALIASES: [(&str, &str); 3] =
    [("QPQ_LOCAL_DOMAIN", "domain"), ("QPQ_PLUGIN_DIR", "plugins.dirs"), ("QPQ_LOG", "log.filter")];

/// Variables with our prefix that set no key: the data directory, the node that clients use, and what only tests and tools read.
const OTHER_VARIABLES: [&str; 7] =
    [HOME_VARIABLE, "QPQ_CONNECT", "QPQ_REGENERATE", "QPQ_TEST", "QPQ_BENCH", "QPQ_FUZZ", "QPQ_DEMO"];

/// A key set by a command-line flag.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag, for messages.
    pub flag: String,
    /// The key's full name.
    pub key: String,
    /// Its values; more than one for a list.
    pub values: Vec<String>,
}

/// Where the configuration comes from. Its values may be secrets, so `Debug` shows the files only.
#[derive(Clone, Default)]
pub struct Sources {
    /// The data directory.
    pub home: PathBuf,
    /// Another file than `qpq-server.toml` in the data directory. It must exist.
    pub file: Option<PathBuf>,
    /// Variables of the environment.
    pub variables: Vec<(String, String)>,
    /// Command-line flags.
    pub flags: Vec<Flag>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("home", &self.home).field("file", &self.file).finish_non_exhaustive()
    }
}

/// A configuration that was loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where each value came from, by the key's full name.
    pub origins: BTreeMap<String, Origin>,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// What the operator should look at.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Where a key of a plugin's table stands, or else what it is in.
    pub fn place_in_plugin(&self, plugin: &str, key: &str) -> Origin {
        let whole = format!("plugins.{plugin}.{key}");
        let ends = whole.match_indices('.').map(|(end, _)| end).chain([whole.len()]);
        let mut known = ends.filter_map(|end| self.origins.get(whole.get(..end)?));
        known.next_back().cloned().unwrap_or(Place::Default)
    }
}

impl Sources {
    /// The sources of this process, for a data directory.
    pub fn of_process(home: PathBuf) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        };
        let variables = std::env::vars_os().filter_map(text).filter(|(name, _)| name.starts_with(VARIABLE_PREFIX));
        Self { home, variables: variables.collect(), ..Self::default() }
    }

    /// Puts the configuration together.
    ///
    /// # Errors
    /// All that is wrong, each with its place.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        let mut loading = Loading {
            loaded: Loaded {
                config: Config::in_home(self.home.clone()),
                origins: keys().map(|key| (key.full_name(), Place::Default)).collect(),
                file: None,
                warnings: vec![],
            },
            errors: vec![],
        };
        loading.file(self);
        loading.variables(&self.variables);
        loading.flags(&self.flags);
        loading.check();
        loading.loaded.config.peers_origin = loading.origin("peers");
        loading.loaded.config.sources = Some(self.clone());
        if loading.errors.is_empty() { Ok(loading.loaded) } else { Err(ConfigErrors(loading.errors)) }
    }
}

/// A file's text, or `None` when there is no such file.
fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(Some(text))
}

struct Loading {
    loaded: Loaded,
    errors: Vec<ConfigError>,
}

impl Loading {
    fn refuse(&mut self, place: Place, message: impl Into<String>) {
        self.errors.push(ConfigError { place, message: message.into() });
    }

    fn origin(&self, key: &str) -> Place {
        self.loaded.origins.get(key).cloned().unwrap_or(Place::Default)
    }

    /// Sets a key, or notes why it can't be.
    fn set(&mut self, key: &Key, value: &toml::Value, place: Place, elements: &[Place]) {
        match sections::set(&mut self.loaded.config, key, value) {
            Ok(()) => {
                self.loaded.origins.insert(key.full_name(), place);
            }
            Err(Fault { message, element }) => {
                let place = element.and_then(|element| elements.get(element)).cloned().unwrap_or(place);
                self.refuse(place, format!("`{}`: {message}", key.full_name()));
            }
        }
    }

    fn set_text(&mut self, key: &Key, text: &str, place: Place) {
        match value_of_text(key.kind, text) {
            Ok(value) => self.set(key, &value, place, &[]),
            Err(fault) => self.refuse(place, format!("`{}`: {}", key.full_name(), fault.message)),
        }
    }

    fn file(&mut self, sources: &Sources) {
        let path = sources.file.clone().unwrap_or_else(|| sources.home.join(FILE_NAME));
        let place = Place::File { path: path.clone(), line: 0, column: 0 };
        let text = match read(&path) {
            Ok(Some(text)) => text,
            Ok(None) if sources.file.is_none() => return,
            Ok(None) => return self.refuse(place, "there is no such file"),
            Err(error) => return self.refuse(place, format!("cannot be read: {error}")),
        };
        let (entries, errors) = file::parse(&path, &text);
        self.loaded.file = Some(path);
        self.errors.extend(errors);
        for entry in entries {
            self.entry(entry);
        }
    }

    fn entry(&mut self, entry: Entry) {
        match entry {
            Entry::Bot { name, value, place } => self.bot(name, &value, place),
            Entry::Key { key, value, place, elements } => {
                let before = self.origin(&key.full_name());
                if before != Place::Default {
                    return self.refuse(place, format!("`{}` is already set at {before}", key.full_name()));
                }
                self.set(key, &value, place, &elements);
            }
            Entry::Plugin { name, value, place, keys } => {
                let keys = keys.into_iter().map(|(key, place)| (format!("plugins.{name}.{key}"), place));
                self.loaded.origins.extend(keys);
                self.loaded.origins.insert(format!("plugins.{name}"), place);
                self.loaded.config.plugin_tables.insert(name, to_json(&value));
            }
            Entry::Script { name, value, place } => {
                self.loaded.origins.insert(format!("scripts.config.{name}"), place);
                self.loaded.config.script_tables.insert(name, to_json(&value));
            }
        }
    }

    /// Takes in what is different for one bot, if it is in order.
    fn bot(&mut self, name: String, value: &toml::Value, place: Place) {
        let value = to_json(value);
        match convert::bot(&value) {
            Ok(_) => {
                self.loaded.origins.insert(format!("scripts.bots.{name}"), place);
                self.loaded.config.bot_tables.insert(name, value);
            }
            Err(message) => self.refuse(place, format!("[scripts.bots.{name}]: {message}")),
        }
    }

    fn variables(&mut self, variables: &[(String, String)]) {
        let find = |name: &str| {
            let alias = VARIABLE_ALIASES.iter().find(|(other, _)| *other == name).map(|(_, key)| *key);
            keys().find(|key| alias.map_or_else(|| key.variable() == name, |alias| key.full_name() == alias))
        };
        for (name, value) in variables.iter().filter(|(_, value)| !value.is_empty()) {
            match find(name) {
                Some(key) => self.set_text(key, value, Place::Variable(name.clone())),
                None => self.unknown_variable(name),
            }
        }
    }

    /// An unknown variable is no error: another program may have given it our prefix.
    fn unknown_variable(&mut self, name: &str) {
        if !name.starts_with(VARIABLE_PREFIX) || OTHER_VARIABLES.iter().any(|other| name.starts_with(other)) {
            return;
        }
        let known: Vec<String> = keys().map(Key::variable).collect();
        let names = known.iter().map(String::as_str).chain(VARIABLE_ALIASES.iter().map(|(name, _)| *name));
        let hint = nearest(name, names).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        self.loaded.warnings.push(format!("the variable {name} sets nothing{hint}"));
    }

    fn flags(&mut self, flags: &[Flag]) {
        for flag in flags {
            let place = Place::Flag(flag.flag.clone());
            let Some(key) = keys().find(|key| key.full_name() == flag.key) else {
                let names: Vec<String> = keys().map(Key::full_name).collect();
                let near = nearest(&flag.key, names.iter().map(String::as_str));
                let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                self.refuse(place, format!("there is no key `{}`{hint}", flag.key));
                continue;
            };
            match flag.values.as_slice() {
                [value] => self.set_text(key, value, place),
                values => {
                    let list = values.iter().cloned().map(toml::Value::String).collect();
                    self.set(key, &toml::Value::Array(list), place, &[]);
                }
            }
        }
    }

    /// What no single key shows.
    fn check(&mut self) {
        self.resolve_paths();
        self.check_order();
        self.check_federation();
        self.check_emergency();
        self.loaded.config.add_federation_plugin();
        self.check_plugin_tables();
    }

    /// Relative paths start at the data directory, or, when a flag or variable gave them, at the working directory.
    fn resolve_paths(&mut self) {
        let working = std::env::current_dir().unwrap_or_default();
        let home = self.loaded.config.home.clone();
        let bases = ["plugins.dirs", "scripts.dirs", "federation_cert", "federation_key", "federation_ca"]
            .map(|key| if matches!(self.origin(key), Place::File { .. }) { &home } else { &working });
        let config = &mut self.loaded.config;
        let node = &mut config.node;
        let lists = [(&mut config.plugins.dirs, bases[0]), (&mut config.scripts.dirs, bases[1])];
        for (path, base) in lists.into_iter().flat_map(|(paths, base)| paths.iter_mut().map(move |path| (path, base))) {
            *path = base.join(&*path);
        }
        let files = [&mut node.federation_cert, &mut node.federation_key, &mut node.federation_ca];
        for (path, base) in files.into_iter().zip(&bases[2..]) {
            if let Some(path) = path {
                *path = base.join(&*path);
            }
        }
    }

    fn check_order(&mut self) {
        let links = &self.loaded.config.links;
        let pairs = [
            ("links.redial_min_ms", links.redial_min_ms, "links.redial_max_ms", links.redial_max_ms),
            ("links.max_half_open", links.max_half_open as u64, "links.max", links.max as u64),
        ];
        for (low, low_value, high, high_value) in pairs {
            if low_value > high_value {
                let place = [self.origin(low), self.origin(high)].into_iter().find(|place| *place != Place::Default);
                let text = format!("`{low}` is {low_value}, more than `{high}`, which is {high_value}");
                self.refuse(place.unwrap_or(Place::Default), text);
            }
        }
    }

    fn check_plugin_tables(&mut self) {
        let config = &self.loaded.config;
        let load = &config.plugins.load;
        let strange = config.plugin_tables.names().filter(|name| !load.iter().any(|loaded| loaded == name));
        let errors: Vec<ConfigError> = strange
            .map(|name| {
                let near = nearest(name, load.iter().map(String::as_str));
                let hint = near.map_or_else(
                    || "add it there, or take the table out".to_owned(),
                    |near| format!("did you mean [plugins.{near}]?"),
                );
                let message =
                    format!("`{name}` is no key of [plugins], and no plugin of that name is in `load`; {hint}");
                ConfigError { place: self.origin(&format!("plugins.{name}")), message }
            })
            .collect();
        self.errors.extend(errors);
    }

    fn check_emergency(&mut self) {
        let emergency = &self.loaded.config.emergency;
        let (quorum, admins) = (emergency.quorum, emergency.admins.len());
        if admins > 0 && quorum > admins {
            let places = ["emergency.quorum", "emergency.admins"].map(|key| self.origin(key));
            let place = places.into_iter().find(|place| *place != Place::Default).unwrap_or(Place::Default);
            let text = format!(
                "`emergency.quorum` is {quorum}, and `emergency.admins` names {admins}: nothing could reach it"
            );
            self.refuse(place, text);
        }
    }

    fn check_federation(&mut self) {
        let lacks = self.loaded.config.federation_lacks();
        match self.loaded.config.node.federation_enabled {
            Some(true) if !lacks.is_empty() => {
                let place = self.origin("federation_enabled");
                let text = format!(
                    "`federation_enabled` is true, but not set: {}; `qpq federation ca` and `qpq federation cert` make certificates",
                    lacks.join(", ")
                );
                self.refuse(place, text);
            }
            None if self.loaded.config.node.federation_listen.is_some() && !lacks.is_empty() => {
                let text = format!("`federation_listen` is set, but federation is off: not set: {}", lacks.join(", "));
                self.loaded.warnings.push(text);
            }
            _ => {}
        }
    }
}
