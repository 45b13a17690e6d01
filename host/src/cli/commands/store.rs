//! `store …`: what stands in a data directory, without a node.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::{Connect, mesh};
use crate::cli::Setting;
use crate::cli::answer::Answer;
use crate::cli::args::StoreCommand;
use crate::cli::daemon::lock;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, Table, ago, bytes, clean, clean_lines, now_ms};
use crate::store::{
    self, CheckReport, DamagedEntry, DamagedFile, Envelopes, Portion, RepairReport, StoreError, StoreFigures,
    TableReport,
};

/// The folder of the store in the data directory.
const STORE_DIR: &str = "store";
/// Damaged entries that are named in the text.
const MAX_LINES: usize = 50;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Runs a command.
pub(super) async fn run(setting: &Setting, connect: Connect<'_>, command: StoreCommand) -> Result<Answer, Failure> {
    let style = setting.style;
    let running = setting.target.is_some() || lock::is_held(&setting.home()?);
    match command {
        StoreCommand::Stats if running => Ok(mesh::store_figures(&connect()?.store_stats().await?, style)),
        StoreCommand::Stats => apart(setting, store::figures).await.map(|figures| figures_answer(&figures, style)),
        StoreCommand::Check | StoreCommand::Repair if running => Err(in_use(setting)),
        StoreCommand::Check => apart(setting, store::check).await.map(|report| check_answer(&report, style)),
        StoreCommand::Repair => apart(setting, store::repair).await.map(|report| repair_answer(&report, style)),
    }
}

fn in_use(setting: &Setting) -> Failure {
    if setting.target.is_some() {
        return Failure::Usage("This works on the store of this machine, so it can't go with --connect.".to_owned());
    }
    let home = setting.home.as_deref().unwrap_or_else(|| Path::new("")).display();
    let text = format!(
        "A node runs in {home}, and its store changes all the time. Stop it with `qpq --home {home} stop`, then try again. \
         `qpq --home {home} store stats` shows what it says of its store."
    );
    Failure::new("node-running", text)
}

/// Runs something long on a thread of its own, and shows how far it is.
async fn apart<T: Send + 'static>(
    setting: &Setting,
    work: fn(&Path, u64, store::Progress<'_>) -> Result<T, StoreError>,
) -> Result<T, Failure> {
    let dir: PathBuf = setting.home()?.join(STORE_DIR);
    let run = tokio::task::spawn_blocking(move || {
        let shown = std::io::stderr().is_terminal();
        let done = work(&dir, now_ms(), &mut |table, entries| {
            let end = if shown { "\r" } else { "\n" };
            let _ = write!(std::io::stderr(), "{table}: {entries} entries read{end}");
        });
        if shown {
            let _ = write!(std::io::stderr(), "\x1b[K");
        }
        done
    });
    Ok(run.await.map_err(|error| Failure::new("panicked", format!("The look failed: {error}.")))??)
}

fn check_answer(report: &CheckReport, style: Style) -> Answer {
    let mut text = format!("{}\n\n", tables(&report.tables, style));
    text += &envelopes_line(&report.envelopes);
    text += &format!("ids         {} remembered\n", report.seen_ids);
    let (batches, size) = report.journals.iter().fold((0, 0), |sum, j| (sum.0 + j.batches, sum.1 + j.bytes));
    text += &format!("journals    {} with {batches} commits in {}\n", report.journals.len(), bytes(size));
    for problem in &report.problems {
        text += &format!("! {}\n", clean(problem));
    }
    for file in &report.files {
        text += &file_line(file);
    }
    for journal in &report.journals {
        for (from, to) in &journal.damaged {
            text += &format!("! journal {}: bytes {from} to {to} are damaged\n", clean(&journal.file));
        }
        if journal.renumbered > 0 {
            text += &format!("! journal {}: {} damaged numbers\n", clean(&journal.file), journal.renumbered);
        }
    }
    for stretch in &report.unreadable {
        text += &format!("! {}\n", clean(stretch));
    }
    text += &entries(&report.damage, report.damaged_entries);
    text += if report.ok {
        "\nThe store is in order."
    } else {
        "\nThe store is damaged. `qpq store repair` mends what can be mended; check the disk."
    };
    let answer = Answer::new("qpq.store-check/1", report, text);
    if report.ok { answer } else { answer.failed() }
}

