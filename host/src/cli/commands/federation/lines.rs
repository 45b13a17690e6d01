//! The lines by which a node uses its certificate.

use std::path::{Path, PathBuf};

use crate::cli::term::now_ms;
use crate::pki::{CA_CERTIFICATE, Certified, Files};

/// Where a federation usually listens.
const LISTEN: &str = "0.0.0.0:7001";

/// A day in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// The settings of a node, in the order in which they are shown.
pub(super) struct Lines {
    settings: [(&'static str, &'static str, String); 6],
    /// The key is on another machine.
    elsewhere: bool,
    check: String,
}

impl Lines {
    pub(super) fn new(domain: &str, made: &Certified, elsewhere: bool) -> Self {
        let paths = &made.paths;
        let der = made.der && !made.chained && !elsewhere;
        let certificate = if der { &paths.certificate_der } else { &paths.certificate };
        let key = if der { &paths.key_der } else { &paths.key };
        let authority = if der { paths.authority.with_extension("der") } else { paths.authority.clone() };
        // On the other machine the files lie in the data directory, where relative paths start.
        let place = |path: &Path| if elsewhere { file_name(path) } else { path.to_owned() };
        let text = |path: &Path| place(path).display().to_string();
        Self {
            settings: [
                ("federation_enabled", "QPQ_FEDERATION_ENABLED", "true".to_owned()),
                ("domain", "QPQ_LOCAL_DOMAIN", domain.to_owned()),
                ("federation_listen", "QPQ_FEDERATION_LISTEN", LISTEN.to_owned()),
                ("federation_cert", "QPQ_FEDERATION_CERT", text(certificate)),
                ("federation_key", "QPQ_FEDERATION_KEY", text(key)),
                ("federation_ca", "QPQ_FEDERATION_CA", text(&authority)),
            ],
            elsewhere,
            check: if elsewhere { "qpq federation check".to_owned() } else { check_command(domain, paths) },
        }
    }

    /// As they stand in `qpq-server.toml`.
    pub(super) fn toml(&self) -> String {
        let line = |(key, _, value): &(&str, &str, String)| match value.as_str() {
            "true" => format!("{key} = true\n"),
            value => format!("{key} = {}\n", toml::Value::from(value)),
        };
        self.settings.iter().map(line).collect()
    }

    /// As they stand in a file of environment variables.
    pub(super) fn environment(&self) -> String {
        self.settings.iter().map(|(_, variable, value)| format!("{variable}={}\n", word(Path::new(value)))).collect()
    }

    /// Both, for people.
    pub(super) fn text(&self) -> String {
        let begin = if self.elsewhere {
            format!(
                "\nGive it to the server together with {CA_CERTIFICATE}. There, both lie beside the key in the data directory, and in \
                 qpq-server.toml, above the first table, stands:\n"
            )
        } else {
            "\nIn qpq-server.toml of this server, above the first table:\n".to_owned()
        };
        format!(
            "{begin}\n{}\nor in its environment:\n\n{}\nTo look whether all fits:\n\n  {}\n",
            indented(&self.toml()),
            indented(&self.environment()),
            self.check
        )
    }
}

/// The command that looks at these files.
pub(super) fn check_command(domain: &str, paths: &Files) -> String {
    let [cert, key, ca] = [&paths.certificate, &paths.key, &paths.authority].map(|path| word(path));
    format!("qpq federation check {domain} --cert {cert} --key {key} --ca {ca}")
}

/// How long something holds from now.
pub(super) fn days_left(not_after: i64) -> String {
    let left = not_after.saturating_mul(1_000).saturating_sub(i64::try_from(now_ms()).unwrap_or(i64::MAX));
    // Some seconds have passed since it was made.
    format!("it holds for {} days", (left + DAY_MS / 2).div_euclid(DAY_MS))
}

/// Paths under a heading, or nothing.
pub(super) fn list(heading: &str, paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return String::new();
    }
    let lines: String = paths.iter().map(|path| format!("  {}\n", path.display())).collect();
    format!("{heading}\n{lines}")
}

/// A path as a shell and systemd take it: in single quotes where it has anything but harmless characters.
pub(super) fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let harmless = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if text.chars().all(harmless) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn file_name(path: &Path) -> PathBuf {
    path.file_name().map(PathBuf::from).unwrap_or_default()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
