//! A script run once or checked, without a node: in the same sandbox, on a node in memory.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use qpq_schemas::channel::normalise;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::api::InboxItem;

use super::advice;
use super::api::Command;
use super::call::Ran;
use super::context::Parts;
use super::dispatch;
use super::double::{MemoryNode, SELF, Sent, message};
use super::failure::{Failure, Kind};
use super::lab::bot_of;
use super::limits::{SOURCE_BYTES, ScriptLimits};
use super::lock;
use super::manifest::Permissions;
use super::program::Program;
use super::pulse::Pulse;
use super::shared::Shared;
use super::source::{Found, bot_at, is_test, read, read_test};
use super::store::{Cache, MemoryStore};
use super::vm::Vm;
use super::watched::{Lost, watched};
use super::worker::{Finished, perform};

/// Who sends the event, when it doesn't say.
const SENDER: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// `ok`, `error`, `cpu-limit`, `memory-limit`, `time-limit`, `refused`, `not-ready`, `stuck` or `host-error`.
    pub outcome: String,
    /// CPU time of load and event, in milliseconds.
    pub cpu_ms: f64,
    /// Memory of the machine at the end, in bytes.
    pub memory_bytes: u64,
    /// What it sent, in order.
    pub outputs: Vec<Json>,
    /// What it wrote to the log.
    pub log: Vec<String>,
    /// What went wrong first.
    pub error: Option<RunError>,
    /// The commands that it registered and that have no help.
    #[serde(skip)]
    pub(super) silent_commands: Vec<String>,
}

/// An error with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// What went wrong.
    pub message: String,
    /// In which file.
    pub file: Option<String>,
    /// On which line, counted from 1.
    pub line: Option<usize>,
}

/// How much a diagnostic matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The bot doesn't load.
    Error,
    /// It loads, and something about it is probably not meant so.
    Warning,
}

/// Something to mend in a bot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The column, where it is known.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: String,
}

impl RunReport {
    fn failed(failure: &Failure) -> Self {
        let mut report = Self {
            outcome: "ok".to_owned(),
            cpu_ms: 0.0,
            memory_bytes: 0,
            outputs: Vec::new(),
            log: Vec::new(),
            error: None,
            silent_commands: Vec::new(),
        };
        report.note(failure);
        report
    }

    fn note(&mut self, failure: &Failure) {
        if self.error.is_none() {
            self.outcome = failure.kind.word().to_owned();
            let (file, line) = (failure.file.clone(), failure.line);
            self.error = Some(RunError { message: failure.message.clone(), file, line });
        }
    }
}

/// Loads a bot and gives it one event: `{"event": "envelope", "text": "!list"}`, `{"event": "broadcast", "topic":
/// "board", "text": …}`, `{"event": "start"}`, or `{"event": "timer"}`, which fires every timer. `from` is a key or
/// `"self"`. Sends nothing and keeps nothing. Blocks until the bot is done or stopped.
pub fn run_once(file: &Path, event: &Json, limits: &ScriptLimits) -> RunReport {
    let source = match read(file, limits.source_bytes) {
        Ok(source) => source,
        Err(error) => return RunReport::failed(&Failure::from(error)),
    };
    let event = match Event::parse(event) {
        Ok(event) => event,
        Err(message) => return refused(&message),
    };
    match Program::compile(source) {
        Ok(program) => on_thread(file, program, limits.clone(), Some(event)),
        Err(failures) => failures.first().map_or_else(|| refused("no reason"), RunReport::failed),
    }
}

/// What is wrong with a bot: each file is compiled, then the bot is loaded in the sandbox. With what loads, but is probably not
/// meant so. Of a test, by its file's name, the test and its bot are. Empty when all is well.
pub(crate) fn check(bot: &Found) -> Vec<Diagnostic> {
    let path = &bot.path;
    if is_test(path) {
        return check_test(path);
    }
    let source = match bot.read(SOURCE_BYTES) {
        Ok(source) => source,
        Err(error) => return vec![diagnostic(path, &Failure::from(error))],
    };
    // The compiler lets go of the texts.
    let texts = source.clone();
    let program = match Program::compile(source) {
        Ok(program) => program,
        Err(failures) => return failures.iter().map(|failure| diagnostic(path, failure)).collect(),
    };
    let report = on_thread(path, program, ScriptLimits::default(), None);
    let problem = |error: RunError| {
        let kind = if report.outcome == "cpu-limit" { Kind::Cpu } else { Kind::Error };
        let (file, line) = (error.file, error.line);
        diagnostic(path, &Failure { file, line, ..Failure::new(kind, error.message) })
    };
    let mut found: Vec<Diagnostic> = report.error.map(problem).into_iter().collect();
    let known = found.first().map(|error| (error.file.clone(), error.line));
    let advice = advice::on(&texts, &report.silent_commands);
    found.extend(advice.into_iter().filter(|advice| known != Some((advice.file.clone(), advice.line))));
    found
}

