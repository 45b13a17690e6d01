use super::*;

/// The bytes of a batch, as the database writes them.
fn batch(number: u64, values: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![START];
    out.extend_from_slice(&(values.len() as u32).to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    let mut items = Vec::new();
    for value in values {
        items.extend_from_slice(&[ITEM, 0, 0]);
        items.extend_from_slice(&1u64.to_le_bytes());
        items.extend_from_slice(&3u16.to_le_bytes());
        items.extend_from_slice(&(value.len() as u32).to_le_bytes());
        items.extend_from_slice(&(value.len() as u32).to_le_bytes());
        items.extend_from_slice(b"key");
        items.extend_from_slice(value);
    }
    let mut hasher = Xxh3::new();
    hasher.update(&items);
    out.extend_from_slice(&items);
    out.push(END);
    out.extend_from_slice(&hasher.digest().to_le_bytes());
    out.extend_from_slice(MAGIC);
    out
}

/// Writes a journal into a new store folder, mends it, and returns what it then holds.
fn mended(journal: &[u8], rewrite: bool) -> (Vec<u8>, Mended, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("db");
    fs::create_dir(&db).unwrap();
    fs::write(db.join("0.jnl"), journal).unwrap();
    let mended = mend(&db, rewrite).unwrap();
    (fs::read(db.join("0.jnl")).unwrap(), mended, dir)
}

fn journal() -> Vec<Vec<u8>> {
    (0..5).map(|n| batch(10 + n, &[b"one", &[n as u8; 40]])).collect()
}

#[test]
fn an_intact_journal_is_left_alone() {
    let mut whole = journal().concat();
    whole.extend_from_slice(&[0; 100_000]);
    let (found, mended, _dir) = mended(&whole, false);
    assert!(found == whole);
    assert_eq!((mended.damaged, mended.notes.len()), (0, 0));
}

#[test]
fn an_unfinished_end_is_cut_off() {
    let batches = journal();
    let whole = batches.concat();
    let kept = batches[..4].concat();
    for cut in kept.len() + 1..whole.len() {
        let (found, mended, _dir) = mended(&whole[..cut], false);
        assert!(found == kept, "cut at {cut}");
        assert_eq!((mended.damaged, mended.notes.len()), (0, 1));
    }
}

#[test]
fn a_damaged_stretch_is_taken_out_and_what_follows_is_kept() {
    let batches = journal();
    let whole = batches.concat();
    let (from, to) = (batches[0].len() + batches[1].len(), batches[..3].concat().len());
    let rest = [&batches[..2].concat()[..], &batches[3..].concat()].concat();
    for at in from..to {
        for bit in [0, 7] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            let (found, mended, dir) = mended(&damaged, false);
            let in_number = (from + 5..from + START_LEN).contains(&at);
            assert!(found == if in_number { whole.clone() } else { rest.clone() }, "bit {bit} of {at}");
            assert_eq!(mended.damaged, 1, "bit {bit} of {at}: {:?}", mended.notes);
            assert!(
                fs::read(dir.path().join("damaged/0.jnl.1")).unwrap() == damaged,
                "the file is kept as it was found"
            );
        }
    }
}

#[test]
fn a_batch_inside_a_message_is_not_taken_for_one_of_the_journal() {
    let forged = batch(1_000_000, &[b"forged"]);
    let mut batches = journal();
    batches[2] = batch(12, &[&[7; 30], &forged, b"after"]);
    let mut whole = batches.concat();
    let at = batches[..2].concat().len() + START_LEN + 5;
    whole[at] ^= 1;
    let (found, mended, _dir) = mended(&whole, false);
    assert!(found == [&batches[..2].concat()[..], &batches[3..].concat()].concat());
    assert_eq!(mended.damaged, 1);
}

#[test]
fn writing_afresh_keeps_just_the_batches() {
    let mut whole = journal().concat();
    whole.extend_from_slice(&[0; 5_000]);
    let (found, mended, dir) = mended(&whole, true);
    assert!(found == journal().concat());
    assert_eq!(mended.damaged, 0);
    assert!(!dir.path().join("damaged").exists());
}

#[test]
fn lengths_that_lie_ask_for_no_memory() {
    for place in START_LEN + 11..START_LEN + ITEM_LEN {
        let mut whole = journal().concat();
        whole[place] = 0xff;
        let (found, mended, _dir) = mended(&whole, false);
        assert!(found == journal()[1..].concat(), "{place}");
        assert_eq!(mended.damaged, 1);
    }
}
