//! `script top`: what bots use, against their limits.

use std::io::IsTerminal;
use std::time::Duration;

use super::bot;
use crate::api::{BotStatus, LimitUse, NodeApi};
use crate::cli::Setting;
use crate::cli::answer::Answer;
use crate::cli::args::TopArgs;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, Table, bytes, clean};

/// Between two looks, where nothing was said.
const PERIOD: Duration = Duration::from_secs(2);
/// What puzzles who watches the figures fall.
const REFILLED: &str =
    "\nWhat is spent of a limit per minute or hour comes back bit by bit, so those figures fall by themselves.\n";
/// Limits of which nobody counts how much is used.
const UNCOUNTED: [&str; 4] = ["coroutines", "handler_life_secs", "store_value_bytes", "source_bytes"];
/// Cells of a bar.
const BAR: u64 = 20;
/// From this share of a limit on, in percent, it is worth a look; a full one needs attention.
const HIGH: u64 = 80;
/// Puts the cursor at the top of the screen, and wipes what stands below.
const TOP_OF_SCREEN: &str = "\x1b[H\x1b[J";
/// The columns of limits, and the limits that each shows; of several the one that is nearest to its end.
const COLUMNS: [&[&str]; 8] = [
    &["cpu_percent"],
    &["memory_bytes"],
    &["messages_per_minute"],
    &["broadcasts_per_minute"],
    &["bytes_per_hour"],
    &["store_bytes", "store_keys", "store_bytes_per_minute", "board_posts"],
    &["timers"],
    &["handlers", "questions"],
];
const HEADS: [&str; 14] = [
    "BOT",
    "STATE",
    "EVENTS",
    "ERRORS",
    "PAUSES",
    "LAG",
    "CPU",
    "MEMORY",
    "MESSAGES",
    "BROADCASTS",
    "BYTES",
    "STORE",
    "TIMERS",
    "HANDLERS",
];

/// Shows it once.
pub(super) async fn show(node: &dyn NodeApi, name: Option<&str>, style: Style) -> Result<Answer, Failure> {
    let (bots, text) = look(node, name, style).await?;
    Ok(Answer::list("qpq.script-top/1", "scripts", &bots, text))
}

async fn look(node: &dyn NodeApi, name: Option<&str>, style: Style) -> Result<(Vec<BotStatus>, String), Failure> {
    Ok(match name {
        Some(name) => {
            let bot = bot(node, name).await?;
            let text = page(&bot, style);
            (vec![bot], text)
        }
        None => {
            let bots = node.scripts().await?;
            let text = overview(&bots, style);
            (bots, text)
        }
    })
}

/// Shows it again and again.
pub(in crate::cli) struct Watch {
    name: Option<String>,
    period: Duration,
    wipe: bool,
}

impl Watch {
    /// A watch, where the arguments and the output want one.
    pub(super) fn wanted(args: &TopArgs, setting: &Setting) -> Option<Self> {
        let terminal = std::io::stdout().is_terminal() && !setting.json;
        let period = args.watch.or((terminal && !args.once).then_some(PERIOD))?;
        Some(Self { name: args.name.clone(), period, wipe: terminal })
    }

    pub(in crate::cli::commands) async fn run(
        self,
        node: &dyn NodeApi,
        setting: &Setting,
        print: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        loop {
            let (bots, text) = look(node, self.name.as_deref(), setting.style).await?;
            let text = if self.wipe { format!("{TOP_OF_SCREEN}{text}\n\nCtrl-C leaves.") } else { text };
            print(&Answer::list("qpq.script-top/1", "scripts", &bots, text).show(setting.json))?;
            tokio::time::sleep(self.period).await;
        }
    }
}

/// A line for each bot.
fn overview(bots: &[BotStatus], style: Style) -> String {
    let mut table = Table::new(&HEADS);
    for bot in bots {
        let figures = [bot.events, bot.errors, bot.pauses.into(), bot.lag].map(|figure| figure.to_string());
        let shares = COLUMNS.map(|names| {
            let share = bot.limits.iter().filter(|limit| names.contains(&limit.name.as_str())).map(share).max();
            share.map_or(String::new(), |share| format!("{share} %"))
        });
        table.row([bot.name.clone(), bot.state.clone()].into_iter().chain(figures).chain(shares));
    }
    table.show(style, "No bots.")
}

