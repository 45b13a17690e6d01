#![allow(unsafe_code, reason = "passes broken texts to a plugin under trial")]

use serde_json::json;

use crate::abi::{Str, interface};
use crate::kit::actor::{Actor, call_create, call_destroy};
use crate::kit::case::{Case, Stop, ensure};
use crate::kit::library::Library;
use crate::kit::process;
use crate::kit::shape::Shape;

/// Instances that are made before memory is measured, and after.
const WARM_UP: usize = 10;
const CYCLES: usize = 20;
/// What one instance may leave behind: an allocator keeps some memory, and the host struct's copy is meant to stay.
const LEAK: u64 = 96 * 1024;

/// Text that is none. Pointers that lead nowhere are not among it: the rules forbid them to the host.
pub(in crate::kit) fn broken_texts() -> Vec<Str> {
    const WRONG: &[u8] = b"\xff\xfe\x00 text";
    const NUL: &[u8] = b"\0";
    vec![Str::EMPTY, Str { ptr: WRONG.as_ptr(), len: WRONG.len() }, Str { ptr: NUL.as_ptr(), len: NUL.len() }]
}

pub(in crate::kit) fn pure_entry(case: &Case) -> Result<(), Stop> {
    let (handles, at) = (process::handles(), case.library.entry());
    let id = own_interface(case);
    let vtable = case.library.vtable(Str::new(id));
    for _ in 0..100 {
        ensure(case.library.entry() == at, || "the entry returned another descriptor".to_owned())?;
        ensure(case.library.vtable(Str::new(id)) == vtable, || "get_interface returned another vtable".to_owned())?;
    }
    let long = "x".repeat(100_000);
    for text in broken_texts().into_iter().chain([Str::new("qpq.nonsense/9"), Str::new(&long)]) {
        ensure(case.library.vtable(text).is_null(), || "get_interface found an interface that has no name".to_owned())?;
    }
    if let Some(before) = case.threads {
        let now = process::settle(process::threads, before);
        ensure(now <= before, || {
            format!("{} threads were started by the library or its entry: {:?}", now - before, process::thread_names())
        })?;
    }
    ensure(process::handles() <= handles, || "the entry opened a file".to_owned())
}

fn own_interface(case: &Case) -> &'static str {
    let first = Library::text(case.library.plugin.interfaces).split_ascii_whitespace().next();
    first.unwrap_or(interface::TRANSPORT)
}

pub(in crate::kit) fn create_destroy(case: &Case) -> Result<(), Stop> {
    let (threads, handles) = (process::threads(), process::handles());
    let actor = Actor::create(case, case.stage("instance", Shape::Today))?;
    ensure(process::threads() <= threads, || format!("create started a thread: {:?}", process::thread_names()))?;
    ensure(process::handles() <= handles, || "create opened a file or a socket".to_owned())?;
    actor.end();
    for _ in 0..20 {
        Actor::create(case, case.stage("instance", Shape::Today))?.end();
    }
    ensure(process::handles() <= handles, || "destroy left a file or a socket open".to_owned())
}

pub(in crate::kit) fn bad_configuration(case: &Case) -> Result<(), Stop> {
    for text in ["{", "[1,2,3]", "\u{0}", "{\"a\":", "nonsense"] {
        refused(case, Str::new(text))?;
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    refused(case, Str::new(&deep))?;
    for text in broken_texts().into_iter().skip(1) {
        refused(case, text)?;
    }
    let schema = Library::text(case.library.plugin.config_schema);
    (case.setting.fits)(schema, &case.setting.config).map_err(|why| {
        Stop::skipped(format!("the configuration given with --config does not fit the schema: {why}"))
    })?;
    let mut config = case.setting.config.clone();
    if let Some(keys) = config.as_object_mut() {
        keys.insert("a_key_that_nobody_has".to_owned(), json!(1));
    }
    ensure((case.setting.fits)(schema, &config).is_err(), || {
        "the schema accepts a key that the plugin doesn't have, so a misspelt key goes unnoticed".to_owned()
    })
}

/// A configuration is refused with a reason, or harmless: a host checks it first, so a plugin needn't.
fn refused(case: &Case, config: Str) -> Result<(), Stop> {
    let stage = case.stage("instance", Shape::Today);
    let (status, instance) = call_create(case, stage, Str::new("kit"), config);
    if status.is_ok() {
        call_destroy(case, instance);
        return Ok(());
    }
    ensure(instance.is_null(), || format!("create answered {status} and wrote an instance all the same"))?;
    let said = stage.state().failures.iter().any(|(_, why)| !why.trim().is_empty());
    ensure(said, || format!("create answered {status} to a bad configuration and gave no reason through host->fail"))
}

pub(in crate::kit) fn two_instances(case: &Case) -> Result<(), Stop> {
    let one = Actor::create(case, case.stage("first instance", Shape::Today))?;
    let two = Actor::create(case, case.stage("second instance", Shape::Today))?;
    ensure(one.instance() != two.instance(), || "create returned the same instance twice".to_owned())?;
    one.start()?;
    two.start()?;
    one.end();
    let three = case.started("third instance")?;
    two.end();
    three.end();
    Ok(())
}

pub(in crate::kit) fn restarts(case: &Case) -> Result<(), Stop> {
    let cycle = || -> Result<(), Stop> {
        case.started("instance")?.end();
        Ok(())
    };
    (0..WARM_UP).try_for_each(|_| cycle())?;
    let (handles, memory) = (process::handles(), process::resident());
    (0..CYCLES).try_for_each(|_| cycle())?;
    if let Some(before) = case.threads {
        let now = process::settle(process::threads, before);
        ensure(now <= before, || {
            format!(
                "{} threads still run after every instance was stopped: {:?}",
                now - before,
                process::thread_names()
            )
        })?;
    }
    if let Some(before) = handles {
        let now = process::settle(process::handles, before);
        ensure(now <= before, || format!("{CYCLES} instances left {} file handles open", now - before))?;
    }
    let grown = process::resident().zip(memory).map_or(0, |(now, before)| now.saturating_sub(before));
    ensure(grown <= LEAK * CYCLES as u64, || {
        format!("{CYCLES} instances left {} KiB of memory; {} KiB an instance are too much", grown / 1024, LEAK / 1024)
    })
}

pub(in crate::kit) fn poor_host(case: &Case) -> Result<(), Stop> {
    let stage = case.stage("poor host", Shape::Poor);
    let (status, instance) = call_create(case, stage, Str::new("kit"), Str::new(&case.setting.config.to_string()));
    let needs = Library::text(case.library.plugin.needs);
    if !status.is_ok() {
        let said = stage.state().failures.iter().any(|(_, why)| !why.trim().is_empty());
        return ensure(said, || format!("create answered {status} and gave no reason through host->fail"));
    }
    call_destroy(case, instance);
    ensure(needs.is_empty(), || format!("create succeeded with a host that does not offer what it needs: {needs}"))
}
