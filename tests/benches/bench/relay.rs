//! A relay by itself, between ends that cost next to nothing; and end to end: three processes in a line, durable at each, on the
//! loopback interface.

mod alone;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use qpq_host::api::{ApiError, InboxQuery, NodeApi};
use qpq_host::control::RemoteNode;
use qpq_schemas::envelope::{Draft, Envelope};
use qpq_schemas::signature::SigningKey;
use qpq_schemas::{MessageId, PeerId};
use qpq_tests::{Failure, Line, Outcome, Random, TestNode, procfs};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::rate::percentile;
use crate::report::{Goal, Report};
use crate::signatures;

/// Envelopes in the run at full speed.
const FLOOD: usize = 60_000;

/// Envelopes on their way at a time in that run: far more than any batch, fewer than a recipient's queue holds.
const WINDOW: usize = 4_096;

/// Calls to A at a time.
const CALLS: usize = 256;

/// Envelopes before anything is measured.
const WARM_UP: usize = 2_000;

/// Envelopes in the run at an even pace, which is half of the full speed.
const PACED: usize = 20_000;

/// Senders that take turns.
const SENDERS: usize = 32;

/// How long the last envelope may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Room for the window in a recipient's queue, for the whole run in the inbox, and for the calls of one client.
const CONFIG: &str = "[store]\nrecipient_messages = 20000\nrecipient_bytes = 33554432\ninbox_messages = 100000\ninbox_bytes = 268435456\n[control]\nmax_in_flight = 1024\n";

/// When each envelope was handed to A.
type Departures = Mutex<HashMap<MessageId, Instant>>;

pub(crate) fn measure(report: &mut Report) -> Outcome {
    relay_alone(report)?;
    let line = Line::shaped(|plan| plan.config(CONFIG))?;
    line.wait_ways()?;
    run(report, &line).map_err(|failure| failure.during(&figures(&line)))
}

/// What a relay does (verify, store durably, forward, custody) when everything else waits for it.
fn relay_alone(report: &mut Report) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limit = report.value("signatures", signatures::BATCH_LIMIT);
    let relay = TestNode::plan("relay").config(CONFIG).start()?;
    let run =
        |count, seed, pace| runtime.block_on(alone::run(&relay, envelopes(alone::recipient(), count, seed)?, pace));
    run(WARM_UP, 1, None)?;
    let (before, threads) = (cpu(&relay)?, threads_of(&relay)?);
    let flood = run(FLOOD, 2, None)?;
    let (spent, busiest) = (cpu(&relay)? - before, busiest(&threads, &threads_of(&relay)?));
    let speed = FLOOD as f64 / flood.took.as_secs_f64();
    report.add("a relay at full speed, two cores for it and its neighbours", speed, "/s");
    let by_cpu = FLOOD as f64 / spent.as_secs_f64();
    let entry = report.add("a relay, per second of its CPU", by_cpu, "/s");
    if let Some(limit) = limit {
        entry.ratio_to(limit, "of the limit in batches").goal(Goal::RatioAtLeast(0.6));
    }
    let by_thread = FLOOD as f64 / busiest.as_secs_f64();
    let entry = report.add("a relay, per second of its busiest thread", by_thread, "/s");
    entry.ratio_to(by_cpu, "of one core: more cores help up to that").goal(Goal::RatioAtLeast(1.5));
    let pace = (speed / 2.0) as u64;
    let mut paced = run(PACED, 3, Some(pace))?;
    let [p50, p99] = percentiles(&mut paced.latencies);
    report.add(format!("a relay at {pace}/s, half of its full speed: time to the recipient, p50"), p50, "ms");
    report.add("the same, p99", p99, "ms").goal(Goal::AtMost(50.0));
    Ok(())
}

/// What each node has to say, for whoever wonders why it did not go on.
fn figures(line: &Line) -> String {
    let told = [&line.a, &line.b, &line.c].map(|node| {
        let store = node.json(&["mesh", "store"]).map_or_else(|failure| failure.to_string(), |store| store.to_string());
        format!("node {}: {store}\n", node.name())
    });
    told.concat()
}

