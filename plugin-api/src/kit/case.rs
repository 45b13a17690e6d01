//! One trial under way.

use std::cell::RefCell;

use super::actor::Actor;
use super::catalogue::{Kind, catalogue};
use super::library::Library;
use super::process;
use super::random::Random;
use super::shape::Shape;
use super::stage::Stage;
use super::{Setting, Signer};

/// Why a trial ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The plugin broke a promise; the text says which.
    Failed(String),
    /// The trial can't be made with this plugin or on this machine.
    Skipped(String),
}

impl Stop {
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self::Skipped(why.into())
    }
}

/// Fails the trial unless `holds`.
pub(super) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), Stop> {
    if holds { Ok(()) } else { Err(Stop::Failed(why())) }
}

/// Runs the trial of that name in this process. The process may crash or hang: watch it from another one, and let it run no
/// other trial.
pub fn run(name: &str, setting: Setting) -> Result<(), Stop> {
    let before = process::threads();
    let library = Library::open(&setting.file)?;
    let case = Case::new(library, setting, before);
    let trial = catalogue(case.library.kind()).into_iter().find(|trial| trial.name == name);
    let trial = trial.ok_or_else(|| Stop::skipped("not a trial for this kind of plugin"))?;
    let result = (trial.run)(&case);
    // A rule that was broken on the way often explains what came of it.
    let mut why = case.violations();
    match result {
        Err(Stop::Failed(end)) => why.push(end),
        Err(Stop::Skipped(end)) if why.is_empty() => return Err(Stop::Skipped(end)),
        Err(Stop::Skipped(_)) | Ok(()) => {}
    }
    if why.is_empty() { Ok(()) } else { Err(Stop::Failed(why.join("; "))) }
}

/// What a trial works with.
pub(super) struct Case {
    pub(super) library: Library,
    pub(super) setting: Setting,
    /// How many threads ran before the library was loaded.
    pub(super) threads: Option<usize>,
    stages: RefCell<Vec<&'static Stage>>,
}

impl Case {
    fn new(library: Library, setting: Setting, threads: Option<usize>) -> Self {
        Self { library, setting, threads, stages: RefCell::default() }
    }

    /// A source of random numbers for that purpose.
    pub(super) fn random(&self, purpose: u64) -> Random {
        Random::new(self.setting.seed ^ purpose.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// A host with an identity of its own.
    pub(super) fn stage(&self, name: &'static str, shape: Shape) -> &'static Stage {
        let mut seed = [0; 32];
        self.random(self.stages.borrow().len() as u64 + 77).fill(&mut seed);
        let identity: Box<dyn Signer> = (self.setting.identity)(seed);
        let inside_only = self.library.kind() == Kind::Routing;
        let stage = Stage::leak(name, shape, identity, self.library.id().to_owned(), inside_only);
        self.stages.borrow_mut().push(stage);
        stage
    }

    /// An instance that was created and started.
    pub(super) fn started(&self, name: &'static str) -> Result<Actor, Stop> {
        self.started_with(name, Shape::Today)
    }

    /// The same, with a host of that shape.
    pub(super) fn started_with(&self, name: &'static str, shape: Shape) -> Result<Actor, Stop> {
        let actor = Actor::create(self, self.stage(name, shape))?;
        actor.start()?;
        Ok(actor)
    }

    /// Where a transport listens.
    pub(super) fn listen_uri(&self) -> String {
        let given = self.setting.listen.clone();
        given.unwrap_or_else(|| format!("{}://127.0.0.1:0", self.scheme()))
    }

    /// The scheme of the transport's URIs.
    pub(super) fn scheme(&self) -> &'static str {
        let said = Library::text(self.library.plugin.schemes).split_ascii_whitespace().next();
        if let Some(scheme) = said {
            return scheme;
        }
        let id = self.library.id();
        id.strip_prefix("transport-").or_else(|| id.strip_prefix("federation-")).unwrap_or(id)
    }

    /// What is dialled to reach a node of that key that listens at `bound`.
    pub(super) fn dial_uri(&self, bound: &str, peer: &[u8; 32]) -> String {
        let Some(template) = &self.setting.dial else { return bound.to_owned() };
        let address = bound.split_once("://").map_or(bound, |(_, address)| address);
        let peer: String = peer.iter().map(|byte| format!("{byte:02x}")).collect();
        template.replace("{address}", address).replace("{peer}", &peer)
    }

    /// All rules that were broken, by any instance.
    fn violations(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for broken in self.stages.borrow().iter().flat_map(|stage| stage.state().violations.clone()) {
            if !all.contains(&broken) {
                all.push(broken);
            }
        }
        all
    }
}
