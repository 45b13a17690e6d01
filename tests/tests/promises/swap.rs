//! A plugin of a relay is replaced while messages flow: none is lost, none comes twice.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use qpq_host::api::{NodeApi, PluginStatus};
use qpq_host::control::RemoteNode;
use qpq_tests::{Flow, Lab, Line, Outcome, Tally, TestNode, binaries, ensure, flow, line, skip};

/// The plugins that are swapped.
const TRANSPORT: &str = "transport-quic";
const ROUTING: &str = "routing-babel";
/// Swaps of the relay's plugin in one run.
const SWAPS: usize = 50;
/// Messages that must come through between two swaps, in each direction.
const BETWEEN: usize = 50;
/// How long they may take. Far more than they do: a busy disk can hold a node's writes up for half a minute, and that breaks no
/// promise.
const PATIENCE: Duration = Duration::from_secs(180);
/// Each of these runs keeps all processors busy. Two at once, on few processors, would only wait for each other.
static FULL_LOAD: Mutex<()> = Mutex::new(());

/// Another build of a plugin: the bytes of this one with a tail, which the loader does not look at.
fn with_tail(folder: &Path, plugin: &str, name: &str) -> Outcome<PathBuf> {
    let path = folder.join(format!("lib{name}.so"));
    fs::copy(binaries::plugin(plugin)?, &path)?;
    fs::OpenOptions::new().append(true).open(&path)?.write_all(name.as_bytes())?;
    Ok(path)
}

/// The builds to swap between: this one, one with another digest, one of the other profile and one by nightly where they
/// are (`make release`, `make nightly-quic`).
fn builds(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let own = binaries::plugin(TRANSPORT)?;
    let mut builds = vec![with_tail(folder, TRANSPORT, "another")?, own.clone()];
    let name = own.file_name().unwrap_or_default();
    let target = binaries::dir()?.parent().map(Path::to_owned).unwrap_or_default();
    for (what, variable, places) in [
        ("a release build", "QPQ_TEST_RELEASE_QUIC", ["release", "release"]),
        ("a build by nightly", "QPQ_TEST_NIGHTLY_QUIC", ["nightly/release", "nightly/debug"]),
    ] {
        let named = std::env::var_os(variable).map(PathBuf::from);
        let built = places.iter().map(|place| target.join(place).join(name)).find(|path| path.exists());
        match named.or(built) {
            Some(path) if path == own => {}
            Some(path) => builds.push(path),
            None => skip::skip::<()>(&format!("{what} of the transport is missing")).unwrap_or_default(),
        }
    }
    Ok(builds)
}

/// What the swaps of a run took.
struct Swaps {
    pauses: Vec<Duration>,
    took: Vec<Duration>,
}

/// Swaps the relay's plugin from build to build while messages flow both ways.
async fn swap_under_load(line: &Line, plugin: &str, builds: &[PathBuf], swaps: usize) -> Outcome<(Swaps, [Tally; 2])> {
    let stop = Rc::new(Cell::new(false));
    let (there, back) = (Flow::between(&line.a, &line.c, 1)?, Flow::between(&line.c, &line.a, 2)?);
    let relay = RemoteNode::connect(&line.b.home())?;
    let swapping = async {
        let done = swap_all(&relay, plugin, builds, swaps, [&there, &back]).await;
        stop.set(true);
        done
    };
    let (swapped, one, other) = tokio::try_join!(swapping, there.run(Rc::clone(&stop)), back.run(Rc::clone(&stop)))?;
    Ok((swapped, [one, other]))
}

async fn swap_all(
    relay: &RemoteNode,
    plugin: &str,
    builds: &[PathBuf],
    swaps: usize,
    flows: [&Flow; 2],
) -> Outcome<Swaps> {
    let mut done = Swaps { pauses: Vec::new(), took: Vec::new() };
    for file in builds.iter().cycle().take(swaps) {
        more_arrive(flows).await?;
        let began = Instant::now();
        let status = relay.plugin_swap(plugin.to_owned(), Some(file.display().to_string())).await?;
        done.took.push(began.elapsed());
        ensure!(status.state == "active", "after a swap to {}: {status:?}", file.display());
        more_arrive(flows).await?;
        done.pauses.extend(pause(relay, plugin).await?);
    }
    Ok(done)
}

