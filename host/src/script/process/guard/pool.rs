//! What the guards share: a thread, and what one version of a bot stores, for the others of the same bot.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::super::super::lock;
use super::super::super::store::StoreOp;

/// Processes that are being buried at a time.
const BURIALS: usize = 8;
/// How long the last of them may take.
const LAST_BURIALS: Duration = Duration::from_secs(1);
/// Commits that a version may be behind another one of the same bot.
const CHANGES: usize = 1_024;

/// Where the guards live; made with the first of them.
#[derive(Default)]
pub(crate) struct Pool {
    runtime: Option<Runtime>,
    siblings: Siblings,
}

impl Pool {
    pub(super) fn runtime(&mut self) -> io::Result<Handle> {
        if self.runtime.is_none() {
            let mut builder = Builder::new_multi_thread();
            // One worker: what a guard does between two waits, it does undisturbed by the others.
            builder.worker_threads(1).max_blocking_threads(BURIALS).thread_name("bots-guard").enable_all();
            self.runtime = Some(builder.build()?);
        }
        self.runtime.as_ref().map(|runtime| runtime.handle().clone()).ok_or_else(|| io::Error::other("no runtime"))
    }

    pub(super) fn siblings(&self) -> Siblings {
        self.siblings.clone()
    }
}

impl Drop for Pool {
    /// Ends all guards, and with each its process.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(LAST_BURIALS);
        }
    }
}

type Ears = Vec<(u32, Sender<Vec<StoreOp>>)>;

/// The running versions of each bot, by its name.
#[derive(Clone, Default)]
pub(super) struct Siblings(Arc<Mutex<BTreeMap<String, Ears>>>);

impl Siblings {
    /// A version begins; it hears what the others of its bot store from now on.
    pub(super) fn join(&self, bot: &str, generation: u32) -> Receiver<Vec<StoreOp>> {
        let (sender, receiver) = channel(CHANGES);
        lock(&self.0).entry(bot.to_owned()).or_default().push((generation, sender));
        receiver
    }

    pub(super) fn leave(&self, bot: &str, generation: u32) {
        let mut bots = lock(&self.0);
        if let Some(ears) = bots.get_mut(bot) {
            ears.retain(|(of, _)| *of != generation);
            if ears.is_empty() {
                bots.remove(bot);
            }
        }
    }

    /// Tells the others what a version has stored. One that is too far behind hears no more, which ends it.
    pub(super) fn tell(&self, bot: &str, generation: u32, ops: &[StoreOp]) {
        if let Some(ears) = lock(&self.0).get_mut(bot) {
            ears.retain(|(of, ear)| *of == generation || ear.try_send(ops.to_vec()).is_ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_hears_what_the_others_of_its_bot_store_and_not_itself() {
        let siblings = Siblings::default();
        let (mut one, mut two, mut other) = (siblings.join("a", 1), siblings.join("a", 2), siblings.join("b", 1));
        let ops = vec![StoreOp::Delete { key: b"k".to_vec() }];
        siblings.tell("a", 1, &ops);
        assert_eq!(two.try_recv().unwrap(), ops);
        assert!(one.try_recv().is_err() && other.try_recv().is_err());
        siblings.leave("a", 1);
        (0..=CHANGES).for_each(|_| siblings.tell("a", 3, &ops));
        let heard = std::iter::from_fn(|| two.try_recv().ok()).count();
        assert_eq!(heard, CHANGES);
        assert!(matches!(two.try_recv(), Err(tokio::sync::mpsc::error::TryRecvError::Disconnected)));
    }
}
