//! The reports as a table for people.

use super::scenario::Report;

/// A column: its head, in two lines, and its cells.
type Column = (&'static str, &'static str, fn(&Report) -> String);

const COLUMNS: [Column; 17] = [
    ("topology", "", |r| r.topology.to_owned()),
    ("nodes", "", |r| r.nodes.to_string()),
    ("loops", "", |r| r.loops.to_string()),
    ("other than", "on disk", |r| r.other_than_on_disk.len().to_string()),
    ("cold start", "s", |r| format!("{:.2}", r.cold_start_s)),
    ("lost link", "s", |r| format!("{:.2}", r.link_loss_recovery_s())),
    ("partition", "s", |r| format!("{:.2}", r.partition_s)),
    ("heal", "s", |r| format!("{:.2}", r.heal_s)),
    ("stretch", "mean", |r| format!("{:.4}", r.stretch_mean)),
    ("stretch", "max", |r| format!("{:.3}", r.stretch_max)),
    ("delivered", "", |r| format!("{:.4}", r.delivery_ratio)),
    ("doubled", "", |r| r.duplicates_at_application.to_string()),
    ("control", "B/s a node", |r| format!("{:.1}", r.control_bytes_per_node_s)),
    ("copies of a", "broadcast", |r| format!("{:.3}", r.copies_per_broadcast)),
    ("reach, a", "third dead", |r| format!("{:.4}", r.reach_after_deaths)),
    ("routing", "B a node", |r| format!("{:.0}", r.state_bytes_per_node)),
    ("took", "s", |r| format!("{:.0}", r.wall_s)),
];

/// The reports, one a line, with a head of two lines.
#[must_use]
pub fn table(reports: &[Report]) -> String {
    let heads = [COLUMNS.map(|(first, ..)| first.to_owned()), COLUMNS.map(|(_, second, _)| second.to_owned())];
    let rows = reports.iter().map(|report| COLUMNS.map(|(.., cell)| cell(report)));
    let lines: Vec<[String; COLUMNS.len()]> = heads.into_iter().chain(rows).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(width);
    let mut out = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:>width$}"));
        out += &cells.collect::<Vec<_>>().join("  ");
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_a_line_and_all_lines_are_equally_wide() {
        let report = Report { topology: "geometric", nodes: 1_000, wall_s: 12.0, ..Report::default() };
        let text = table(&[report.clone(), report]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
        assert!(lines[2].contains("geometric"));
    }
}
