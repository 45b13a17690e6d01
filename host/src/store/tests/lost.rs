//! Files of the database that somebody removed: the store starts with what is left, and says for good what is gone.

use std::fs;

use super::check::{RECORDS, all_but_gone, checked, flush, genuine, mended, numbers, records_space, sample};
use super::*;

/// As a process leaves it that is killed.
fn kill(dir: &Path) {
    fs::remove_file(dir.join("closed")).unwrap();
}

fn remove_journals(dir: &Path) {
    for journal in journal::journals(&dir.join("db")).unwrap() {
        fs::remove_file(journal).unwrap();
    }
}

/// A store that was killed after some commits; all of them stand in the journal.
fn killed(dir: &Path) {
    let (store, _) = open(dir);
    for seq in 1..=10 {
        put(&store, Batch { append: vec![genuine(seq)], ..Batch::default() }).unwrap();
    }
    store.close();
    kill(dir);
}

/// That the notice is there at each start and in each check, until a repair puts it away.
fn stands_until_a_repair(dir: &Path, word: &str) {
    for _ in 0..2 {
        let (store, recovery) = open(dir);
        let lost = recovery.lost.unwrap();
        assert!(recovery.losses.is_empty(), "found once: {:?}", recovery.losses);
        assert!(lost.contains(word) && lost.contains("qpq store repair"), "{lost}");
        assert_eq!(store.stats().lost, Some(lost));
        store.close();
        let report = checked(dir);
        assert!(!report.ok && report.problems.iter().any(|problem| problem.contains(word)), "{report:?}");
    }
    let repaired = mended(dir);
    assert!(repaired.ok && repaired.done.iter().any(|line| line.contains(word)), "{repaired:?}");
    assert!(checked(dir).ok, "{:?}", checked(dir));
    let (store, recovery) = open(dir);
    assert_eq!((recovery.lost, recovery.damaged), (None, 0));
    store.close();
}

#[test]
fn journals_that_vanished_after_a_kill_are_missed() {
    let dir = tempfile::tempdir().unwrap();
    killed(dir.path());
    remove_journals(dir.path());
    let report = checked(dir.path());
    assert!(!report.ok && report.problems.iter().any(|problem| problem.contains("journals")), "{report:?}");
    let (store, recovery) = open(dir.path());
    assert_eq!((recovery.heads.len(), &recovery.losses[..]), (0, &[Loss::Journals][..]));
    assert!(!recovery.losses.is_empty() && recovery.next_seq > 10, "no number is used twice: {}", recovery.next_seq);
    put(&store, Batch { append: vec![genuine(recovery.next_seq)], ..Batch::default() }).unwrap();
    store.close();
    stands_until_a_repair(dir.path(), "journals");
    assert_eq!(numbers(dir.path()), [recovery.next_seq]);
}

#[test]
fn numbers_are_not_used_twice_even_if_nothing_is_written_after_the_loss() {
    let dir = tempfile::tempdir().unwrap();
    killed(dir.path());
    remove_journals(dir.path());
    for _ in 0..2 {
        let (store, recovery) = open(dir.path());
        assert!(recovery.next_seq > 10, "{}", recovery.next_seq);
        store.close();
        kill(dir.path());
    }
}

#[test]
fn what_is_written_after_journals_vanished_counts_as_newer_than_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let value = |text: &[u8]| Batch { kv: vec![(b"k".to_vec(), Some(text.to_vec()))], ..Batch::default() };
    for n in 0..20 {
        put(&store, value(&[n])).unwrap();
    }
    flush(&store);
    store.close();
    kill(dir.path());
    remove_journals(dir.path());
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery.losses, [Loss::Journals]);
    assert_eq!(store.kv_get(b"k").unwrap(), Some(vec![19]));
    put(&store, value(b"new")).unwrap();
    assert_eq!(store.kv_get(b"k").unwrap(), Some(b"new".to_vec()));
    store.close();
    assert_eq!(open(dir.path()).0.kv_get(b"k").unwrap(), Some(b"new".to_vec()));
}

#[test]
fn the_newest_journal_alone_is_missed_too() {
    let dir = tempfile::tempdir().unwrap();
    killed(dir.path());
    fs::rename(dir.path().join("db/0.jnl"), dir.path().join("db/7.jnl")).unwrap();
    open(dir.path()).0.close();
    kill(dir.path());
    fs::rename(dir.path().join("db/7.jnl"), dir.path().join("db/3.jnl")).unwrap();
    let (store, recovery) = open(dir.path());
    assert_eq!((recovery.heads.len(), recovery.losses), (10, vec![Loss::Journals]));
    store.close();
}