fn run(report: &mut Report, line: &Line) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let route = Route::open(&line.a, &line.c)?;
    let to: PeerId = line.c.peer_id()?.parse()?;
    // The first envelopes warm the caches.
    runtime.block_on(route.run(envelopes(to, WARM_UP, 1)?, None))?;
    let nodes = [&line.a, &line.b, &line.c];
    let before: Vec<Duration> = nodes.iter().map(|node| cpu(node)).collect::<Outcome<_>>()?;
    let flood = runtime.block_on(route.run(envelopes(to, FLOOD, 2)?, None))?;
    let speed = FLOOD as f64 / flood.took.as_secs_f64();
    report.add("A → B → C at full speed, all processes on this machine", speed, "/s");
    for ((node, before), name) in nodes.iter().zip(before).zip(["origin A", "relay B", "recipient C"]) {
        let spent = cpu(node)? - before;
        report.add(format!("{name}, per second of its CPU"), FLOOD as f64 / spent.as_secs_f64(), "/s");
    }
    let pace = (speed / 2.0) as u64;
    let mut paced = runtime.block_on(route.run(envelopes(to, PACED, 3)?, Some(pace)))?;
    let [p50, p99] = percentiles(&mut paced.latencies);
    report.add(format!("A → C at {pace}/s, half of that, durable at each node, p50"), p50, "ms");
    report.add("the same, p99", p99, "ms").goal(Goal::AtMost(50.0));
    Ok(())
}

/// Median and 99th percentile, in milliseconds.
fn percentiles(latencies: &mut [Duration]) -> [f64; 2] {
    [0.5, 0.99].map(|share| percentile(latencies, share).as_secs_f64() * 1000.0)
}

/// How many envelopes a second come from one node to another at full speed, each durable at every node between them.
pub(crate) fn full_speed(from: &TestNode, to: &TestNode, seed: u64) -> Outcome<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let route = Route::open(from, to)?;
    let end: PeerId = to.peer_id()?.parse()?;
    runtime.block_on(route.run(envelopes(end, WARM_UP, seed)?, None))?;
    let flood = runtime.block_on(route.run(envelopes(end, FLOOD, seed + 1)?, None))?;
    Ok(FLOOD as f64 / flood.took.as_secs_f64())
}

/// The 99th percentile of the time that envelopes at an even pace take from one node to another, durable at both.
pub(crate) fn delays(from: &TestNode, to: &TestNode, count: usize, pace: u64, seed: u64) -> Outcome<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end: PeerId = to.peer_id()?.parse()?;
    let mut run = runtime.block_on(Route::open(from, to)?.run(envelopes(end, count, seed)?, Some(pace)))?;
    Ok(percentile(&mut run.latencies, 0.99))
}

fn threads_of(node: &TestNode) -> Outcome<BTreeMap<u32, Duration>> {
    procfs::cpu_times_of_threads(node.pid()?).ok_or_else(|| node.failure("its threads' CPU times can't be read"))
}

/// What the thread took that took most. It bounds what a node does, however many cores there are.
fn busiest(before: &BTreeMap<u32, Duration>, after: &BTreeMap<u32, Duration>) -> Duration {
    let spent = |(thread, time): (&u32, &Duration)| *time - before.get(thread).copied().unwrap_or_default();
    after.iter().map(spent).max().unwrap_or_default()
}

fn cpu(node: &TestNode) -> Outcome<Duration> {
    procfs::cpu_time(node.pid()?).ok_or_else(|| node.failure("its CPU time can't be read"))
}

