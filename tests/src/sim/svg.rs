//! The reports as a picture: one field of bars for each figure.

use std::fmt::Write;

use super::scenario::Report;

/// A figure: what it is called, its unit, and its value in a report.
type Figure = (&'static str, &'static str, fn(&Report) -> f64);

const FIGURES: [Figure; 12] = [
    ("Cold start", "s", |r| r.cold_start_s),
    ("Lost link overcome", "s", Report::link_loss_recovery_s),
    ("Partition: served inside", "s", |r| r.partition_s),
    ("Heal: served everywhere", "s", |r| r.heal_s),
    ("Stretch, mean", "", |r| r.stretch_mean),
    ("Stretch, largest", "", |r| r.stretch_max),
    ("Messages delivered", "%", |r| r.delivery_ratio * 100.0),
    ("Control, steady", "B/s a node", |r| r.control_bytes_per_node_s),
    ("Copies of a broadcast", "a node", |r| r.copies_per_broadcast),
    ("Reach after 30 % died", "%", |r| r.reach_after_deaths * 100.0),
    ("Routing state", "KiB a node", |r| r.state_bytes_per_node / 1_024.0),
    ("Loops found", "", |r| r.loops as f64),
];

/// Fields in a row.
const IN_A_ROW: usize = 3;
/// Sizes in the picture's units.
const FIELD_WIDTH: usize = 420;
const BAR_HEIGHT: usize = 16;
const HEAD: usize = 48;
const NAME_WIDTH: usize = 130;
const BAR_WIDTH: usize = 190;

/// The picture.
#[must_use]
pub fn picture(reports: &[Report]) -> String {
    let field_height = HEAD + reports.len() * (BAR_HEIGHT + 4) + 16;
    let rows = FIGURES.len().div_ceil(IN_A_ROW);
    let (width, height) = (IN_A_ROW * FIELD_WIDTH, rows * field_height + 20);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (index, figure) in FIGURES.iter().enumerate() {
        let (x, y) = (index % IN_A_ROW * FIELD_WIDTH + 10, index / IN_A_ROW * field_height + 10);
        field(&mut out, figure, reports, x, y);
    }
    out + "</svg>\n"
}

fn field(out: &mut String, (name, unit, value): &Figure, reports: &[Report], x: usize, y: usize) {
    let largest = reports.iter().map(value).fold(f64::MIN_POSITIVE, f64::max);
    text(out, x, y + 18, 15, &format!("{name}{}", if unit.is_empty() { String::new() } else { format!(" ({unit})") }));
    for (row, report) in reports.iter().enumerate() {
        let (top, value) = (y + HEAD - 14 + row * (BAR_HEIGHT + 4), value(report));
        let length = (value / largest * BAR_WIDTH as f64).max(0.0);
        let left = x + NAME_WIDTH;
        text(out, x, top + 12, 12, &format!("{} {}", report.topology, report.nodes));
        // Writing into a string can't fail.
        let _ = writeln!(
            out,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{length:.1}\" height=\"{BAR_HEIGHT}\" fill=\"{}\"/>",
            colour(report.nodes)
        );
        text(out, left + length as usize + 6, top + 12, 12, &short(value));
    }
}

fn text(out: &mut String, x: usize, y: usize, size: usize, what: &str) {
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"#222222\">{what}</text>");
}

/// One colour for each size of networks.
fn colour(nodes: usize) -> &'static str {
    match nodes {
        0..=300 => "#7fb8d8",
        301..=3_000 => "#2f7fb5",
        _ => "#14466b",
    }
}

fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_of_each_case_has_a_bar() {
        let report = |nodes| Report { topology: "ring", nodes, heal_s: nodes as f64, ..Report::default() };
        let picture = picture(&[report(100), report(1_000)]);
        assert_eq!(picture.matches("<rect").count(), 1 + 2 * FIGURES.len());
        assert!(picture.contains("ring 1000") && picture.ends_with("</svg>\n"));
        assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
    }
}
