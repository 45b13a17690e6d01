use super::*;
use crate::store::{SeenState, Store, StoreConfig};
use std::path::PathBuf;

/// A store as format 1 had it: 40 records, of which number 8 was removed; ids in every state; three values. Part of it
/// stands in tables, part in the journal.
fn format_1() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrate/format-1")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn version(dir: &Path) -> String {
    fs::read_to_string(dir.join(FORMAT_FILE)).unwrap()
}

#[test]
fn a_store_of_format_1_goes_on_with_all_that_was_in_it() {
    let dir = tempfile::tempdir().unwrap();
    copy(&format_1(), dir.path());
    assert_eq!(version(dir.path()), "qpq-store 1\n");
    for round in 0..2 {
        let (store, recovery) = Store::open(dir.path(), StoreConfig::default(), 0).unwrap();
        let told = recovery.repairs.iter().filter(|note| note.contains("from 1 to 2")).count();
        assert_eq!((told, recovery.damaged), (1 - round, 0), "{:?}", recovery.repairs);
        assert_eq!(version(dir.path()), "qpq-store 2\n");
        let numbers: Vec<u64> = recovery.heads.iter().map(|head| head.seq).collect();
        assert_eq!(numbers, (1..=40).filter(|seq| *seq != 8).collect::<Vec<_>>());
        for head in &recovery.heads {
            let found = store.read(head.seq).unwrap();
            let view = qpq_schemas::envelope::EnvelopeRef::parse(&found.wire, 1 << 20).unwrap();
            assert_eq!((view.id(), found.head), (head.id, *head));
        }
        let states = |wanted: fn(&SeenState) -> bool| recovery.seen.iter().filter(|entry| wanted(&entry.state)).count();
        assert_eq!(recovery.seen.len(), 41);
        assert_eq!(states(|state| *state == SeenState::Held), 39);
        assert_eq!(states(|state| *state == SeenState::Delivered), 1);
        assert_eq!(states(|state| matches!(state, SeenState::PassedOn { hops: 3, .. })), 1);
        assert_eq!(store.kv_scan(b"", None, 10).unwrap().len(), 3);
        assert_eq!(recovery.next_seq, 41);
        store.close();
    }
}

/// Writes down that it ran; the second time too.
fn writes(engine: &Engine) -> Result<(), Fault> {
    engine.kv.insert(b"step", b"done").map_err(|error| Fault::writing(&error))
}

fn fails(_: &Engine) -> Result<(), Fault> {
    Err(Fault::Write("no".into()))
}

#[test]
fn a_step_that_fails_leaves_the_version_before_it_and_is_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(&dir.path().join(DB_DIR), &StoreConfig::default()).unwrap();
    let steps = |second| [Step { from: 1, what: "one", run: writes }, Step { from: 2, what: "two", run: second }];
    name(dir.path(), 1).unwrap();
    assert!(run_steps(dir.path(), &engine, 1, &steps(fails)).is_err());
    assert_eq!(version(dir.path()), "qpq-store 2\n", "the first step is done");
    assert_eq!(run_steps(dir.path(), &engine, 2, &steps(writes)).unwrap().len(), 1);
    assert_eq!(version(dir.path()), "qpq-store 3\n");
    assert!(engine.kv.contains_key(b"step").unwrap());
    assert_eq!(run_steps(dir.path(), &engine, 3, &steps(writes)).unwrap(), Vec::<String>::new());
}

#[test]
fn a_crash_before_the_new_version_is_named_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    copy(&format_1(), dir.path());
    fs::write(dir.path().join("FORMAT.new"), "qpq-st").unwrap(); // half of the new name
    assert_eq!(found(dir.path()).unwrap(), Found::Version(1));
    drop(Store::open(dir.path(), StoreConfig::default(), 0).unwrap());
    assert_eq!(version(dir.path()), "qpq-store 2\n");
}

#[test]
fn a_newer_format_is_refused_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    copy(&format_1(), dir.path());
    name(dir.path(), FORMAT_VERSION + 1).unwrap();
    let refused = Store::open(dir.path(), StoreConfig::default(), 0).map(drop).unwrap_err();
    assert_eq!(refused.code(), "store-format");
    assert_eq!(version(dir.path()), format!("qpq-store {}\n", FORMAT_VERSION + 1));
}

#[test]
fn the_steps_lead_to_our_version_without_a_gap() {
    let versions: Vec<u32> = STEPS.iter().map(|step| step.from).collect();
    assert_eq!(versions, (OLDEST_FORMAT..FORMAT_VERSION).collect::<Vec<_>>());
}
