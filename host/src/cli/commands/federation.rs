//! `federation …`

mod domains;
mod lines;

use std::path::{Path, PathBuf};

use serde_json::json;

use self::lines::{Lines, days_left, list};
use super::Connect;
use crate::cli::Setting;
use crate::cli::answer::Answer;
use crate::cli::args::{AuthorityArgs, CertArgs, CheckFederationArgs, CrossSignArgs, FederationCommand, RequestArgs};
use crate::cli::failure::Failure;
use crate::cli::term::{Style, clean_lines};
use crate::config::{Config, Sources};
use crate::pki::{self, Certified, Certify, Checked, Finding, Level, Overwrite, Problem, Report};

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::new(problem.code(), problem.to_string())
    }
}

/// Runs a command. Those about certificates need no node.
pub(super) async fn run(
    setting: &Setting,
    connect: Connect<'_>,
    command: FederationCommand,
) -> Result<Answer, Failure> {
    match command {
        FederationCommand::Ca(args) => authority(&args),
        FederationCommand::Cert(args) => certificate(&args),
        FederationCommand::Request(args) => request(&args),
        FederationCommand::CrossSign(args) => cross_sign(&args),
        FederationCommand::Check(args) => check(setting, args),
        FederationCommand::Status => domains::status(&*connect()?, setting.style).await,
        FederationCommand::Ping { domain, count } => domains::ping(&*connect()?, &domain, count, setting.style).await,
    }
}

fn overwrite(renew: bool, force: bool) -> Overwrite {
    match (renew, force) {
        (_, true) => Overwrite::Force,
        (true, false) => Overwrite::Renew,
        (false, false) => Overwrite::Never,
    }
}

fn authority(args: &AuthorityArgs) -> Result<Answer, Failure> {
    let out = absolute(&args.out)?;
    let made = pki::make_authority(&args.name, &out, args.days, args.der, overwrite(false, args.force))?;
    let mut text = format!("Made the authority \"{}\"; it holds for {} days.\n", args.name.trim(), args.days);
    text += &list("Replaced, so every certificate that it issued is void:", &made.replaced);
    text += &format!(
        "\n{}  goes to every server.\n{}  stays with you: whoever has it can pose as any server. No server needs it. Keep a copy.\n\n\
         The certificate of a server:\n\n  qpq federation cert node1.mesh.local --ca {}\n",
        made.certificate.display(),
        made.key.display(),
        lines::word(&out),
    );
    let value = json!({
        "certificate": made.certificate, "key": made.key, "not_after_ms": made.not_after * 1_000,
        "files": made.files, "replaced": made.replaced,
    });
    Ok(Answer::new("qpq.federation-ca/1", &value, clean_lines(&text)))
}

fn certificate(args: &CertArgs) -> Result<Answer, Failure> {
    let (ca, out) = (absolute(&args.ca)?, absolute(&args.out)?);
    let made = pki::certify(&Certify {
        domain: &args.domain,
        ca: &ca,
        out: &out,
        days: args.days,
        request: args.request.as_deref(),
        chain: &args.chain,
        der: args.der,
        overwrite: overwrite(args.renew, args.force),
    })?;
    let lines = Lines::new(&args.domain, &made, args.request.is_some());
    let mut text = format!("Made {}; {}.\n", made.paths.certificate.display(), days_left(made.not_after));
    text += &notes(&made);
    text += &list("Replaced:", &made.replaced);
    let value = json!({
        "domain": args.domain, "certificate": made.paths.certificate, "key": args.request.is_none().then_some(&made.paths.key),
        "authority": made.paths.authority, "not_after_ms": made.not_after * 1_000, "cut_short": made.cut_short,
        "ignored_names": made.ignored, "files": made.files, "replaced": made.replaced,
        "config": lines.toml(), "environment": lines.environment(),
    });
    text += &lines.text();
    Ok(Answer::new("qpq.federation-cert/1", &value, clean_lines(&text)))
}

/// What an operator might not expect.
fn notes(made: &Certified) -> String {
    let mut text = String::new();
    if made.cut_short {
        text += "It ends together with its authority. Make a new authority in time.\n";
    }
    if !made.ignored.is_empty() {
        text += &format!("The request asks for more, which was left out: {}.\n", made.ignored.join(", "));
    }
    if made.other_authority {
        let path = made.paths.authority.display();
        text += &format!(
            "{path} is there and doesn't have this authority. It was left alone: add ca.pem of the authority to it.\n"
        );
    }
    if made.der && made.chained {
        text += "A DER file has no room for the certificates of other communities: use the PEM file.\n";
    }
    text
}

