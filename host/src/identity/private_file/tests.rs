use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.json");
    (folder, path)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_new_file_is_private_and_reads_back() {
    let (folder, path) = folder();
    assert_eq!(create(&path, b"secret").unwrap(), Created::Yes);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(read(&path, 6).unwrap().unwrap().as_slice(), b"secret");
    assert_eq!(names(&folder), ["key.json"]);
    assert_eq!(fs::metadata(&path).unwrap().nlink(), 1);
}

#[test]
fn an_existing_file_is_never_created_over() {
    let (folder, path) = folder();
    fs::write(&path, "mine").unwrap();
    assert_eq!(create(&path, b"secret").unwrap(), Created::AlreadyThere);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(names(&folder), ["key.json"]);
}

#[test]
fn a_dangling_symlink_is_not_created_through() {
    let (folder, path) = folder();
    symlink(folder.path().join("elsewhere"), &path).unwrap();
    assert_eq!(create(&path, b"secret").unwrap(), Created::AlreadyThere);
    assert!(matches!(read(&path, 10), Err(IdentityError::Symlink { .. })));
    assert!(!folder.path().join("elsewhere").exists());
}

#[test]
fn replacing_keeps_the_file_private_and_leaves_nothing_behind() {
    let (folder, path) = folder();
    create(&path, b"old").unwrap();
    replace(&path, b"new").unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(names(&folder), ["key.json"]);
}

#[test]
fn replacing_a_symlink_replaces_the_link_not_its_target() {
    let (folder, path) = folder();
    let target = folder.path().join("target");
    fs::write(&target, "untouched").unwrap();
    symlink(&target, &path).unwrap();
    replace(&path, b"new").unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"untouched");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn every_bit_for_group_or_others_is_refused_with_the_mending_command() {
    let (_folder, path) = folder();
    create(&path, b"secret").unwrap();
    for bit in [0o040, 0o020, 0o010, 0o004, 0o002, 0o001] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600 | bit)).unwrap();
        let error = read(&path, 100).unwrap_err();
        assert!(matches!(error, IdentityError::Loose { .. }));
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
    }
    for private in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(private)).unwrap();
        assert!(read(&path, 100).is_ok());
    }
}

#[test]
fn symlinks_directories_and_pipes_are_refused_at_once() {
    let (folder, path) = folder();
    let target = folder.path().join("target");
    create(&target, b"secret").unwrap();
    symlink(&target, &path).unwrap();
    assert!(matches!(read(&path, 100), Err(IdentityError::Symlink { .. })));
    let directory = folder.path().join("directory");
    fs::create_dir(&directory).unwrap();
    assert!(matches!(read(&directory, 100), Err(IdentityError::NotAFile { .. })));
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, PRIVATE, 0).unwrap();
    assert!(matches!(read(&pipe, 100), Err(IdentityError::NotAFile { .. })));
}

#[test]
fn a_file_of_another_user_is_refused() {
    let facts = Facts { regular: true, mode: 0o600, owner: 1001, size: 1 };
    let error = facts.judge(Path::new("k"), 1000, 10).unwrap_err();
    assert!(matches!(error, IdentityError::Owner { owner: 1001, ours: 1000, .. }));
    assert!(error.to_string().contains("chown 1000 k"), "{error}");
    // With the real system, where the tests may change owners.
    let (_folder, path) = folder();
    create(&path, b"secret").unwrap();
    if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() && geteuid().as_raw() != 65_534 {
        assert!(matches!(read(&path, 100), Err(IdentityError::Owner { owner: 65_534, .. })));
    }
}

#[test]
fn a_huge_file_is_refused_before_it_is_read() {
    let (_folder, path) = folder();
    create(&path, b"").unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(read(&path, 1000), Err(IdentityError::TooLarge { size: 0x100_0000_0000, .. })));
}

#[test]
fn no_file_is_no_error() {
    let (_folder, path) = folder();
    assert!(read(&path, 10).unwrap().is_none());
}

#[test]
fn leftovers_of_a_crash_are_swept_and_nothing_else() {
    let (folder, path) = folder();
    create(&path, b"secret").unwrap();
    for name in [".key.json.1-0.new", ".other.json.1-0.new", "key.json.new", ".key.json.bak"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    sweep(&path);
    let mut left = names(&folder);
    left.sort();
    assert_eq!(left, [".key.json.bak", ".other.json.1-0.new", "key.json", "key.json.new"]);
}

#[test]
fn a_command_quotes_a_path_with_spaces() {
    let error = IdentityError::Loose { path: "/a b/it's".into(), mode: 0o644 };
    assert!(error.to_string().ends_with(r"chmod 600 '/a b/it'\''s'"), "{error}");
}

/// The umask belongs to the whole process, so it is changed in a process of its own: this very test, run again.
#[test]
fn the_umask_changes_nothing() {
    const MARK: &str = "QPQ_TEST_UMASK";
    if let Ok(umask) = std::env::var(MARK) {
        let umask = u32::from_str_radix(&umask, 8).unwrap();
        rustix::process::umask(Mode::from_raw_mode(umask));
        let folder = PathBuf::from(std::env::var("QPQ_TEST_FOLDER").unwrap());
        let path = folder.join(format!("{umask:o}.json"));
        create(&path, b"secret").unwrap();
        assert_eq!(mode(&path), 0o600);
        replace(&path, b"secret").unwrap();
        assert_eq!(mode(&path), 0o600);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for umask in ["000", "022", "077", "777"] {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "identity::private_file::tests::the_umask_changes_nothing"])
            .env(MARK, umask)
            .env("QPQ_TEST_FOLDER", folder.path())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "umask {umask}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 4);
}
