//! How many clients there are, and from where.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use qpq_schemas::PeerId;

use crate::config::ClientsConfig;
use crate::control::access::Role;

/// Connections of admins at a time, beside those of users: flooding users shut no admin out.
const MAX_ADMINS: usize = 16;

/// Connections of one key at a time: a person with several devices and windows. One more takes the place of the oldest,
/// which may be one that was lost and not noticed yet.
const MAX_PER_KEY: usize = 16;

/// An address as far as it tells people apart: one of IPv4, or a /64 network of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    v6: bool,
    network: u64,
}

impl Origin {
    /// Of a remote address.
    pub(super) fn of(address: IpAddr) -> Self {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => u64::from(u32::from(address)),
            IpAddr::V6(address) => u64::try_from(u128::from(address) >> 64).unwrap_or(u64::MAX),
        };
        Self { v6: address.to_canonical().is_ipv6(), network }
    }
}

/// What one more connection gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may begin its handshake.
    Begin,
    /// First it must show that it receives at its address.
    Validate,
    /// There is no place.
    Refuse,
}

/// The places of a server. Clones share them.
#[derive(Clone)]
pub(super) struct Places {
    limits: Rc<Limits>,
    counts: Rc<RefCell<Counts>>,
}

struct Limits {
    half_open: usize,
    half_open_per_address: usize,
    users: usize,
    per_address: usize,
}

#[derive(Default)]
struct Counts {
    half_open: usize,
    half_open_from: HashMap<Origin, usize>,
    users: usize,
    admins: usize,
    from: HashMap<Origin, usize>,
    keys: HashMap<PeerId, VecDeque<Open>>,
    next: u64,
}

/// A connection of a key, and how to close it.
struct Open {
    number: u64,
    close: Box<dyn FnOnce()>,
}

impl Places {
    /// All free.
    pub(super) fn new(config: &ClientsConfig) -> Self {
        let limits = Limits {
            half_open: config.max_half_open,
            half_open_per_address: config.max_half_open_per_address,
            users: config.max_connections,
            per_address: config.max_per_address,
        };
        Self { limits: Rc::new(limits), counts: Rc::default() }
    }

    /// Whether a connection may begin. Forged addresses can take half of the places at most, also of those of one address.
    pub(super) fn judge(&self, origin: Origin, validated: bool) -> Verdict {
        let (counts, limits) = (self.counts.borrow(), &self.limits);
        let from = counts.half_open_from.get(&origin).copied().unwrap_or(0);
        if counts.half_open >= limits.half_open || from >= limits.half_open_per_address {
            return if validated { Verdict::Refuse } else { Verdict::Validate };
        }
        let busy = counts.half_open >= limits.half_open / 2 || from >= limits.half_open_per_address / 2;
        if busy && !validated { Verdict::Validate } else { Verdict::Begin }
    }

    /// The place of a handshake.
    pub(super) fn begin(&self, origin: Origin) -> HalfOpen {
        let mut counts = self.counts.borrow_mut();
        counts.half_open += 1;
        *counts.half_open_from.entry(origin).or_default() += 1;
        HalfOpen { places: self.clone(), origin }
    }

    /// The place of a client that was let in, or why there is none. Where there is none, the oldest connection of the same
    /// key makes way, by its `close`.
    pub(super) fn enter(
        &self,
        origin: Origin,
        role: Role,
        key: PeerId,
        close: impl FnOnce() + 'static,
    ) -> Result<Place, String> {
        let mut counts = self.counts.borrow_mut();
        let mut oldest = None;
        if let Some(why) = counts.shortage(&self.limits, origin, role, key) {
            let own = counts.keys.get_mut(&key).and_then(VecDeque::pop_front);
            oldest = Some(own.ok_or(why)?);
        }
        match role {
            Role::User => {
                counts.users += 1;
                *counts.from.entry(origin).or_default() += 1;
            }
            Role::Owner | Role::Admin => counts.admins += 1,
        }
        counts.next += 1;
        let number = counts.next;
        counts.keys.entry(key).or_default().push_back(Open { number, close: Box::new(close) });
        drop(counts);
        if let Some(oldest) = oldest {
            (oldest.close)();
        }
        Ok(Place { places: self.clone(), origin, role, key, number })
    }
}

impl Counts {
    /// Why there is no place for one more.
    fn shortage(&self, limits: &Limits, origin: Origin, role: Role, key: PeerId) -> Option<String> {
        if self.keys.get(&key).is_some_and(|open| open.len() >= MAX_PER_KEY) {
            return Some(format!("busy: this key has {MAX_PER_KEY} connections already; close some"));
        }
        let from = self.from.get(&origin).copied().unwrap_or(0);
        match role {
            Role::User if self.users >= limits.users => Some("busy: all places are taken; try again later".to_owned()),
            Role::User if from >= limits.per_address => {
                Some(format!("busy: {from} connections come from this address already; close some"))
            }
            Role::Owner | Role::Admin if self.admins >= MAX_ADMINS => {
                Some(format!("busy: {MAX_ADMINS} admins are connected already; close some"))
            }
            _ => None,
        }
    }
}

