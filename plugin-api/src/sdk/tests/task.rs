//! Tasks of a plugin's own runtime.

use super::fake_host::FakeHost;
use crate::{Host, guarded};

fn run(task: impl Future<Output = ()> + Send + 'static) -> Vec<String> {
    let fake = FakeHost::new();
    // SAFETY: the fake host lives for ever.
    let host = unsafe { Host::from_raw(fake.raw()) }.expect("a host");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(runtime.spawn(guarded(host, task))).expect("the panic goes no further");
    fake.told()
}

#[test]
fn a_task_that_panics_is_reported_even_late() {
    let panics = async {
        tokio::task::yield_now().await;
        panic!("no more");
    };
    assert_eq!(run(panics), [format!("fail {} a task panicked: no more", crate::Status::PANIC)]);
}

#[test]
fn of_a_task_that_ends_nothing_is_said() {
    assert!(run(tokio::task::yield_now()).is_empty());
}
