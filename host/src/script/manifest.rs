//! `bot.toml`: what a bot is called, what it needs, and how it is configured.

use qpq_schemas::channel::normalise;
use serde::{Deserialize, Serialize};

use super::limits::{LimitsPatch, NAME_BYTES};

/// A bot's own version, in bytes.
const VERSION_BYTES: usize = 64;
/// Permissions that a bot may ask for.
const NEEDS: usize = 64;

/// The version of the script API that this host speaks.
pub const API_VERSION: u32 = 1;
/// What a bot that is a single file may do: answer, read and talk on channels, remember. Writing to anybody
/// (`send`) and looking at the mesh (`peers`, `routes`) want a folder with a `bot.toml`.
pub const SINGLE_FILE_NEEDS: [&str; 5] = ["reply", "direct", "listen", "broadcast", "store"];
/// Every permission, with what it allows. `listen` and `broadcast` may name a channel: `broadcast:announcements`.
pub const PERMISSIONS: [(&str, &str); 12] = [
    ("reply", "answer the message at hand, where it came from"),
    ("direct", "read the direct messages to this node"),
    ("listen", "read channels, or one: `listen:board`"),
    ("broadcast", "publish on channels, or on one: `broadcast:announcements`"),
    ("send", "write direct messages to anybody"),
    ("store", "keep data over restarts"),
    ("peers", "see the peers and their links, and what became of this node's messages"),
    ("routes", "see the routing table"),
    ("channels", "see the joined channels"),
    ("relay", "look after this node: all of it, or `relay:trust`, `relay:limit`, `relay:plugins`, `relay:store`"),
    ("source", "read what the admin named as a source for it: all, or one: `source:weather`"),
    ("machine", "see what babeld and batman-adv on this machine know"),
];

/// What `relay` is made of.
const RELAY_PARTS: [&str; 4] = ["trust", "limit", "plugins", "store"];

/// A bot's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The bot's name; the folder's name when left out.
    #[serde(default)]
    pub name: Option<String>,
    /// The bot's own version.
    #[serde(default)]
    pub version: Option<String>,
    /// The script API that it was written for.
    #[serde(default = "current_api")]
    pub api: u32,
    /// The permissions that it asks for.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Limits that it can do with less of.
    #[serde(default)]
    pub limits: LimitsPatch,
    /// Its configuration with defaults.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
}

fn current_api() -> u32 {
    API_VERSION
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestError {
    /// Line in `bot.toml`, counted from 1, where known.
    pub line: Option<usize>,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl Manifest {
    /// The manifest of a bot that is a single file.
    pub fn single_file() -> Self {
        Self {
            name: None,
            version: None,
            api: API_VERSION,
            needs: SINGLE_FILE_NEEDS.map(str::to_owned).to_vec(),
            limits: LimitsPatch::default(),
            config: serde_json::Map::new(),
        }
    }

    /// Reads a `bot.toml`.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map(|span| text.get(..span.start).unwrap_or_default().matches('\n').count());
            let line = at.and_then(|at| text.lines().nth(at)).unwrap_or_default();
            ManifestError { line: at.map(|at| at + 1), message: with_quotes(with_nearest(error.message()), line) }
        })?;
        if manifest.api != API_VERSION {
            let message = format!("api = {} is unknown; this host speaks api = {API_VERSION}", manifest.api);
            return Err(ManifestError { line: None, message });
        }
        manifest.check_sizes().map_err(|message| ManifestError { line: None, message })?;
        manifest
            .limits
            .check()
            .map_err(|low| ManifestError { line: line_of(text, low.name), message: low.to_string() })?;
        for need in &manifest.needs {
            check_need(need).map_err(|message| ManifestError { line: None, message })?;
        }
        Ok(manifest)
    }

    /// Refuses what is too long to be kept and shown.
    fn check_sizes(&self) -> Result<(), String> {
        if self.version.as_ref().is_some_and(|version| version.len() > VERSION_BYTES) {
            return Err(format!("version: write at most {VERSION_BYTES} bytes, such as \"1.2.0\""));
        }
        if self.needs.len() > NEEDS || self.needs.iter().any(|need| need.len() > NAME_BYTES) {
            return Err(format!("needs: name at most {NEEDS} permissions, of at most {NAME_BYTES} bytes each"));
        }
        Ok(())
    }
}

