//! Runs a program and records, in one order, what it told the disk and what it said meanwhile; or makes one of these
//! operations fail. The work is done by `tests/c/recorder.c`, which is built at first use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Failure, Outcome, binaries};

/// The exit code of the recorder where a machine does not allow one program to trace another.
const CANNOT: i32 = 125;

/// The folder of a store is an inode number; so is a file.
pub type Inode = u64;

/// One thing that the program did, in the order in which it did them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A file or folder came into a folder.
    Made {
        /// In that folder.
        folder: Inode,
        /// Under that name.
        name: String,
        /// It is that.
        inode: Inode,
        /// It is a folder.
        is_folder: bool,
    },
    /// Bytes were written into a file.
    Written {
        /// The file.
        inode: Inode,
        /// From that place on.
        at: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file was given another length.
    Cut {
        /// The file.
        inode: Inode,
        /// Its length since, in bytes.
        size: u64,
    },
    /// A name was moved, in the place of whatever had the new one.
    Renamed {
        /// From that folder and name.
        from: (Inode, String),
        /// To that folder and name.
        to: (Inode, String),
        /// What it names.
        inode: Inode,
    },
    /// A second name was given to a file.
    Linked {
        /// In that folder.
        folder: Inode,
        /// The new name.
        name: String,
        /// The file.
        inode: Inode,
    },
    /// A name was removed.
    Removed {
        /// From that folder.
        folder: Inode,
        /// The name.
        name: String,
    },
    /// A sync of a file or folder began. It covers what was recorded before this.
    SyncBegan {
        /// The file or folder.
        inode: Inode,
        /// By this number its end is known.
        number: u64,
    },
    /// A sync ended well.
    SyncEnded {
        /// The file or folder.
        inode: Inode,
        /// The number of its begin.
        number: u64,
    },
    /// A sync failed. What it should have covered may never reach the disk, also if a later sync succeeds.
    SyncFailed {
        /// The file or folder.
        inode: Inode,
        /// The number of its begin.
        number: u64,
    },
    /// The program said something.
    Said(String),
    /// It wrote in a way that isn't recorded, so the record is worth nothing.
    Strange(String),
    /// An operation was made to fail.
    Fault {
        /// Its number.
        number: u64,
        /// Which it was, and how it failed.
        what: String,
    },
}

/// What shall go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The operation fails with an I/O error.
    Eio,
    /// It fails for lack of room.
    NoSpace,
    /// It fails with an I/O error, and so does all that follows.
    Dead,
    /// It and the next two dozen operations that need room fail for lack of it.
    Full,
    /// The first write from there on writes half of its bytes.
    Short,
    /// The same, and everything later on that file fails.
    Torn,
}

impl Fault {
    /// All that can go wrong.
    pub const ALL: [Self; 6] = [Self::Eio, Self::NoSpace, Self::Dead, Self::Full, Self::Short, Self::Torn];

    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Eio => "eio",
            Self::NoSpace => "enospc",
            Self::Dead => "dead",
            Self::Full => "full",
            Self::Short => "short",
            Self::Torn => "torn",
        }
    }
}

/// How to record a program.
#[derive(Debug, Clone)]
pub struct Recording<'a> {
    /// The folder whose files are followed, without symbolic links in its path.
    pub folder: &'a Path,
    /// The file into which the program writes what it says.
    pub said: &'a Path,
    /// The record; longer after each program.
    pub log: &'a Path,
    /// What goes wrong, at which operation (counted from 1).
    pub fault: (Fault, u64),
}

/// Why programs can't be recorded here, if so.
pub fn missing() -> Option<&'static str> {
    if !cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        return Some("the recorder of disk operations knows Linux on x86-64 and aarch64 only");
    }
    if !crate::skip::has_program("cc", "--version") {
        return Some("there is no C compiler `cc` to build the recorder of disk operations");
    }
    let folder = tempfile::tempdir().ok()?;
    let recording = Recording {
        folder: folder.path(),
        said: Path::new("-"),
        log: &folder.path().join("log"),
        fault: (Fault::None, 0),
    };
    let code = recording.run(&mut Command::new("/bin/true"));
    (code.ok()? == CANNOT).then_some("this machine doesn't let a program trace another (ptrace, seccomp)")
}

impl Recording<'_> {
    /// Runs a program under the recorder and returns its exit code (128 and more: a signal).
    ///
    /// Only the program's path, arguments and environment are taken from `program`.
    pub fn run(&self, program: &mut Command) -> Outcome<i32> {
        let mut command = Command::new(built()?);
        command.arg(self.log).arg(self.folder).arg(self.said);
        command.arg(self.fault.0.word()).arg(self.fault.1.to_string());
        command.arg(program.get_program()).args(program.get_args());
        for (key, value) in program.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        status.code().ok_or_else(|| Failure::new(format!("the recorder ended by {status}")))
    }

    /// What was recorded so far.
    pub fn events(&self) -> Outcome<Vec<Event>> {
        let bytes = fs::read(self.log)?;
        parse(&bytes).ok_or_else(|| Failure::new(format!("the record {} can't be read", self.log.display())))
    }
}

