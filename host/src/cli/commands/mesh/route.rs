//! `mesh route`

mod dot;
mod picture;
mod svg;

use std::path::Path;

use qpq_schemas::PeerId;

use super::name;
use crate::api::{Feasibility, LostRoute, RouteAlternative, RouteInfo, RouteTable};
use crate::cli::answer::Answer;
use crate::cli::args::RouteArgs;
use crate::cli::failure::Failure;
use crate::cli::term::{Style, Table, bytes, clean, duration};
use picture::Picture;

pub(super) fn shown(table: &RouteTable, args: &RouteArgs, style: Style) -> Result<Answer, Failure> {
    let picture = match (args.dot, args.svg) {
        (true, _) => ("dot", dot::draw(&Picture::of(table))),
        (_, true) => ("svg", svg::draw(&Picture::of(table))),
        _ if args.out.is_some() => {
            return Err(Failure::Usage("--out is for a picture: add --svg or --dot.".to_owned()));
        }
        _ => return Ok(Answer::new("qpq.routes/1", table, text(table, args.all, style))),
    };
    drawn(picture.0, &picture.1, args.out.as_deref())
}

fn drawn(format: &str, picture: &str, out: Option<&Path>) -> Result<Answer, Failure> {
    let Some(file) = out else {
        let json = serde_json::json!({ "format": format, "picture": picture });
        return Ok(Answer::new("qpq.route-picture/1", &json, picture));
    };
    let wrong = |error: std::io::Error| Failure::new("not-written", format!("{}: {error}", file.display()));
    std::fs::write(file, picture).map_err(wrong)?;
    let json = serde_json::json!({ "format": format, "file": file.display().to_string() });
    Ok(Answer::new("qpq.route-picture/1", &json, format!("Wrote {}.", clean(&file.display().to_string()))))
}

fn text(table: &RouteTable, all: bool, style: Style) -> String {
    let mut rows = Table::new(&["DESTINATION", "NEXT HOP", "METRIC", "LINKS", "FEASIBLE BELOW", "CONFIRMED", "OTHERS"]);
    for route in &table.routes {
        rows.row(row(route));
        alternatives(&mut rows, &route.alternatives, all);
    }
    for lost in &table.lost {
        rows.row(lost_row(lost));
        alternatives(&mut rows, &lost.alternatives, all);
    }
    let size = table.state_bytes.map(|size| format!(" Its table takes {}.", bytes(size))).unwrap_or_default();
    format!("Routing by {}.{size}\n{}", clean(&table.plugin), rows.show(style, "No routes yet."))
}

fn row(route: &RouteInfo) -> [String; 7] {
    [
        name(&route.destination, route.nickname.as_ref()),
        name(&route.next_hop, route.next_hop_name.as_ref()),
        route.metric.to_string(),
        route.hops.map(|hops| hops.to_string()).unwrap_or_default(),
        distance(route.feasibility),
        since(route.age_ms),
        route.alternatives.len().to_string(),
    ]
}

fn lost_row(lost: &LostRoute) -> [String; 7] {
    [
        name(&lost.destination, lost.nickname.as_ref()),
        lost.state.clone(),
        String::new(),
        String::new(),
        distance(lost.feasibility),
        since(lost.age_ms),
        lost.alternatives.len().to_string(),
    ]
}

fn alternatives(rows: &mut Table, others: &[RouteAlternative], all: bool) {
    for other in others.iter().filter(|_| all) {
        rows.row([
            if other.feasible { "  or by" } else { "  not by" }.to_owned(),
            name(&other.next_hop, other.nickname.as_ref()),
            other.metric.to_string(),
            String::new(),
            other.seqno.map(|seqno| format!("has {seqno}")).unwrap_or_default(),
            other.age_ms.map(since).unwrap_or_default(),
            String::new(),
        ]);
    }
}

/// What another way must beat: a newer sequence number, or the same and a smaller metric.
fn distance(feasibility: Option<Feasibility>) -> String {
    feasibility.map(|distance| format!("{}/{}", distance.seqno, distance.metric)).unwrap_or_default()
}

fn since(age_ms: u64) -> String {
    format!("{} ago", duration(age_ms / 1_000))
}

/// A label for pictures: the nickname, else the first digits. Cleaned, and short.
fn label(peer: &PeerId, nickname: Option<&String>) -> String {
    match nickname.map(|nickname| clean(nickname)).filter(|nickname| !nickname.trim().is_empty()) {
        Some(nickname) if nickname.chars().count() > MAX_LABEL => {
            nickname.chars().take(MAX_LABEL - 1).chain(std::iter::once('…')).collect()
        }
        Some(nickname) => nickname,
        None => peer.short(),
    }
}

/// Characters of a label at most.
const MAX_LABEL: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::route_table;

    #[test]
    fn a_table_names_feasibility_and_alternatives_and_holds_no_escapes() {
        let short = text(&route_table(), false, Style::PLAIN);
        assert!(short.contains("5/96") && short.contains("starved") && short.contains("4.0 KiB"), "{short}");
        assert!(!short.contains("or by"), "{short}");
        let all = text(&route_table(), true, Style::PLAIN);
        assert!(all.contains("or by") && all.contains("not by"), "{all}");
        assert!(!all.contains('\u{1b}'));
    }

    #[test]
    fn a_picture_goes_into_a_file_only_with_a_format() {
        let args = RouteArgs { out: Some("/nowhere/x.svg".into()), ..RouteArgs::default() };
        assert!(matches!(shown(&route_table(), &args, Style::PLAIN), Err(Failure::Usage(_))));
        let args = RouteArgs { svg: true, ..args };
        assert!(shown(&route_table(), &args, Style::PLAIN).is_err(), "there is no such folder");
    }
}
