#![allow(unsafe_code, reason = "calls the functions of a routing plugin under trial")]

use std::collections::BTreeSet;

use serde_json::Value;

use crate::abi::{RouteLink, RouteQuery, Routing, Slice, Status, Str, link_change, route_flags};
use crate::kit::actor::{Actor, with_out};
use crate::kit::case::{Case, Stop, ensure};
use crate::kit::process;
use crate::kit::random::Random;

/// What a flood may cost in memory: 64 MiB.
const MOST_MEMORY: u64 = 64 * 1024 * 1024;
/// The longest table.
const MAX_DUMP: usize = 64 * 1024 * 1024;

/// A routing plugin, and the calls that a host makes.
struct Router {
    actor: Actor,
    vtable: Routing,
}

impl Router {
    fn new(case: &Case) -> Result<Self, Stop> {
        let actor = case.started("instance")?;
        actor.stage.change(|state| state.random = Some(Random::new(5)));
        Ok(Self { actor, vtable: case.library.routing()? })
    }

    fn link(&self, now: u64, change: u32, link: u64, peer: [u8; 32]) -> Status {
        let event = RouteLink {
            size: size_of::<RouteLink>() as u32,
            change,
            link,
            peer,
            rtt_us: 1000 * link,
            loss_ppm: 0,
            max_frame: 1200,
            transport: Str::new("transport-kit"),
        };
        let Some(call) = self.vtable.on_link else { return Status::UNSUPPORTED };
        // SAFETY: the instance lives, and so does the event.
        self.actor.quick("on_link", || unsafe { call(self.actor.instance(), now, &event) })
    }

    fn control(&self, now: u64, link: u64, bytes: &[u8]) -> Status {
        let Some(call) = self.vtable.on_control else { return Status::UNSUPPORTED };
        // SAFETY: as above.
        self.actor.quick("on_control", || unsafe { call(self.actor.instance(), now, link, Slice::new(bytes)) })
    }

    fn seen(&self, now: u64, origin: [u8; 32], link: u64, hops: u32) -> Status {
        let Some(call) = self.vtable.on_seen else { return Status::UNSUPPORTED };
        // SAFETY: as above.
        self.actor.quick("on_seen", || unsafe { call(self.actor.instance(), now, origin.as_ptr(), link, hops) })
    }

    fn tick(&self, now: u64) -> u64 {
        let Some(call) = self.vtable.on_tick else { return u64::MAX };
        // SAFETY: as above.
        self.actor.quick("on_tick", || unsafe { call(self.actor.instance(), now) })
    }

    /// The links that were written, how many there are, and the flags.
    fn route(&self, now: u64, kind: u32, destination: [u8; 32], from_link: u64, cap: usize) -> (Vec<u64>, usize, u32) {
        let query = RouteQuery { size: size_of::<RouteQuery>() as u32, kind, destination, from_link };
        // More places than are offered, to see whether they are written.
        let (mut links, mut flags) = (vec![GUARD; cap + GUARDS], 0);
        let Some(call) = self.vtable.route else { return (Vec::new(), 0, 0) };
        // SAFETY: as above; `links` has room for `cap` numbers.
        let count = self.actor.quick("route", || unsafe {
            call(self.actor.instance(), now, &query, links.as_mut_ptr(), cap, &mut flags)
        });
        if links.iter().skip(cap).any(|link| *link != GUARD) {
            self.actor
                .stage
                .change(|state| state.broken(format!("route wrote more than the {cap} links it had room for")));
        }
        links.truncate(count.min(cap));
        (links, count, flags)
    }

    fn dump(&self, now: u64) -> Option<(Status, String)> {
        let call = self.vtable.dump?;
        let mut text = String::new();
        let status = self.actor.quick("dump", || {
            // SAFETY: as above.
            with_out(&mut text, |out| unsafe { call(self.actor.instance(), now, out) })
        });
        Some((status, text))
    }
}

/// What stands where nothing may be written.
const GUARD: u64 = 0x5afe_5afe_5afe_5afe;
/// How many of them.
const GUARDS: usize = 256;

fn key(random: &mut Random, of: usize) -> [u8; 32] {
    [random.below(of) as u8; 32]
}