/// What is wrong with a test: it is compiled, and the bot that it belongs to is checked.
fn check_test(test: &Path) -> Vec<Diagnostic> {
    let bot = bot_of(test);
    let source = match read_test(test, bot.as_ref().map(|bot| bot.path.as_path()), SOURCE_BYTES) {
        Ok(source) => source,
        Err(error) => return vec![diagnostic(test, &Failure::from(error))],
    };
    match Program::compile(source) {
        Ok(_) => bot.map_or_else(Vec::new, |bot| check(&bot)),
        Err(failures) => failures.iter().map(|failure| diagnostic(test, failure)).collect(),
    }
}

fn refused(message: &str) -> RunReport {
    RunReport::failed(&Failure::new(Kind::Refused, message))
}

fn diagnostic(path: &Path, failure: &Failure) -> Diagnostic {
    let help = match failure.kind {
        Kind::Cpu => "do less at load: keep work for events and timers",
        Kind::Memory => "keep less in memory: use mesh.store for what must last",
        _ if !path.exists() => "name a bot's file or folder, or a bot of the scripts folder by its name",
        _ if failure.message.contains("permission") => "add the permission to bot.toml, or leave the call out",
        _ if failure.line.is_none() => "mend that and check again",
        _ => "mend the line and check again",
    };
    let file = failure.file.clone().unwrap_or_else(|| path.display().to_string());
    let (line, message) = (failure.line, failure.message.clone());
    Diagnostic { severity: Severity::Error, file, line, column: None, message, help: help.to_owned() }
}

/// Runs on a thread of its own, which is left behind if it hangs in a C function.
fn on_thread(path: &Path, program: Program, limits: ScriptLimits, event: Option<Event>) -> RunReport {
    let life = Duration::from_secs(limits.handler_life_secs * 2 + 10);
    let path = path.to_path_buf();
    let ran = watched("script-run", life, move |pulse| {
        pulse.attach();
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(run(&path, program, limits, event, pulse)),
            Err(error) => RunReport::failed(&Failure::new(Kind::Panic, error.to_string())),
        }
    });
    ran.unwrap_or_else(|lost| {
        let mut report = RunReport::failed(&Failure::from(&lost));
        if matches!(lost, Lost::Stuck) {
            report.outcome = "stuck".to_owned();
        }
        report
    })
}

async fn run(
    path: &Path,
    program: Program,
    limits: ScriptLimits,
    event: Option<Event>,
    pulse: &Arc<Pulse>,
) -> RunReport {
    let name = bot_at(path).map_or_else(|| "script".to_owned(), |bot| bot.name);
    let shared = Arc::new(Shared::new(&name, path.to_path_buf(), &limits));
    *lock(&shared.store) = Cache::default();
    let node = Arc::new(MemoryNode::default());
    let permissions = Permissions::new(program.source.manifest.needs.clone());
    let parts = Parts {
        shared: Arc::clone(&shared),
        node: Arc::clone(&node) as Arc<dyn crate::api::NodeApi>,
        kv: Arc::new(MemoryStore::default()),
        limits: limits.lowered(&program.source.manifest.limits),
        program,
        permissions,
        overrides: serde_json::Map::new(),
        self_id: SELF,
        self_name: Some("memory".to_owned()),
    };
    let mut report = RunReport::failed(&Failure::new(Kind::Error, ""));
    (report.outcome, report.error) = ("ok".to_owned(), None);
    pulse.enter();
    let vm = Vm::build(parts, None, Arc::clone(pulse));
    pulse.leave();
    let vm = match vm {
        Ok(vm) => vm,
        Err(error) => return RunReport::failed(&Failure::new(Kind::Panic, error.to_string())),
    };
    let ran = vm.load().await;
    add(&mut report, &ran);
    let silent = |command: &Command| command.help.is_empty().then(|| command.name.clone());
    report.silent_commands = vm.ctx.commands.borrow().iter().filter_map(silent).collect();
    if let (true, Some(event)) = (ran.result.is_ok(), event) {
        happen(&vm, &event, &mut report).await;
    }
    report.memory_bytes = vm.memory() as u64;
    report.outputs = node.sent().iter().map(output).collect();
    report.log = shared.book.after(0).into_iter().map(|line| line.text).collect();
    report
}

