use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;
use crate::api::Trust;

const SEED: [u8; 32] = [0x5e; 32];
const SEED_HEX: &str = "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e";

fn home() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(IDENTITY_FILE);
    (home, path)
}

fn open_in(home: &tempfile::TempDir) -> Result<(Arc<Identity>, Directory), IdentityError> {
    open(home.path(), &mut rand::rng())
}

/// Puts that text there as a private identity file, and has it opened.
fn open_text(text: &str) -> Result<(Arc<Identity>, Directory), IdentityError> {
    let (home, path) = home();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let result = open_in(&home);
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "an identity file was overwritten");
    result
}

fn good_text() -> String {
    let id = Identity::from_seed(&SEED).peer_id();
    format!(
        "{{\n  \"schema\": \"qpq.identity/1\",\n  \"peer_id\": \"{id}\",\n  \"secret_seed\": \"{SEED_HEX}\",\n  \"peers\": []\n}}\n"
    )
}

fn shown(error: &IdentityError) -> String {
    let text = format!("{error} {error:?}");
    assert!(!text.contains(&SEED_HEX[..8]), "an error shows the secret: {text}");
    text
}

#[test]
fn the_first_start_makes_a_private_file_and_the_next_reads_it() {
    let (home, path) = home();
    let (first, directory) = open_in(&home).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(directory.is_empty());
    let (second, _) = open_in(&home).unwrap();
    assert_eq!(first.peer_id(), second.peer_id());
    assert_ne!(first.peer_id(), Identity::generate(&mut rand::rng()).peer_id());
}

#[test]
fn the_directory_is_kept_over_a_restart() {
    let (home, path) = home();
    let (_, mut directory) = open_in(&home).unwrap();
    let (a, b, c) = (PeerId([1; 32]), PeerId([2; 32]), PeerId([3; 32]));
    let sighting = Sighting {
        nickname: Some("Böbli".into()),
        domain: Some("home.example".into()),
        addresses: vec!["quic://a:1".into(), "iroh://xyz".into()],
        seen_ms: Some(77),
    };
    directory.upsert(a, &sighting).unwrap();
    directory.set_trust(b, Trust::Blocked).unwrap();
    directory.set_nickname(c, Some("carol")).unwrap();
    directory.save().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let (_, again) = open_in(&home).unwrap();
    assert!(again.entries().eq(directory.entries()));
    assert!(again.blocked().contains(&b));
    assert!(!again.dirty());
}

#[test]
fn a_save_may_be_written_by_another_thread() {
    let (home, _) = home();
    let (_, mut directory) = open_in(&home).unwrap();
    assert!(directory.take_save().is_none());
    directory.set_trust(PeerId([2; 32]), Trust::Trusted).unwrap();
    let save = directory.take_save().unwrap();
    assert!(!format!("{save:?}").contains("seed"));
    std::thread::spawn(move || save.write().unwrap()).join().unwrap();
    assert_eq!(open_in(&home).unwrap().1.trust(&PeerId([2; 32])), Trust::Trusted);
}

#[test]
fn a_save_that_fails_is_tried_again() {
    let (home, path) = home();
    let (_, mut directory) = open_in(&home).unwrap();
    directory.set_trust(PeerId([2; 32]), Trust::Trusted).unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(directory.save(), Err(IdentityError::Io { .. })));
    assert!(directory.dirty());
    fs::remove_dir(&path).unwrap();
    directory.save().unwrap();
    assert_eq!(fs::read_dir(&home).unwrap().count(), 1);
}

#[test]
fn a_file_that_others_can_read_is_refused_with_the_mending_command() {
    let (home, path) = home();
    open_in(&home).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = open_in(&home).unwrap_err();
    assert!(shown(&error).contains(&format!("chmod 600 {}", path.display())));
    let command = error.to_string().split("with: ").nth(1).unwrap().to_owned();
    assert!(std::process::Command::new("sh").args(["-c", &command]).status().unwrap().success());
    open_in(&home).unwrap();
}

#[test]
fn a_symlink_is_refused_even_to_a_good_file() {
    let (home, path) = home();
    open_in(&home).unwrap();
    let elsewhere = home.path().join("elsewhere.json");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    assert!(matches!(open_in(&home), Err(IdentityError::Symlink { .. })));
}

#[test]
fn a_dangling_symlink_does_not_pass_for_a_first_start() {
    let (home, path) = home();
    symlink(home.path().join("nowhere"), &path).unwrap();
    assert!(matches!(open_in(&home), Err(IdentityError::Symlink { .. })));
}

