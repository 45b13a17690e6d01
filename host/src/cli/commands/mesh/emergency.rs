//! `mesh emergency …`

use super::send::ttl_secs;
use super::{name, receipt};
use crate::api::{NodeApi, NoticeInfo, NoticeKey};
use crate::cli::answer::Answer;
use crate::cli::args::EmergencyCommand;
use crate::cli::failure::Failure;
use crate::cli::term::{ago, clean, clean_lines, now_ms};

pub(super) async fn run(node: &dyn NodeApi, command: EmergencyCommand) -> Result<Answer, Failure> {
    Ok(match command {
        EmergencyCommand::Draft { text, ttl } => shown(&node.emergency_draft(text.join(" "), ttl_secs(ttl)).await?),
        EmergencyCommand::Sign(args) => shown(&node.emergency_sign(args.notice).await?),
        EmergencyCommand::Show(args) => shown(&node.emergency_show(args.notice).await?),
        EmergencyCommand::Publish(args) => receipt(&node.emergency_publish(args.notice).await?),
    })
}

fn shown(notice: &NoticeInfo) -> Answer {
    Answer::new("qpq.notice/1", notice, text(notice, now_ms()))
}

fn text(notice: &NoticeInfo, now: u64) -> String {
    let channel = notice.channel.as_deref().map_or_else(
        || format!("a channel that is not this node's for emergencies ({})", notice.topic_id.short()),
        clean,
    );
    let over = ago(notice.until_ms, now);
    let when = if notice.until_ms > now { format!("which is over {over}") } else { format!("which was over {over}") };
    let mut lines = vec![
        format!("Emergency notice for {channel}, {when}:"),
        format!("    {}", clean_lines(&notice.text).replace('\n', "\n    ")),
        format!("signed   {}", keys(&notice.signed)),
    ];
    if notice.quorum > 0 {
        lines.push(format!("missing  {}", keys(&notice.missing)));
    }
    lines.push(match (notice.counted, notice.quorum) {
        (_, 0) => "This node names no admins: set `emergency.admins` in its configuration.".to_owned(),
        (counted, quorum) if counted >= quorum => {
            format!("{counted} of {quorum} admins: it can be published with `qpq mesh emergency publish`.")
        }
        (counted, quorum) => {
            format!("{counted} of {quorum} admins: others add theirs with `qpq mesh emergency sign`.")
        }
    });
    lines.push(format!("\n{}", notice.notice));
    lines.join("\n")
}

fn keys(keys: &[NoticeKey]) -> String {
    let one = |key: &NoticeKey| {
        let who = if key.own { "this node".to_owned() } else { name(&key.key, key.name.as_ref()) };
        if key.admin { who } else { format!("{who} (no admin)") }
    };
    let all: Vec<String> = keys.iter().map(one).collect();
    if all.is_empty() { "nobody".to_owned() } else { all.join(", ") }
}
