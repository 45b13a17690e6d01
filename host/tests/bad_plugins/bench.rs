//! Compiles plugins from `tests/c/plugin.c`, runs them in a registry, and writes down what they report.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use qpq_host::api::PluginStatus;
use qpq_host::identity::Identity;
use qpq_host::plugin::{
    Frame, LinkUp, Listeners, NewPath, PluginEvent, PluginSpec, Registry, RestartPolicy, Running, Settings,
    TransportEvents, TransportHandle,
};
use qpq_plugin_api::FrameBatch;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// How long a test waits for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with plugins.
pub(crate) struct Workshop(TempDir);

impl Workshop {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Compiles the C plugin with these macros.
    pub(crate) fn plugin(&self, name: &str, macros: &[&str]) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let out = self.path(name);
        let cc = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let run = Command::new(cc)
            .args(["-shared", "-fPIC", "-w", "-pthread", "-I"])
            .arg(root.join("../plugin-api/include"))
            .args(macros.iter().map(|m| format!("-D{m}")))
            .arg(root.join("tests/c/plugin.c"))
            .arg("-o")
            .arg(&out)
            .output()
            .expect("a C compiler (cc, or what CC names)");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        out
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("written");
        path
    }

    /// The lines that a plugin wrote to its report.
    pub(crate) fn report(&self) -> Vec<String> {
        fs::read_to_string(self.path("report")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// A configuration that asks for a behaviour.
    pub(crate) fn behave(&self, what: &str) -> Value {
        serde_json::json!({ "do": what, "report": self.path("report") })
    }
}

/// Writes down what a transport reports, and takes a limited number of frames.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) lines: Mutex<Vec<String>>,
    pub(crate) frames: Mutex<Vec<Bytes>>,
}

impl Notes {
    fn note(&self, line: String) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl TransportEvents for Notes {
    fn link_up(&self, up: LinkUp) {
        self.note(format!("up {}", up.remote));
    }
    fn link_down(&self, _link: u64, reason: &str) {
        self.note(format!("down {reason}"));
    }
    fn path_changed(&self, _link: u64, path: NewPath<'_>) {
        self.note(format!("path {}", path.remote));
    }
    fn frames(&self, _link: u64, batch: &mut FrameBatch<'_>) {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.extend(std::iter::from_fn(|| batch.pop()));
    }
    fn writable(&self, _link: u64) {
        self.note("writable".to_owned());
    }
    fn unsent(&self, frames: Vec<Frame>) {
        self.note(format!("unsent {}", frames.len()));
    }
}

struct Same(Arc<Notes>);

impl Listeners for Same {
    fn transport(&self, _name: &str) -> Arc<dyn TransportEvents> {
        self.0.clone()
    }

    fn adopt(&self, _name: &str, running: Running) -> BoxFuture<'static, Result<(), String>> {
        let Running::Transport(handle) = running else { panic!("a transport was started as something else") };
        let notes = Arc::clone(&self.0);
        async move {
            let bound = handle.listen("c:here").await.map_err(|error| error.to_string())?;
            notes.note(format!("listens at {bound}"));
            Ok(())
        }
        .boxed()
    }
}

/// A running registry.
pub(crate) struct Bench {
    pub(crate) registry: Registry,
    pub(crate) notes: Arc<Notes>,
    events: mpsc::Receiver<PluginEvent>,
}

pub(crate) fn spec(name: &str, file: PathBuf, config: Value) -> PluginSpec {
    PluginSpec { name: name.to_owned(), file, config }
}

pub(crate) fn settings(shop: &Workshop, notes: &Arc<Notes>, pinned: Vec<String>) -> Settings {
    Settings {
        folder: shop.path("state/plugins"),
        pinned,
        trusted_with_key: Vec::new(),
        identity: Arc::new(Identity::from_seed(&[1; 32])),
        listeners: Arc::new(Same(Arc::clone(notes))),
        program: None,
        watch: false,
        restarts: RestartPolicy::default(),
    }
}

impl Bench {
    pub(crate) fn start(shop: &Workshop, specs: Vec<PluginSpec>) -> Self {
        Self::with(shop, specs, false)
    }

    /// The same, with a watch on the plugins' files.
    pub(crate) fn watching(shop: &Workshop, specs: Vec<PluginSpec>) -> Self {
        Self::with(shop, specs, true)
    }

    fn with(shop: &Workshop, specs: Vec<PluginSpec>, watch: bool) -> Self {
        let notes = Arc::new(Notes::default());
        Self::set_up(Settings { watch, ..settings(shop, &notes, Vec::new()) }, specs, notes)
    }

    /// The same, with plugins that may have the node's key.
    pub(crate) fn trusting(shop: &Workshop, specs: Vec<PluginSpec>) -> Self {
        let notes = Arc::new(Notes::default());
        let trusted_with_key = specs.iter().map(|spec| spec.name.clone()).collect();
        Self::set_up(Settings { trusted_with_key, ..settings(shop, &notes, Vec::new()) }, specs, notes)
    }

    /// The same, with a trial of each library in a process of its own first.
    pub(crate) fn trying(shop: &Workshop, specs: Vec<PluginSpec>) -> Self {
        Self::tried_by(env!("CARGO_BIN_EXE_qpq"), shop, specs)
    }

    /// The same, by that program.
    pub(crate) fn tried_by(program: &str, shop: &Workshop, specs: Vec<PluginSpec>) -> Self {
        let notes = Arc::new(Notes::default());
        let program = Some(PathBuf::from(program));
        Self::set_up(Settings { program, ..settings(shop, &notes, Vec::new()) }, specs, notes)
    }

    fn set_up(settings: Settings, specs: Vec<PluginSpec>, notes: Arc<Notes>) -> Self {
        let (registry, events) = Registry::start(settings, specs).expect("good names");
        Self { registry, notes, events }
    }

    /// One plugin that behaves as asked.
    pub(crate) fn of(shop: &Workshop, behaviour: &str) -> Self {
        let file = shop.plugin("t.so", &[]);
        Self::start(shop, vec![spec("t", file, shop.behave(behaviour))])
    }

    /// The same, tried again so soon after it was switched off.
    pub(crate) fn that_retries(shop: &Workshop, behaviour: &str, first: Duration) -> Self {
        let notes = Arc::new(Notes::default());
        let restarts = RestartPolicy::with_first_retry(first);
        let specs = vec![spec("t", shop.plugin("t.so", &[]), shop.behave(behaviour))];
        Self::set_up(Settings { restarts, ..settings(shop, &notes, Vec::new()) }, specs, notes)
    }

    pub(crate) async fn event(&mut self) -> PluginEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("an open channel")
    }

    pub(crate) async fn started(&mut self) -> TransportHandle {
        match self.event().await {
            PluginEvent::Started { running: Running::Transport(handle), .. } => handle,
            PluginEvent::Failed { reason, .. } => panic!("{reason}"),
            PluginEvent::Started { .. } => panic!("started as something else"),
        }
    }

    /// Why it failed, and whether the host starts it again.
    pub(crate) async fn failed(&mut self) -> (String, Option<Duration>) {
        match self.event().await {
            PluginEvent::Failed { reason, restart, .. } => (reason, restart),
            PluginEvent::Started { .. } => panic!("it started"),
        }
    }

    pub(crate) async fn status(&self) -> PluginStatus {
        self.registry.statuses().await.remove(0)
    }
}
