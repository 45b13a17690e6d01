//! One job of a bot, from the call to the answer.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use mlua::{Table, Value};

use super::super::api::{Outgoing, deliver, deliver_answer};
use super::super::call::{Ran, Running};
use super::super::dispatch::Job;
use super::super::show::show;
use super::super::vm::Vm;
use super::Finished;
use crate::api::{ApiError, ScriptEvaluated};

/// What typed code returned is shown as far as this goes, in bytes.
const SHOWN_BYTES: usize = 16 << 10;

/// Runs what the admin typed.
pub(super) async fn evaluate(vm: Rc<Vm>, code: String, write: bool) -> ScriptEvaluated {
    let ran = match vm.eval(&code, write) {
        Ok(call) => call.await,
        Err(failure) => {
            return ScriptEvaluated { error: Some(failure.to_string()), ..ScriptEvaluated::default() };
        }
    };
    let mut evaluated = ScriptEvaluated { cpu_us: ran.cpu.as_micros() as u64, ..ScriptEvaluated::default() };
    match ran.result {
        Ok(results) => evaluated.result = results.as_table().map_or_else(String::new, shown),
        Err(failure) => evaluated.error = Some(failure.to_string()),
    }
    if let Err(error) = vm.ctx.flush().await {
        evaluated.error.get_or_insert_with(|| error.to_string());
    }
    evaluated
}

/// A text's bytes, or a number as Lua writes it.
fn text_of(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        number => number.to_string().unwrap_or_default().into_bytes(),
    }
}

/// Whether a command was meant to answer with something that can't be said. `nil` and `false` are no answers on purpose.
fn is_no_answer(value: &Value) -> bool {
    !matches!(value, Value::Nil | Value::Boolean(false) | Value::String(_) | Value::Number(_) | Value::Integer(_))
}

/// All that typed code returned, in a table as `table.pack` makes it.
fn shown(results: &Table) -> String {
    let mut text = String::new();
    for place in 1..=results.raw_get("n").unwrap_or(0_u32) {
        if text.len() >= SHOWN_BYTES {
            return text + ", …";
        }
        text.push_str(if place == 1 { "" } else { ", " });
        text.push_str(&show(&results.raw_get(place).unwrap_or(Value::Nil), SHOWN_BYTES - text.len().min(SHOWN_BYTES)));
    }
    text
}

/// Makes what a handler stored durable, then says what it answers, where somebody asked.
async fn answered(vm: &Vm, what: &str, ran: &Ran, answer: Option<Outgoing>) -> Result<(), ApiError> {
    match (&ran.result, answer) {
        // A person waits: what went wrong stands in the admin's log, that it did is said here.
        (Err(_), Some(mut out)) => {
            out.payload = format!("{what} failed here; the bot's admin can see why").into_bytes();
            deliver(&vm.ctx, out).await.map(|_| ())
        }
        (Ok(value @ (Value::String(_) | Value::Number(_) | Value::Integer(_))), Some(out)) => {
            deliver_answer(&vm.ctx, out, what, &text_of(value)).await
        }
        _ => vm.ctx.flush().await,
    }
}

/// Does a job: calls, makes what was stored durable, answers.
pub(crate) fn perform(vm: Rc<Vm>, job: Job, seq: Option<u64>) -> LocalBoxFuture<'static, Finished> {
    Box::pin(async move {
        match job {
            Job::Read(board) => {
                let ctx = &vm.ctx;
                if let Err(error) = board.read(&ctx.node, || ctx.now_ms()).await {
                    let (bot, topic) = (&ctx.shared.name, &board.topic);
                    tracing::warn!(target: "qpq::script", bot = %bot, "the board {topic} was not read: {error}");
                }
                Finished::Said { seq, unsaid: None }
            }
            Job::Say(out) => Finished::Said { seq, unsaid: deliver(&vm.ctx, out).await.err() },
            Job::Call { what, function, args, answer } => {
                let budget = Duration::from_millis(vm.ctx.limits.cpu_per_event_ms);
                let running = Running::new(&*what, seq);
                let sent = || vm.ctx.shared.figures.sent.load(Ordering::Relaxed);
                let (sent_before, is_asked) = (sent(), answer.is_some());
                let ran = vm.call(Rc::clone(&running), &function, args, budget).await;
                // Taken away where the handler began to wait for a person.
                let seq = running.seq.take();
                let said = answered(&vm, &what, &ran, answer).await;
                let is_silent = is_asked && sent() == sent_before;
                if let Some(value) = ran.result.as_ref().ok().filter(|value| is_silent && is_no_answer(value)) {
                    vm.ctx.shared.warn(&format!(
                        "{what} returned a {} and said nothing: a command may return a text or a number, its answer, or nil",
                        value.type_name()
                    ));
                }
                Finished::Event { what: what.into_owned(), ran, seq, unsaid: said.err() }
            }
        }
    })
}
