//! Tables with aligned columns.

use super::{Style, clean};

/// Characters that a cell shows at most; of a longer one the beginning.
const CELL: usize = 512;

/// Between two columns.
const GAP: &str = "  ";

/// A table. Its cells are cleaned, so they may hold text of others.
#[derive(Debug)]
pub(in crate::cli) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub(in crate::cli) fn new(heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: vec![] }
    }

    /// Adds a row; an empty cell is shown as a dash.
    pub(in crate::cli) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cell = |cell: String| if cell.is_empty() { "-".to_owned() } else { shortened(clean(&cell)) };
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// The table as text; `empty` when it has no rows.
    pub(in crate::cli) fn show(&self, style: Style, empty: &str) -> String {
        if self.rows.is_empty() {
            return empty.to_owned();
        }
        let widths: Vec<usize> = (0..self.heads.len()).map(|column| self.width(column)).collect();
        let heads = self.heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>();
        let mut lines = vec![style.bold(&line(&heads, &widths))];
        lines.extend(self.rows.iter().map(|row| line(row, &widths)));
        lines.join("\n")
    }

    fn width(&self, column: usize) -> usize {
        let head = self.heads.get(column).map_or(0, |head| head.len());
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(head)
    }
}

/// A cell as it is, or its beginning: formatting has a greatest width, and nobody reads so much in a table.
fn shortened(cell: String) -> String {
    match cell.char_indices().nth(CELL) {
        Some((end, _)) => format!("{}…", cell.get(..end).unwrap_or_default()),
        None => cell,
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    padded.join(GAP).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_any_length_is_shown_and_cut() {
        let mut table = Table::new(&["NAME"]);
        table.row(["ü".repeat(70_000)]);
        let shown = table.show(Style::PLAIN, "");
        assert!(shown.ends_with("ü…") && shown.chars().count() < 2 * CELL, "{}", shown.len());
    }

    #[test]
    fn columns_are_aligned_and_cells_cleaned() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["grün\x1b[31m".to_owned(), "up".to_owned()]);
        table.row([String::new(), "a\nb".to_owned()]);
        assert_eq!(table.show(Style::PLAIN, ""), "NAME  STATE\ngrün  up\n-     a b");
        assert_eq!(Table::new(&["A"]).show(Style::PLAIN, "nothing yet"), "nothing yet");
    }
}
