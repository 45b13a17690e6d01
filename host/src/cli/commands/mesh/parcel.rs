//! `mesh export`, `mesh import`: mail in a file, for where no link leads.
//!
//! The node opens no file; this side reads and writes it, and passes pieces on.

mod progress;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use qpq_schemas::PeerId;
use qpq_schemas::channel::normalise;
use qpq_schemas::parcel::{Item, ParcelReader, ParcelWriter};
use serde::Serialize;

use crate::api::{ExportQuery, ImportOutcome, NodeApi};
use crate::cli::answer::Answer;
use crate::cli::args::ExportArgs;
use crate::cli::failure::Failure;
use crate::cli::term::{bytes, clean, now_ms};
use progress::Progress;

/// Bytes of the file that are read at a time.
const PIECE: usize = 64 << 10;
/// Envelopes that are handed to the node at a time.
const BATCH: usize = 256;
/// Their bytes, beyond the last one.
const BATCH_BYTES: usize = 1 << 20;
/// Reasons that are shown in full; more of them are only counted.
const MAX_REASONS: usize = 20;

fn wrong(file: &Path, error: &io::Error) -> Failure {
    Failure::new("file", format!("{}: {error}", file.display()))
}

/// What was written.
#[derive(Debug, Default, Serialize)]
struct Exported {
    file: String,
    envelopes: u64,
    bytes: u64,
    /// Records that the node could not read, and has set aside.
    damaged: u64,
}

/// A file that gets its name only when it is whole and on disk.
struct Unfinished {
    out: BufWriter<File>,
    part: PathBuf,
    file: PathBuf,
    written: u64,
}

impl Unfinished {
    fn create(file: &Path) -> Result<Self, Failure> {
        if file.symlink_metadata().is_ok() {
            let text =
                format!("{} is there already, and was not touched; name another file or remove it.", file.display());
            return Err(Failure::new("file-exists", text));
        }
        let mut part = file.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        // Who writes to whom is nobody else's business on this machine. A link that somebody put there is not followed.
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        let opened = opened.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::new(
                "file-exists",
                format!(
                    "{} is there: an export that runs, or was cut short. Remove it, or name another file.",
                    part.display()
                ),
            ),
            _ => wrong(&part, &error),
        })?;
        let out = BufWriter::new(opened);
        Ok(Self { out, part, file: file.to_owned(), written: 0 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|error| wrong(&self.part, &error))
    }

    /// Syncs it and gives it its name. A stick that is pulled out right afterwards has all of it.
    fn finish(mut self) -> Result<u64, Failure> {
        let done = self.out.flush().and_then(|()| self.out.get_ref().sync_all());
        done.and_then(|()| fs::rename(&self.part, &self.file)).map_err(|error| wrong(&self.file, &error))?;
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Ok(folder) = File::open(folder) {
            _ = folder.sync_all(); // some file systems of sticks can't; the file itself is synced
        }
        Ok(self.written)
    }
}

pub(super) async fn export(node: &dyn NodeApi, args: ExportArgs) -> Result<Answer, Failure> {
    let here = node.identity().await?.peer_id;
    let mut query = ExportQuery { recipient: args.recipient, topic: args.topic, all: args.all, place: 0 };
    let first = node.export_mail(query.clone()).await?; // a wrong name leaves no file behind
    let mut out = Unfinished::create(&args.file)?;
    let outcome = write_pages(node, &mut query, first, &mut out, &ParcelWriter::header(now_ms(), &here)).await;
    let named = match outcome {
        Ok((0, 0)) => is_known(node, &query).await.map(|()| (0, 0)),
        other => other,
    };
    let (envelopes, damaged) = match named {
        Ok(counts) => counts,
        Err(failure) => {
            _ = fs::remove_file(&out.part); // half a file helps nobody
            return Err(failure);
        }
    };
    let size = out.finish()?;
    let told = Exported { file: args.file.display().to_string(), envelopes, bytes: size, damaged };
    let lost = if damaged > 0 { format!(" {damaged} could not be read, and were set aside.") } else { String::new() };
    let text = format!(
        "Wrote {envelopes} messages, {}, into {}.{lost} They stay here as well.",
        bytes(size),
        clean(&told.file)
    );
    Ok(Answer::new("qpq.exported/1", &told, text))
}

/// Whether the recipient or the channel of which nothing was found goes by that name here. If not, it is most likely a slip of
/// the pen, and a file with nothing in it would hide that.
async fn is_known(node: &dyn NodeApi, query: &ExportQuery) -> Result<(), Failure> {
    if let Some(topic) = &query.topic {
        super::find_channel(node, &normalise(topic).unwrap_or_default()).await?;
    }
    // By anything but a whole key the node has found the peer in its directory.
    if let Some(key) = query.recipient.as_ref().and_then(|recipient| recipient.trim().parse::<PeerId>().ok())
        && !node.peers().await?.iter().any(|peer| peer.peer_id == Some(key))
    {
        let text = format!("Nothing waits here for {key}, and no such peer is known; see `qpq mesh peers`.");
        return Err(Failure::new("unknown-peer", text));
    }
    Ok(())
}

