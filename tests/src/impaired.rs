//! A UDP path through this process that loses, doubles, delays and reorders datagrams, as a seed says.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::{Outcome, Random};

/// How often a thread looks whether it shall end.
const LOOK: Duration = Duration::from_millis(50);

/// What happens to datagrams, in either direction.
#[derive(Debug, Clone, Copy)]
pub struct Impairment {
    /// Lost ones of a hundred.
    pub loss_percent: usize,
    /// How many are lost in a row, on average.
    pub burst: usize,
    /// Doubled ones of a hundred.
    pub doubled_percent: usize,
    /// Ones of a hundred that later ones overtake.
    pub reordered_percent: usize,
    /// The time that each takes.
    pub delay: Duration,
    /// The most that an overtaken one takes beside that.
    pub late: Duration,
}

impl Impairment {
    /// A bad radio link that loses so many of a hundred datagrams.
    pub fn radio(loss_percent: usize) -> Self {
        Self {
            loss_percent,
            burst: 4,
            doubled_percent: 10,
            reordered_percent: 25,
            delay: Duration::from_millis(15),
            late: Duration::from_millis(20),
        }
    }
}

/// A running path from one address to another. It ends when dropped.
#[derive(Debug)]
pub struct ImpairedPath {
    front: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    front: UdpSocket,
    rear: UdpSocket,
    client: Mutex<Option<SocketAddr>>,
    due: Mutex<BinaryHeap<Reverse<Due>>>,
    changed: Condvar,
    stop: AtomicBool,
    bytes: AtomicU64,
    datagrams: AtomicU64,
    lost: AtomicU64,
}

/// A datagram under way; the order is that of the fields.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Instant,
    number: u64,
    /// From the one who dials to the one who listens.
    there: bool,
    bytes: Vec<u8>,
}

/// What came into a path so far, of both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of the datagrams, lost ones included.
    pub bytes: u64,
    /// Datagrams, lost ones included.
    pub datagrams: u64,
    /// Lost ones.
    pub lost: u64,
}

