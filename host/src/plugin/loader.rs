//! Loads libraries, each digest once, and never unloads one: unloading a library with threads, thread-locals or signal
//! handlers crashes or silently does nothing.
#![allow(unsafe_code, reason = "maps a library and calls its entry")]

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use qpq_plugin_api::abi::{ENTRY_SYMBOL, EntryFn};

use super::config;
use super::descriptor::{Descriptor, PluginInfo};
use super::error::{LoadError, Problem};
use super::file;

/// The most libraries that one process maps. Each costs 1 to 13 MiB, and the system runs out of thread-local keys at about
/// 1,020; a node that gets here was fed new files for days.
pub const MAX_GENERATIONS: u32 = 64;

#[cfg(any(target_os = "linux", target_os = "android"))]
const RTLD_NODELETE: std::ffi::c_int = 0x1000;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const RTLD_NODELETE: std::ffi::c_int = 0x80;

/// Loads plugin libraries. One for each process; shared by all plugins.
pub struct Loader {
    folder: PathBuf,
    pinned: Vec<String>,
    state: Mutex<State>,
    /// How many libraries are mapped. Beside the lock, which a library that hangs as it is loaded holds.
    count: AtomicU32,
}

#[derive(Default)]
struct State {
    /// By digest.
    mapped: HashMap<String, Mapped>,
    /// Folders without copies of earlier runs.
    cleared: HashSet<PathBuf>,
}

/// A library in memory, good or bad.
#[derive(Clone)]
struct Mapped {
    outcome: Result<Arc<Image>, Problem>,
    /// Counted over all libraries of the process, from 1.
    generation: u32,
}

/// A library that passed all checks but that of the configuration.
pub(super) struct Image {
    pub(super) descriptor: Descriptor,
    /// The plugin that it was loaded for, by its name in the configuration.
    slot: String,
    /// Where it came from.
    pub(super) file: PathBuf,
    pub(super) sha256: String,
}

impl Loader {
    /// A loader that keeps its copies below `folder` (`plugins` in the state directory). `pinned` lists the SHA-256 digests
    /// that may be loaded, in hex; empty allows all.
    pub fn new(folder: &Path, pinned: Vec<String>) -> Self {
        Self { folder: folder.to_owned(), pinned, state: Mutex::default(), count: AtomicU32::new(0) }
    }

    /// How many libraries this process has mapped.
    pub(super) fn mapped(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// Loads `path` for the plugin that the configuration calls `name`, and checks `config` against its schema.
    pub(super) fn load(&self, name: &str, path: &Path, config: &serde_json::Value) -> Result<Arc<Image>, LoadError> {
        let fail = |problem| LoadError::new(path, problem);
        let image = self.image(name, path, &mut PluginInfo::default()).map_err(fail)?;
        config::check(&image.descriptor.info.config_schema, config).map_err(fail)?;
        Ok(image)
    }

    /// The library at `path`; `info` gets what its descriptor says, also when it is refused half-way.
    pub(super) fn image(&self, name: &str, path: &Path, info: &mut PluginInfo) -> Result<Arc<Image>, Problem> {
        let checked = file::check(path, &self.pinned)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.mapped.get(&checked.sha256) {
            if let Ok(image) = &known.outcome {
                info.clone_from(&image.descriptor.info);
            }
            return known.outcome.clone();
        }
        let generation = state.mapped.values().map(|m| m.generation).max().unwrap_or(0) + 1;
        if generation > MAX_GENERATIONS {
            return Err(Problem::TooManyGenerations(MAX_GENERATIONS));
        }
        let folder = self.folder.join(name);
        if state.cleared.insert(folder.clone()) {
            file::clear_old_copies(&folder);
        }
        let copy = checked.copy_to(&folder, generation)?;
        let library = open(&copy)?;
        let outcome = read(&library, info)
            .and_then(|descriptor| unique(&state.mapped, &descriptor, name).map(|()| descriptor))
            .map(|descriptor| {
                let (slot, file, sha256) = (name.to_owned(), path.to_owned(), checked.sha256.clone());
                Arc::new(Image { descriptor, slot, file, sha256 })
            });
        // The handle is given up on purpose: nothing ever closes it.
        let _ = library.into_raw();
        state.mapped.insert(checked.sha256, Mapped { outcome: outcome.clone(), generation });
        self.count.store(generation, Ordering::Relaxed);
        outcome
    }
}

fn open(copy: &Path) -> Result<Library, Problem> {
    // SAFETY: initialisers of the library run here; a plugin is trusted code, which its admin chose.
    unsafe { Library::open(Some(copy), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE) }.map_err(|e| {
        let _ = std::fs::remove_file(copy);
        Problem::Loader(e.to_string())
    })
}

fn read(library: &Library, info: &mut PluginInfo) -> Result<Descriptor, Problem> {
    // SAFETY: the symbol's name carries the version of its type.
    let entry = unsafe { library.get::<EntryFn>(ENTRY_SYMBOL.as_bytes()) }.map_err(|_| Problem::NoSymbol)?;
    // SAFETY: pure by the ABI; what it returns is read as untrusted memory.
    Descriptor::read(unsafe { entry() }, info)
}

/// Two plugins whose libraries call themselves the same would share data and name in every output. A newer build takes the
/// place of an older one in the same plugin.
fn unique(mapped: &HashMap<String, Mapped>, descriptor: &Descriptor, slot: &str) -> Result<(), Problem> {
    let same = |image: &&Arc<Image>| image.descriptor.info.id == descriptor.info.id && image.slot != slot;
    match mapped.values().filter_map(|m| m.outcome.as_ref().ok()).find(same) {
        Some(other) => Err(Problem::DuplicateId(descriptor.info.id.clone(), other.file.clone())),
        None => Ok(()),
    }
}