/// A life by chance; answers with all that could be observed.
fn story(router: &Router, random: &mut Random, steps: usize) -> Result<Vec<String>, Stop> {
    let (mut now, mut up, mut seen) = (1_000, BTreeSet::new(), Vec::new());
    for _ in 0..steps {
        now += random.below(400) as u64;
        match random.below(8) {
            0 => {
                let link = 1 + random.below(12) as u64;
                let change = if up.insert(link) { link_change::UP } else { link_change::METRICS };
                router.link(now, change, link, [link as u8; 32]);
            }
            1 => {
                let gone = up.iter().nth(random.below(up.len())).copied();
                if let Some(link) = gone.filter(|link| up.len() > 2 && up.remove(link)) {
                    router.link(now, link_change::DOWN, link, [link as u8; 32]);
                }
            }
            2 => seen.push(format!("tick {}", router.tick(now))),
            3 | 4 => {
                if let Some(link) = up.iter().nth(random.below(up.len())).copied() {
                    router.seen(now, key(random, 40), link, random.below(9) as u32);
                }
            }
            5 => seen.push(format!("dump {:?}", router.dump(now))),
            _ => {
                let from = up.iter().nth(random.below(up.len() + 1)).copied().unwrap_or(0);
                let kind = random.below(3) as u32;
                let (links, count, flags) = router.route(now, kind, key(random, 40), from, 16);
                sound(&links, count, flags, &up, from)?;
                seen.push(format!("route {links:?} {count} {flags}"));
            }
        }
    }
    let state = router.actor.stage.state();
    seen.push(format!("control {:?}, invalidated {}", state.controls, state.invalidated));
    Ok(seen)
}

fn sound(links: &[u64], count: usize, flags: u32, up: &BTreeSet<u64>, from: u64) -> Result<(), Stop> {
    ensure(!links.contains(&from), || format!("route answered link {from}, over which the envelope came"))?;
    if let Some(link) = links.iter().find(|link| !up.contains(link)) {
        return Err(Stop::failed(format!("route answered link {link}, which isn't up")));
    }
    let unique: BTreeSet<_> = links.iter().collect();
    ensure(unique.len() == links.len(), || format!("route answered a link twice: {links:?}"))?;
    let both = route_flags::KNOWN | route_flags::FLOOD;
    ensure(flags & both != both, || "route answered KNOWN and FLOOD at once".to_owned())?;
    ensure(count == 0 || flags & both != 0, || "route answered links, and neither KNOWN nor FLOOD".to_owned())
}

