//! The program of a bot's process: shut itself off, take the bot, run it as a thread of the host would.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as Socket;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Instant;

use futures::FutureExt;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::api::ScriptEvaluated;

use super::super::context::Parts;
use super::super::failure::{Failure, Kind};
use super::super::handover::{Carried, Handover};
use super::super::host::assemble;
use super::super::lock;
use super::super::manifest::Permissions;
use super::super::plain::Plain;
use super::super::program::Program;
use super::super::pulse::Pulse;
use super::super::shared::{Among, Shared};
use super::super::source::Source;
use super::super::store::{Cache, StoredEntry};
use super::super::vm::Vm;
use super::super::worker::{End, Order, Worker};
use super::confine;
use super::proxy::Link;
use super::wire::{BadFrame, FROM_HOST_BYTES, Frames, Start, ToChild, ToHost};

mod report;
mod trace;

use report::Reporter;

/// Room for one read from the socket, in bytes.
const READ_BYTES: usize = 16 << 10;

pub(super) fn main() {
    if let Err(error) = run() {
        // The host reads this when the process has ended.
        let _ = writeln!(io::stderr(), "{error}");
    }
}

fn run() -> io::Result<()> {
    let inherited = confine::descriptors();
    let socket = Socket::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut frames = Frames::new(FROM_HOST_BYTES);
    let data_bytes = first_frame(&socket, &mut frames)?;
    confine::bound(data_bytes)?;
    confine::read_ahead();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    socket.set_nonblocking(true)?;
    let socket = {
        let _inside = runtime.enter();
        UnixStream::from_std(socket)?
    };
    let without_seccomp = confine::shut(inherited.as_deref())?;
    runtime.block_on(live(socket, frames, without_seccomp));
    Ok(())
}

/// Reads nothing but what memory the process may take: the host sends the bot once it hears that the process is shut off.
fn first_frame(mut socket: &Socket, frames: &mut Frames) -> io::Result<u64> {
    let mut chunk = [0; 64];
    loop {
        match frames.next().map_err(|BadFrame(why)| io::Error::other(why))? {
            Some(ToChild::Confine { data_bytes }) => return Ok(data_bytes),
            Some(_) => return Err(io::Error::other("the first frame is another one")),
            None => match socket.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => frames.buffer.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            },
        }
    }
}

async fn live(socket: UnixStream, frames: Frames, without_seccomp: Option<String>) {
    let (read, mut write) = socket.into_split();
    let link = Arc::new(Link::default());
    trace::to_host(&link);
    link.push(&ToHost::Confined { without_seccomp });
    let (orders, receiver) = unbounded_channel();
    let (begin, begun) = oneshot::channel();
    let desk = Desk { link: Arc::clone(&link), orders, begin: Cell::new(Some(begin)), ..Desk::new() };
    let end = tokio::select! {
        biased;
        () = desk.listen(read, frames) => None,
        end = work(&desk, begun, receiver) => Some(end),
        () = link.write(&mut write) => None,
    };
    if let Some(end) = end {
        link.push(&ToHost::Ended(end));
        let _ = link.drain(&mut write).await;
    }
}

/// Takes what the host sends to where it belongs.
struct Desk {
    link: Arc<Link>,
    orders: UnboundedSender<Order>,
    begin: Cell<Option<oneshot::Sender<Start>>>,
    /// The store, as it comes in.
    entries: RefCell<Vec<StoredEntry>>,
    shared: OnceCell<Arc<Shared>>,
    /// The other bots of the node.
    others: Arc<RwLock<Vec<Arc<Shared>>>>,
    /// What the admin typed, and what it will come to.
    evals: RefCell<Vec<(u64, oneshot::Receiver<ScriptEvaluated>)>>,
    /// Where that will come from which is handed over to the host.
    handover: RefCell<Option<std::sync::mpsc::Receiver<Handover>>>,
}

impl Desk {
    fn new() -> Self {
        let (orders, _) = unbounded_channel();
        Self {
            link: Arc::default(),
            orders,
            begin: Cell::new(None),
            entries: RefCell::default(),
            shared: OnceCell::new(),
            others: Arc::default(),
            evals: RefCell::default(),
            handover: RefCell::new(None),
        }
    }

    /// Reads until the host is gone; then there is nothing left to live for.
    async fn listen(&self, mut socket: OwnedReadHalf, mut frames: Frames) {
        loop {
            loop {
                match frames.next() {
                    Ok(Some(frame)) => self.take(frame),
                    Ok(None) => break,
                    Err(BadFrame(why)) => {
                        let _ = writeln!(io::stderr(), "{why}");
                        return;
                    }
                }
            }
            frames.buffer.reserve(READ_BYTES);
            if !matches!(socket.read_buf(&mut frames.buffer).await, Ok(count) if count > 0) {
                return;
            }
        }
    }

