//! A picture of the routes for Graphviz.

use std::fmt::Write as _;

use super::picture::Picture;

/// The graph in the DOT language. Labels are quoted, so that no name can be taken for anything else.
pub(super) fn draw(picture: &Picture) -> String {
    let mut out = String::from("digraph routes {\n  layout=twopi; root=n0; overlap=false; splines=true;\n");
    out += "  node [shape=box, style=rounded, fontname=\"sans-serif\", fontsize=10];\n";
    for (number, spot) in picture.spots.iter().enumerate() {
        let style = match (number, spot.lost) {
            (0, _) => ", style=\"rounded,bold\"",
            (_, true) => ", style=\"rounded,dotted\"",
            _ => "",
        };
        let tip = spot.peer.to_string();
        _ = writeln!(out, "  n{number} [label={}, tooltip={}{style}];", quoted(&spot.label), quoted(&tip));
    }
    for line in &picture.lines {
        let label = line.cost.map(|cost| format!("label=\"{cost}\", ")).unwrap_or_default();
        let style = if line.direct { "style=solid, dir=none" } else { "style=dashed" };
        _ = writeln!(out, "  n{} -> n{} [{label}{style}];", line.from, line.to);
    }
    out + "}\n"
}

/// A quoted string: quotes and backslashes are escaped, so a label can't end early nor use the escapes of labels.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::testing::route_table;

    #[test]
    fn names_stay_inside_their_quotes() {
        assert_eq!(quoted(r#"a"]; b \N"#), r#""a\"]; b \\N""#);
        let graph = draw(&Picture::of(&route_table()));
        assert!(graph.starts_with("digraph routes {") && graph.ends_with("}\n"), "{graph}");
        assert!(!graph.contains('\u{1b}'));
        assert!(graph.contains(r#"label="anna\" -> x; <b>&""#), "{graph}");
        assert!(graph.contains("n0 -> n1 [label=\"96\", style=solid, dir=none];"), "{graph}");
        assert!(graph.contains("style=dashed"), "{graph}");
    }
}