fn request(args: &RequestArgs) -> Result<Answer, Failure> {
    let made = pki::request(&args.domain, &absolute(&args.out)?, overwrite(args.renew, args.force))?;
    let kept = if made.new_key { "stays here" } else { "was kept" };
    let mut text = format!("{}  {kept}, and nobody else needs it.\n", made.paths.key.display());
    text += &format!("{}  goes to the keeper of the authority, who runs:\n\n", made.paths.request.display());
    let name = made.paths.request.file_name().map(PathBuf::from).unwrap_or_default();
    text += &format!("  qpq federation cert {} --request {} --ca DIR\n\n", args.domain, lines::word(&name));
    text += &format!(
        "Ask for {}.pem and ca.pem, put them beside the key, and look whether all fits:\n\n  {}\n",
        args.domain,
        lines::check_command(&args.domain, &made.paths),
    );
    text += &list("\nReplaced:", &made.replaced);
    let value = json!({
        "domain": args.domain, "key": made.paths.key, "request": made.paths.request, "new_key": made.new_key,
        "files": made.files, "replaced": made.replaced,
    });
    Ok(Answer::new("qpq.federation-request/1", &value, clean_lines(&text)))
}

fn cross_sign(args: &CrossSignArgs) -> Result<Answer, Failure> {
    let (ca, out) = (absolute(&args.ca)?, absolute(&args.out)?);
    let made = pki::cross_sign(&args.other, &args.permit, (&ca, &out), args.days, overwrite(false, args.force))?;
    let file = lines::word(&made.certificate);
    let mut text = format!(
        "Made {}; {}. It vouches for the authority \"{}\", for {} alone.\n",
        made.certificate.display(),
        days_left(made.not_after),
        made.name,
        args.permit.join(", "),
    );
    text += &list("Replaced:", &made.replaced);
    text += &format!(
        "\nEither your servers trust it, which needs nothing from the other community:\n\n  cat {file} >> ca.pem\n\n\
         in the file that federation_ca names, on each of them. Or the other community's servers show it; its keeper runs\n\n  \
         qpq federation cert DOMAIN --renew --chain {file}\n\nfor each of them. \
         For both directions, the other community vouches for yours in the same way.\n",
    );
    let value = json!({
        "certificate": made.certificate, "name": made.name, "permit": args.permit,
        "not_after_ms": made.not_after * 1_000, "replaced": made.replaced,
    });
    Ok(Answer::new("qpq.federation-cross-sign/1", &value, clean_lines(&text)))
}

fn check(setting: &Setting, args: CheckFederationArgs) -> Result<Answer, Failure> {
    // With every file named, a machine without a node will do.
    let named = args.cert.is_some() && args.key.is_some() && args.ca.is_some();
    let config = if named { None } else { Some(Sources::of_process(setting.home()?).load()?.config) };
    let file = |given: Option<PathBuf>, key: &str, flag: &str, configured: fn(&Config) -> Option<&PathBuf>| {
        given.or_else(|| config.as_ref().and_then(configured).cloned()).ok_or_else(|| {
            Failure::Usage(format!("`{key}` is not in the configuration. Set it, or name the file with {flag}."))
        })
    };
    let cert = file(args.cert, "federation_cert", "--cert", |config| config.node.federation_cert.as_ref())?;
    let key = file(args.key, "federation_key", "--key", |config| config.node.federation_key.as_ref())?;
    let ca = file(args.ca, "federation_ca", "--ca", |config| config.node.federation_ca.as_ref())?;
    let domain = args.domain.or_else(|| config.as_ref().and_then(|config| config.node.domain.clone()));
    let checked = Checked { certificate: &cert, key: &key, authority: &ca, domain: domain.as_deref() };
    let report = pki::check(&checked);
    let answer = Answer::new("qpq.federation-check/1", &report, describe(&report, setting.style));
    Ok(if report.ok { answer } else { answer.failed() })
}

fn describe(report: &Report, style: Style) -> String {
    let mut text = String::new();
    if let (Some(days), false) = (report.days_left, report.names.is_empty()) {
        text += &clean_lines(&format!("certificate  {}, {days} days left\n", report.names.join(", ")));
    }
    for authority in &report.authorities {
        text += &clean_lines(&format!("authority    {}, {} days left\n", authority.name, authority.days_left));
    }
    for found in &report.findings {
        text += &finding(found, style);
    }
    text + if report.ok { "They fit." } else { "They do not fit." }
}

fn finding(found: &Finding, style: Style) -> String {
    let mark = match found.level {
        Level::Error => style.alarm("✗"),
        Level::Warning => style.bold("!"),
    };
    // Some problems name their file themselves.
    let file = found.file.display().to_string();
    let place = if found.problem.contains(&file) { String::new() } else { format!("{file}: ") };
    let mut text = format!("{mark} {}", clean_lines(&format!("{place}{}\n", found.problem)));
    if !found.remedy.is_empty() {
        text += &clean_lines(&format!("    {}\n", found.remedy));
    }
    text
}

/// The folder as other commands, run elsewhere, will find it.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let path = std::path::absolute(path).map_err(Failure::io)?;
    // Without the `.` of the default.
    Ok(path.components().collect())
}