#[test]
fn a_missing_data_directory_is_an_error_with_its_path() {
    let error = open(Path::new("/nonexistent/qpq"), &mut rand::rng()).unwrap_err();
    assert!(shown(&error).contains("/nonexistent/qpq"));
}

#[test]
fn a_corrupt_file_is_refused_with_path_line_and_column() {
    let text = good_text().replace("\"peers\": []", "\"peers\": [,]");
    let error = open_text(&text).unwrap_err();
    assert!(matches!(error, IdentityError::Corrupt { line: 5, column: 13, .. }), "{error:?}");
    assert!(shown(&error).contains("identity.json:5:13: "));
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let text = good_text();
    for end in 0..text.trim_end().len() {
        assert!(matches!(open_text(&text[..end]), Err(IdentityError::Corrupt { .. })), "cut at {end}");
    }
    open_text(text.trim_end()).unwrap();
}

#[test]
fn every_byte_changed_is_refused_or_harmless_and_never_shows_the_secret() {
    let text = good_text();
    let own = Identity::from_seed(&SEED).peer_id();
    for i in 0..text.len() {
        for new in ["#", "\"", "0", "\u{1}"] {
            let changed = format!("{}{new}{}", &text[..i], &text[i + 1..]);
            match open_text(&changed) {
                Ok((identity, _)) => assert_eq!(identity.peer_id(), own),
                Err(error) => drop(shown(&error)),
            }
        }
    }
}

#[test]
fn no_error_shows_the_secret_wherever_it_stands() {
    let good = good_text();
    let misplaced = [
        good.replace("\"peers\": []", &format!("\"{SEED_HEX}\": 1")),
        good.replace("\"peers\": []", &format!("\"peers\": \"{SEED_HEX}\"")),
        good.replace("qpq.identity/1", SEED_HEX),
        good.replace("\"peers\": []", &format!("\"peers\": [{{\"peer_id\": \"{SEED_HEX}f\"}}]")),
        good.replace(
            "\"peers\": []",
            &format!("\"peers\": [{{\"peer_id\": \"{SEED_HEX}\", \"trust\": \"{SEED_HEX}\"}}]"),
        ),
        good.replace(SEED_HEX, &format!("{SEED_HEX}5e")),
        good.replace(&format!("\"{SEED_HEX}\""), &format!("[\"{SEED_HEX}\"]")),
        good.replace(&format!("\"{SEED_HEX}\""), &format!("{{\"{SEED_HEX}\":1}}")),
        good.replace(&format!("\"{SEED_HEX}\""), SEED_HEX),
    ];
    for text in misplaced {
        shown(&open_text(&text).unwrap_err());
    }
}

#[test]
fn an_unknown_field_is_refused_since_it_would_be_lost() {
    let error = open_text(&good_text().replace("\"peers\": []", "\"colour\": \"red\"")).unwrap_err();
    assert!(matches!(error, IdentityError::Corrupt { line: 5, .. }), "{error:?}");
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let error = open_text(&good_text().replace("qpq.identity/1", "qpq.identity/2")).unwrap_err();
    assert!(matches!(error, IdentityError::Schema { .. }), "{error:?}");
}

#[test]
fn a_public_key_of_another_secret_is_refused() {
    let text = good_text().replace(&Identity::from_seed(&SEED).peer_id().to_string(), &"ab".repeat(32));
    assert!(matches!(open_text(&text), Err(IdentityError::KeyMismatch { .. })));
}

#[test]
fn names_written_into_the_file_are_cleaned_too() {
    let entry = format!(
        "\"peers\": [{{\"peer_id\": \"{}\", \"nickname\": \"a\\u001b[2Jb\", \"addresses\": [\"no address\"], \"trust\": \"trusted\"}}]",
        "ab".repeat(32)
    );
    let (_, directory) = open_text(&good_text().replace("\"peers\": []", &entry)).unwrap();
    let (_, peer) = directory.entries().next().unwrap();
    assert_eq!(peer.nickname.as_deref(), Some("a[2Jb"));
    assert!(peer.addresses.is_empty() && peer.trust == Trust::Trusted);
}

#[test]
fn nothing_prints_the_secret() {
    let identity = Arc::new(Identity::from_seed(&SEED));
    let directory = Directory::in_memory(Arc::clone(&identity));
    let text = format!("{identity:?} {directory:?} {:?}", identity.signing_key());
    assert!(!text.contains("5e5e5e") && !text.contains("94, 94, 94"), "{text}");
}