fn repair_answer(report: &RepairReport, style: Style) -> Answer {
    let mut text = String::new();
    for line in &report.done {
        text += &format!("{}\n", clean(line));
    }
    for file in &report.files {
        text += &file_line(file);
    }
    if !report.set_aside.is_empty() {
        text += "Set aside:\n";
        text += &entries(&report.set_aside, report.set_aside.len() as u64);
    }
    for kept in &report.kept {
        text += &clean_lines(&format!("Kept as it was found: {}\n", kept.display()));
    }
    text += &format!("\n{}\n\n{}", tables(&report.tables, style), envelopes_line(&report.envelopes));
    text += match (report.ok, report.mended) {
        (true, true) => "\nThe store is mended.",
        (true, false) => "\nThe store was in order; nothing was changed.",
        (false, _) => "\nThe store is still damaged: is the disk failing?",
    };
    let answer = Answer::new("qpq.store-repair/1", report, text);
    if report.ok { answer } else { answer.failed() }
}

fn figures_answer(figures: &StoreFigures, style: Style) -> Answer {
    let number = |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let format = number(figures.format.map(u64::from));
    let closed = if figures.closed { "closed in order" } else { "not closed in order" };
    let mut text = format!("format      {format}, {closed}, {} commits so far\n", number(figures.commits));
    text += &format!(
        "disk        {} used ({} journals, {} kept of damaged files), {} free\n",
        bytes(figures.disk_bytes),
        bytes(figures.journal_bytes),
        bytes(figures.damaged_bytes),
        bytes(figures.free_bytes),
    );
    text += &envelopes_line(&figures.envelopes);
    text += &format!("ids         {} remembered\n", figures.seen_ids);
    text += &format!("quarantine  {} entries\n\n{}", figures.quarantined, tables(&figures.tables, style));
    Answer::new("qpq.store-stats/1", figures, text)
}

fn tables(tables: &[TableReport], style: Style) -> String {
    let mut table = Table::new(&["TABLE", "ENTRIES", "SIZE", "DAMAGED"]);
    for report in tables {
        let damaged = if report.damaged == 0 { String::new() } else { report.damaged.to_string() };
        table.row([report.name.to_owned(), report.entries.to_string(), bytes(report.bytes), damaged]);
    }
    table.show(style, "")
}

fn envelopes_line(of: &Envelopes) -> String {
    let portion = |portion: Portion| format!("{} ({})", portion.messages, bytes(portion.bytes));
    let oldest = of.oldest_ms.map(|oldest| format!(", the oldest came {}", ago(oldest, now_ms()))).unwrap_or_default();
    format!(
        "envelopes   {}: {} wait for {} recipients, {} of channels, {} in the inbox; {} expired{oldest}\n",
        portion(of.all),
        portion(of.waiting),
        of.recipients,
        portion(of.history),
        portion(of.inbox),
        of.expired,
    )
}

fn file_line(file: &DamagedFile) -> String {
    let lost = if file.lost { ", and is left out" } else { "" };
    clean_lines(&format!("! {}: {}{lost}\n", file.file.display(), file.what))
}

fn entries(damage: &[DamagedEntry], in_all: u64) -> String {
    let mut text = String::new();
    for entry in damage.iter().take(MAX_LINES) {
        text += &format!("! {} {}: {}\n", entry.table, clean(&entry.key), clean(&entry.reason));
    }
    let named = damage.len().min(MAX_LINES) as u64;
    if in_all > named {
        text += &format!("! and {} more (--json names 1,000)\n", in_all - named);
    }
    text
}
