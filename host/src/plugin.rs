//! Plugins: loading, checking, supervising and calling shared libraries that keep to the ABI of `qpq-plugin-api`.
//!
//! ```text
//! file ──checks──► loader ──► Image ──create──► Instance ◄──calls── TransportHandle, RoutingHandle, …   ◄── the shell
//!                                                  │
//!                      plugin's threads ──► vtables ──► Port ──► TransportEvents, …                     ──► the shell
//! ```
//!
//! [`Registry::start`] loads every configured plugin and keeps it running: a plugin that fails is stopped and started again
//! (0.5 s to 60 s later), and switched off after five failures in ten minutes: then it is tried once in a while, 2 minutes later and
//! at last each hour; the node stays up. A library is copied before it
//! is mapped, each digest is mapped once, and none is ever unloaded.
//!
//! What the shell does:
//!
//! ```no_run
//! # use std::{path::PathBuf, sync::Arc, time::Duration};
//! # use qpq_host::plugin::*;
//! # use qpq_plugin_api::{FrameBatch, FrameQueue};
//! struct MyLinks(FrameQueue); // in truth, one queue for each link
//!
//! impl TransportEvents for MyLinks {
//!     fn link_up(&self, up: LinkUp) { /* make the link's task; do the handshake */ }
//!     fn link_down(&self, link: u64, reason: &str) { /* end the task; also comes when the plugin fails */ }
//!     fn path_changed(&self, link: u64, path: NewPath<'_>) {}
//!     fn frames(&self, link: u64, batch: &mut FrameBatch<'_>) {
//!         self.0.accept(batch); // what doesn't fit is offered again after `resume`
//!         // … and wake the link's task; it takes frames with `FrameQueue::take`, which says when to call `resume`
//!     }
//!     fn writable(&self, link: u64) { /* send the rest */ }
//!     fn unsent(&self, frames: Vec<Frame>) {}
//! }
//!
//! # struct MyListeners(Arc<MyLinks>);
//! impl Listeners for MyListeners {
//!     fn transport(&self, _name: &str) -> Arc<dyn TransportEvents> { self.0.clone() }
//! }
//!
//! # async fn example(identity: Arc<qpq_host::identity::Identity>, links: Arc<MyLinks>) -> Result<(), PluginError> {
//! let settings = Settings {
//!     folder: PathBuf::from("state/plugins"),
//!     pinned: Vec::new(),
//!     trusted_with_key: Vec::new(),
//!     identity,
//!     listeners: Arc::new(MyListeners(links)),
//!     program: None,
//!     watch: true,
//!     restarts: RestartPolicy::default(),
//! };
//! let file = find("transport-quic", &[PathBuf::from("/usr/lib/qpq")]).expect("installed");
//! let spec = PluginSpec { name: "transport-quic".into(), file, config: serde_json::json!({}) };
//! let (registry, mut events) = Registry::start(settings, vec![spec])?;
//! while let Some(event) = events.recv().await {
//!     match event {
//!         PluginEvent::Started { running: Running::Transport(transport), .. } => {
//!             println!("listening at {}", transport.listen("quic://[::]:4433").await?);
//!         }
//!         PluginEvent::Started { .. } => {}
//!         PluginEvent::Failed { name, reason, .. } => println!("{name}: {reason}"),
//!     }
//! }
//! registry.stop(Duration::from_secs(3)).await;
//! # Ok(())
//! # }
//! ```
//!
//! A plugin runs inside the process and is trusted code: the checks here catch mistakes, not attacks.

mod check;
mod child;
mod config;
mod descriptor;
mod discovery;
mod elf;
mod error;
mod file;
mod gate;
mod identity;
mod instance;
mod loader;
mod log;
mod memory;
mod ops;
mod policy;
mod port;
mod registry;
mod routing;
mod store;
mod supervisor;
mod swap;
mod token;
mod transport;
mod trial;
mod tried;
mod vtables;
mod watch;

pub use check::{CHILD_ARGUMENT, CheckProblem, CheckReport, CheckedPlugin, check_file, check_in_child, child_main};
pub use config::{Misfit, misfits};
pub use descriptor::PluginInfo;
pub use discovery::{DISCOVERY_DEADLINE, DiscoveryEvents, DiscoveryHandle, MAX_RECORD, Ongoing};
#[cfg(feature = "fuzz-doors")]
pub use elf::look_at_library;
pub use error::{Explained, LoadError, PluginError, Problem, SwapProblem};
pub use file::MAX_FILE;
pub use identity::PluginIdentity;
pub use instance::{CREATE_DEADLINE, START_DEADLINE, STOP_DEADLINE};
pub use loader::{Loader, MAX_GENERATIONS};
pub use policy::{
    FAILURE_WINDOW, FIRST_BACKOFF, FIRST_RETRY, MAX_BACKOFF, MAX_FAILURES, MAX_RETRY, RestartPolicy, Verdict,
};
pub use port::MAX_LINKS;
pub(crate) use port::is_of_one_instance;
pub use registry::{Fresh, Listeners, PluginEvent, PluginSpec, Registry, Running, Settings, find, missing_file};
pub use routing::{MAX_CONTROL, MAX_CONTROLS, RoutingHandle, RoutingLibrary};
pub use store::{MAX_FETCH, STORE_DEADLINE, StoreEvents, StoreHandle};
pub use swap::{DRAIN, MAX_QUARANTINED, MAX_REPORTS, PROBATION};
pub use transport::{
    DIAL_DEADLINE, Frame, LISTEN_DEADLINE, LinkUp, MIN_MAX_FRAME, NewPath, TransportEvents, TransportHandle,
};
pub use trial::{Order, TrialReport, trials, try_in_child};