fn add(report: &mut RunReport, ran: &Ran) {
    report.cpu_ms += ran.cpu.as_secs_f64() * 1_000.0;
    if let Err(failure) = &ran.result {
        report.note(failure);
    }
}

async fn happen(vm: &Rc<Vm>, event: &Event, report: &mut RunReport) {
    let jobs = match event {
        Event::Message(item) => dispatch::hear(vm, item).and_then(|mut jobs| {
            jobs.extend(dispatch::message(vm, item)?.jobs);
            Ok(jobs)
        }),
        Event::Life(name) => dispatch::plain(vm, name, |_| Ok(())),
        Event::Timers => {
            let due = vm.ctx.timers.borrow_mut().take_due(f64::INFINITY);
            Ok(due.into_iter().map(|timer| dispatch::timer(timer.function)).collect())
        }
    };
    match jobs {
        Err(failure) => report.note(&failure),
        Ok(jobs) => {
            for finished in join_all(jobs.into_iter().map(|job| perform(Rc::clone(vm), job, None))).await {
                if let Finished::Event { ran, .. } = &finished {
                    add(report, ran);
                }
                if let Finished::Event { unsaid: Some(error), .. } | Finished::Said { unsaid: Some(error), .. } =
                    finished
                {
                    vm.ctx.shared.keep_unsaid(&error);
                }
            }
        }
    }
}

fn output(sent: &Sent) -> Json {
    let text = sent.text();
    match sent {
        Sent::Direct(request) => serde_json::json!({ "kind": "send", "to": request.to, "text": text }),
        Sent::Broadcast(request) => serde_json::json!({ "kind": "broadcast", "topic": request.topic, "text": text }),
    }
}

/// What happens to a bot that runs once.
enum Event {
    Message(Box<InboxItem>),
    Life(&'static str),
    Timers,
}

impl Event {
    fn parse(json: &Json) -> Result<Self, String> {
        let fields = json.as_object().ok_or("the event must be a JSON object, such as {\"text\": \"hello\"}")?;
        const KNOWN: [&str; 8] = ["event", "from", "from_name", "topic", "text", "automatic", "own", "type"];
        if let Some(unknown) = fields.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            let near = super::nearest(unknown, KNOWN).map_or(String::new(), |near| format!("; did you mean '{near}'?"));
            return Err(format!("the event has no field '{unknown}'{near} (fields: {})", KNOWN.join(", ")));
        }
        let text = |key: &str| fields.get(key).and_then(Json::as_str);
        let flag = |key: &str| fields.get(key).and_then(Json::as_bool).unwrap_or(false);
        let topic = text("topic").map(|name| normalise(name).map_err(|error| format!("topic: {error}"))).transpose()?;
        match text("event").or(text("type")) {
            Some("start") => return Ok(Self::Life("start")),
            Some("stop") => return Ok(Self::Life("stop")),
            Some("reload") => return Ok(Self::Life("reload")),
            Some("timer") => return Ok(Self::Timers),
            Some("broadcast") if topic.is_none() => return Err("a broadcast needs a topic".to_owned()),
            None | Some("envelope" | "broadcast") => {}
            Some(other) => {
                return Err(format!(
                    "there is no event '{other}' to run: envelope, broadcast, start, stop, reload or timer"
                ));
            }
        }
        let from = match text("from").unwrap_or(SENDER) {
            "self" => SELF,
            key => key.parse().map_err(|e| format!("from: {e}"))?,
        };
        let from_name = text("from_name").map(str::to_owned);
        let payload = text("text").unwrap_or_default().as_bytes().to_vec();
        let (automatic, own) = (flag("automatic"), flag("own"));
        let item = InboxItem { payload, from_name, automatic, own, seq: 1, ..message(from, topic.as_deref()) };
        Ok(Self::Message(Box::new(item)))
    }
}