/// Takes one off; a count that reaches zero takes no memory.
fn less(counts: &mut HashMap<Origin, usize>, origin: Origin) {
    if let Some(count) = counts.get_mut(&origin) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&origin);
        }
    }
}

/// A handshake under way.
pub(super) struct HalfOpen {
    places: Places,
    origin: Origin,
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        let mut counts = self.places.counts.borrow_mut();
        counts.half_open -= 1;
        less(&mut counts.half_open_from, self.origin);
    }
}

/// A client that is connected.
pub(super) struct Place {
    places: Places,
    origin: Origin,
    role: Role,
    key: PeerId,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.counts.borrow_mut();
        match self.role {
            Role::User => {
                counts.users -= 1;
                less(&mut counts.from, self.origin);
            }
            Role::Owner | Role::Admin => counts.admins -= 1,
        }
        if let Some(open) = counts.keys.get_mut(&self.key) {
            open.retain(|open| open.number != self.number);
            if open.is_empty() {
                counts.keys.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let config = ClientsConfig {
            max_connections: 2,
            max_per_address: 1,
            max_half_open: 4,
            max_half_open_per_address: 2,
            ..ClientsConfig::default()
        };
        Places::new(&config)
    }

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    #[test]
    fn an_address_counts_as_people_have_it() {
        assert_eq!(origin("192.0.2.1"), origin("::ffff:192.0.2.1"));
        assert_ne!(origin("192.0.2.1"), origin("192.0.2.2"));
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::2"));
        assert_ne!(origin("2001:db8::1"), origin("2001:db8:0:1::1"));
    }

    #[test]
    fn forged_addresses_take_half_of_the_half_open_places_at_most() {
        let places = places();
        let (a, b, c) = (origin("192.0.2.1"), origin("192.0.2.2"), origin("192.0.2.3"));
        assert_eq!(places.judge(a, false), Verdict::Begin);
        let first = places.begin(a);
        assert_eq!(places.judge(a, false), Verdict::Validate, "half of what this address may have");
        assert_eq!(places.judge(a, true), Verdict::Begin);
        let _second = places.begin(b);
        assert_eq!(places.judge(c, false), Verdict::Validate, "half of all");
        assert_eq!(places.judge(c, true), Verdict::Begin);
        let _more = (places.begin(a), places.begin(c));
        assert_eq!(places.judge(c, true), Verdict::Refuse);
        drop(first);
        assert_eq!(places.judge(c, true), Verdict::Begin);
    }

    fn enter(places: &Places, from: &str, role: Role, key: u8) -> Result<Place, String> {
        places.enter(origin(from), role, PeerId([key; 32]), || {})
    }

    #[test]
    fn users_are_bounded_in_all_and_by_address_and_shut_no_admin_out() {
        let places = places();
        let first = enter(&places, "192.0.2.1", Role::User, 1).unwrap_or_else(|why| panic!("{why}"));
        assert!(enter(&places, "192.0.2.1", Role::User, 2).is_err_and(|why| why.contains("this address")));
        let _second = enter(&places, "192.0.2.2", Role::User, 3);
        assert!(enter(&places, "192.0.2.3", Role::User, 4).is_err_and(|why| why.contains("all places")));
        let admins: Vec<_> = (100..=200).map(|key| enter(&places, "192.0.2.1", Role::Admin, key)).collect();
        assert_eq!(admins.iter().filter(|place| place.is_ok()).count(), MAX_ADMINS);
        drop(first);
        assert!(enter(&places, "192.0.2.3", Role::User, 4).is_ok());
    }

    #[test]
    fn one_connection_of_a_key_too_many_takes_the_place_of_its_oldest() {
        let config = ClientsConfig { max_per_address: 1_000, ..ClientsConfig::default() };
        let places = Places::new(&config);
        let closed: Rc<RefCell<Vec<usize>>> = Rc::default();
        let enter = |number: usize| {
            let closed = Rc::clone(&closed);
            let close = move || closed.borrow_mut().push(number);
            places.enter(origin("192.0.2.1"), Role::User, PeerId([1; 32]), close)
        };
        let mut held: Vec<Place> = (0..MAX_PER_KEY).filter_map(|number| enter(number).ok()).collect();
        assert_eq!((held.len(), closed.borrow().len()), (MAX_PER_KEY, 0));
        held.extend(enter(MAX_PER_KEY));
        assert_eq!(*closed.borrow(), [0]);
        drop(held);
        let counts = places.counts.borrow();
        assert!(counts.keys.is_empty() && counts.from.is_empty() && counts.users == 0);
    }

    #[test]
    fn a_client_that_comes_back_takes_its_own_place_when_all_are_taken() {
        let places = places();
        let _own = enter(&places, "192.0.2.1", Role::User, 1);
        let _other = enter(&places, "192.0.2.2", Role::User, 2);
        assert!(enter(&places, "192.0.2.3", Role::User, 1).is_ok());
        assert!(enter(&places, "192.0.2.3", Role::User, 3).is_err());
    }
}
