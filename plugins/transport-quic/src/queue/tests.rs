use super::*;

fn frame(len: usize) -> Bytes {
    Bytes::from(vec![7; len])
}

fn take(outbox: &Outbox) -> (usize, Option<Next>) {
    let mut batch = VecDeque::new();
    let next = outbox.try_next(&mut batch, 64 * 1024);
    (batch.len(), next)
}

#[test]
fn the_queue_is_bounded_by_frames() {
    let outbox = Outbox::default();
    assert_eq!(outbox.push(vec![frame(1); QUEUE_FRAMES + 5]), QUEUE_FRAMES);
    assert_eq!(outbox.push([frame(1)]), 0);
    assert_eq!(outbox.depth(), (QUEUE_FRAMES, QUEUE_FRAMES));
    assert!(!outbox.has_room(0));
}

#[test]
fn the_queue_is_bounded_by_bytes() {
    let outbox = Outbox::default();
    let big = frame(256 * 1024);
    assert_eq!(outbox.push(vec![big; 100]), QUEUE_BYTES / (256 * 1024));
    assert!(!outbox.has_room(1));
}

#[test]
fn who_was_refused_is_told_once_when_half_is_free() {
    let outbox = Outbox::default();
    outbox.push(vec![frame(1_024); QUEUE_FRAMES + 1]);
    let mut told = 0;
    let mut left = QUEUE_FRAMES;
    while left > 0 {
        let (n, next) = take(&outbox);
        left -= n;
        if next == Some(Next::Batch { writable: true }) {
            told += 1;
            assert!(left <= QUEUE_FRAMES / 2);
        }
    }
    assert_eq!(told, 1);
}

#[test]
fn who_was_never_refused_is_not_told() {
    let outbox = Outbox::default();
    outbox.push(vec![frame(1); QUEUE_FRAMES]);
    assert_eq!(take(&outbox), (QUEUE_FRAMES, Some(Next::Batch { writable: false })));
    assert_eq!(take(&outbox), (0, None));
}

#[test]
fn a_batch_has_at_least_one_frame_and_not_many_more_bytes() {
    let outbox = Outbox::default();
    outbox.push([frame(200_000), frame(40_000), frame(20_000), frame(10_000)]);
    assert_eq!(take(&outbox).0, 1);
    assert_eq!(take(&outbox).0, 2);
    assert_eq!(take(&outbox).0, 1);
}

#[test]
fn a_sealed_queue_is_emptied_and_then_finished() {
    let outbox = Outbox::default();
    outbox.push([frame(1)]);
    outbox.seal();
    assert_eq!(outbox.push([frame(1)]), 0);
    assert_eq!(take(&outbox), (1, Some(Next::Batch { writable: false })));
    assert_eq!(take(&outbox), (0, Some(Next::Finished)));
}

#[test]
fn a_closed_queue_gives_back_what_it_had_and_swallows_the_rest() {
    let outbox = Outbox::default();
    outbox.push([frame(1), frame(2)]);
    let rest: Vec<usize> = outbox.close().iter().map(Bytes::len).collect();
    assert_eq!(rest, [1, 2]);
    assert_eq!(outbox.push([frame(1), frame(1)]), 2);
    assert_eq!(outbox.depth(), (0, 0));
    assert_eq!(take(&outbox), (0, Some(Next::Finished)));
}

#[tokio::test]
async fn a_waiting_writer_is_woken_by_the_first_frame() {
    let outbox = std::sync::Arc::new(Outbox::default());
    let writer = tokio::spawn({
        let outbox = outbox.clone();
        async move {
            let mut batch = VecDeque::new();
            outbox.next(&mut batch, 1).await;
            batch.len()
        }
    });
    tokio::task::yield_now().await;
    outbox.push([frame(1)]);
    assert_eq!(writer.await.unwrap(), 1);
}
