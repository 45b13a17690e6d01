//! The table of figures, for people and for programs.

use serde_json::{Value, json};

use crate::machine;

/// One figure.
struct Row {
    section: &'static str,
    what: String,
    value: f64,
    unit: &'static str,
    /// The figure as a share of, or a multiple of, something measured in the same run.
    ratio: Option<(f64, String)>,
    goal: Option<Goal>,
}

/// What must be reached.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// The value is at most that.
    AtMost(f64),
    /// The ratio is at least that.
    RatioAtLeast(f64),
    /// The ratio is at most that.
    RatioAtMost(f64),
}

/// All figures of a run.
pub(crate) struct Report {
    section: &'static str,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { section: "", rows: Vec::new() }
    }

    /// The figures that follow belong to this section.
    pub(crate) fn section(&mut self, name: &'static str) {
        self.section = name;
    }

    /// Adds a figure. What it is compared with and what it should reach can be added to it.
    pub(crate) fn add(&mut self, what: impl Into<String>, value: f64, unit: &'static str) -> Entry<'_> {
        self.rows.push(Row { section: self.section, what: what.into(), value, unit, ratio: None, goal: None });
        Entry { row: self.rows.last_mut() }
    }

    /// A figure that was measured before, by its section and name.
    pub(crate) fn value(&self, section: &str, what: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.section == section && row.what == what).map(|row| row.value)
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\ncommit {}\n", machine::machine(), machine::commit());
        let mut section = "";
        for row in &self.rows {
            if row.section != section {
                section = row.section;
                text.push_str(&format!("\n{section}\n"));
            }
            text.push_str(&row.line());
        }
        text
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let report = json!({
            "schema": "qpq.bench/1", "machine": machine::machine(), "commit": machine::commit(), "rows": rows,
        });
        format!("{report}\n")
    }
}

/// A figure that was just added.
pub(crate) struct Entry<'a> {
    row: Option<&'a mut Row>,
}

impl Entry<'_> {
    /// Compares the figure with `base`, described by `name`: "of the raw rate".
    pub(crate) fn ratio_to(mut self, base: f64, name: impl Into<String>) -> Self {
        if let Some(row) = &mut self.row {
            row.ratio = Some((row.value / base, name.into()));
        }
        self
    }

    /// Notes what the figure should reach.
    pub(crate) fn goal(mut self, goal: Goal) {
        if let Some(row) = &mut self.row {
            row.goal = Some(goal);
        }
    }
}

impl Row {
    fn line(&self) -> String {
        let ratio = self.ratio.as_ref().map_or(String::new(), |(ratio, name)| format!("{ratio:.2} {name}"));
        let goal = self.goal.map_or(String::new(), |goal| {
            format!("{} {}", self.goal_text(goal), if self.reached(goal) { "✓" } else { "✗ not reached" })
        });
        let line = format!("  {:<58} {:>10} {:<8} {ratio:<34} {goal}", self.what, number(self.value), self.unit);
        line.trim_end().to_owned() + "\n"
    }

    fn json(&self) -> Value {
        let ratio = self.ratio.as_ref();
        json!({
            "section": self.section, "what": self.what, "value": self.value, "unit": self.unit,
            "ratio": ratio.map(|(ratio, _)| ratio), "ratio_to": ratio.map(|(_, name)| name),
            "goal": self.goal.map(|goal| self.goal_text(goal)), "reached": self.goal.map(|goal| self.reached(goal)),
        })
    }

    fn reached(&self, goal: Goal) -> bool {
        let ratio = self.ratio.as_ref().map_or(f64::NAN, |(ratio, _)| *ratio);
        match goal {
            Goal::AtMost(bound) => self.value <= bound,
            Goal::RatioAtLeast(bound) => ratio >= bound,
            Goal::RatioAtMost(bound) => ratio <= bound,
        }
    }

    fn goal_text(&self, goal: Goal) -> String {
        match goal {
            Goal::AtMost(bound) => format!("≤ {} {}", number(bound), self.unit),
            Goal::RatioAtLeast(bound) => format!("≥ {bound}"),
            Goal::RatioAtMost(bound) => format!("≤ {bound}"),
        }
    }
}

/// Three or four digits that matter, with thousands set apart.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
