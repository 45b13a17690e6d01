//! `federation status` and `federation ping`.

use super::super::mesh;
use crate::api::{CertificateInfo, DomainInfo, FederationReport, NodeApi};
use crate::cli::answer::Answer;
use crate::cli::args::MeshCommand;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, Table, ago, clean, now_ms};

/// How this domain and the others stand.
pub(super) async fn status(node: &dyn NodeApi, style: Style) -> Result<Answer, Failure> {
    let report = node.federation().await?;
    Ok(Answer::new("qpq.federation/1", &report, table(&report, style)))
}

/// Pings the first gateway of a domain that is linked.
pub(super) async fn ping(node: &dyn NodeApi, domain: &str, count: u32, style: Style) -> Result<Answer, Failure> {
    let report = node.federation().await?;
    let wanted = domain.to_ascii_lowercase();
    let Some(info) = report.domains.iter().find(|info| info.domain == wanted) else {
        let text = format!(
            "No domain {} is known here; name it in `federation.peers`. See `qpq federation status`.",
            clean(domain)
        );
        return Err(Failure::new("unknown-domain", text));
    };
    match info.gateways.first() {
        Some(gateway) => mesh::run(node, MeshCommand::Ping { peer: gateway.to_string(), count }, style).await,
        None => {
            let why = info.last_error.as_deref().unwrap_or("no link to it is up");
            Err(Failure::new("domain-down", format!("{} is {}: {}.", info.domain, clean(&info.state), clean(why))))
        }
    }
}

fn table(report: &FederationReport, style: Style) -> String {
    let Some(plugin) = &report.plugin else {
        return "No federation plugin runs in this node. Where it is configured it may still be starting (`qpq plugin list`), or \
                be switched off by `federation_enabled = false`; on other nodes of a domain, ask its gateway. To make this \
                node a gateway: `qpq federation ca` and `qpq federation cert` make certificates; set domain, \
                federation_cert, federation_key and federation_ca, and start it again."
            .to_owned();
    };
    let mut text = format!(
        "domain       {} by {}\nlistening    {}\n",
        clean(report.domain.as_deref().unwrap_or("not set")),
        clean(plugin),
        if report.listen.is_empty() { "nowhere".to_owned() } else { clean(&report.listen.join(", ")).to_string() },
    );
    for (what, info) in [("certificate", &report.certificate), ("authority  ", &report.authority)] {
        if let Some(info) = info {
            text += &format!("{what}  {}\n", certificate(info, style));
        }
    }
    if let Some(problem) = &report.problem {
        text += &style.alarm(&format!("problem      {}\n", clean(problem)));
    }
    text += &format!("\n{}\n", domains(&report.domains, style));
    if !report.refused.is_empty() {
        text += &format!("\n{}", refused(report, style));
    }
    text
}

fn certificate(info: &CertificateInfo, style: Style) -> String {
    let names = clean(&info.names.join(", ")).to_string();
    let days = info.days_left.map(|days| format!("{days} days left")).unwrap_or_default();
    let problem = info.problem.as_ref().map(|problem| style.alarm(&clean(problem).to_string()));
    [Some(names), Some(days), problem]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The other domains; what is wrong with them stands below the table, which stays narrow so.
fn domains(domains: &[DomainInfo], style: Style) -> String {
    let mut table =
        Table::new(&["DOMAIN", "STATE", "ROUND TRIP", "CERTIFICATE", "CHANNELS", "SENT", "TAKEN", "PUT OFF"]);
    let (mut notes, now) = (String::new(), now_ms());
    for info in domains {
        if let Some(error) = &info.last_error {
            let when = info.last_error_ms.map(|then| format!(", {}", ago(then, now))).unwrap_or_default();
            notes += &format!("\n{}{when}: {}", clean(&info.domain), clean(error));
        }
        let state = if info.legacy { format!("{}, older kind", info.state) } else { info.state.clone() };
        table.row([
            info.domain.clone(),
            state,
            info.rtt_us.map(|us| format!("{:.1} ms", us as f64 / 1_000.0)).unwrap_or_default(),
            info.certificate_days_left.map(|days| format!("{days} days")).unwrap_or_default(),
            info.channels.to_string(),
            info.sent.to_string(),
            info.taken.to_string(),
            info.put_off.to_string(),
        ]);
    }
    let gap = if notes.is_empty() { "" } else { "\n" };
    format!("{}{gap}{notes}", table.show(style, "No other domains yet; name them in `federation.peers`."))
}

fn refused(report: &FederationReport, style: Style) -> String {
    let mut table = Table::new(&["REFUSED", "FROM", "TIMES", "LAST", "WHY"]);
    let now = now_ms();
    for row in &report.refused {
        table.row([
            row.domain.clone().unwrap_or_else(|| "?".to_owned()),
            row.remote.clone(),
            row.count.to_string(),
            row.last_ms.map(|then| ago(then, now)).unwrap_or_default(),
            row.reason.clone(),
        ]);
    }
    table.show(style, "")
}
