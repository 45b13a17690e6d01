//! A batch made ready by whoever hands it in, while its bytes are still in that processor's cache: the thread that commits is the
//! one that all others wait for.

use super::format::{self, put_record};
use super::{Batch, Filed, Head, MAX_KEY, MAX_VALUE, NewRecord, SeenEntry};

/// A batch that is ready to be committed.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// What is to be stored, and its value in the table of records.
    pub(super) append: Vec<(Head, fjall::Slice)>,
    pub(super) remove: Vec<u64>,
    /// Ids to be written down.
    pub(super) seen: Vec<SeenEntry>,
    pub(super) forget_before_ms: u64,
    pub(super) kv: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// What enters the index on disk, and what leaves it.
    pub(super) file: Vec<Filed>,
    pub(super) unfile: Vec<Filed>,
    pub(super) index_built: bool,
    /// It takes more room than it frees.
    pub(super) grows: bool,
}

impl Prepared {
    /// Checks a batch against the limits that the caller must keep, and encodes it.
    pub(super) fn new(batch: Batch) -> Result<Self, String> {
        check_values(&batch)?;
        let grows = batch.grows();
        let Batch { append, remove, seen, forget_before_ms, kv, file, unfile, index_built } = batch;
        let mut value = Vec::new();
        let append = append
            .into_iter()
            .map(|record| {
                check_head(&record)?;
                put_record(&record, &mut value);
                Ok((record.head, fjall::Slice::from(value.as_slice())))
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { append, remove, seen, forget_before_ms, kv, file, unfile, index_built, grows })
    }

    /// Entries that it changes on the disk, roughly.
    pub(super) fn entries(&self) -> usize {
        self.append.len() + self.remove.len() + self.kv.len() + self.file.len() + self.unfile.len()
    }
}

fn check_values(batch: &Batch) -> Result<(), String> {
    for (key, value) in &batch.kv {
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(format!("a key of {} bytes (1 to {MAX_KEY} are taken)", key.len()));
        }
        if let Some(len) = value.as_ref().map(Vec::len).filter(|len| *len > MAX_VALUE) {
            return Err(format!("a value of {len} bytes (at most {MAX_VALUE} are taken)"));
        }
    }
    Ok(())
}

fn check_head(NewRecord { head, wire }: &NewRecord) -> Result<(), String> {
    let told = format::head_of(head.seq, head.id, head.places, head.received_ms, head.source, wire)
        .map_err(|what| format!("an envelope that can't be read: {what}"))?;
    if told != *head && format::urgent(told, wire) != *head {
        return Err(format!("record {} with a head that isn't its envelope's", head.seq));
    }
    Ok(())
}
