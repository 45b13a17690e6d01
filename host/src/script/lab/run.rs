//! Running tests, each on a thread of its own, and what comes of them.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt;
use mlua::Function;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::super::call::Running;
use super::super::context::Parts;
use super::super::double::MemoryNode;
use super::super::failure::{Failure, Kind};
use super::super::limits::{SOURCE_BYTES, ScriptLimits};
use super::super::lock;
use super::super::manifest::Permissions;
use super::super::once::RunError;
use super::super::program::Program;
use super::super::pulse::Pulse;
use super::super::shared::{Among, Shared};
use super::super::source::read_test;
use super::super::store::MemoryStore;
use super::super::vm::Vm;
use super::super::watched::watched;
use super::find::{TestFile, find};
use super::node::key_of;
use super::play::{FIRST, Play};
use super::stage::Stage;

/// CPU that loading a test file may take, and each test: 40 and 100 times a bot's event. What the bots use counts for
/// themselves.
const LOAD_CPU: Duration = Duration::from_secs(2);
const TEST_CPU: Duration = Duration::from_secs(5);
/// Memory of a test's machine, in bytes.
const TEST_MEMORY: usize = 64 << 20;
/// How long a test may wait in the mesh's time: longer than the longest duration, ten years.
const TEST_LIFE_SECS: u64 = 20 * 365 * 86_400;
/// How long a test may take on a real clock, on a slow machine too: long times with short timers would take for ever.
const REAL_LIFE: Duration = Duration::from_secs(120);
/// Tests in one file.
const MAX_TESTS: usize = 1_000;

/// Which tests to run, and how.
#[derive(Debug, Clone, Default)]
pub struct TestOrder {
    /// Tests, bots, or folders with them.
    pub paths: Vec<PathBuf>,
    /// All that is random follows from it.
    pub seed: u64,
    /// Only tests whose name, or that of their bot, holds this text.
    pub filter: Option<String>,
}

/// What came of all tests.
#[derive(Debug, Clone, Serialize)]
pub struct TestRun {
    /// Whether all passed.
    pub ok: bool,
    /// The seed that repeats the run.
    pub seed: u64,
    /// How many passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// How long they took on a real clock, in milliseconds.
    pub wall_ms: u64,
    /// Each test, in the order of files and of tests in them.
    pub tests: Vec<TestReport>,
}

/// What came of one test.
#[derive(Debug, Clone, Serialize)]
pub struct TestReport {
    /// The file that it stands in.
    pub file: String,
    /// The bot that it tests.
    pub bot: Option<String>,
    /// Its name; `load` for a file that could not be loaded.
    pub name: String,
    /// Whether it passed.
    pub ok: bool,
    /// How long it took by the mesh's clock, in seconds.
    pub virtual_secs: f64,
    /// What went wrong, and where.
    pub error: Option<RunError>,
    /// What more there is to say of it: what was sent instead, the bot's log.
    pub details: Vec<String>,
}

/// One test to run.
struct Task {
    file: Arc<TestFile>,
    program: Program,
    name: String,
    place: usize,
    seed: u64,
}

/// Runs tests beside each other on as many threads as there are cores.
///
/// # Errors
/// When a path can't be read. That no test was found is none.
pub fn run_tests(order: &TestOrder) -> Result<TestRun, String> {
    let started = Instant::now();
    let mut files: Vec<Arc<TestFile>> = Vec::new();
    for path in &order.paths {
        for file in find(path)? {
            if !files.iter().any(|known| known.path == file.path) {
                files.push(Arc::new(file));
            }
        }
    }
    let listed = beside_each_other(&files, |file| list(file, order));
    let (mut slots, mut tasks) = (Vec::new(), Vec::new());
    for listed in listed {
        match listed {
            Ok(found) => {
                slots.extend(found.iter().map(|_| None));
                tasks.extend(found);
            }
            Err(report) => slots.push(Some(*report)),
        }
    }
    let mut reports = beside_each_other(&tasks, run_one).into_iter();
    let tests: Vec<TestReport> = slots.into_iter().filter_map(|slot| slot.or_else(|| reports.next())).collect();
    let failed = tests.iter().filter(|test| !test.ok).count();
    Ok(TestRun {
        ok: failed == 0,
        seed: order.seed,
        passed: tests.len() - failed,
        failed,
        wall_ms: started.elapsed().as_millis() as u64,
        tests,
    })
}

