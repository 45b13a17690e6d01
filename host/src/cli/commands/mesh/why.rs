//! `mesh why`

use crate::api::{HopInfo, RefusedInfo, WaitInfo, WhyReport};
use crate::cli::answer::Answer;
use crate::cli::failure::Failure;
use crate::cli::term::{ago, clean, now_ms};

/// What became of it. That nobody here knows it is a failure: an id with a slip of the pen must not look like an answer.
pub(super) fn told(report: &WhyReport) -> Result<Answer, Failure> {
    if report.state == "unknown" {
        return Err(Failure::new("unknown-message", format!("Message {} {UNKNOWN}", clean(&report.id))));
    }
    Ok(Answer::new("qpq.why/1", report, text(report, now_ms())))
}

/// That it is not known, and what that can mean.
const UNKNOWN: &str = "is not known here. This node remembers the messages that it has seen until they expire, and five minutes \
     more; it never saw this one, or that time is over, or it went with what the store has lost (`qpq mesh store` tells of that).";

fn text(report: &WhyReport, now: u64) -> String {
    let mut lines = vec![format!("Message {}", clean(&report.id)), what(report, now)];
    let over = report.expires_ms.filter(|at| *at <= now);
    match (&report.wait, over) {
        (Some(_), Some(at)) => lines.push(format!(
            "  its time was over {}: nobody takes it any more, and it goes once the clock has run on for an hour without a leap",
            ago(at, now)
        )),
        (Some(wait), None) => lines.extend(waits(wait, now)),
        (None, _) => {}
    }
    lines.extend(about(report, now));
    if let Some(refused) = &report.refused {
        lines.push(refusal(report, refused, now));
    }
    lines.join("\n")
}

/// A key for people: the nickname beside the first digits. Text of others is cleaned.
fn who(key: Option<&String>, name: Option<&String>) -> String {
    let short = key.map(|key| clean(key).chars().take(16).collect::<String>());
    match (short, name) {
        (Some(short), Some(name)) => format!("{} ({short})", clean(name)),
        (Some(short), None) => short,
        (None, _) => "somebody".to_owned(),
    }
}

fn when(at_ms: Option<u64>, now: u64) -> String {
    at_ms.map(|at| format!(", {}", ago(at, now))).unwrap_or_default()
}

/// The sentence that answers the question.
fn what(report: &WhyReport, now: u64) -> String {
    let by = who(report.by.as_ref(), report.by_name.as_ref());
    let to = who(report.to.as_ref(), report.to_name.as_ref());
    let at = when(report.at_ms, now);
    let topic = clean(report.topic.as_deref().unwrap_or("a channel"));
    match report.state.as_str() {
        "writing" => "is being checked or written to disk at this moment.".to_owned(),
        "waiting" => format!("waits here for {to}{}.", when(report.received_ms, now)),
        "inbox" => {
            let read = report.inbox.as_deref().unwrap_or("unread");
            let of = report.topic.as_ref().map(|_| format!(" as a message on {topic}")).unwrap_or_default();
            format!("arrived: it stands in this node's inbox{of}, {}{}.", clean(read), when(report.received_ms, now))
        }
        "history" => format!("is kept here for those who join {topic} late, until it expires."),
        "custody" => format!("is in the custody of {by}{at}. Ask there what became of it."),
        "delivered" => delivered(report, &by, &at),
        "expired" => format!("expired here{at}, before anybody took it."),
        "evicted" => evicted(report, &by, &at),
        "used" => format!("was a receipt for a message of this node, which has read it{at}."),
        "gone" => {
            format!("was here and is gone{at}: passed on, expired, or a broadcast that made room. More was not noted.")
        }
        "refused" => "was not taken in here.".to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}

fn delivered(report: &WhyReport, by: &str, at: &str) -> String {
    match report.how.as_deref() {
        Some("link") => format!("was delivered: its recipient {by} took it over our link{at}."),
        Some("receipt") => format!("was delivered: the signed receipt of its recipient {by} came{at}."),
        Some("mailbox") => format!("was delivered: {by} fetched it from its mailbox here{at}."),
        _ => format!("was delivered{at}."),
    }
}

fn evicted(report: &WhyReport, by: &str, at: &str) -> String {
    let quota = clean(report.quota.as_deref().unwrap_or("room"));
    match (report.how.as_deref(), &report.by) {
        (Some("inbox"), _) => format!("was delivered here and read, and made room in the inbox (bound: {quota}){at}."),
        (_, Some(_)) => format!("made room here (bound: {quota}){at}; {by} holds a copy."),
        _ => format!("made room here (bound: {quota}){at}."),
    }
}

fn waits(wait: &WaitInfo, now: u64) -> Vec<String> {
    let mut lines = vec![format!("  place {} of {} in the queue", wait.place, wait.queue)];
    if wait.mailbox {
        lines.push("  its recipient has a mailbox here, and fetches it".to_owned());
    }
    lines.extend(wait.hops.iter().map(|hop| format!("  {}", hop_line(hop, now))));
    match wait.next_ms {
        Some(at) if at > now => lines.push(format!("  next try {}", ago(at, now))),
        Some(_) => lines.push("  next try at once".to_owned()),
        None if wait.mailbox => {}
        None => lines.push("  no way there is known now; it goes as soon as a link or a route comes up".to_owned()),
    }
    if !wait.known && wait.next_ms.is_some() {
        lines.push("  no route is known, so neighbours get copies and this one stays".to_owned());
    }
    lines
}

fn hop_line(hop: &HopInfo, now: u64) -> String {
    let peer = super::name(&hop.peer, hop.nickname.as_ref());
    let until = hop.until_ms.map(|at| format!("; it is offered again {}", ago(at, now))).unwrap_or_default();
    match hop.state.as_str() {
        "offered" => format!("{peer}: offered{}, no answer yet", when(hop.since_ms, now)),
        "declined" => format!("{peer}: declined it ({}){until}", clean(hop.verdict.as_deref().unwrap_or("no reason"))),
        "copied" => format!("{peer}: holds a copy{until}"),
        "brought" => format!("{peer}: brought it, so it isn't offered back{until}"),
        "full" => format!("{peer}: as much as may be is under way to it"),
        "elsewhere" => format!("{peer}: would be a way; it is under way to another neighbour"),
        "kept" => format!("{peer}: must not get it, as another domain"),
        _ => format!("{peer}: its turn comes next"),
    }
}

fn about(report: &WhyReport, now: u64) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(kind) = &report.kind {
        let from = who(report.from.map(|from| from.to_string()).as_ref(), report.from_name.as_ref());
        lines.push(format!("  {} from {from}, made {}", clean(kind), ago(report.created_ms.unwrap_or_default(), now)));
    }
    if let Some(expires) = report.expires_ms {
        lines.push(format!("  expires {}", ago(expires, now)));
    }
    if report.own {
        lines.push("  handed in here".to_owned());
    } else if report.source.is_some() {
        lines.push(format!("  came from {}", who(report.source.as_ref(), report.source_name.as_ref())));
    }
    lines
}