/// The message, with how a version is written where one is what is wrong.
fn with_quotes(message: String, line: &str) -> String {
    let is_version = line.split_once('=').is_some_and(|(key, value)| key.trim() == "version" && !value.contains('"'));
    if is_version { format!("{message}; a version is a text in quotes, as in version = \"0.1.0\"") } else { message }
}

/// The first line that names a key.
fn line_of(text: &str, key: &str) -> Option<usize> {
    text.lines().position(|line| !line.trim_start().starts_with('#') && line.contains(key)).map(|line| line + 1)
}

/// The message, with the name that an unknown key was probably meant to be.
fn with_nearest(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field ") else { return message.to_owned() };
    // Names stand in backticks: first the wrong one, then those that there are.
    let mut names = rest.split('`').skip(1).step_by(2);
    let wrong = names.next().unwrap_or_default();
    super::nearest(wrong, names).map_or_else(|| message.to_owned(), |near| format!("{message}; did you mean `{near}`?"))
}

/// Says what is wrong with a permission's name.
pub(crate) fn check_need(need: &str) -> Result<(), String> {
    let (name, channel) = split(need);
    let known = PERMISSIONS.iter().any(|(known, _)| *known == name);
    if !known {
        let names = PERMISSIONS.map(|(name, _)| name);
        let near = super::nearest(name, names).map_or(String::from("."), |near| format!("; did you mean \"{near}\"?"));
        return Err(format!("needs: \"{need}\" is no permission{near} There are: {}", names.join(", ")));
    }
    match (name, channel) {
        ("listen" | "broadcast", Some(channel)) => {
            normalise(channel).map_err(|error| format!("needs: \"{need}\": {error}"))?;
        }
        ("source", _) | (_, None) => {}
        ("relay", Some(part)) if RELAY_PARTS.contains(&part) => {}
        ("relay", Some(_)) => {
            return Err(format!("needs: \"{need}\": the parts of relay are {}", RELAY_PARTS.join(", ")));
        }
        _ => return Err(format!("needs: \"{need}\": only listen and broadcast name a channel; write \"{name}\"")),
    }
    Ok(())
}

/// What a permission allows, in words.
pub fn meaning(need: &str) -> String {
    let (name, channel) = split(need);
    match (PERMISSIONS.iter().find(|(known, _)| *known == name), name, channel) {
        (_, "listen", Some(channel)) => format!("read the channel {channel}"),
        (_, "broadcast", Some(channel)) => format!("publish on the channel {channel}"),
        (_, "source", Some(source)) => format!("read the source {source}, which the admin named"),
        (_, "relay", Some("trust")) => "trust and block peers".to_owned(),
        (_, "relay", Some("limit")) => "bound what neighbours may bring in".to_owned(),
        (_, "relay", Some("plugins")) => "see and swap the node's plugins".to_owned(),
        (_, "relay", Some("store")) => "see the figures of the node's store".to_owned(),
        // How a part of it is written is of no use here.
        (Some((_, allows)), ..) => [": all", ", or one:", ", or on one:"]
            .iter()
            .fold(*allows, |words, end| words.split(end).next().unwrap_or(words))
            .to_owned(),
        (None, ..) => "a permission that this program doesn't know".to_owned(),
    }
}

fn split(need: &str) -> (&str, Option<&str>) {
    need.split_once(':').map_or((need, None), |(name, channel)| (name, Some(channel)))
}

fn in_one_form(need: String) -> String {
    match split(&need) {
        (name @ ("listen" | "broadcast"), Some(channel)) => {
            normalise(channel).map_or(need.clone(), |channel| format!("{name}:{channel}"))
        }
        _ => need,
    }
}

/// The permissions that a bot has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Permissions(Vec<String>);

impl Permissions {
    /// Channels take their one form: who wrote `listen:Board` may listen to `board`.
    pub(crate) fn new(needs: Vec<String>) -> Self {
        Self(needs.into_iter().map(in_one_form).collect())
    }

    pub(crate) fn needs(&self) -> &[String] {
        &self.0
    }

    /// Whether `name` is allowed, on `channel` where it has one.
    pub(crate) fn allows(&self, name: &str, channel: Option<&str>) -> bool {
        self.0
            .iter()
            .map(|need| split(need))
            .any(|(need, only)| need == name && only.is_none_or(|only| channel.is_some_and(|channel| only == channel)))
    }

