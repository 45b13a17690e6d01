//! What bots logged, and what the host has to say about them: a bounded book for each, with numbers over all.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::api::{ScriptLogLine, ScriptLogPage, ScriptLogQuery};

use super::failure::Failure;
use super::lock;

/// Lines kept for each bot.
const LINES_KEPT: usize = 250;
/// What they may take together, in bytes. The newest stays however long it is: some kibibytes at most.
const BYTES_KEPT: usize = 256 << 10;
/// What a line takes beside its texts, in bytes.
const LINE_BYTES: usize = size_of::<ScriptLogLine>();
/// Lines of an answer where the reader names no number.
const DEFAULT_LIMIT: usize = 100;
/// Lines of an answer at most.
const MAX_LIMIT: usize = 1_000;
/// Longest wait for a line.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Numbers the lines of all bots, and wakes those who follow them.
#[derive(Debug)]
pub(crate) struct Counter {
    last: AtomicU64,
    grew: watch::Sender<u64>,
}

impl Default for Counter {
    fn default() -> Self {
        Self { last: AtomicU64::new(0), grew: watch::Sender::new(0) }
    }
}

impl Counter {
    fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn tell(&self, seq: u64) {
        self.grew.send_if_modified(|last| {
            let newer = seq > *last;
            *last = seq.max(*last);
            newer
        });
    }

    /// The lines that are asked for; `collect` gives those of all bots that are meant, in any order.
    pub(crate) async fn page(
        &self,
        query: &ScriptLogQuery,
        collect: impl Fn(u64) -> Vec<ScriptLogLine>,
    ) -> ScriptLogPage {
        let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit.min(MAX_LIMIT) };
        let deadline = tokio::time::Instant::now() + Duration::from_millis(query.wait_ms).min(MAX_WAIT);
        let mut grew = self.grew.subscribe();
        loop {
            grew.mark_unchanged();
            let mut lines = collect(query.after.unwrap_or(0));
            lines.sort_by_key(|line| line.seq);
            let beyond = lines.len().saturating_sub(limit);
            match query.after {
                Some(_) => lines.truncate(limit),
                None => _ = lines.drain(..beyond),
            }
            let last = lines.last().map(|line| line.seq);
            let done = last.is_some() || tokio::time::Instant::now() >= deadline;
            // Whether the time is up or a line came, the next look decides.
            if done || matches!(tokio::time::timeout_at(deadline, grew.changed()).await, Ok(Err(_))) {
                let next_after = last.or(query.after).unwrap_or_else(|| self.last.load(Ordering::Relaxed));
                return ScriptLogPage { lines, next_after };
            }
        }
    }
}

/// What a line says besides its text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub level: Level,
    pub event: Option<String>,
    pub place: Option<String>,
    pub traceback: Option<String>,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Level {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

impl Level {
    /// The level of that word.
    pub(crate) fn of(word: &str) -> Self {
        [Self::Debug, Self::Warn, Self::Error].into_iter().find(|level| level.word() == word).unwrap_or_default()
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl About {
    /// Of something that failed while the bot did `event`.
    pub(crate) fn failure(event: &str, failure: &Failure) -> Self {
        let place = match (&failure.file, failure.line) {
            (Some(file), Some(line)) => Some(format!("{file}:{line}")),
            (Some(file), None) => Some(file.clone()),
            _ => None,
        };
        Self { level: Level::Error, event: Some(event.to_owned()), place, traceback: failure.traceback.clone() }
    }
}

/// What a line takes, in bytes.
fn bytes(line: &ScriptLogLine) -> usize {
    let texts = [Some(&line.text), line.event.as_ref(), line.place.as_ref(), line.traceback.as_ref()];
    LINE_BYTES + line.bot.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

#[derive(Debug, Default)]
struct Lines {
    all: VecDeque<ScriptLogLine>,
    bytes: usize,
}

impl Lines {
    fn push(&mut self, line: ScriptLogLine) {
        self.bytes += bytes(&line);
        self.all.push_back(line);
        while self.all.len() > LINES_KEPT || self.bytes > BYTES_KEPT && self.all.len() > 1 {
            self.bytes -= self.all.pop_front().as_ref().map_or(0, bytes);
        }
    }
}

/// The lines of one bot; the oldest go when it is full.
#[derive(Debug, Default)]
pub(crate) struct Book(Mutex<Lines>);

impl Book {
    /// Notes a line.
    pub(crate) fn add(&self, counter: &Counter, bot: &str, at_ms: u64, about: About, text: String) {
        let mut lines = lock(&self.0);
        let seq = counter.next();
        let About { level, event, place, traceback } = about;
        let (bot, level) = (bot.to_owned(), level.word().to_owned());
        lines.push(ScriptLogLine { seq, at_ms, bot, level, event, place, text, traceback });
        drop(lines);
        counter.tell(seq);
    }

    /// The lines after a number.
    pub(crate) fn after(&self, seq: u64) -> Vec<ScriptLogLine> {
        lock(&self.0).all.iter().filter(|line| line.seq > seq).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_book_takes_no_more_memory_than_it_says_however_long_its_lines_are() {
        let (counter, book) = (Counter::default(), Book::default());
        let about = || About { traceback: Some("t".repeat(4_000)), ..About::default() };
        (0..LINES_KEPT).for_each(|n| book.add(&counter, "bot", 1, about(), format!("{n} {}", "x".repeat(2_000))));
        let lines = book.after(0);
        assert!(lines.iter().map(bytes).sum::<usize>() <= BYTES_KEPT && lines.len() > 20, "{}", lines.len());
        assert!(lines.last().unwrap().text.starts_with("249 "));
        book.add(&counter, "bot", 1, about(), "x".repeat(BYTES_KEPT));
        assert_eq!(book.after(0).len(), 1);
    }

    #[tokio::test]
    async fn the_newest_lines_come_in_order_and_then_those_that_follow() {
        let (counter, book) = (Arc::new(Counter::default()), Arc::new(Book::default()));
        for n in 0..LINES_KEPT + 50 {
            book.add(&counter, "bot", 1, About::default(), n.to_string());
        }
        let query = ScriptLogQuery { limit: 2, ..ScriptLogQuery::default() };
        let page = counter.page(&query, |after| book.after(after)).await;
        let texts: Vec<&str> = page.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["298", "299"]);
        let follow = ScriptLogQuery { after: Some(page.next_after), wait_ms: 60_000, ..ScriptLogQuery::default() };
        let (writer, writers_counter) = (Arc::clone(&book), Arc::clone(&counter));
        let later = tokio::spawn(async move {
            tokio::task::yield_now().await;
            writer.add(&writers_counter, "bot", 1, About::default(), "new".to_owned());
        });
        let page = counter.page(&follow, |after| book.after(after)).await;
        assert_eq!((page.lines.len(), page.lines[0].text.as_str()), (1, "new"));
        later.await.unwrap();
    }
}