fn refusal(report: &WhyReport, refused: &RefusedInfo, now: u64) -> String {
    let source = refused.source.map(|peer| peer.to_string());
    let from = match &source {
        Some(_) => format!(" from {}", who(source.as_ref(), refused.source_name.as_ref())),
        None => String::new(),
    };
    let again = if report.state == "refused" { "" } else { "another copy " };
    format!("  {again}refused{from}{}: {}", when(Some(refused.at_ms), now), clean(&refused.code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::why;

    #[test]
    fn a_waiting_message_says_where_it_stands_and_with_whom() {
        let now = 1_699_999_970_000;
        let text = text(&WhyReport { expires_ms: Some(now + 60_000), ..why("0505") }, now);
        assert!(text.contains("waits here for cleo (0606060606060606)"), "{text}");
        assert!(text.contains("place 3 of 5"), "{text}");
        assert!(text.contains("declined it (recipient-full); it is offered again in 30 s"), "{text}");
        assert!(!text.contains('\u{1b}'), "names can't reach the terminal with escapes");
    }

    #[test]
    fn one_that_waits_after_its_time_is_not_said_to_go_on() {
        let now = 1_699_999_970_000;
        let text = text(&WhyReport { expires_ms: Some(now - 60_000), ..why("0505") }, now);
        assert!(text.contains("its time was over 1 min ago: nobody takes it any more"), "{text}");
        assert!(!text.contains("offered again"), "{text}");
    }

    #[test]
    fn every_end_has_a_sentence_of_its_own() {
        let ends = [
            "writing",
            "inbox",
            "history",
            "custody",
            "delivered",
            "expired",
            "evicted",
            "used",
            "gone",
            "refused",
            "x",
        ];
        let told = ends.map(|state| what(&WhyReport { state: state.to_owned(), ..WhyReport::default() }, 0));
        for (at, one) in told.iter().enumerate() {
            assert!(told[at + 1..].iter().all(|other| other != one), "{one}");
        }
    }

    #[test]
    fn an_unknown_message_comes_with_a_hint() {
        let report = WhyReport { id: "00".repeat(32), state: "unknown".to_owned(), ..WhyReport::default() };
        let failure = told(&report).unwrap_err();
        assert_eq!(failure.exit_code(), 1);
        assert!(failure.to_string().contains("until they expire, and five minutes more"), "{failure}");
        assert!(told(&why("0505")).is_ok());
    }
}