impl ImpairedPath {
    /// A path to `target`. Dial [`ImpairedPath::address`] instead.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn start(target: SocketAddr, impairment: Impairment, seed: u64) -> Outcome<Self> {
        let (front, rear) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
        rear.connect(target)?;
        front.set_read_timeout(Some(LOOK))?;
        rear.set_read_timeout(Some(LOOK))?;
        let address = front.local_addr()?;
        let shared = Arc::new(Shared {
            front,
            rear,
            client: Mutex::default(),
            due: Mutex::default(),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            datagrams: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let takes = [true, false].map(|there| {
            let (shared, mut fate) = (Arc::clone(&shared), Fate::new(impairment, seed ^ u64::from(there)));
            std::thread::spawn(move || shared.take(there, &mut fate))
        });
        let gives = Arc::clone(&shared);
        let mut threads = Vec::from(takes);
        threads.push(std::thread::spawn(move || gives.give()));
        Ok(Self { front: address, shared, threads })
    }

    /// Where the path begins.
    pub fn address(&self) -> SocketAddr {
        self.front
    }

    /// What came into it so far.
    pub fn traffic(&self) -> Traffic {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Shared { bytes, datagrams, lost, .. } = &*self.shared;
        Traffic { bytes: read(bytes), datagrams: read(datagrams), lost: read(lost) }
    }
}

impl Drop for ImpairedPath {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn due(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Due>>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what comes from one side, until the end.
    fn take(&self, there: bool, fate: &mut Fate) {
        let mut buffer = vec![0; 65_536];
        let mut number = 0;
        while !self.stopped() {
            let taken = if there { self.read_client(&mut buffer) } else { self.rear.recv(&mut buffer) };
            let Ok(bytes) = taken.map(|len| buffer.get(..len).unwrap_or_default()) else { continue };
            self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.datagrams.fetch_add(1, Ordering::Relaxed);
            let copies = fate.decide();
            if copies.is_empty() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            for delay in copies {
                number += 1;
                self.due().push(Reverse(Due { at: Instant::now() + delay, number, there, bytes: bytes.to_vec() }));
            }
            self.changed.notify_one();
        }
    }

    fn read_client(&self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (len, from) = self.front.recv_from(buffer)?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
        Ok(len)
    }

    /// Gives each datagram to the other side when it is time, until the end.
    fn give(&self) {
        let mut due = self.due();
        while !self.stopped() {
            let now = Instant::now();
            let wait = due.peek().map_or(LOOK, |Reverse(next)| next.at.saturating_duration_since(now));
            if wait > Duration::ZERO {
                due = self.changed.wait_timeout(due, wait.min(LOOK)).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let next = due.pop();
            drop(due);
            // What the system doesn't take is lost, too.
            let _ = next.map(|Reverse(datagram)| self.pass_on(&datagram));
            due = self.due();
        }
    }

    fn pass_on(&self, datagram: &Due) -> std::io::Result<usize> {
        let client = *self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match client {
            _ if datagram.there => self.rear.send(&datagram.bytes),
            Some(client) => self.front.send_to(&datagram.bytes, client),
            None => Ok(0),
        }
    }
}

/// What happens to the next datagram of one direction.
struct Fate {
    impairment: Impairment,
    random: Random,
    losing: bool,
}

impl Fate {
    fn new(impairment: Impairment, seed: u64) -> Self {
        Self { impairment, random: Random::seeded(seed), losing: false }
    }

    /// The delays of its copies: none when it is lost.
    fn decide(&mut self) -> Vec<Duration> {
        let Impairment { doubled_percent, reordered_percent, delay, late, .. } = self.impairment;
        if self.loses() {
            return Vec::new();
        }
        let copies = if self.random.below(100) < doubled_percent { 2 } else { 1 };
        let one = |_| match self.random.below(100) < reordered_percent {
            true => delay + late * self.random.below(1_000) as u32 / 1_000,
            false => delay,
        };
        (0..copies).map(one).collect()
    }

    /// Two states: one in which everything is lost, and one in which nothing is (Gilbert's model).
    fn loses(&mut self) -> bool {
        let Impairment { loss_percent, burst, .. } = self.impairment;
        let (leave, million) = (1_000_000 / burst.max(1), 1_000_000);
        let change = if self.losing { leave } else { leave * loss_percent / (100 - loss_percent.min(99)) };
        self.losing ^= self.random.below(million) < change;
        self.losing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_lost_doubled_and_late_as_was_said() {
        let mut fate = Fate::new(Impairment::radio(30), 1);
        let fates: Vec<_> = (0..100_000).map(|_| fate.decide()).collect();
        let share = |count: usize| (count * 100).div_ceil(fates.len());
        assert!((28..=32).contains(&share(fates.iter().filter(|copies| copies.is_empty()).count())));
        assert!((6..=8).contains(&share(fates.iter().filter(|copies| copies.len() == 2).count())));
        let late = fates.iter().flatten().filter(|delay| **delay > Duration::from_millis(15)).count();
        assert!((17..=21).contains(&share(late)), "{late}");
    }

    #[test]
    fn datagrams_go_both_ways() -> Outcome {
        let server = UdpSocket::bind("127.0.0.1:0")?;
        let clean = Impairment { loss_percent: 0, doubled_percent: 0, ..Impairment::radio(0) };
        let path = ImpairedPath::start(server.local_addr()?, clean, 1)?;
        let client = UdpSocket::bind("127.0.0.1:0")?;
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(crate::poll::PATIENCE))?;
        }
        client.send_to(b"there", path.address())?;
        let mut buffer = [0; 16];
        let (len, from) = server.recv_from(&mut buffer)?;
        server.send_to(b"and back", from)?;
        assert_eq!(buffer.get(..len), Some(&b"there"[..]));
        let len = client.recv(&mut buffer)?;
        assert_eq!((buffer.get(..len), path.traffic().bytes), (Some(&b"and back"[..]), 13));
        Ok(())
    }
}
