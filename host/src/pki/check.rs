//! Whether a server's certificate, key and authorities fit each other, and what to do when they don't.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use serde::Serialize;

use super::facts::Facts;
use super::folder::same_key;
use super::problem::Problem;
use super::trust::{self, Side};
use super::{WARNING_DAYS, files, key};

/// Nobody may change it but its owner and the owner's group.
const WORLD_WRITABLE: u32 = 0o002;

/// What to look at.
#[derive(Debug)]
pub struct Checked<'a> {
    /// The certificate, with those between it and the authorities.
    pub certificate: &'a Path,
    /// Its key.
    pub key: &'a Path,
    /// The authorities that this server trusts.
    pub authority: &'a Path,
    /// The domain of the server, if it is known.
    pub domain: Option<&'a str>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Other servers refuse it, or this one does.
    Error,
    /// It works now.
    Warning,
}

/// Something that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// A stable word for programs.
    pub code: &'static str,
    /// The file that it is about.
    pub file: PathBuf,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

/// An authority that is trusted.
#[derive(Debug, Clone, Serialize)]
pub struct Trusted {
    /// Its name.
    pub name: String,
    /// Its last moment, Unix time in milliseconds.
    pub not_after_ms: i64,
    /// Whole days until then.
    pub days_left: i64,
}

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether it works.
    pub ok: bool,
    /// The domain that was asked about.
    pub domain: Option<String>,
    /// The domains in the certificate.
    pub names: Vec<String>,
    /// The first moment of the certificate, Unix time in milliseconds.
    pub not_before_ms: Option<i64>,
    /// The last moment of the certificate, Unix time in milliseconds.
    pub not_after_ms: Option<i64>,
    /// Whole days until then.
    pub days_left: Option<i64>,
    /// The authorities that are trusted.
    pub authorities: Vec<Trusted>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Looks at the files of a server as the other servers will, at this moment.
pub fn check(files: &Checked<'_>) -> Report {
    check_at(files, super::now())
}

/// The same at another moment, Unix time in seconds.
pub(super) fn check_at(checked: &Checked<'_>, now: u64) -> Report {
    let mut search = Search { checked, now, findings: vec![] };
    let chain = search.certificates(checked.certificate);
    let authorities = search.certificates(checked.authority);
    search.key(chain.first().map(|own| &own.facts));
    if let Some(own) = chain.first() {
        search.certificate(own);
        search.chain(&chain, &authorities);
    }
    search.authorities(&authorities);
    search.report(chain.first().map(|own| &own.facts), &authorities)
}

/// A certificate and what it says.
struct Read {
    der: CertificateDer<'static>,
    facts: Facts,
}

struct Search<'a> {
    checked: &'a Checked<'a>,
    now: u64,
    findings: Vec<Finding>,
}

