//! Sockets of the test itself inside a namespace.

use std::fs::File;
use std::io;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{Failure, Outcome};

/// Makes sockets inside a namespace. They stay there whichever thread uses them.
pub fn inside<T: Send + 'static>(namespace: &str, make: impl FnOnce() -> io::Result<T> + Send + 'static) -> Outcome<T> {
    let entry = File::open(std::path::Path::new("/run/netns").join(namespace))?;
    // A namespace belongs to a thread, so a thread is made for it.
    let made = std::thread::spawn(move || {
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&entry), Some(LinkNameSpaceType::Network))?;
        make()
    });
    Ok(made.join().map_err(|_| Failure::new("a thread panicked"))??)
}
