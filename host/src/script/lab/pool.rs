//! Runs bots on the calling thread until none of them can go on.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;

/// Notes that somebody was woken.
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn new(set: bool) -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(set)))
    }

    /// Whether it is set.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether it was set; it isn't any more.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Tasks on one thread. They are polled in the order in which they were woken.
pub(super) struct Pool {
    tasks: RefCell<FuturesUnordered<LocalBoxFuture<'static, ()>>>,
    new: RefCell<Vec<LocalBoxFuture<'static, ()>>>,
    woken: Arc<Flag>,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self { tasks: RefCell::default(), new: RefCell::default(), woken: Flag::new(false) }
    }

    /// Adds a task. It runs with the next [`Pool::run`].
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.new.borrow_mut().push(Box::pin(task));
    }

    /// Runs until all tasks wait for something.
    pub(super) fn run(&self) {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut context = Context::from_waker(&waker);
        let mut tasks = self.tasks.borrow_mut();
        loop {
            tasks.extend(self.new.take());
            self.woken.take();
            while let Poll::Ready(Some(())) = tasks.poll_next_unpin(&mut context) {}
            if !self.woken.is_set() && self.new.borrow().is_empty() {
                return;
            }
        }
    }
}