    fn take(&self, frame: ToChild) {
        let order = match frame {
            ToChild::Answer { id, answer } => return self.link.answered(id, answer),
            ToChild::Ping { id, cpu_left } => {
                self.link.push(&ToHost::Pong(id));
                return self.with(|shared| lock(&shared.traffic).cpu.set_level(cpu_left, Instant::now()));
            }
            ToChild::InboxGrew(seq) => return self.with(|shared| shared.inbox_grew(seq)),
            ToChild::Live(event) => return self.with(|shared| shared.push_live(event)),
            ToChild::Changed(ops) => return self.with(|shared| lock(&shared.store).adopt(&ops)),
            ToChild::Others(others) => {
                let others = others.into_iter().map(Shared::elsewhere).collect();
                *self.others.write().unwrap_or_else(PoisonError::into_inner) = others;
                return;
            }
            ToChild::Entries(entries) => return self.entries.borrow_mut().extend(entries),
            ToChild::Start(start) => {
                if let Some(begin) = self.begin.take() {
                    let _ = begin.send(*start);
                }
                return;
            }
            ToChild::Confine { .. } => return,
            ToChild::Activate { reloaded, place, settled } => Order::Activate { reloaded, place, settled },
            ToChild::Settled => Order::Settled,
            ToChild::Freeze => {
                let (sender, handover) = std::sync::mpsc::channel();
                self.handover.replace(Some(handover));
                Order::Freeze(Box::new(move |handover| _ = sender.send(handover)))
            }
            ToChild::Eval { id, code, write } => {
                let (reply, evaluated) = oneshot::channel();
                self.evals.borrow_mut().push((id, evaluated));
                Order::Eval { code, write, reply }
            }
            ToChild::Thaw => Order::Thaw,
            ToChild::Retire => Order::Retire,
            ToChild::Stop => Order::Stop,
        };
        // A bot that has ended needs no orders.
        let _ = self.orders.send(order);
    }

    /// Passes on what typed code has come to; one that was given up comes to nothing.
    fn evaluated(&self, cx: &mut Context<'_>) {
        self.evals.borrow_mut().retain_mut(|(id, evaluated)| match evaluated.poll_unpin(cx) {
            Poll::Pending => true,
            Poll::Ready(result) => {
                if let Ok(evaluated) = result {
                    self.link.push(&ToHost::Evaluated { id: *id, evaluated });
                }
                false
            }
        });
    }

    fn with(&self, f: impl FnOnce(&Shared)) {
        if let Some(shared) = self.shared.get() {
            f(shared);
        }
    }
}

/// The bot's life.
async fn work(desk: &Desk, begun: oneshot::Receiver<Start>, orders: UnboundedReceiver<Order>) -> End {
    let Ok(start) = begun.await else { return End::Done };
    let pulse = Arc::new(Pulse::default());
    let vm = match load(desk, start, &pulse).await {
        Ok(vm) => vm,
        Err(failure) => {
            desk.link.push(&ToHost::Failed(failure));
            return End::Done;
        }
    };
    let mut reporter = Reporter::new(Rc::clone(&vm));
    let mut running = pin!(Worker::new(Rc::clone(&vm), pulse, orders).run());
    poll_fn(|cx| {
        vm.begin_turn();
        let polled = running.as_mut().poll(cx);
        reporter.report(&desk.link);
        reporter.hand_over(desk, cx);
        desk.evaluated(cx);
        polled
    })
    .await
}

async fn load(desk: &Desk, start: Start, pulse: &Arc<Pulse>) -> Result<Rc<Vm>, Failure> {
    let unreadable = |what: &str| Failure::new(Kind::Panic, format!("{what} didn't arrive whole"));
    let limits = start.limits;
    let among = Among { known: Arc::downgrade(&desk.others), ..Among::default() };
    let shared = Arc::new(Shared::among(&start.name, PathBuf::from(&start.name), &limits, among));
    *lock(&shared.store) = Cache::new(desk.entries.take(), shared.clock.unix_ms());
    *lock(&shared.timers) = Carried::new(start.timers, shared.clock.unix().as_secs_f64());
    lock(&shared.traffic).set_levels(&start.levels, Instant::now());
    let _ = desk.shared.set(Arc::clone(&shared));
    let source = Source {
        manifest: serde_json::from_str(&start.manifest).map_err(|_| unreadable("the manifest"))?,
        main: start.main,
        files: start.files.into_iter().collect(),
        hash: 0,
    };
    let program = Program::compile_here(source)?;
    let state = match start.state {
        Some(bytes) => Some(Plain::decode(&bytes).ok_or_else(|| unreadable("mesh.state"))?),
        None => None,
    };
    let parts = Parts {
        shared: Arc::clone(&shared),
        node: Arc::clone(&desk.link) as _,
        kv: Arc::clone(&desk.link) as _,
        limits,
        program,
        permissions: Permissions::new(start.needs),
        overrides: serde_json::from_str(&start.overrides).map_err(|_| unreadable("the configuration"))?,
        self_id: start.self_id,
        self_name: start.self_name,
    };
    let (vm, loaded) = assemble(parts, state.as_ref(), pulse).await?;
    let memory = shared.figures.memory.load(Ordering::Relaxed);
    desk.link.push(&ToHost::Loaded { commands: loaded.commands, topics: loaded.topics, memory });
    Ok(vm)
}