/// The recorder, built if it is missing or older than its source.
fn built() -> Outcome<PathBuf> {
    static BUILT: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = BUILT.lock();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("c/recorder.c");
    let program = binaries::dir()?.join("qpq-test-recorder");
    let time = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified());
    if time(&program).is_ok_and(|built| time(&source).is_ok_and(|written| written < built)) {
        return Ok(program);
    }
    // Under another name first: a second test process may be doing the same.
    let fresh = program.with_extension(std::process::id().to_string());
    let output = Command::new("cc").args(["-O2", "-Wall", "-Wextra", "-o"]).arg(&fresh).arg(&source).output()?;
    if !output.status.success() {
        return Err(Failure::new(format!("cc: {}", String::from_utf8_lossy(&output.stderr))));
    }
    fs::rename(&fresh, &program)?;
    Ok(program)
}

/// The number in front of some bytes, in this machine's order.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_ne_bytes(*head))
}

fn parse(mut bytes: &[u8]) -> Option<Vec<Event>> {
    let mut events = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (record, rest) = rest.split_at_checked(u32::from_ne_bytes(*len) as usize)?;
        events.push(event(record)?);
        bytes = rest;
    }
    bytes.is_empty().then_some(events)
}

fn event(record: &[u8]) -> Option<Event> {
    let (code, mut rest) = record.split_first()?;
    let (a, b, c) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
    let text = || String::from_utf8_lossy(rest).into_owned();
    Some(match code {
        1 | 2 => Event::Made { folder: a, name: text(), inode: b, is_folder: *code == 2 },
        3 => Event::Written { inode: a, at: b, bytes: rest.to_vec() },
        4 => Event::Cut { inode: a, size: b },
        5 => {
            let names = text();
            let (from, to) = names.split_once('\0')?;
            Event::Renamed { from: (a, from.to_owned()), to: (b, to.to_owned()), inode: c }
        }
        6 => Event::Linked { folder: a, name: text(), inode: b },
        7 => Event::Removed { folder: a, name: text() },
        8 => Event::SyncBegan { inode: a, number: b },
        9 => Event::SyncEnded { inode: a, number: b },
        10 => Event::SyncFailed { inode: a, number: b },
        11 => Event::Said(text()),
        12 => Event::Strange(text()),
        13 => Event::Fault { number: a, what: text() },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(fault: (Fault, u64), script: &str) -> Outcome<Option<(i32, Vec<Event>)>> {
        if let Some(why) = missing() {
            crate::skip::skip::<Failure>(why)?;
            return Ok(None);
        }
        let place = tempfile::tempdir()?;
        let root = place.path().canonicalize()?;
        let folder = root.join("folder");
        fs::create_dir(&folder)?;
        let (said, log) = (root.join("said"), root.join("log"));
        let recording = Recording { folder: &folder, said: &said, log: &log, fault };
        let mut program = Command::new("/bin/sh");
        program.args(["-c", script]).env("FOLDER", &folder).env("SAID", &said);
        let code = recording.run(&mut program)?;
        Ok(Some((code, recording.events()?)))
    }

    #[test]
    fn what_a_program_does_is_recorded_in_its_order() -> Outcome {
        let script = "cd $FOLDER; echo hallo > a; mv a b; echo done > $SAID; mkdir d; rm b; rmdir d; : > /dev/null";
        let Some((code, events)) = recorded((Fault::None, 0), script)? else { return Ok(()) };
        assert_eq!(code, 0);
        let kinds: Vec<_> = events
            .iter()
            .map(|event| match event {
                Event::Made { name, .. } | Event::Removed { name, .. } => name.as_str(),
                Event::Written { bytes, at: 0, .. } if bytes == b"hallo\n" => "hallo",
                Event::Renamed { from, to, .. } if from.1 == "a" && to.1 == "b" => "a to b",
                Event::Said(text) => text.trim(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, ["a", "hallo", "a to b", "done", "d", "b", "d"]);
        Ok(())
    }

    #[test]
    fn the_operation_that_shall_fail_fails_and_no_other() -> Outcome {
        let script = "cd $FOLDER; echo one > a; echo two > b || echo failed > $SAID; echo three > c";
        // Each `echo` makes a file and writes to it.
        let Some((_, events)) = recorded((Fault::Eio, 4), script)? else { return Ok(()) };
        let written: Vec<_> = events.iter().filter(|event| matches!(event, Event::Written { .. })).collect();
        assert_eq!(written.len(), 2, "{events:?}");
        assert!(events.contains(&Event::Said("failed\n".to_owned())), "{events:?}");
        assert!(events.iter().any(|event| matches!(event, Event::Fault { number: 4, .. })), "{events:?}");
        Ok(())
    }
}