/// Plain messages to somebody from several senders.
fn envelopes(to: PeerId, count: usize, seed: u64) -> Outcome<Vec<Envelope>> {
    let mut random = Random::seeded(seed);
    let keys: Vec<_> = (0..SENDERS).map(|_| SigningKey::from_seed(&random.bytes32())).collect();
    let created_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis() as u64;
    let mut sign = |key| {
        let draft = Draft { destination: to.0, created_ms, ..signatures::draft(&mut random) };
        Ok(draft.sign(key)?)
    };
    keys.iter().cycle().take(count).map(&mut sign).collect()
}

/// What a run showed.
struct Run {
    took: Duration,
    latencies: Vec<Duration>,
}

/// The two ends of a line.
struct Route {
    from: RemoteNode,
    to: RemoteNode,
}

impl Route {
    fn open(from: &TestNode, to: &TestNode) -> Outcome<Self> {
        Ok(Self { from: RemoteNode::connect(&from.home())?, to: RemoteNode::connect(&to.home())? })
    }

    /// Sends the envelopes, at `pace` a second or as fast as they are taken, and waits until all have arrived.
    async fn run(&self, envelopes: Vec<Envelope>, pace: Option<u64>) -> Outcome<Run> {
        let began = Instant::now();
        let count = envelopes.len();
        let departures = Arc::new(Departures::default());
        let window = Arc::new(Semaphore::new(WINDOW));
        let start = self.end_of_inbox().await?;
        let sending = self.send(envelopes, pace, &departures, &window);
        let receiving = tokio::time::timeout(PATIENCE, self.receive(start, count, &departures, &window));
        let receiving = async { receiving.await.map_err(|_| Failure::new("not all envelopes arrived"))? };
        let ((), latencies) = tokio::try_join!(sending, receiving)?;
        Ok(Run { took: began.elapsed(), latencies })
    }

    async fn send(
        &self,
        envelopes: Vec<Envelope>,
        pace: Option<u64>,
        departures: &Arc<Departures>,
        window: &Arc<Semaphore>,
    ) -> Outcome {
        let calls = Arc::new(Semaphore::new(CALLS));
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        for (place, envelope) in envelopes.into_iter().enumerate() {
            if let Some(pace) = pace {
                let due = began + Duration::from_micros(place as u64 * 1_000_000 / pace);
                tokio::time::sleep_until(due.into()).await;
            }
            window.acquire().await?.forget();
            let call = Arc::clone(&calls).acquire_owned().await?;
            lock(departures).insert(envelope.id(), Instant::now());
            let reply = self.from.enqueue(envelope.wire().clone());
            tasks.spawn(async move {
                let outcome = reply.await;
                drop(call);
                outcome.map(drop)
            });
            while let Some(done) = tasks.try_join_next() {
                done??;
            }
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    async fn receive(
        &self,
        mut after: u64,
        count: usize,
        departures: &Departures,
        window: &Semaphore,
    ) -> Outcome<Vec<Duration>> {
        let mut latencies = Vec::with_capacity(count);
        while latencies.len() < count {
            let page = self.page(after, 1_000).await?;
            let arrived = Instant::now();
            after = page.next_after;
            for item in &page.items {
                let departed = lock(departures).remove(&item.id);
                latencies.extend(departed.map(|departed| arrived - departed));
            }
            window.add_permits(page.items.len());
        }
        Ok(latencies)
    }

    async fn page(&self, after: u64, wait_ms: u64) -> Result<qpq_host::api::InboxPage, ApiError> {
        self.to.inbox(InboxQuery { after: Some(after), limit: 1_000, wait_ms, ..InboxQuery::default() }).await
    }

    /// The place after the newest message there is.
    async fn end_of_inbox(&self) -> Outcome<u64> {
        let mut after = 0;
        loop {
            let page = self.page(after, 0).await?;
            if page.items.is_empty() {
                return Ok(after);
            }
            after = page.next_after;
        }
    }
}

fn lock(departures: &Departures) -> std::sync::MutexGuard<'_, HashMap<MessageId, Instant>> {
    departures.lock().unwrap_or_else(PoisonError::into_inner)
}
