//! Holds the index on disk against the records.

use super::{Engine, Fault, Keys, decode};
use crate::store::audit::Progress;
use crate::store::format;
use crate::store::scan::walk;

/// Entries between two calls of the progress function.
const PROGRESS_EVERY: u64 = 50_000;

/// What is wrong with the index of a database with so many records that only wait, in words. Nothing, where there is none, or
/// where it will be built anew anyway.
pub(in crate::store) fn problems(
    engine: &Engine,
    commits: Option<u64>,
    waiting: u64,
    progress: Progress<'_>,
) -> Result<Vec<String>, Fault> {
    let Some(index) = engine.index.as_ref().filter(|_| engine.marked().is_some_and(|mark| Some(mark) == commits))
    else {
        return Ok(Vec::new());
    };
    let (mut problems, mut seen, mut wrong) = (Vec::new(), 0_u64, 0_u64);
    problems.extend(walk(&index.queues, &mut |key, value| {
        seen += 1;
        if seen.is_multiple_of(PROGRESS_EVERY) {
            progress("queues", seen);
        }
        wrong += u64::from(!is_sound(engine, key, value));
    })?);
    if wrong > 0 {
        problems.push(format!("the index says of {wrong} messages what their records don't"));
    }
    if seen != waiting {
        problems.push(format!("the index has {seen} messages, and {waiting} wait"));
    }
    for table in [&index.ids, &index.lanes, &index.ends] {
        let mut entries = 0_u64;
        problems.extend(walk(table, &mut |_, _| entries += 1)?);
        if entries != seen {
            problems.push(format!("table {} of the index has {entries} entries instead of {seen}", table.name()));
        }
    }
    Ok(problems)
}

/// Whether an entry is intact, says what the record says, and stands in the other tables as well.
fn is_sound(engine: &Engine, key: &[u8], value: &[u8]) -> bool {
    let (Ok(filed), Some(index)) = (decode(key, value), &engine.index) else { return false };
    let keys = Keys::of(&filed);
    let record_key = format::record_key(filed.head.seq);
    let has = |table, key: &[u8], wanted: &[u8]| {
        Engine::get(table, key).is_ok_and(|found| found.is_some_and(|found| *found == *wanted))
    };
    let record = Engine::get(&engine.records, &record_key).ok().flatten();
    let head = record.and_then(|record| format::decode_record(&record_key, &record).ok());
    head == Some(filed.head)
        && *key == keys.queue
        && has(&index.ids, &keys.id, &keys.queue)
        && has(&index.lanes, &keys.lane, &filed.head.wire_len.to_be_bytes())
        && has(&index.ends, &keys.end, keys.end_value())
}
