//! The path of the control socket, and making it in a way that leaves no moment of weakness.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::SOCKET_NAME;

/// The address of a Unix socket holds 108 bytes on Linux, 104 elsewhere, with its final zero.
const MAX_SOCKET_PATH: usize = 100;

/// A folder under a path that is short enough for a socket address.
struct ShortPath {
    path: PathBuf,
    /// Keeps the path through `/proc/self/fd` valid.
    _folder: Option<File>,
}

impl ShortPath {
    /// `reserve` is how many bytes will be appended.
    fn of(folder: &Path, reserve: usize) -> io::Result<Self> {
        if folder.as_os_str().len() + reserve <= MAX_SOCKET_PATH {
            return Ok(Self { path: folder.to_owned(), _folder: None });
        }
        if !cfg!(target_os = "linux") {
            let text = "the path of the data directory is too long for a Unix socket; choose a shorter one";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let file = File::open(folder)?;
        Ok(Self { path: PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())), _folder: Some(file) })
    }
}

/// Connects to the control socket in a data directory.
pub(super) fn connect(home: &Path) -> io::Result<UnixStream> {
    let short = ShortPath::of(home, SOCKET_NAME.len() + 1)?;
    UnixStream::connect(short.path.join(SOCKET_NAME))
}

/// Binds the control socket in a data directory, with mode 0600 from its first moment.
///
/// It is made in a closed folder and moved to its place, which also replaces the socket that a killed node left
/// behind. Fails with `AddrInUse` when a node answers there, and when something that is no socket is in the way.
pub(super) fn bind(home: &Path) -> io::Result<UnixListener> {
    refuse_occupied(home)?;
    let nursery_name = format!(".sock-{}", std::process::id());
    let nursery = home.join(&nursery_name);
    // A leftover of a killed process with the same id.
    let _ = std::fs::remove_file(nursery.join(SOCKET_NAME));
    let _ = std::fs::remove_dir(&nursery);
    DirBuilder::new().mode(0o700).create(&nursery)?;
    let listener = bind_in(home, &nursery, &nursery_name);
    let _ = std::fs::remove_file(nursery.join(SOCKET_NAME));
    let _ = std::fs::remove_dir(&nursery);
    listener
}

fn bind_in(home: &Path, nursery: &Path, nursery_name: &str) -> io::Result<UnixListener> {
    let short = ShortPath::of(home, nursery_name.len() + SOCKET_NAME.len() + 2)?;
    let listener = UnixListener::bind(short.path.join(nursery_name).join(SOCKET_NAME))?;
    let made = nursery.join(SOCKET_NAME);
    std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    std::fs::rename(made, home.join(SOCKET_NAME))?;
    Ok(listener)
}

fn refuse_occupied(home: &Path) -> io::Result<()> {
    let path = home.join(SOCKET_NAME);
    let Ok(metadata) = std::fs::symlink_metadata(&path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        let text = format!("{} is in the way and is no socket; move it away", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    match connect(home) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "a running node answers on it")),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_can_open_the_socket() {
        let home = tempfile::tempdir().unwrap();
        let _listener = bind(home.path()).unwrap();
        let mode = std::fs::metadata(home.path().join(SOCKET_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [SOCKET_NAME], "nothing else is left behind");
    }

    #[test]
    fn the_socket_of_a_killed_node_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        drop(bind(home.path()).unwrap());
        assert!(home.path().join(SOCKET_NAME).exists());
        let _listener = bind(home.path()).unwrap();
        connect(home.path()).unwrap();
    }

    #[test]
    fn a_socket_that_answers_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let _listener = bind(home.path()).unwrap();
        assert_eq!(bind(home.path()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        connect(home.path()).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_never_removed() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(SOCKET_NAME), "precious").unwrap();
        assert!(bind(home.path()).unwrap_err().to_string().contains("no socket"));
        assert_eq!(std::fs::read(home.path().join(SOCKET_NAME)).unwrap(), b"precious");
    }

    #[test]
    fn a_long_path_of_the_data_directory_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("a".repeat(120)).join("b".repeat(120));
        std::fs::create_dir_all(&home).unwrap();
        let _listener = bind(&home).unwrap();
        connect(&home).unwrap();
    }
}
