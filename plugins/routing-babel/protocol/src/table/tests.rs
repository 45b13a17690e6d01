use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn key(n: u16) -> Key {
    let mut key = [0; 32];
    key[..2].copy_from_slice(&n.to_be_bytes());
    key
}

fn record(seqno: u64) -> Record {
    Record { seqno, not_after: 1, signature: [3; 64] }
}

#[test]
fn rows_and_cells_are_packed() {
    assert_eq!((size_of::<Row>(), size_of::<Cell>()), (128, 8));
}

#[test]
fn a_higher_sequence_number_leaves_what_was_said_behind() {
    let mut table = Table::new(1);
    table.set_slots(2);
    let row = table.add(&key(1), &record(10), 0);
    table.cell_mut(row, 0).hear(100, 1, 0, 0);
    table.row_mut(row).tell(&Told { seqno: 10, metric: 200, hops: 2 });
    table.row_mut(row).lower(&Told { seqno: 10, metric: 200, hops: 2 });
    table.raise(row, &record(13));
    assert_eq!(table.cell(row, 0).lag, 3);
    assert_eq!(table.row(row).told(), Told { seqno: 10, metric: 200, hops: 2 });
    assert_eq!(table.row(row).feasibility(), Some((3, 200)));
    assert!(table.row(row).is_feasible(2, 5_000), "newer, so whatever it costs");
    assert!(table.row(row).is_feasible(3, 199));
    assert!(!table.row(row).is_feasible(3, 200));
    assert!(!table.row(row).is_feasible(4, 1), "older");
}

#[test]
fn what_is_too_far_behind_is_never_feasible_and_forbids_no_less() {
    let mut table = Table::new(1);
    table.set_slots(1);
    let row = table.add(&key(1), &record(10), 0);
    table.cell_mut(row, 0).hear(100, 1, 0, 0);
    table.row_mut(row).lower(&Told { seqno: 10, metric: 200, hops: 2 });
    table.raise(row, &record(u64::MAX));
    assert!(table.cell(row, 0).lag > MAX_LAG);
    assert!(!table.row(row).is_feasible(MAX_LAG, 200));
    table.cell_mut(row, 0).hear(5, 1, u64::from(MAX_LAG) + 1, 0);
    assert!(!table.row(row).is_feasible(table.cell(row, 0).lag, 5));
    let fresh = table.add(&key(2), &record(u64::MAX), 0);
    assert!(!table.row(fresh).is_feasible(table.cell(row, 0).lag, 5));
}

#[test]
fn a_feasibility_distance_only_falls() {
    let mut row = Row::new(key(1), &record(10), 0);
    row.lower(&Told { seqno: 9, metric: 300, hops: 1 });
    row.lower(&Told { seqno: 9, metric: 400, hops: 1 });
    assert_eq!(row.feasibility(), Some((1, 300)));
    row.lower(&Told::NOTHING);
    row.lower(&Told { seqno: 10, metric: 900, hops: 1 });
    row.lower(&Told { seqno: 9, metric: 1, hops: 1 });
    assert_eq!(row.feasibility(), Some((0, 900)));
}

#[test]
fn an_age_is_told_to_the_unit() {
    let mut cell = Cell::EMPTY;
    cell.tell_key();
    cell.hear(1, 1, 0, 86_400_000);
    assert_eq!(cell.age_ms(86_400_000 + 3_600_000) / 16_000, 225);
    assert!(cell.key_told() && !cell.record_told());
    cell.tell_record();
    cell.fall_behind(1);
    assert!(cell.key_told() && !cell.record_told(), "the new record wasn't told yet");
}

proptest! {
    /// Whatever is added and removed: exactly what is there is found.
    #[test]
    fn the_index_finds_what_is_there(steps in prop::collection::vec((0u16..80, any::<bool>()), 0..600)) {
        let mut table = Table::new(7);
        table.set_slots(1);
        let mut model = BTreeMap::new();
        for (n, add) in steps {
            match (model.get(&n).copied(), add) {
                (None, true) => _ = model.insert(n, table.add(&key(n), &record(u64::from(n)), 0)),
                (Some(row), false) => {
                    table.remove(row);
                    model.remove(&n);
                }
                _ => {}
            }
            prop_assert_eq!(table.len(), model.len());
        }
        for n in 0..80 {
            prop_assert_eq!(table.find(&key(n)), model.get(&n).copied());
        }
        prop_assert_eq!(table.used().count(), model.len());
    }

    #[test]
    fn columns_keep_their_cells(before in 1usize..6, after in 1usize..6) {
        let mut table = Table::new(7);
        table.set_slots(before);
        for n in 0..20 {
            let row = table.add(&key(n), &record(1), 0);
            for slot in 0..before as Slot {
                table.cell_mut(row, slot).hear(u32::from(n * 10 + slot), 1, 0, 0);
            }
        }
        table.set_slots(after);
        for n in 0..20 {
            let row = table.find(&key(n)).unwrap();
            for slot in 0..after as Slot {
                let kept = (usize::from(slot) < before).then_some(u32::from(n * 10 + slot));
                prop_assert_eq!(Some(table.cell(row, slot).metric()).filter(|metric| *metric < 1_000), kept);
            }
        }
    }
}