#[test]
fn commits_that_an_earlier_start_counted_are_missed() {
    let dir = tempfile::tempdir().unwrap();
    killed(dir.path());
    open(dir.path()).0.close();
    kill(dir.path());
    fs::write(dir.path().join("db/0.jnl"), b"").unwrap();
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery.losses, [Loss::Commits { missing: 10 }]);
    store.close();
    stands_until_a_repair(dir.path(), "10 commits");
}

#[test]
fn a_tables_folder_that_vanished_is_missed_and_what_the_journals_hold_of_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    sample(dir.path());
    let space = records_space(dir.path());
    kill(dir.path());
    fs::remove_dir_all(space).unwrap();
    let report = checked(dir.path());
    assert!(!report.ok && report.problems.iter().any(|problem| problem.contains("table records")), "{report:?}");
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery.losses, [Loss::Table { name: "records".into() }]);
    assert!(recovery.heads.iter().any(|head| head.seq == RECORDS), "the last ones stand in the journal");
    put(&store, Batch { append: vec![genuine(recovery.next_seq)], ..Batch::default() }).unwrap();
    store.close();
    stands_until_a_repair(dir.path(), "table records");
    assert!(numbers(dir.path()).contains(&recovery.next_seq));
}

#[test]
fn the_whole_database_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    killed(dir.path());
    fs::remove_dir_all(dir.path().join("db")).unwrap();
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery.losses, [Loss::Database,]);
    store.close();
    stands_until_a_repair(dir.path(), "folder db");
}

#[test]
fn what_opening_would_destroy_is_refused_and_a_repair_brings_it_back() {
    let lists = |dir: &Path| records_space(dir).join("current");
    let names = |dir: &Path| dir.join("db/keyspaces/0");
    for vanish in [&lists as &dyn Fn(&Path) -> std::path::PathBuf, &names] {
        let dir = tempfile::tempdir().unwrap();
        sample(dir.path());
        let gone = vanish(dir.path());
        kill(dir.path());
        if gone.is_dir() {
            fs::remove_dir_all(&gone).unwrap();
        } else {
            fs::remove_file(&gone).unwrap();
        }
        let refused = Store::open(dir.path(), StoreConfig::default(), 0).map(drop).unwrap_err();
        assert_eq!(refused.code(), "store-damaged", "{}", gone.display());
        assert!(refused.to_string().contains("qpq store repair"), "{refused}");
        let report = checked(dir.path());
        assert!(!report.ok && report.files.len() == 1, "{report:?}");
        assert_eq!(report.envelopes.all.messages, RECORDS - 1, "all can be read");
        assert!(mended(dir.path()).ok);
        assert_eq!(numbers(dir.path()), all_but_gone(), "{}", gone.display());
    }
}

#[test]
fn an_index_on_disk_is_built_anew_after_a_loss() {
    let dir = tempfile::tempdir().unwrap();
    let config = || StoreConfig { index: IndexPlace::Disk, ..StoreConfig::default() };
    let (store, _) = Store::open(dir.path(), config(), 0).unwrap();
    put(&store, Batch { append: vec![genuine(1)], index_built: true, ..Batch::default() }).unwrap();
    let space = store.0.shared.with_engine(|engine| Ok(engine.index.as_ref().unwrap().tables()[0].path().to_owned()));
    store.close();
    assert!(Store::open(dir.path(), config(), 0).map(|(store, found)| (store.close(), found.indexed).1).unwrap());
    fs::remove_dir_all(space.unwrap()).unwrap();
    let (store, recovery) = Store::open(dir.path(), config(), 0).unwrap();
    assert_eq!((recovery.losses.len(), recovery.indexed, recovery.heads.len()), (1, false, 1));
    store.close();
}

#[test]
fn a_start_that_was_killed_before_there_was_a_database_raises_no_alarm() {
    let dir = tempfile::tempdir().unwrap();
    migrate::check(dir.path()).unwrap();
    let (store, recovery) = open(dir.path());
    assert_eq!((recovery.losses, recovery.lost, recovery.damaged), (vec![], None, 0));
    store.close();
}
