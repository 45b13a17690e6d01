//! One link: what waits in both directions, and how it ends so that nothing is lost that the other side counts as delivered.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qpq_plugin_api::{Outbox, QueueLimits};
use tokio::sync::Notify;
use tokio::time::timeout;

/// How long `close`, and a peer that takes its leave, waits for the queue to be flushed; and how long a host without room may
/// take in what had arrived when the connection ended.
pub const LINGER: Duration = Duration::from_secs(1);

/// Why a link ends: the two reasons that a [`Flow`] must tell from the others.
pub trait LinkEnd: Clone + PartialEq {
    /// The peer took its leave; everything it had to say has arrived.
    const PEER_DONE: Self;
    /// This instance makes way for another one.
    const QUIESCED: Self;
}

/// The connection under a link.
pub trait Bearer {
    /// Why a link ends.
    type End: LinkEnd;

    /// Whether the connection has ended.
    fn has_ended(&self) -> bool;

    /// Waits until it has, and says why.
    fn ended(&self) -> impl Future<Output = Self::End>;
}

/// What every link has beside its connection.
#[derive(Debug)]
pub struct Flow<E> {
    /// Frames that wait for sending.
    pub outbox: Outbox,
    /// The host has room again.
    resume: Notify,
    /// Why this side wants the link to end, and how long flushing may take.
    asked: Mutex<Option<(E, Duration)>>,
    /// `asked` was set.
    leave: Notify,
    /// The time for flushing ran out.
    cut_off: AtomicBool,
}

impl<E: LinkEnd> Flow<E> {
    /// Of a new link.
    pub fn new(limits: QueueLimits) -> Self {
        Self {
            outbox: Outbox::new(limits),
            resume: Notify::new(),
            asked: Mutex::default(),
            leave: Notify::new(),
            cut_off: AtomicBool::new(false),
        }
    }

    /// The host has room again.
    pub fn resume(&self) {
        self.resume.notify_one();
    }

    /// Waits until the host has room again.
    pub async fn resumed(&self) {
        self.resume.notified().await;
    }

    /// Waits until the host has room again. When the connection ends meanwhile the host gets [`LINGER`] more: the peer counts
    /// what has arrived as delivered.
    ///
    /// # Errors
    /// Why the connection ended, when the host has found no room since.
    pub async fn room(&self, bearer: &impl Bearer<End = E>) -> Result<(), E> {
        tokio::select! {
            () = self.resumed() => Ok(()),
            end = bearer.ended() => timeout(LINGER, self.resumed()).await.map_err(|_late| end),
        }
    }

    /// Ends the link once its queue is flushed, at the latest after `patience`. The first reason counts.
    pub fn ask_end(&self, why: E, patience: Duration) {
        self.lock().get_or_insert((why, patience));
        self.outbox.seal();
        self.leave.notify_one();
    }

    /// Waits until this side wants the link to end: why, and how long flushing may take.
    pub async fn asked(&self) -> (E, Duration) {
        loop {
            if let Some(asked) = self.lock().clone() {
                return asked;
            }
            self.leave.notified().await;
        }
    }

    /// Whether the time for flushing ran out: the peer can't know what has arrived, so the connection has no future.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Acquire)
    }

    /// Runs both directions until one of them, or the host, ends the link. The writer sends what the outbox holds, and
    /// returns when that is sealed, and the peer has acknowledged all; the reader returns [`LinkEnd::PEER_DONE`] when the peer
    /// has said all. With [`LinkEnd::QUIESCED`] what is still coming in is taken for `last_read`, after all was flushed.
    pub async fn carry(
        &self,
        bearer: &impl Bearer<End = E>,
        last_read: Duration,
        mut writer: Pin<&mut impl Future<Output = Result<(), E>>>,
        mut reader: Pin<&mut impl Future<Output = E>>,
    ) -> E {
        let mut writing = true;
        loop {
            tokio::select! {
                flushed = &mut writer, if writing => match flushed {
                    Ok(()) => writing = false,
                    Err(end) => {
                        if bearer.has_ended() {
                            // The peer may have flushed before it went: what has arrived counts as delivered there.
                            let _ = timeout(LINGER, reader).await;
                        }
                        return end;
                    }
                },
                end = &mut reader => return match end {
                    end if end == E::PEER_DONE => self.answer_leave(bearer, writer, writing).await,
                    end => end,
                },
                (end, patience) = self.asked() => {
                    let left = leave(&end, last_read, writer, writing, reader);
                    return match timeout(patience, left).await {
                        Ok(None) => end,
                        Ok(Some(worse)) => worse,
                        Err(_late) => {
                            self.cut_off.store(true, Ordering::Release);
                            end
                        }
                    };
                },
            }
        }
    }

    /// The peer has said all: flushes this side too. Who began to leave closes the connection, once it has read everything.
    async fn answer_leave(
        &self,
        bearer: &impl Bearer<End = E>,
        writer: Pin<&mut impl Future<Output = Result<(), E>>>,
        writing: bool,
    ) -> E {
        let began_here = self.outbox.is_sealed();
        self.outbox.seal();
        let flush = async {
            if writing {
                tokio::select! {
                    _ = writer => {}
                    end = bearer.ended() => return end,
                }
            }
            if began_here { E::PEER_DONE } else { bearer.ended().await }
        };
        let end = timeout(LINGER, flush).await.unwrap_or_else(|_late| {
            self.cut_off.store(true, Ordering::Release);
            E::PEER_DONE
        });
        self.lock().clone().map_or(end, |(why, _)| why)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(E, Duration)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// This side ends the link: flushes, and when another instance takes over hands over what has come in. What the peer has
/// still queued is waited for no longer than `last_read`: under load that takes long, and the peer keeps it until it is
/// acknowledged. Returns the end if the connection broke.
async fn leave<E: LinkEnd>(
    why: &E,
    last_read: Duration,
    mut writer: Pin<&mut impl Future<Output = Result<(), E>>>,
    mut writing: bool,
    mut reader: Pin<&mut impl Future<Output = E>>,
) -> Option<E> {
    let mut reading = true;
    while writing {
        tokio::select! {
            flushed = &mut writer, if writing => match flushed {
                Ok(()) => writing = false,
                Err(end) => return Some(end),
            },
            end = &mut reader, if reading => match end {
                end if end == E::PEER_DONE => reading = false,
                end => return Some(end),
            },
        }
    }
    if !reading || *why != E::QUIESCED {
        return None;
    }
    match timeout(last_read, reader).await {
        Ok(end) if end != E::PEER_DONE => Some(end),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
