//! Where a text of Lua names something of `mesh` or of a message. Comments and texts in quotes are left out.

/// A chain of names such as `mesh.store:get`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention<'t> {
    /// Counted from 1.
    pub line: usize,
    /// `mesh` or `msg`.
    pub root: &'t str,
    /// What follows it: `store`, `get`.
    pub words: Vec<&'t str>,
}

/// All mentions, in their order.
pub(super) fn mentions(text: &str) -> Vec<Mention<'_>> {
    let mut scan = Scan { text, at: 0, found: Vec::new() };
    while scan.at < text.len() {
        scan.step();
    }
    scan.found
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
    found: Vec<Mention<'t>>,
}

impl<'t> Scan<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn step(&mut self) {
        let rest = self.rest();
        if let Some(comment) = rest.strip_prefix("--") {
            self.at += 2 + long_bracket(comment).unwrap_or_else(|| comment.find('\n').unwrap_or(comment.len()));
        } else if let Some(long) = long_bracket(rest) {
            self.at += long;
        } else if let Some(quote @ ('"' | '\'' | '`')) = rest.chars().next() {
            self.at += 1 + quoted(rest.get(1..).unwrap_or_default(), quote);
        } else if !name(rest).is_empty() {
            self.chain();
        } else {
            self.at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }

    /// A name with what hangs on it.
    fn chain(&mut self) {
        let (begin, root) = (self.at, name(self.rest()));
        self.at += root.len();
        let mut words = Vec::new();
        while let Some(tail) = self.rest().strip_prefix(['.', ':']) {
            let word = name(tail);
            if word.is_empty() {
                break;
            }
            words.push(word);
            self.at += 1 + word.len();
        }
        if matches!(root, "mesh" | "msg") && !words.is_empty() {
            let line = 1 + self.text.get(..begin).unwrap_or_default().matches('\n').count();
            self.found.push(Mention { line, root, words });
        }
    }
}

/// The name, or number, that a text begins with.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// The length of a `[[…]]` or `[=[…]=]` that a text begins with.
fn long_bracket(text: &str) -> Option<usize> {
    let signs = text.strip_prefix('[')?;
    let level = signs.len() - signs.trim_start_matches('=').len();
    let inside = signs.get(level..)?.strip_prefix('[')?;
    let close = format!("]{}]", "=".repeat(level));
    let end = inside.find(&close).map_or(inside.len(), |end| end + close.len());
    Some(level + 2 + end)
}

/// The length of what follows a quote, with the one that ends it.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.char_indices().find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(end, _)| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_their_lines_and_not_in_comments_or_texts() {
        let text = "local s = mesh.store -- mesh.no\n--[[ mesh.no\nmesh.no ]] mesh.send('mesh.no \\' mesh.no', x)\n\
                    local t = [==[ mesh.no ]] ]==] .. mesh.self.name .. \"mesh.no\"\n\
                    msg:reply(`{x} mesh.no`) other.mesh.no() xmesh.no() mesh.store:get('ü', 1..mesh.json) mesh";
        let found: Vec<String> =
            mentions(text).iter().map(|m| format!("{} {} {}", m.line, m.root, m.words.join(" "))).collect();
        let wanted =
            ["1 mesh store", "3 mesh send", "4 mesh self name", "5 msg reply", "5 mesh store get", "5 mesh json"];
        assert_eq!(found, wanted);
    }

    #[test]
    fn what_is_never_closed_ends_with_the_text() {
        for text in ["--[[ mesh.a", "'mesh.a", "[[mesh.a", "`mesh.a\\", "mesh.", "mesh.ü", "-", "[="] {
            assert!(mentions(text).is_empty(), "{text}");
        }
    }
}