/// Does something with each, on as many threads as there are cores. The results have the order of the things.
fn beside_each_other<T: Sync, R: Send>(things: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(things.len());
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let place = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(thing) = things.get(place)
                {
                    let result = work(thing);
                    lock(&results).push((place, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The tests in a file that are wanted, or why there are none.
fn list(file: &Arc<TestFile>, order: &TestOrder) -> Result<Vec<Task>, Box<TestReport>> {
    let failed = |failure: &Failure| Box::new(report(file, "load", Duration::ZERO, Some(failure), Vec::new()));
    let bot = file.bot.as_ref().map(|bot| bot.path.as_path());
    let source = read_test(&file.path, bot, SOURCE_BYTES).map_err(|error| failed(&error.into()))?;
    let compiled = Program::compile(source);
    let program = compiled.map_err(|failures| failures.first().map_or_else(|| failed(&nothing()), failed))?;
    let same = program.clone();
    let names = watched("script-test", REAL_LIFE, move |_| {
        let stage = Stage::new(0, Arc::default());
        load(same, &stage).map(|(_, tests)| tests.borrow().iter().map(|(name, _)| name.clone()).collect::<Vec<_>>())
    });
    let names = names.map_err(|lost| failed(&Failure::from(&lost)))?.map_err(|failure| failed(&failure))?;
    let of_bot = |text: &String| file.bot.as_ref().is_some_and(|bot| bot.name.contains(text.as_str()));
    let wanted = |name: &str| order.filter.as_ref().is_none_or(|text| name.contains(text.as_str()) || of_bot(text));
    let task = |(place, name): (usize, String)| Task {
        file: Arc::clone(file),
        program: program.clone(),
        seed: order.seed ^ xxh3_64(name.as_bytes()), // the same whichever tests run beside it
        name,
        place,
    };
    Ok(names.into_iter().enumerate().filter(|(_, name)| wanted(name)).map(task).collect())
}

fn nothing() -> Failure {
    Failure::new(Kind::Panic, "the compiler failed inside")
}

type Tests = Rc<RefCell<Vec<(String, Function)>>>;

/// A machine with the test file loaded in it, and the tests that it has.
fn load(program: Program, stage: &Stage) -> Result<(Rc<Vm>, Tests), Failure> {
    let limits = ScriptLimits {
        cpu_at_load_ms: LOAD_CPU.as_millis() as u64,
        memory_bytes: TEST_MEMORY,
        handler_life_secs: TEST_LIFE_SECS,
        ..ScriptLimits::default()
    };
    let among = Among { clock: stage.clock(), ..Among::default() };
    let parts = Parts {
        shared: Arc::new(Shared::among("test", PathBuf::from(&program.source.main), &limits, among)),
        node: Arc::new(MemoryNode::default()),
        kv: Arc::new(MemoryStore::default()),
        permissions: Permissions::new(program.source.manifest.needs.clone()),
        limits,
        program,
        overrides: serde_json::Map::new(),
        self_id: key_of(FIRST).peer_id(),
        self_name: Some(FIRST.to_owned()),
    };
    // A test may think for longer than a bot; its own heartbeat is not watched.
    let vm = Vm::build(parts, None, Arc::new(Pulse::default()));
    let vm = vm.map_err(|error| Failure::new(Kind::Panic, format!("no machine for the test: {error}")))?;
    let tests = Tests::default();
    let list = Rc::clone(&tests);
    vm.make(|lua| {
        let raw = lua.create_function(move |_, (name, body): (mlua::Value, mlua::Value)| {
            Ok(register(&mut list.borrow_mut(), &name, body))
        })?;
        let shaped: Function = vm.ctx.helpers()?.shape.call(raw)?;
        lua.globals().raw_set("test", shaped)
    })?;
    let Some(ran) = vm.load().now_or_never() else {
        return Err(Failure::new(Kind::Life, "a test file can't wait while it is loaded; wait in a test"));
    };
    ran.result?;
    Ok((vm, tests))
}

/// Notes a test; what is wrong with it otherwise.
fn register(tests: &mut Vec<(String, Function)>, name: &mlua::Value, body: mlua::Value) -> Option<String> {
    let (Some(name), mlua::Value::Function(body)) = (name.as_string(), body) else {
        return Some("test: write test(\"what is promised\", function(t) … end)".to_owned());
    };
    let name = super::super::api::clean(&name.to_string_lossy(), 200);
    if tests.iter().any(|(known, _)| *known == name) {
        return Some(format!("test: there is a test \"{name}\" already"));
    }
    if tests.len() >= MAX_TESTS {
        return Some(format!("test: a file has at most {MAX_TESTS} tests"));
    }
    tests.push((name, body));
    None
}

fn run_one(task: &Task) -> TestReport {
    let (file, program, name) = (Arc::clone(&task.file), task.program.clone(), task.name.clone());
    let (seed, place) = (task.seed, task.place);
    let ran = watched("script-test", REAL_LIFE, move |pulse| {
        pulse.attach();
        // Bots are loaded as on a real node, which takes a runtime around them; its clock is never waited for.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let _entered = runtime.as_ref().ok().map(tokio::runtime::Runtime::enter);
        let stage = Rc::new(Stage::new(seed, Arc::clone(pulse)));
        let played = runtime.as_ref().map_err(|error| Failure::new(Kind::Panic, error.to_string()));
        let (failure, details) = match played.map(|_| play(&stage, program, &file, place)) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) | Err(failure) => (Some(failure), Vec::new()),
        };
        report(&file, &name, stage.passed(), failure.as_ref(), details)
    });
    ran.unwrap_or_else(|lost| report(&task.file, &task.name, Duration::ZERO, Some(&Failure::from(&lost)), Vec::new()))
}

/// Plays one test: what went wrong, if something did, and what more there is to say of it.
fn play(
    stage: &Rc<Stage>,
    program: Program,
    file: &TestFile,
    place: usize,
) -> Result<(Option<Failure>, Vec<String>), Failure> {
    let (vm, tests) = load(program, stage)?;
    let Some((_, body)) = tests.borrow().get(place).cloned() else { return Err(nothing()) };
    let bot = file.bot.as_ref().map(|bot| (bot.name.clone(), bot.path.clone()));
    let play = Play::new(&vm, Rc::clone(stage), bot, file.folder.clone())?;
    let t = vm.make(|lua| play.begin(lua))?;
    let failure = stage.play(vm.call(Running::new("test", None), &body, t, TEST_CPU)).result.err();
    if failure.is_none() {
        stage.rest();
    }
    play.collect_errors();
    let errors = play.errors.take();
    let mut details = Vec::new();
    if failure.is_some() {
        details.extend(play.details.take());
        let said = vm.ctx.shared.book.after(0);
        details.extend(said.iter().map(|line| format!("the test said: {}", line.text)));
    }
    details.extend(errors.iter().map(|(_, error)| format!("the bot failed: {error}")));
    let unexpected = || {
        let (_, first) = errors.first()?;
        Some(Failure::new(Kind::Error, format!("the bot failed, which the test didn't expect: {first}")))
    };
    Ok((failure.or_else(unexpected), details))
}

fn report(
    file: &TestFile,
    name: &str,
    passed: Duration,
    failure: Option<&Failure>,
    details: Vec<String>,
) -> TestReport {
    let here = std::env::current_dir().unwrap_or_default();
    let shown = file.path.strip_prefix(&here).unwrap_or(&file.path);
    TestReport {
        file: shown.display().to_string(),
        bot: file.bot.as_ref().map(|bot| bot.name.clone()),
        name: name.to_owned(),
        ok: failure.is_none(),
        virtual_secs: passed.as_secs_f64(),
        error: failure.map(|failure| RunError {
            message: failure.message.clone(),
            file: failure.file.clone(),
            line: failure.line,
        }),
        details,
    }
}