/// The pause of the last swap, once it is over.
async fn pause(relay: &RemoteNode, name: &str) -> Outcome<Option<Duration>> {
    let plugins: Vec<PluginStatus> = relay.plugins().await?;
    let last = plugins.iter().find(|plugin| plugin.name == name).and_then(|plugin| plugin.swaps.last());
    Ok(last.and_then(|swap| swap.pause_us).map(Duration::from_micros))
}

/// Waits until messages come through again, in both directions.
async fn more_arrive(flows: [&Flow; 2]) -> Outcome {
    let goals = flows.map(|flow| flow.arrived() + BETWEEN);
    let end = Instant::now() + PATIENCE;
    while flows.iter().zip(goals).any(|(flow, goal)| flow.arrived() < goal) {
        ensure!(Instant::now() < end, "messages stand still: {:?} of {goals:?}", flows.map(Flow::arrived));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn told(swaps: &mut Swaps, tallies: &[Tally; 2]) -> String {
    swaps.pauses.sort_unstable();
    swaps.took.sort_unstable();
    let at =
        |times: &[Duration], share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    format!(
        "{} swaps; pause p50 {:?} p90 {:?} max {:?} (of {}); a swap took p50 {:?} max {:?}; sent {} and {}, longest gaps {:?} {:?}\n",
        swaps.took.len(),
        at(&swaps.pauses, 0.5),
        at(&swaps.pauses, 0.9),
        swaps.pauses.last().copied().unwrap_or_default(),
        swaps.pauses.len(),
        at(&swaps.took, 0.5),
        swaps.took.last().copied().unwrap_or_default(),
        tallies[0].sent,
        tallies[1].sent,
        tallies[0].gaps().iter().take(5).collect::<Vec<_>>(),
        tallies[1].gaps().iter().take(5).collect::<Vec<_>>(),
    )
}

/// What each node has to say, and the end of its log, for whoever wonders why nothing went on.
fn figures(line: &Line) -> String {
    let asked = [["mesh", "store"], ["mesh", "peers"]];
    let nodes = [&line.a, &line.b, &line.c];
    let each = nodes.iter().flat_map(|node| asked.iter().map(move |command| (node, command)));
    let told = each.map(|(node, command)| {
        let said = node.json(command).map_or_else(|failure| failure.to_string(), |said| said.to_string());
        format!("node {}, {command:?}: {said}\n", node.name())
    });
    told.chain([&line.a, &line.c].map(|node| node.failure("log").to_string())).collect()
}

/// Swaps, counts, and says what it found.
fn check(line: &Line, plugin: &str, builds: &[PathBuf], swaps: usize) -> Outcome {
    let _alone = FULL_LOAD.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let run = runtime.block_on(swap_under_load(line, plugin, builds, swaps));
    let (mut swaps, tallies) = run.map_err(|failure| line.b.failure(&format!("{failure}\n{}", figures(line))))?;
    let _ = std::io::stderr().write_all(told(&mut swaps, &tallies).as_bytes());
    for tally in &tallies {
        ensure!(tally.lost == 0, "{} of {} messages were lost", tally.lost, tally.sent);
        ensure!(tally.doubled == 0, "{} of {} messages came twice", tally.doubled, tally.sent);
    }
    Ok(())
}

/// Swaps between the transport in Rust and the one in C.
const ACROSS: usize = 4;

#[test]
fn a_relays_transport_is_swapped_for_the_one_in_c_and_back_and_no_message_is_lost_or_doubled() -> Outcome {
    let in_c = binaries::dir()?.join("transport-udp-c.so");
    if !in_c.exists() {
        return skip::skip("transport-udp-c.so is missing (make -C plugins/transport-udp-c)");
    }
    let udp = std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let room = format!("{}[links]\nredial_max_ms = 1000\n", flow::ROOM);
    let both = format!("{room}[plugins]\nload = [\"transport-quic\", \"transport-udp-c\", \"routing-babel\"]\n");
    let b = TestNode::plan("b").config(room).argument("--listen").argument(format!("udp://{udp}")).start()?;
    let end = |name| TestNode::plan(name).config(both.clone()).peer(b.address()).peer(format!("udp://{udp}")).start();
    let line = Line { a: end("a")?, c: end("c")?, b };
    line.b.wait_links(2)?;
    check(&line, TRANSPORT, &[in_c, binaries::plugin(TRANSPORT)?], ACROSS)
}

#[test]
fn a_relays_transport_is_swapped_under_full_load_and_no_message_is_lost_or_doubled() -> Outcome {
    let line = Line::shaped(|plan| plan.config(flow::ROOM))?;
    let folder = tempfile::tempdir()?;
    let builds = builds(folder.path())?;
    check(&line, TRANSPORT, &builds, skip::rounds(SWAPS, 4 * SWAPS))
}

#[test]
fn a_relays_routing_is_swapped_under_full_load_and_no_message_is_lost_or_doubled() -> Outcome {
    let line = Line::shaped(|plan| plan.config(flow::ROOM))?;
    let folder = tempfile::tempdir()?;
    let builds = [with_tail(folder.path(), ROUTING, "another")?, binaries::plugin(ROUTING)?];
    line.wait_ways()?;
    check(&line, ROUTING, &builds, skip::rounds(SWAPS, 4 * SWAPS))?;
    line.wait_ways()
}

/// Swaps the relay's transport once; whether the neighbour's old link made way for its new one, or broke off.
fn came_over(line: &Line) -> Outcome<bool> {
    let file = binaries::plugin(TRANSPORT)?.display().to_string();
    let swapped = line.b.json(&["plugin", "swap", TRANSPORT, &file])?;
    line.b.wait_links(2)?;
    let id = line.a.send(&line.c.peer_id()?, "after the swap")?;
    line.c.wait_id(&id)?;
    let log = line.a.log();
    let over = log.contains("another link to this peer is used instead");
    let broke_off = log.contains("this node replaces its transport");
    ensure!(over != broke_off, "{swapped}: {log}");
    Ok(over)
}

#[test]
fn neighbours_come_over_to_the_new_transport_before_the_old_one_ends() -> Outcome {
    let line = Line::start()?;
    ensure!(came_over(&line)?, "the link broke off");
    Ok(())
}

#[test]
fn neighbours_that_reach_only_the_configured_port_come_back_to_it() -> Outcome {
    if let Some(why) = Lab::filters_missing() {
        return skip::skip(why);
    }
    let lab = Lab::line("walled", 3)?;
    let line = Line::in_lab(&lab)?;
    lab.shut_ports_but(1, line::LAB_PORT)?;
    ensure!(!came_over(&line)?, "it came over through a wall");
    Ok(())
}

/// A library that ends or holds the process as it is loaded, made of a few lines of C.
fn fatal(folder: &Path, name: &str, what: &str) -> Outcome<String> {
    let (source, library) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.so")));
    fs::write(
        &source,
        format!("#include <unistd.h>\n__attribute__((constructor)) static void loaded(void) {{ {what}; }}\n"),
    )?;
    let built =
        std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).output()?;
    ensure!(built.status.success(), "cc: {}", String::from_utf8_lossy(&built.stderr));
    Ok(library.display().to_string())
}

#[test]
fn a_library_that_ends_the_process_as_it_is_loaded_is_refused_and_the_old_one_goes_on() -> Outcome {
    let folder = tempfile::tempdir()?;
    let node = TestNode::plan("tried first").start()?;
    for (name, what) in [("crash", "*(volatile int *)8 = 1"), ("exit", "_exit(0)")] {
        let swap = node.run(&["plugin", "swap", "transport-quic", &fatal(folder.path(), name, what)?])?;
        let said = &swap.stderr;
        ensure!(swap.code != Some(0) && said.contains("ends the process"), "{name}: {said}");
    }
    let pipe = folder.path().join("pipe");
    ensure!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success(), "mkfifo");
    let swap = node.run(&["plugin", "swap", "transport-quic", &pipe.display().to_string()])?;
    ensure!(swap.code != Some(0), "a pipe is no library");
    let plugins = node.json(&["plugin", "list"])?;
    let active = plugins["plugins"].as_array().into_iter().flatten().all(|plugin| plugin["state"] == "active");
    ensure!(active, "{plugins}");
    Ok(())
}
