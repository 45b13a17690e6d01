//! Expectations: what bots have sent, what people have received, what has failed.

use std::time::Duration;

use mlua::Lua;
use qpq_schemas::PeerId;
use qpq_schemas::channel::normalise;

use super::super::super::api::{Args, Fault, done};
use super::super::super::lock;
use super::super::super::show::in_line;
use super::super::stage::Until;
use super::super::world::{Posted, World};
use super::act::text;
use super::{Installer, Play, unmet};

/// How long an expectation waits where the test doesn't say.
const PATIENCE: Duration = Duration::from_secs(10);
/// Messages that a failure shows.
const SHOWN: usize = 8;
/// Characters of each.
const SHOWN_CHARS: usize = 120;

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.waiting("node:expect_sent", |lua, play, args| async move {
        let (node, filter) = (play.receiver(&args)?, Filter::read(&args, "to")?);
        play.stage.begin().await;
        let within = filter.within.unwrap_or(PATIENCE);
        match play.await_sent(node, &filter, within).await? {
            Some(posted) => done(&lua, play.sent_table(&lua, &posted)?),
            None => Err(play.not_sent(node, &filter, within)),
        }
    })?;
    installer.waiting("node:expect_nothing", |lua, play, args| async move {
        let (node, filter) = (play.receiver(&args)?, Filter::read(&args, "to")?);
        play.stage.begin().await;
        match play.await_sent(node, &filter, filter.within.unwrap_or(PATIENCE)).await? {
            None => done(&lua, ()),
            Some(posted) => Err(unmet(format!("expected no message{filter}, got one {}", play.line(&posted)))),
        }
    })?;
    installer.waiting("node:expect_silence", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        let time = Duration::from_secs_f64(args.duration(0).map_err(Fault::Misuse)?);
        play.stage.settle().await;
        let before = play.count_sent(node);
        let (world, until) = (play.stage.shared_world(), play.stage.passed() + time);
        let count = move || lock(&world).posted.iter().filter(|posted| posted.node == node).count();
        play.stage.wait(Until::Holds(Box::new(move || count() > before)), until).await;
        let after: Vec<Posted> = play.posted(node).into_iter().skip(before).collect();
        match after.first() {
            None => done(&lua, ()),
            Some(posted) => Err(unmet(format!("expected silence, got a message {}", play.line(posted)))),
        }
    })?;
    installer.waiting("node:expect_error", |lua, play, args| async move {
        let node = play.receiver(&args)?;
        play.stage.begin().await;
        let pattern = args.string(0).map(|pattern| pattern.to_string_lossy());
        match play.await_error(node, pattern.as_deref()).await? {
            Some(error) => done(&lua, error),
            None => {
                let such = pattern.map_or(String::new(), |pattern| format!(" that matches \"{pattern}\""));
                Err(unmet(format!("expected an error of a bot{such}, within {}", seconds(PATIENCE))))
            }
        }
    })?;
    installer.waiting("person:expect_received", |lua, play, args| async move {
        let (node, filter) = (play.receiver(&args)?, Filter::read(&args, "from")?);
        play.stage.begin().await;
        let within = filter.within.unwrap_or(PATIENCE);
        match play.await_received(&lua, node, &filter, within).await? {
            Some(table) => done(&lua, table),
            None => Err(play.not_received(node, &filter, within)),
        }
    })?;
    installer.waiting("person:expect_nothing_received", |lua, play, args| async move {
        let (node, filter) = (play.receiver(&args)?, Filter::read(&args, "from")?);
        play.stage.begin().await;
        match play.await_received(&lua, node, &filter, filter.within.unwrap_or(PATIENCE)).await? {
            None => done(&lua, ()),
            Some(table) => {
                let text: mlua::LuaString = table.raw_get("text")?;
                let text = shorten(&text.as_bytes());
                Err(unmet(format!("expected that no message{filter} arrives, got \"{text}\"")))
            }
        }
    })
}

/// Which messages are meant.
struct Filter {
    /// Whom it must go to or come from: as said, and the key.
    peer: Option<(String, PeerId)>,
    /// The word before that.
    way: &'static str,
    topic: Option<String>,
    text: Option<Vec<u8>>,
    pattern: Option<String>,
    bot: Option<String>,
    within: Option<Duration>,
}

