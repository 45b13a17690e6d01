//! From an address to a connection.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::sleep;

use crate::address::HostPort;

/// Addresses of one name that are tried, at most.
pub const MAX_ADDRESSES: usize = 4;

/// Head start of one address over the next (RFC 8305, 5: 250 ms).
pub const ADDRESS_STAGGER: Duration = Duration::from_millis(250);

/// Looks names up, a bounded number at a time: each holds a thread that can't be interrupted.
#[derive(Debug)]
pub struct Lookups {
    most: usize,
    /// One permit for each look-up that may begin.
    places: Arc<Semaphore>,
}

impl Lookups {
    /// So many look-ups at a time. Others wait for their turn; who gives up waiting leaves the queue, so names that nobody
    /// answers for hold up others for a while, and not for ever.
    pub fn at_most(most: usize) -> Self {
        Self { most, places: Arc::new(Semaphore::new(most)) }
    }

    /// Look-ups under way.
    pub fn under_way(&self) -> usize {
        self.most.saturating_sub(self.places.available_permits())
    }

    /// The socket addresses of an address, at least one, in the order of the system.
    ///
    /// # Errors
    /// What the system said, or that the name has no address.
    pub async fn resolve(&self, address: &HostPort) -> io::Result<Vec<SocketAddr>> {
        if let Some(addr) = address.socket_addr() {
            return Ok(vec![addr]);
        }
        let (host, port) = (address.host.clone(), address.port);
        let under_way = self.places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let look_up = move || {
            let found = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
            drop(under_way);
            found
        };
        let found = spawn_blocking(look_up).await.unwrap_or_else(|e| Err(e.into()))?;
        if found.is_empty() { Err(io::Error::new(io::ErrorKind::NotFound, "it has no address")) } else { Ok(found) }
    }
}

/// Tries the first [`MAX_ADDRESSES`] addresses of a name, each [`ADDRESS_STAGGER`] after the one before (RFC 8305). The first
/// that is reached wins, else the last error counts, or the first of which `says_more` holds; `None` when there is no address at
/// all.
pub async fn race<T, E, F>(
    targets: Vec<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> F,
    says_more: impl Fn(&E) -> bool,
) -> Option<Result<T, E>>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<JoinError> + Send + 'static,
{
    if let [only] = targets.as_slice() {
        return Some(attempt(*only).await);
    }
    let mut attempts = JoinSet::new();
    let mut head_start = Duration::ZERO;
    for target in targets.into_iter().take(MAX_ADDRESSES) {
        let attempt = attempt(target);
        attempts.spawn(async move {
            sleep(head_start).await;
            attempt.await
        });
        head_start += ADDRESS_STAGGER;
    }
    let mut last = None;
    while let Some(ended) = attempts.join_next().await {
        match ended.unwrap_or_else(|panic| Err(panic.into())) {
            Ok(reached) => return Some(Ok(reached)),
            Err(_) if last.as_ref().is_some_and(&says_more) => {}
            Err(error) => last = Some(error),
        }
    }
    last.map(Err)
}

#[cfg(test)]
mod tests;