pub(in crate::kit) fn deterministic(case: &Case) -> Result<(), Stop> {
    let one = story(&Router::new(case)?, &mut case.random(1), 3_000)?;
    let two = story(&Router::new(case)?, &mut case.random(1), 3_000)?;
    let differ = one.iter().zip(&two).find(|(one, two)| one != two);
    match differ {
        None => Ok(()),
        Some((one, two)) => {
            Err(Stop::failed(format!("the same calls were answered with `{}` and `{}`", cut(one), cut(two))))
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}

pub(in crate::kit) fn no_life_of_its_own(case: &Case) -> Result<(), Stop> {
    let threads = process::threads();
    let router = Router::new(case)?;
    story(&router, &mut case.random(2), 300)?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    ensure(process::threads() <= threads, || format!("it started threads: {:?}", process::thread_names()))
}

/// Runs `work`, which may cost bounded memory only.
fn bounded(what: &str, work: impl FnOnce() -> Result<(), Stop>) -> Result<(), Stop> {
    let before = process::resident();
    work()?;
    let grown = process::resident().zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
    ensure(grown <= MOST_MEMORY, || format!("{what} cost {} MiB; {} are much", grown >> 20, MOST_MEMORY >> 20))
}

pub(in crate::kit) fn hostile_control(case: &Case) -> Result<(), Stop> {
    let router = Router::new(case)?;
    router.link(1, link_change::UP, 1, [1; 32]);
    let mut random = case.random(3);
    bounded("control bytes by chance", || {
        for now in 0..20_000 {
            let len = [0, 1, 7, 64, 300, 1500, 16_384].get(random.below(7)).copied().unwrap_or(0);
            let mut bytes = random.bytes(len);
            if random.below(3) == 0 {
                bytes.fill([0, 0xff, b'{', 0x7f].get(random.below(4)).copied().unwrap_or(0));
            }
            router.control(now, [0, 1, 1, 1, 77].get(random.below(5)).copied().unwrap_or(1), &bytes);
        }
        router.actor.stage.state().controls.clear();
        Ok(())
    })?;
    router.link(20_000, link_change::DOWN, 1, [1; 32]);
    story(&router, &mut case.random(4), 200).map(drop)
}

pub(in crate::kit) fn many_origins(case: &Case) -> Result<(), Stop> {
    let router = Router::new(case)?;
    router.link(1, link_change::UP, 1, [1; 32]);
    router.link(1, link_change::UP, 2, [2; 32]);
    let mut random = case.random(5);
    bounded("300,000 senders", || {
        for number in 0..300_000 {
            let mut origin = [0; 32];
            random.fill(&mut origin);
            router.seen(1 + number, origin, 1 + number % 2, 3);
        }
        Ok(())
    })
}

pub(in crate::kit) fn sound_answers(case: &Case) -> Result<(), Stop> {
    let router = Router::new(case)?;
    story(&router, &mut case.random(6), 4_000)?;
    for link in 100..120 {
        router.link(u64::from(u32::MAX), link_change::UP, link, [link as u8; 32]);
    }
    for cap in [0, 1, 3] {
        let (links, count, _) = router.route(u64::from(u32::MAX), 1, [7; 32], 100, cap);
        ensure(links.len() <= cap, || format!("route wrote {} links into room for {cap}", links.len()))?;
        ensure(count >= links.len(), || "route counted fewer links than it wrote".to_owned())?;
    }
    // A link that the plugin never heard of, and events that are none.
    router.link(u64::from(u32::MAX), link_change::DOWN, 999, [9; 32]);
    let strange = router.link(u64::from(u32::MAX), 77, 999, [9; 32]);
    ensure(!strange.is_ok(), || "on_link accepted a change of an unknown kind".to_owned())?;
    router.seen(u64::from(u32::MAX), [3; 32], 999, u32::MAX);
    let (links, ..) = router.route(u64::from(u32::MAX), 0, [3; 32], 0, 64);
    ensure(!links.contains(&999), || "route answered a link that never was up".to_owned())
}

pub(in crate::kit) fn time(case: &Case) -> Result<(), Stop> {
    let router = Router::new(case)?;
    router.link(0, link_change::UP, 1, [1; 32]);
    router.seen(0, [2; 32], 1, 1);
    for now in [0, 0, 1, 1 << 20, 1 << 40, u64::MAX - 1, u64::MAX - 1] {
        let next = router.tick(now);
        ensure(next > now, || format!("on_tick at {now} wants to be called again at {next}, which is not later"))?;
        router.seen(now, [3; 32], 1, 2);
        router.route(now, 0, [3; 32], 0, 8);
        router.dump(now);
    }
    Ok(())
}

pub(in crate::kit) fn dump(case: &Case) -> Result<(), Stop> {
    let router = Router::new(case)?;
    story(&router, &mut case.random(8), 2_000)?;
    let Some((status, text)) = router.dump(10_000_000) else { return Err(Stop::skipped("the plugin has no dump")) };
    ensure(status.is_ok(), || format!("dump answered {status}"))?;
    ensure(text.len() <= MAX_DUMP, || format!("dump wrote {} bytes", text.len()))?;
    let parsed: Value =
        serde_json::from_str(&text).map_err(|why| Stop::failed(format!("dump wrote no JSON: {why}")))?;
    let routes = parsed.get("routes").and_then(Value::as_array);
    let routes = routes.ok_or_else(|| Stop::failed("dump wrote no list named `routes`"))?;
    let hex = |row: &Value, field: &str| {
        let text = row.get(field).and_then(Value::as_str).unwrap_or_default();
        text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let wrong = routes.iter().find(|row| !hex(row, "destination") || !hex(row, "next_hop"));
    wrong.map_or(Ok(()), |row| Err(Stop::failed(format!("a route without destination and next_hop in hex: {row}"))))
}