    /// The needs that `granted` doesn't cover.
    pub(crate) fn missing_from(&self, granted: &Self) -> Vec<String> {
        self.0.iter().filter(|need| !granted.covers(need)).cloned().collect()
    }

    fn covers(&self, need: &str) -> bool {
        let (name, channel) = split(need);
        self.allows(name, channel)
    }

    /// What is needed and granted: of a need for all where only a part was granted, that part.
    pub(crate) fn within(self, granted: &Self) -> Self {
        let parts = granted.0.iter().filter(|part| self.covers(part) && !self.0.contains(part)).cloned();
        let whole = self.0.iter().filter(|need| granted.covers(need)).cloned();
        Self(whole.chain(parts).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_with_a_slip_names_the_line() {
        let error = Manifest::parse("name = \"x\"\nneed = []\n").unwrap_err();
        assert_eq!(error.line, Some(2));
        let error = Manifest::parse("needs = [\"broadcst\"]").unwrap_err();
        assert!(error.message.contains("did you mean \"broadcast\""), "{error:?}");
        let error = Manifest::parse("needs = [\"replay\"]").unwrap_err();
        assert!(error.message.contains("did you mean \"reply\"?"), "{error:?}");
        let error = Manifest::parse("needs = [\"nonsense\"]").unwrap_err();
        assert!(error.message.contains("is no permission. There are: reply"), "{error:?}");
        let error = Manifest::parse("api = 1\nversion = 0.1.0\n").unwrap_err();
        assert_eq!(error.line, Some(2));
        assert!(error.message.contains("a text in quotes, as in version = \"0.1.0\""), "{error:?}");
        assert!(Manifest::parse("api = 2").is_err());
    }

    #[test]
    fn a_manifest_cannot_switch_off_a_limit() {
        let error = Manifest::parse("[limits]\n# memory_bytes\nmemory_bytes = 0\n").unwrap_err();
        assert_eq!(error.line, Some(3));
        assert!(error.message.contains("memory_bytes = 0") && error.message.contains("1048576 or more"), "{error:?}");
        assert!(Manifest::parse("[limits]\ntimers = 0\n").is_ok());
    }

    #[test]
    fn what_a_permission_allows_is_said_without_how_it_is_written() {
        for (name, _) in PERMISSIONS {
            assert!(!meaning(name).contains(['`', ':']), "{name}: {}", meaning(name));
        }
        assert_eq!(meaning("listen:board"), "read the channel board");
        assert_eq!(meaning("relay"), "look after this node");
        for part in RELAY_PARTS {
            assert!(!meaning(&format!("relay:{part}")).contains("look after"), "{part}");
        }
    }

    #[test]
    fn a_permission_for_one_channel_covers_no_other() {
        let has = Permissions::new(vec!["broadcast:news".into(), "store".into()]);
        assert!(has.allows("broadcast", Some("news")) && has.allows("store", None));
        assert!(!has.allows("broadcast", Some("board")) && !has.allows("send", None));
        let wants = Permissions::new(vec!["broadcast:board".into(), "store".into()]);
        assert_eq!(wants.missing_from(&has), vec!["broadcast:board".to_owned()]);
    }

    #[test]
    fn a_bot_has_what_it_needs_and_was_granted_and_nothing_else() {
        let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let needs = Permissions::new(strings(&["send", "relay", "listen:board", "store"]));
        let granted = Permissions::new(strings(&["relay:trust", "listen", "store", "peers"]));
        assert_eq!(needs.within(&granted).needs(), strings(&["listen:board", "store", "relay:trust"]));
    }

    #[test]
    fn a_channel_is_the_same_however_its_name_is_written() {
        let has = Permissions::new(vec!["listen:#Board".into(), "source:Weather".into()]);
        assert!(has.allows("listen", Some("board")) && has.allows("source", Some("Weather")));
        assert!(!has.allows("source", Some("weather")), "sources have their admin's names");
        assert!(Permissions::new(vec!["listen:board".into()]).missing_from(&has).is_empty());
        assert!(check_need("listen:a\u{7}b").is_err() && check_need("listen:#Board").is_ok());
    }
}
