//! Arguments for looking after the store on the disk.

use clap::Subcommand;

/// Looking after the store on the disk.
#[derive(Debug, Clone, Subcommand)]
pub enum StoreCommand {
    /// Read everything in the store, and say what is damaged; the node must not run
    ///
    /// Every checksum is verified, and what one table says is held against the others. Nothing of the store is changed. The
    /// exit code is 1 when something is damaged.
    Check,
    /// Mend the store, and say what was lost; the node must not run
    ///
    /// What is damaged is set aside, what can be rebuilt is rebuilt, and the files that were replaced are kept in the
    /// folder `damaged` of the store. Messages that were set aside are fetched again from neighbours that still hold them.
    Repair,
    /// Show how much the store holds and takes; of a running node, what it says itself
    Stats,
}