impl Search<'_> {
    fn add(
        &mut self,
        level: Level,
        code: &'static str,
        file: &Path,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (problem, remedy) = (problem.into(), remedy.into());
        self.findings.push(Finding { level, code, file: file.to_owned(), problem, remedy });
    }

    fn error(&mut self, code: &'static str, file: &Path, problem: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Error, code, file, problem, remedy);
    }

    fn unreadable(&mut self, path: &Path, problem: &Problem) {
        self.error(problem.code(), path, problem.to_string(), "");
    }

    fn certificates(&mut self, path: &Path) -> Vec<Read> {
        let found = match files::read_certificates(path) {
            Ok(found) => found,
            Err(problem) => {
                self.unreadable(path, &problem);
                return vec![];
            }
        };
        self.modes(path);
        let mut read = Vec::with_capacity(found.len());
        for der in found {
            match Facts::of(&der) {
                Some(facts) => read.push(Read { der, facts }),
                None => self.error("unreadable", path, "a certificate in it can't be read", "Put back a good copy."),
            }
        }
        read
    }

    fn modes(&mut self, path: &Path) {
        let mode = fs::metadata(path).map_or(0, |found| found.mode() & 0o7777);
        if mode & WORLD_WRITABLE != 0 {
            let problem = format!("every user of this machine can change it (mode {mode:04o})");
            self.error("mode", path, problem, format!("Close it with: chmod 644 {}", path.display()));
        }
    }

    fn key(&mut self, own: Option<&Facts>) {
        let path = self.checked.key;
        match (key::read(path), own) {
            (Err(problem), _) => self.unreadable(path, &problem),
            (Ok(key), Some(own)) if !same_key(&key, own) => self.error(
                "key-mismatch",
                path,
                format!("it isn't the key of {}", self.checked.certificate.display()),
                "Put back the key that the certificate was made for, or issue a new certificate with `qpq federation cert`.",
            ),
            (Ok(_), _) => {}
        }
    }

    fn certificate(&mut self, own: &Read) {
        let (path, facts) = (self.checked.certificate, &own.facts);
        self.dates(path, "the certificate", facts, "Renew it with `qpq federation cert DOMAIN --renew`.");
        let anew = "Issue the certificate anew with `qpq federation cert`.";
        if facts.domains.is_empty() {
            self.error("no-domain", path, "it has no domain among its alternative names", anew);
        }
        if let Some(domain) = self.checked.domain.filter(|domain| !trust::names(&own.der, domain)) {
            let problem = format!("it isn't for {domain} but for {}", facts.domains.join(", "));
            self.error(
                "wrong-domain",
                path,
                problem,
                format!("Set domain to one of these, or run `qpq federation cert {domain}`."),
            );
        }
        if facts.ca {
            self.error("authority", path, "it is the certificate of an authority, not of a server", anew);
        }
        if !facts.signs_handshakes {
            self.error("usage", path, "its key may not sign handshakes (digitalSignature)", anew);
        }
        for (may, side) in [(facts.server, "server (serverAuth)"), (facts.client, "client (clientAuth)")] {
            if !may {
                self.error("usage", path, format!("it is not for a {side}; a server of a federation is both"), anew);
            }
        }
    }

    fn dates(&mut self, path: &Path, what: &str, facts: &Facts, renew: &str) {
        let now = i64::try_from(self.now).unwrap_or(i64::MAX);
        let days = facts.days_left(self.now);
        if now < facts.not_before {
            let problem = format!("{what} isn't valid yet by this machine's clock");
            self.error("not-yet-valid", path, problem, "Check the clock (`date`); if it is right, issue it anew.");
        } else if now > facts.not_after {
            let remedy = format!("Check this machine's clock (`date`). {renew}");
            self.error("expired", path, format!("{what} has expired"), remedy);
        } else if days < WARNING_DAYS {
            self.add(Level::Warning, "expires-soon", path, format!("{what} ends in {days} days"), renew);
        }
    }

    fn chain(&mut self, chain: &[Read], authorities: &[Read]) {
        let ders = |read: &[Read]| -> Vec<CertificateDer<'static>> { read.iter().map(|one| one.der.clone()).collect() };
        let (chain, authorities) = (ders(chain), ders(authorities));
        for side in Side::BOTH {
            let Err(error) = trust::verdict(&chain, &authorities, side, self.now) else { continue };
            let (code, problem, remedy) = trust::reason(&error);
            // Dates and usage of the certificate itself have been told in better words.
            let told = |found: &Finding| found.file == self.checked.certificate && found.level == Level::Error;
            let owns = matches!(code, "expired" | "not-yet-valid" | "refused");
            let known =
                (owns && self.findings.iter().any(told)) || self.findings.iter().any(|found| found.code == code);
            if !known {
                self.error(code, self.checked.certificate, problem, remedy);
            }
        }
    }

    fn authorities(&mut self, authorities: &[Read]) {
        let path = self.checked.authority;
        for authority in authorities {
            let what = format!("the authority \"{}\"", authority.facts.name);
            let remedy = "Make a new one with `qpq federation ca`, and give its ca.pem to every server.";
            self.dates(path, &what, &authority.facts, remedy);
            if !authority.facts.ca || !authority.facts.signs_certificates {
                let problem = format!("\"{}\" is no authority", authority.facts.name);
                self.error("no-authority", path, problem, "Name the ca.pem that `qpq federation ca` made.");
            }
        }
    }

    fn report(self, own: Option<&Facts>, authorities: &[Read]) -> Report {
        let now = self.now;
        let trusted = |read: &Read| Trusted {
            name: read.facts.name.clone(),
            not_after_ms: millis(read.facts.not_after),
            days_left: read.facts.days_left(now),
        };
        Report {
            ok: self.findings.iter().all(|found| found.level != Level::Error),
            domain: self.checked.domain.map(str::to_owned),
            names: own.map(|own| own.domains.clone()).unwrap_or_default(),
            not_before_ms: own.map(|own| millis(own.not_before)),
            not_after_ms: own.map(|own| millis(own.not_after)),
            days_left: own.map(|own| own.days_left(now)),
            authorities: authorities.iter().map(trusted).collect(),
            findings: self.findings,
        }
    }
}

fn millis(secs: i64) -> i64 {
    secs.saturating_mul(1_000)
}