impl Filter {
    fn read(args: &Args, way: &'static str) -> Result<Self, Fault> {
        let exact = args.option("text").as_string().map(|text| text.as_bytes().to_vec());
        let within = args.option_duration("within").map_err(Fault::Misuse)?;
        Ok(Self {
            peer: text(args, way)?.map(|peer| (peer.clone(), World::key(&peer))),
            way,
            topic: text(args, "topic")?.map(|topic| normalise(&topic).unwrap_or(topic)),
            text: exact,
            pattern: text(args, "match")?,
            bot: text(args, "bot")?,
            within: within.map(Duration::from_secs_f64),
        })
    }

    fn fits(
        &self,
        play: &Play,
        peer: Option<PeerId>,
        topic: Option<&str>,
        bot: Option<&str>,
        payload: &[u8],
    ) -> Result<bool, Fault> {
        let plain = self.peer.as_ref().is_none_or(|(_, wanted)| peer == Some(*wanted))
            && self.topic.as_deref().is_none_or(|wanted| topic == Some(wanted))
            && self.bot.as_deref().is_none_or(|wanted| bot == Some(wanted))
            && self.text.as_ref().is_none_or(|wanted| wanted == payload);
        match &self.pattern {
            Some(pattern) if plain => play.matches(payload, pattern),
            _ => Ok(plain),
        }
    }
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((peer, _)) = &self.peer {
            write!(f, " {} {peer}", self.way)?;
        }
        if let Some(topic) = &self.topic {
            write!(f, " on {topic}")?;
        }
        if let Some(bot) = &self.bot {
            write!(f, " of the bot {bot}")?;
        }
        if let Some(text) = &self.text {
            write!(f, " with the text \"{}\"", shorten(text))?;
        }
        if let Some(pattern) = &self.pattern {
            write!(f, " that matches \"{pattern}\"")?;
        }
        Ok(())
    }
}

