//! Types in LuaCATS words, read, and written as Luau's.

use super::super::cut;

/// How deep types may be nested.
const DEPTH: usize = 16;

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// `string`, `mesh.peer`, `"low"`.
    Name(String),
    /// `table<string, any>`
    Table(Box<Type>, Box<Type>),
    /// `mesh.peer[]`
    List(Box<Type>),
    /// `string?`
    Maybe(Box<Type>),
    /// `string|number`
    Union(Vec<Type>),
    /// `fun(msg: mesh.message, ...: string): string?`
    Function(Vec<Argument>, Vec<Type>),
}

/// An argument of a function type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) of: Type,
}

/// One type; `None` when it is none.
pub(super) fn one(words: &str) -> Option<Type> {
    let mut reader = Reader { rest: words.trim() };
    let found = reader.union(DEPTH)?;
    reader.rest.is_empty().then_some(found)
}

/// Types apart by commas.
pub(super) fn list(words: &str) -> Option<Vec<Type>> {
    let mut reader = Reader { rest: words.trim() };
    let found = if reader.rest.is_empty() { Vec::new() } else { reader.list(DEPTH)? };
    reader.rest.is_empty().then_some(found)
}

struct Reader<'w> {
    rest: &'w str,
}

impl<'w> Reader<'w> {
    fn take(&mut self, sign: &str) -> bool {
        match self.rest.trim_start().strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> Option<&'w str> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'));
        let (word, rest) = self.rest.split_at_checked(end.unwrap_or(self.rest.len()))?;
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Type>> {
        let mut found = vec![self.union(depth)?];
        while self.take(",") {
            found.push(self.union(depth)?);
        }
        Some(found)
    }

    fn union(&mut self, depth: usize) -> Option<Type> {
        let depth = depth.checked_sub(1)?;
        let mut found = vec![self.marked(depth)?];
        while self.take("|") {
            found.push(self.marked(depth)?);
        }
        if found.len() > 1 { Some(Type::Union(found)) } else { found.pop() }
    }

    fn marked(&mut self, depth: usize) -> Option<Type> {
        let mut found = self.plain(depth)?;
        loop {
            if self.take("[]") {
                found = Type::List(Box::new(found));
            } else if self.take("?") {
                found = Type::Maybe(Box::new(found));
            } else {
                return Some(found);
            }
        }
    }

    fn plain(&mut self, depth: usize) -> Option<Type> {
        if let Some(inside) = self.rest.strip_prefix('"') {
            let end = inside.find('"')?;
            self.rest = inside.get(end + 1..)?;
            return Some(Type::Name(format!("\"{}\"", cut(inside, end))));
        }
        match self.word()? {
            "fun" => self.function(depth),
            "table" if self.take("<") => {
                let key = self.union(depth)?;
                let value = self.take(",").then(|| self.union(depth))??;
                self.take(">").then(|| Type::Table(Box::new(key), Box::new(value)))
            }
            word => Some(Type::Name(word.to_owned())),
        }
    }

    fn function(&mut self, depth: usize) -> Option<Type> {
        let mut arguments = Vec::new();
        if !self.take("(") {
            return None;
        }
        while !self.take(")") {
            let name = if self.take("...") { "..." } else { self.word()? }.to_owned();
            let of = self.take(":").then(|| self.union(depth))??;
            arguments.push(Argument { name, of });
            self.take(",");
        }
        let results = if self.take(":") { self.list(depth)? } else { Vec::new() };
        Some(Type::Function(arguments, results))
    }
}

impl Type {
    /// As Luau writes it.
    pub(super) fn luau(&self) -> String {
        match self {
            Self::Name(name) => luau_name(name),
            Self::Table(key, value) => format!("{{ [{}]: {} }}", key.luau(), value.luau()),
            Self::List(item) => format!("{{ {} }}", item.luau()),
            Self::Maybe(inner) => format!("{}?", inner.closed()),
            Self::Union(items) => items.iter().map(Self::closed).collect::<Vec<_>>().join(" | "),
            Self::Function(arguments, results) => {
                let argument = |argument: &Argument| match argument.name.as_str() {
                    "..." => format!("...{}", argument.of.closed()),
                    name => format!("{name}: {}", argument.of.luau()),
                };
                let arguments: Vec<String> = arguments.iter().map(argument).collect();
                format!("({}) -> {}", arguments.join(", "), luau_results(results))
            }
        }
    }

    /// The same, in brackets where something follows that would bind to its end.
    fn closed(&self) -> String {
        match self {
            Self::Union(_) | Self::Function(..) => format!("({})", self.luau()),
            other => other.luau(),
        }
    }

    /// The same as a handler: what it returns is looked at only where it is of use, so it may return anything. Luau has no
    /// other way to say that it may return nothing.
    pub(super) fn handler(self) -> Self {
        match self {
            Self::Function(arguments, _) => Self::Function(arguments, vec![Self::Name("...any".to_owned())]),
            other => other,
        }
    }

    /// The same with nothing beside it.
    pub(super) fn or_nothing(self) -> Self {
        if matches!(self, Self::Maybe(_)) { self } else { Self::Maybe(Box::new(self)) }
    }
}

/// What a function returns, as Luau writes it.
pub(super) fn luau_results(results: &[Type]) -> String {
    match results {
        [only] => only.luau(),
        several => format!("({})", several.iter().map(Type::luau).collect::<Vec<_>>().join(", ")),
    }
}

/// A name as Luau has it: `mesh.send.options` is `MeshSendOptions`.
pub(super) fn luau_name(name: &str) -> String {
    match name {
        "integer" => "number".to_owned(),
        "table" => "{ [any]: any }".to_owned(),
        "function" => "(...any) -> ...any".to_owned(),
        name if name.contains('.') && !name.starts_with(['"', '.']) => {
            let part = |part: &str| {
                let (first, rest) = part.split_at_checked(1).unwrap_or(("", part));
                format!("{}{rest}", first.to_uppercase())
            };
            name.split(['.', '_']).map(part).collect()
        }
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_and_written_as_luau_has_them() {
        for (words, luau) in [
            ("string", "string"),
            ("mesh.event_name", "MeshEventName"),
            ("mesh.peer[]?", "{ MeshPeer }?"),
            ("\"low\"|\"high\"", "\"low\" | \"high\""),
            ("string|table", "string | { [any]: any }"),
            ("table<string, any>", "{ [string]: any }"),
            ("fun(): string?, any", "() -> (string?, any)"),
            ("fun(msg: mesh.message, ...: string): string?", "(msg: MeshMessage, ...string) -> string?"),
            ("fun()", "() -> ()"),
        ] {
            assert_eq!(one(words).map(|found| found.luau()).as_deref(), Some(luau), "{words}");
        }
        assert_eq!(one("fun()").unwrap().handler().luau(), "() -> ...any");
        assert_eq!(one("fun()").unwrap().or_nothing().luau(), "(() -> ())?");
        assert_eq!(list("mesh.receipt?, mesh.error?").unwrap().len(), 2);
        for wrong in ["", "fun(", "table<a", "a b", "\"open", &"fun(a: ".repeat(99)] {
            assert_eq!(one(wrong), None, "{wrong}");
        }
    }
}
