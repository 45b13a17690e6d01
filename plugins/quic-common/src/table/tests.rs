use std::sync::Mutex;

use tokio::runtime::Builder;

use super::*;

const SHORT: Duration = Duration::from_millis(20);

fn enter(table: &Table<u64>) -> Option<u64> {
    table.enter(|links| links.len() < 3, |id| id).map(|id| *id)
}

#[test]
fn numbers_count_up_and_are_never_used_again() {
    let table = Table::default();
    assert_eq!([enter(&table), enter(&table), enter(&table), enter(&table)], [Some(1), Some(2), Some(3), None]);
    table.remove(2);
    assert_eq!(enter(&table), Some(4));
    assert_eq!(table.all().iter().map(|id| **id).collect::<Vec<_>>(), [1, 3, 4]);
    assert_eq!((table.get(2), table.get(3).as_deref()), (None, Some(&3)));
}

#[test]
fn nobody_enters_a_closed_table() {
    let table = Table::default();
    assert!(table.has_room(|_| true));
    table.close();
    assert!(table.is_closed() && !table.has_room(|_| true));
    assert_eq!(enter(&table), None);
}

#[test]
fn all_are_asked_to_end_and_the_late_ones_are_counted() {
    let table = Table::default();
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        assert_eq!(table.end_all(SHORT, |_| {}).await, 0, "there are none");
        let _ = (enter(&table), enter(&table));
        let asked = Mutex::new(Vec::new());
        let ends = async {
            tokio::time::sleep(SHORT / 2).await;
            table.remove(1);
        };
        let late = tokio::join!(table.end_all(SHORT, |id| asked.lock().unwrap().push(*id)), ends).0;
        assert_eq!((late, asked.lock().unwrap().as_slice()), (1, [1, 2].as_slice()));
    });
}