/// All of one bot.
fn page(bot: &BotStatus, style: Style) -> String {
    let version = bot.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let mut text = format!(
        "{}  {} ({})\n\nevents    {}, {} of them failed\nCPU       {} ms, {} events stopped for it\npauses    {}\n\
         sent      {} messages\nlag       {} messages to handle yet\nloaded    {} times\n\n",
        style.bold(&clean(&format!("{}{version}", bot.name))),
        clean(&bot.state),
        clean(&bot.isolation),
        bot.events,
        bot.errors,
        bot.cpu_ms,
        bot.kills,
        bot.pauses,
        bot.sent,
        bot.lag,
        bot.loads,
    );
    let is_counted = |limit: &&LimitUse| !UNCOUNTED.contains(&limit.name.as_str());
    let counted: Vec<&LimitUse> = bot.limits.iter().filter(is_counted).collect();
    let figures: Vec<(String, String)> = counted.iter().map(|limit| (words(&limit.name), figure(limit))).collect();
    let wide = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let names = wide(&mut figures.iter().map(|(name, _)| name.chars().count()));
    let values = wide(&mut figures.iter().map(|(_, value)| value.chars().count()));
    for (limit, (name, value)) in counted.into_iter().zip(&figures) {
        text += &format!("{name:<names$}  {}  {value:>values$}\n", bar(limit, style));
    }
    let uncounted = bot.limits.iter().filter(|limit| !is_counted(limit)).map(most).collect::<Vec<_>>();
    if !uncounted.is_empty() {
        text += &format!("at most{:rest$}{}\n", "", uncounted.join(", "), rest = (names + 2).saturating_sub(7).max(2));
    }
    text += REFILLED;
    if let Some(problem) = super::waiting(bot).or_else(|| bot.problem.as_deref().map(clean)) {
        text += &format!("\n{}\n", style.alarm(&problem));
    }
    text.trim_end().to_owned()
}

/// How much of a limit is used, in percent.
fn share(limit: &LimitUse) -> u64 {
    match (limit.used, limit.limit) {
        (0, _) => 0,
        (_, 0) => 100,
        (used, limit) => u64::try_from(u128::from(used) * 100 / u128::from(limit)).unwrap_or(u64::MAX),
    }
}

fn bar(limit: &LimitUse, style: Style) -> String {
    let share = share(limit);
    // What is used at all shows at least once.
    let full = (share * BAR / 100).clamp(u64::from(limit.used > 0), BAR);
    let cells: String = (0..BAR).map(|cell| if cell < full { '█' } else { '░' }).collect();
    let bar = format!("{cells} {share:>3} %");
    match share {
        100.. => style.alarm(&bar),
        HIGH.. => style.warn(&bar),
        _ => bar,
    }
}

/// `memory_bytes` is "memory".
fn words(name: &str) -> String {
    let name = ["_bytes", "_percent", "_ms", "_secs"].iter().find_map(|unit| name.strip_suffix(unit)).unwrap_or(name);
    clean(&name.replace('_', " "))
}

fn figure(limit: &LimitUse) -> String {
    if limit.name.contains("bytes") {
        format!("{} of {}", bytes(limit.used), bytes(limit.limit))
    } else {
        format!("{} of {}{}", limit.used, limit.limit, unit(&limit.name))
    }
}

/// A limit of which nobody counts how much is used: "coroutines 100", "handler life 30 s".
fn most(limit: &LimitUse) -> String {
    let words = words(&limit.name);
    if limit.name.contains("bytes") {
        format!("{words} {}", bytes(limit.limit))
    } else {
        format!("{words} {}{}", limit.limit, unit(&limit.name))
    }
}

fn unit(name: &str) -> &'static str {
    let units = [("_percent", " %"), ("_ms", " ms"), ("_secs", " s")];
    units.iter().find(|(end, _)| name.ends_with(end)).map_or("", |(_, unit)| unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str, used: u64, limit: u64) -> LimitUse {
        LimitUse { name: name.to_owned(), used, limit }
    }

    #[test]
    fn a_limit_is_shown_with_its_share() {
        assert_eq!(share(&limit("timers", 8, 32)), 25);
        assert_eq!(share(&limit("timers", 1, 0)), 100);
        assert_eq!(share(&limit("x", u64::MAX, 1)), u64::MAX);
        assert_eq!(figure(&limit("store_bytes", 512, 1 << 20)), "512 B of 1.0 MiB");
        assert_eq!(words("memory_bytes"), "memory");
        assert_eq!(figure(&limit("cpu_per_event_ms", 3, 50)), "3 of 50 ms");
        assert_eq!(most(&limit("coroutines", 0, 100)), "coroutines 100");
        assert_eq!(most(&limit("handler_life_secs", 0, 30)), "handler life 30 s");
        assert!(bar(&limit("timers", 1, 1_000), Style::PLAIN).starts_with("█░"));
        assert!(bar(&limit("timers", 99, 3), Style::PLAIN).starts_with(&"█".repeat(20)));
    }
}
