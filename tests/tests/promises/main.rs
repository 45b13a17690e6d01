//! What the node promises, tried on real processes, real sockets and real plugins.
//! Each test is named after its promise.
#![forbid(unsafe_code)]

mod boards;
mod bot_tools;
mod bots;
mod clients;
mod corruption;
mod crash;
mod delivery;
mod discovery;
mod disk;
mod emergency;
mod fate;
mod faults;
mod federation;
mod home;
mod hostile;
mod hostile_peer;
mod iroh;
mod isolation;
mod lossy;
mod nat;
mod partition;
mod peers;
mod plugins;
mod power;
mod routing;
mod simulator;
mod store_tool;
mod swap;
mod traffic;
mod workload;
