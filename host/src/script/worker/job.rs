//! One job of a bot, from the call to the answer.

use std::rc::Rc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use mlua::Value;

use super::super::api::deliver;
use super::super::dispatch::Job;
use super::super::vm::Vm;
use super::Finished;

/// Does a job: calls, makes what was stored durable, answers.
pub(super) fn perform(vm: Rc<Vm>, job: Job, seq: Option<u64>) -> LocalBoxFuture<'static, Finished> {
    Box::pin(async move {
        match job {
            Job::Say(out) => Finished::Said { seq, unsaid: deliver(&vm.ctx, out).await.err() },
            Job::Call { what, function, args, answer } => {
                let budget = Duration::from_millis(vm.ctx.limits.cpu_per_event_ms);
                let ran = vm.call(&function, args, budget).await;
                let said = match (&ran.result, answer) {
                    (Ok(Value::String(text)), Some(mut out)) => {
                        out.payload = text.as_bytes().to_vec();
                        deliver(&vm.ctx, out).await.map(|_| ())
                    }
                    _ => vm.ctx.flush().await,
                };
                Finished::Event { what: what.into_owned(), ran, seq, unsaid: said.err() }
            }
        }
    })
}