async fn write_pages(
    node: &dyn NodeApi,
    query: &mut ExportQuery,
    first: crate::api::ExportPage,
    out: &mut Unfinished,
    header: &[u8],
) -> Result<(u64, u64), Failure> {
    out.write(header)?;
    let (mut writer, mut damaged, mut page) = (ParcelWriter::default(), 0, first);
    let mut progress = Progress::new("messages written");
    loop {
        damaged += page.damaged;
        for wire in &page.envelopes {
            let mut piece = Vec::with_capacity(wire.len() + 64);
            writer.envelope(wire, &mut piece);
            out.write(&piece)?;
        }
        progress.show(writer.written(), None);
        let Some(next) = page.next else { break };
        query.place = next;
        page = node.export_mail(query.clone()).await?;
    }
    progress.end();
    let (written, mut end) = (writer.written(), Vec::new());
    writer.end(&mut end);
    out.write(&end)?;
    Ok((written, damaged))
}

/// What became of the messages in a file.
#[derive(Debug, Default, Serialize)]
struct Imported {
    file: String,
    new: u64,
    known: u64,
    expired: u64,
    /// Others that were not taken, by the code of the refusal.
    refused: BTreeMap<String, u64>,
    /// Messages that are damaged in the file, or missing from it.
    damaged: u64,
    /// Why the file could not be read to its end, with a stable word.
    broken: Option<String>,
    /// Details: which were damaged, and why others were refused.
    remarks: Vec<String>,
}

impl Imported {
    fn remark(&mut self, text: String) {
        if self.remarks.len() < MAX_REASONS {
            self.remarks.push(text);
        }
    }

    fn count(&mut self, outcome: &ImportOutcome) {
        match outcome.code.as_str() {
            "new" => self.new += 1,
            "known" => self.known += 1,
            "expired" | "expired-on-arrival" => self.expired += 1,
            code => {
                *self.refused.entry(code.to_owned()).or_default() += 1;
                let id = outcome.id.map_or_else(|| "a message".to_owned(), |id| id.short());
                let why = outcome.message.as_deref().unwrap_or(code);
                self.remark(format!("{id} was refused: {why}"));
            }
        }
    }

    fn text(&self) -> String {
        let refused: u64 = self.refused.values().sum();
        let mut text = format!(
            "{} new, {} known already, {} expired, {refused} refused, {} damaged or missing in {}{}.",
            self.new,
            self.known,
            self.expired,
            self.damaged,
            clean(&self.file),
            if self.broken.is_some() { ", which could not be read to its end" } else { "" }
        );
        for (code, count) in &self.refused {
            text += &format!("\n  refused ({}): {count}", clean(code));
        }
        for remark in &self.remarks {
            text += &format!("\n  {}", clean(remark));
        }
        text
    }
}

pub(super) async fn import(node: &dyn NodeApi, file: &Path) -> Result<Answer, Failure> {
    let mut source = File::open(file).map_err(|error| wrong(file, &error))?;
    let size = source.metadata().ok().map(|about| about.len());
    let mut told = Imported { file: file.display().to_string(), ..Imported::default() };
    let mut intake = Intake { node, reader: ParcelReader::new(), batch: Vec::new(), bytes: 0 };
    let mut progress = Progress::new("bytes read");
    let (mut piece, mut read) = (vec![0; PIECE], 0);
    let ended = loop {
        let len = source.read(&mut piece).map_err(|error| wrong(file, &error))?;
        read += len as u64;
        intake.reader.push(piece.get(..len).unwrap_or_default());
        if let Err(error) = intake.items(&mut told).await? {
            break Err(error);
        }
        progress.show(read, size);
        if len == 0 {
            break std::mem::take(&mut intake.reader).finish();
        }
    };
    intake.hand_in(&mut told).await?;
    progress.end();
    if let Err(error) = ended {
        told.broken = Some(error.code().to_owned());
        told.remark(error.to_string());
    }
    let in_vain = told.new + told.known == 0 && !told.refused.is_empty();
    let whole = told.broken.is_none() && told.damaged == 0 && !in_vain;
    let answer = Answer::new("qpq.imported/1", &told, told.text());
    Ok(if whole { answer } else { answer.failed() })
}

/// Envelopes on their way from the file to the node.
struct Intake<'a> {
    node: &'a dyn NodeApi,
    reader: ParcelReader,
    batch: Vec<Bytes>,
    bytes: usize,
}

impl Intake<'_> {
    /// Takes all items that are there; the inner error says why the file can't be read on.
    async fn items(&mut self, told: &mut Imported) -> Result<Result<(), qpq_schemas::parcel::ParcelError>, Failure> {
        loop {
            match self.reader.next() {
                Ok(Some(Item::Envelope(wire))) => {
                    self.bytes += wire.len();
                    self.batch.push(wire);
                    if self.batch.len() >= BATCH || self.bytes >= BATCH_BYTES {
                        self.hand_in(told).await?;
                    }
                }
                Ok(Some(Item::Damaged { number, offset })) => {
                    told.damaged += 1;
                    told.remark(format!("message {number} of the file, at byte {offset}, is damaged"));
                }
                Ok(Some(Item::Missing { from, to })) => {
                    told.damaged += to.saturating_sub(from);
                    told.remark(format!("messages {from} to {} of the file are missing", to.saturating_sub(1)));
                }
                Ok(Some(Item::Header { .. } | Item::End { .. })) => {}
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    async fn hand_in(&mut self, told: &mut Imported) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let outcomes = self.node.import_mail(std::mem::take(&mut self.batch)).await?;
        outcomes.iter().for_each(|outcome| told.count(outcome));
        Ok(())
    }
}
