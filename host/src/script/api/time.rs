//! Timers and the clock.

use std::rc::Rc;
use std::time::Duration;

use mlua::{Function, Lua, Value};

use super::super::context::Ctx;
use super::super::cron::Cron;
use super::super::limits::{DURATION_BYTES, KEY_BYTES, TIMER_MIN_SECS};
use super::super::{duration, lock};
use super::{Args, Fault, Installer, Outcome, done};
use crate::api::ApiError;

/// Unix times in seconds are no more precise than a quarter of a microsecond; what is nearer than this is due.
const PRECISION: f64 = 1e-6;

/// When a timer comes, and comes again.
#[derive(Debug, Clone)]
enum Pace {
    After(f64),
    At,
    Every(f64),
    Cron(Cron),
}

impl Pace {
    /// What a timer is known by over reloads. None of one whose moment follows from what the new version asks for, and of one
    /// that comes once and was given no name.
    fn key(&self, name: Option<String>, numbered: impl FnOnce() -> String) -> Option<String> {
        match self {
            Self::Every(_) => Some(name.unwrap_or_else(numbered)),
            // With another delay it is another timer.
            Self::After(secs) => name.map(|name| format!("after {secs} {name}")),
            Self::At | Self::Cron(_) => None,
        }
    }
}

/// A timer that is set.
#[derive(Debug, Clone)]
pub(crate) struct Timer {
    id: u64,
    /// What it is known by over reloads, if it is.
    key: Option<String>,
    /// When it is due, Unix time in seconds.
    due: f64,
    pace: Pace,
    pub function: Function,
}

/// The timers of one machine.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: Vec<Timer>,
    made: u64,
}

impl Timers {
    /// How many are set.
    pub(crate) fn count(&self) -> usize {
        self.set.len()
    }

    /// When the next timer is due.
    pub(crate) fn next_due(&self) -> Option<f64> {
        self.set.iter().map(|timer| timer.due).min_by(f64::total_cmp)
    }

    /// The timers that are due. Those that come again are set anew from now, so that a late one fires once.
    pub(crate) fn take_due(&mut self, now: f64) -> Vec<Timer> {
        let now = now + PRECISION;
        let due: Vec<Timer> = self.set.iter().filter(|timer| timer.due <= now).cloned().collect();
        self.set.retain_mut(|timer| {
            if timer.due > now {
                return true;
            }
            let next = match &timer.pace {
                Pace::After(_) | Pace::At => None,
                Pace::Every(period) if timer.due + period > now => Some(timer.due + period),
                Pace::Every(period) => Some(now + period),
                Pace::Cron(cron) => cron.next(now as i64).map(|next| next as f64),
            };
            timer.due = next.unwrap_or(timer.due);
            next.is_some()
        });
        due
    }

    /// When each timer is due that is known over reloads, by what it is known by.
    pub(crate) fn carried(&self) -> impl Iterator<Item = (String, f64)> {
        self.set.iter().filter_map(|timer| Some((timer.key.clone()?, timer.due)))
    }

    fn cancel(&mut self, id: u64) -> bool {
        let before = self.set.len();
        self.set.retain(|timer| timer.id != id);
        self.set.len() < before
    }
}

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.sync("mesh.now", |lua, ctx, _| done(lua, (ctx.now() * 1_000.0).floor() / 1_000.0))?;
    installer.sync("mesh.seconds", |lua, _, args| match duration::parse(&args.typed(0, DURATION_BYTES + 1)) {
        Ok(secs) => done(lua, secs),
        Err(error) => Err(Fault::World(ApiError::new("bad-duration", error))),
    })?;
    installer.waiting("mesh.sleep", sleep)?;
    installer.sync("mesh.every", |lua, ctx, args| {
        let period = args.duration(0).map_err(Fault::Misuse)?;
        set(lua, ctx, args, ctx.now() + period, at_least(period).map(Pace::Every)?)
    })?;
    installer.sync("mesh.after", |lua, ctx, args| {
        let delay = at_least(args.duration(0).map_err(Fault::Misuse)?)?;
        set(lua, ctx, args, ctx.now() + delay, Pace::After(delay))
    })?;
    installer.sync("mesh.at", |lua, ctx, args| {
        if let Some(at) = args.number(0) {
            return set(lua, ctx, args, at, Pace::At);
        }
        let cron = Cron::parse(&args.name(0).map_err(Fault::Misuse)?);
        let cron = cron.map_err(|e| Fault::Misuse(format!("argument 1 (when) {e}")))?;
        let next = cron.next(ctx.now() as i64);
        let due = next.ok_or_else(|| Fault::Misuse("argument 1 (when) never comes".to_owned()))?;
        set(lua, ctx, args, due as f64, Pace::Cron(cron))
    })?;
    installer.sync("timer:cancel", |lua, ctx, args| {
        let id = args.receiver.as_ref().and_then(|timer| timer.raw_get::<u64>("id").ok());
        let was_set = id.is_some_and(|id| ctx.timers.borrow_mut().cancel(id));
        done(lua, was_set)
    })
}

fn at_least(secs: f64) -> Result<f64, Fault> {
    if secs < TIMER_MIN_SECS as f64 {
        return Err(Fault::Misuse(format!("argument 1 must be at least {TIMER_MIN_SECS} s")));
    }
    Ok(secs)
}

fn set(lua: &Lua, ctx: &Rc<Ctx>, args: &Args, due: f64, pace: Pace) -> Outcome {
    let mut timers = ctx.timers.borrow_mut();
    if timers.set.len() >= ctx.limits.timers {
        return Err(Fault::Misuse(format!("{} timers are set already, the limit; cancel one", ctx.limits.timers)));
    }
    timers.made += 1;
    let id = timers.made;
    let name = args.option_text("name", KEY_BYTES).map_err(Fault::Misuse)?;
    let key = pace.key(name, || {
        let alike =
            timers.set.iter().filter(|timer| timer.key.as_deref().is_some_and(|key| key.starts_with("every"))).count();
        format!("every {} #{alike}", value_text(&args.value(0)))
    });
    // After a reload the timer goes on at its pace, unless it would be due later than its period says.
    let carried = key.as_deref().and_then(|key| lock(&ctx.shared.timers).take(key, ctx.now()));
    let due = carried.map_or(due, |carried| carried.min(due));
    timers.set.push(Timer { id, key, due, pace, function: args.function(1).map_err(Fault::Misuse)? });
    let timer = lua.create_table_with_capacity(0, 1)?;
    timer.raw_set("id", id)?;
    timer.set_metatable(Some(ctx.helpers()?.timer_meta.clone()))?;
    done(lua, timer)
}

fn value_text(value: &Value) -> String {
    value.as_string().map_or_else(|| format!("{value:?}"), mlua::LuaString::to_string_lossy)
}

async fn sleep(lua: Lua, ctx: Rc<Ctx>, args: Args) -> Outcome {
    let secs = args.duration(0).map_err(Fault::Misuse)?;
    // A tick at least, so that a loop that only sleeps leaves the thread to others.
    let clock = &ctx.shared.clock;
    clock.sleep_until(clock.now() + Duration::from_secs_f64(secs.max(0.001))).await;
    done(&lua, ())
}
