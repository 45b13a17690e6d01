//! The thread that speaks Cap'n Proto. It gets its work as orders; what they make stays here.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use qpq_plugin_api::{Host, guarded};
use tokio::sync::{mpsc as orders, oneshot};
use tokio::task::{LocalSet, spawn_local};

use crate::bridge::Bridge;
use crate::limits::RPC_ORDERS;

/// Stack of the thread in bytes: messages nest at most [`crate::limits::MAX_NESTING`] deep.
const STACK: usize = 2 << 20;

/// What all connections share on this thread.
#[derive(Default)]
pub(crate) struct Local {
    /// The bridges to domains whose servers are of the older kind.
    pub(crate) bridges: RefCell<HashMap<String, Rc<Bridge>>>,
}

type Order = Box<dyn FnOnce(Rc<Local>) -> LocalBoxFuture<'static, ()> + Send>;

/// A handle to the thread.
#[derive(Debug)]
pub(crate) struct RpcThread {
    orders: orders::Sender<Order>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    stopped: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl RpcThread {
    /// Starts it.
    pub(crate) fn start(host: Host) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (orders, queue) = orders::channel::<Order>(RPC_ORDERS);
        let (stop, asked) = oneshot::channel();
        let (tell, stopped) = mpsc::channel();
        let body = move || {
            LocalSet::new().block_on(&runtime, work(host, queue, asked));
            drop(runtime);
            let _ = tell.send(());
        };
        let thread = std::thread::Builder::new().name("qpq-federation".into()).stack_size(STACK).spawn(body)?;
        Ok(Self { orders, running: Mutex::new(Some(Running { stop, stopped, thread })) })
    }

    /// Has something done there. `false` when the thread is gone.
    pub(crate) async fn order<F, W>(&self, work: W) -> bool
    where
        F: Future<Output = ()> + 'static,
        W: FnOnce(Rc<Local>) -> F + Send + 'static,
    {
        self.orders.send(Box::new(move |local| Box::pin(work(local)))).await.is_ok()
    }

    /// Ends it: everything that runs there is dropped. `false` when it did not end in time.
    pub(crate) fn stop(&self, deadline: Duration) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(running) = running else { return true };
        let _ = running.stop.send(());
        if running.stopped.recv_timeout(deadline) == Err(mpsc::RecvTimeoutError::Timeout) {
            return false;
        }
        running.thread.join().is_ok()
    }
}

/// Takes orders until it is asked to stop.
async fn work(host: Host, mut queue: orders::Receiver<Order>, mut asked: oneshot::Receiver<()>) {
    let local = Rc::new(Local::default());
    loop {
        tokio::select! {
            biased;
            _ = &mut asked => break,
            order = queue.recv() => match order {
                Some(order) => spawn(host, order(local.clone())),
                None => break,
            },
        }
    }
}

/// Runs `task` on this thread. A panic in it is reported to the host, which then starts a new instance.
pub(crate) fn spawn(host: Host, task: impl Future<Output = ()> + 'static) {
    drop(spawn_local(guarded(host, task)));
}