/// The first characters of a message, in one line.
pub(super) fn shorten(text: &[u8]) -> String {
    let text = in_line(text);
    let short: String = text.chars().take(SHOWN_CHARS).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

impl Play {
    /// Whether a text has a part that matches.
    pub(super) fn matches(&self, text: &[u8], pattern: &str) -> Result<bool, Fault> {
        let found: mlua::Result<Option<f64>> = self.find.call((mlua::BString::from(text), pattern));
        found
            .map(|at| at.is_some())
            .map_err(|error| Fault::Misuse(format!("the pattern \"{pattern}\": {}", first_line(&error))))
    }

    fn posted(&self, node: usize) -> Vec<Posted> {
        self.stage.world().posted.iter().filter(|posted| posted.node == node).cloned().collect()
    }

    fn count_sent(&self, node: usize) -> usize {
        self.stage.world().posted.iter().filter(|posted| posted.node == node).count()
    }

    /// The first such message that was not expected before, once it is there.
    async fn await_sent(&self, node: usize, filter: &Filter, within: Duration) -> Result<Option<Posted>, Fault> {
        self.stage.settle().await;
        let until = self.stage.passed() + within;
        let mut looked = 0;
        loop {
            let new: Vec<Posted> = self.stage.world().posted.iter().skip(looked).cloned().collect();
            for (place, posted) in (looked..).zip(&new) {
                let (topic, bot) = (posted.topic.as_deref(), Some(posted.bot.as_str()));
                let counts = posted.node == node && !posted.expected;
                if counts && filter.fits(self, posted.to, topic, bot, &posted.payload)? {
                    if let Some(posted) = self.stage.world().posted.get_mut(place) {
                        posted.expected = true;
                    }
                    return Ok(Some(posted.clone()));
                }
            }
            looked += new.len();
            let world = self.stage.shared_world();
            let more = Until::Holds(Box::new(move || lock(&world).posted.len() > looked));
            if !self.stage.wait(more, until).await {
                return Ok(None);
            }
        }
    }

    /// The first such message in somebody's inbox that was not expected before, once it is there.
    async fn await_received(
        &self,
        lua: &Lua,
        node: usize,
        filter: &Filter,
        within: Duration,
    ) -> Result<Option<mlua::Table>, Fault> {
        self.stage.settle().await;
        let until = self.stage.passed() + within;
        loop {
            let all = self.inbox(node);
            for item in all.iter().filter(|item| !item.own) {
                let new = !self.received.borrow().contains(&(node, item.seq));
                if new && filter.fits(self, Some(item.from), item.topic.as_deref(), None, &item.payload)? {
                    self.received.borrow_mut().push((node, item.seq));
                    return Ok(Some(self.received_table(lua, item)?));
                }
            }
            let (world, last) = (self.stage.shared_world(), all.last().map_or(0, |item| item.seq));
            let newer = move || {
                let world = lock(&world);
                world.core(node).is_ok_and(|core| core.shelf().inbox(last).next().is_some())
            };
            if !self.stage.wait(Until::Holds(Box::new(newer)), until).await {
                return Ok(None);
            }
        }
    }

    /// The first such error that was not expected before, once it is there.
    async fn await_error(&self, node: usize, pattern: Option<&str>) -> Result<Option<String>, Fault> {
        self.stage.settle().await;
        let until = self.stage.passed() + PATIENCE;
        loop {
            self.collect_errors();
            let all = self.errors.borrow().clone();
            for (place, (of, error)) in all.iter().enumerate() {
                if *of == node && pattern.map_or(Ok(true), |pattern| self.matches(error.as_bytes(), pattern))? {
                    self.errors.borrow_mut().remove(place);
                    return Ok(Some(error.clone()));
                }
            }
            let bots: Vec<_> = self.bots(node).iter().map(|bot| bot.shared()).collect();
            let more = Until::Holds(Box::new(move || bots.iter().any(|bot| !lock(&bot.problems).is_empty())));
            if !self.stage.wait(more, until).await {
                return Ok(None);
            }
        }
    }

    fn not_sent(&self, node: usize, filter: &Filter, within: Duration) -> Fault {
        let all = self.posted(node);
        let mut details = Vec::new();
        if all.is_empty() {
            details.push("the bot has sent nothing".to_owned());
        }
        if all.len() > SHOWN {
            details.push(format!("sent {} earlier messages", all.len() - SHOWN));
        }
        for posted in all.iter().skip(all.len().saturating_sub(SHOWN)) {
            let before = if posted.expected { " (expected before)" } else { "" };
            details.push(format!("sent {}{before}", self.line(posted)));
        }
        details.extend(self.about_bots(node));
        *self.details.borrow_mut() = details;
        unmet(format!("expected a message{filter}, within {}", seconds(within)))
    }

    fn not_received(&self, node: usize, filter: &Filter, within: Duration) -> Fault {
        let all = self.inbox(node);
        let line = |item: &crate::api::InboxItem| {
            let on = item.topic.as_ref().map_or(String::new(), |topic| format!(" on {topic}"));
            format!("received from {}{on}: \"{}\"", self.shown(&item.from), shorten(&item.payload))
        };
        let theirs: Vec<String> = all.iter().filter(|item| !item.own).map(line).collect();
        let mut details: Vec<String> = theirs.iter().skip(theirs.len().saturating_sub(SHOWN)).cloned().collect();
        if details.is_empty() {
            details.push("nothing has arrived".to_owned());
        }
        *self.details.borrow_mut() = details;
        unmet(format!("expected that a message{filter} arrives, within {}", seconds(within)))
    }

    /// A message in one line.
    fn line(&self, posted: &Posted) -> String {
        let way = match (&posted.to, &posted.topic) {
            (Some(to), _) => format!("to {}", self.shown(to)),
            (None, topic) => format!("on {}", topic.as_deref().unwrap_or_default()),
        };
        format!("{way}: \"{}\"", shorten(&posted.payload))
    }

    /// What else may explain why something did not come.
    pub(in super::super) fn about_bots(&self, node: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for bot in self.bots(node) {
            let status = bot.shared().status();
            if status.state != "running" {
                let problem = status.problem.map_or(String::new(), |problem| format!(": {problem}"));
                lines.push(format!("the bot {} is {}{problem}", status.name, status.state));
            }
            let log = bot.shared().book.after(0);
            let newest = log.iter().skip(log.len().saturating_sub(SHOWN));
            lines.extend(newest.map(|line| format!("log: {}: {}", line.level, line.text)));
        }
        lines
    }
}

/// What a machine's error says, without the traceback.
pub(super) fn first_line(error: &mlua::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
