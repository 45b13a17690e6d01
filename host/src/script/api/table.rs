//! The script API in one table: calls, their arguments and options, events, types, permissions, help.
//!
//! Arguments are checked from it. The editors' definitions, the reference and `qpq script help` are made from it
//! (`script::meta`), so each entry has a line of help.
//!
//! Types are written in LuaCATS words: `string?`, `mesh.peer[]`, `fun(msg: mesh.message): string?`.

mod board;
mod errors;
mod events;
mod globals;
mod memory;
mod network;
mod relay;
mod talk;
mod time;
mod tools;
mod types;

pub use errors::ERRORS;
pub use events::{EVENTS, Event};
pub use globals::{KEPT_GLOBALS, REMOVED_GLOBALS};
pub use types::{ALIASES, TYPES};

/// What an argument may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string of bytes.
    Text,
    /// A string, or a table that is sent as JSON.
    Payload,
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// true or false.
    Boolean,
    /// A function.
    Function,
    /// A table.
    Table,
    /// A table with the call's options.
    Options,
    /// A duration: `"10m"`, or seconds.
    Duration,
    /// A moment: Unix seconds, `"08:00"`, or a cron expression.
    When,
    /// A name or a list of names.
    Names,
    /// Anything.
    Any,
}

impl Kind {
    /// How the kind is called in messages.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Payload => "a string or a table",
            Self::Number => "a number",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Function => "a function",
            Self::Table | Self::Options => "a table",
            Self::Duration => "a duration such as \"10m\" or a number of seconds",
            Self::When => "a time such as \"08:00\", a cron expression or Unix seconds",
            Self::Names => "a string or a list of strings",
            Self::Any => "a value",
        }
    }

    /// Its type, where the argument says no narrower one. The options of a call have a type of their own.
    const fn type_words(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Payload => "string|table",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Function => "function",
            Self::Table | Self::Options => "table",
            Self::Duration => "mesh.duration",
            Self::When => "mesh.moment",
            Self::Names => "string|string[]",
            Self::Any => "any",
        }
    }
}

/// An argument or an option.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Whether it may be left out.
    pub optional: bool,
    /// What it is for: part of a sentence.
    pub doc: &'static str,
    /// Its type.
    pub type_words: &'static str,
}

impl Param {
    /// The same with a line of help.
    pub(crate) const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    /// The same with a type that says more than its kind.
    pub(crate) const fn of(self, type_words: &'static str) -> Self {
        Self { type_words, ..self }
    }
}

/// One function of the API.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// As it is written: `mesh.send`, `mesh.store:get`, `msg:reply`.
    pub name: &'static str,
    /// The arguments in order. The last one of [`Kind::Any`] named `...` stands for any number.
    pub params: &'static [Param],
    /// The keys of the argument of [`Kind::Options`].
    pub options: &'static [Param],
    /// The types of what it returns, apart by `, `; empty for nothing.
    pub returns: &'static str,
    /// The permission it wants.
    pub needs: Option<&'static str>,
    /// In words: permissions that depend on its arguments, and that it checks itself.
    pub asks: &'static str,
    /// Whether it waits, so that other handlers run meanwhile.
    pub waits: bool,
    /// Whether it changes or sends something: not in a read-only session.
    pub writes: bool,
    /// One or two sentences.
    pub help: &'static str,
}

impl Call {
    /// Whether it is called with a colon.
    pub fn is_method(&self) -> bool {
        self.name.contains(':')
    }

    /// Whether the last argument may come any number of times.
    pub(crate) fn is_variadic(&self) -> bool {
        self.params.last().is_some_and(|param| param.name == "...")
    }

    /// Whether the text before the options may be left out, so that they stand alone: `mesh.store:each({ limit = 1 })`.
    pub(crate) fn skips_first(&self) -> bool {
        matches!(self.params, [first, options] if first.optional && first.kind == Kind::Text && options.kind == Kind::Options)
    }

    /// Whether the table in the middle may be left out: `mesh.on(event, fn)`, `mesh.command(name, fn)`.
    pub(crate) fn skips_middle(&self) -> bool {
        matches!(self.params, [_, middle, last] if middle.optional && !last.optional)
    }
}

/// A field of a table that scripts meet.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its type, with `?` behind it where it may be absent.
    pub type_words: &'static str,
    /// What it says: part of a sentence.
    pub doc: &'static str,
}

impl Field {
    /// Whether it may be absent.
    pub fn optional(&self) -> bool {
        self.type_words.ends_with('?')
    }
}

/// A table that scripts meet: a message, a receipt, a peer.
#[derive(Debug, Clone, Copy)]
pub struct Type {
    /// Its name: `mesh.message`.
    pub name: &'static str,
    /// How it is called before the colon in names of calls (`msg` of `msg:reply`); empty where it has no functions.
    pub receiver: &'static str,
    /// What it is, in a sentence.
    pub help: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
    /// The type whose fields and functions it has, too; empty for none.
    pub base: &'static str,
}

impl Type {
    /// The same with all that another type has.
    pub(crate) const fn under(self, base: &'static str) -> Self {
        Self { base, ..self }
    }
}

/// Another name for a type.
#[derive(Debug, Clone, Copy)]
pub struct Alias {
    /// Its name: `mesh.duration`.
    pub name: &'static str,
    /// What it stands for.
    pub type_words: &'static str,
    /// What it is, in a sentence.
    pub help: &'static str,
}

/// Calls that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// One word.
    pub name: &'static str,
    /// What they are about, in a sentence or two.
    pub help: &'static str,
    /// The calls.
    pub calls: &'static [Call],
    /// Values beside them: `mesh.self`.
    pub values: &'static [Field],
}

pub(crate) const fn param(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, optional: false, doc: "", type_words: kind.type_words() }
}

pub(crate) const fn maybe(name: &'static str, kind: Kind) -> Param {
    Param { optional: true, ..param(name, kind) }
}

pub(crate) const fn call(
    name: &'static str,
    params: &'static [Param],
    options: &'static [Param],
    returns: &'static str,
    needs: &'static str,
    help: &'static str,
) -> Call {
    let needs = if needs.is_empty() { None } else { Some(needs) };
    Call { name, params, options, returns, needs, asks: "", waits: false, writes: false, help }
}

/// A call that other handlers don't wait for.
pub(crate) const fn waiting(call: Call) -> Call {
    Call { waits: true, ..call }
}

/// A call that changes or sends something.
pub(crate) const fn writing(call: Call) -> Call {
    Call { writes: true, ..call }
}

/// A call that checks its permission itself.
pub(crate) const fn asking(asks: &'static str, call: Call) -> Call {
    Call { asks, ..call }
}

pub(crate) const fn field(name: &'static str, type_words: &'static str, doc: &'static str) -> Field {
    Field { name, type_words, doc }
}

pub(crate) const fn table(
    name: &'static str,
    receiver: &'static str,
    help: &'static str,
    fields: &'static [Field],
) -> Type {
    Type { name, receiver, help, fields, base: "" }
}

const OPTS: Param = maybe("options", Kind::Options).doc("options by name");
const REST: Param = maybe("...", Kind::Any);
const TTL: Param = maybe("ttl", Kind::Duration);
const SKIP: Param = maybe("skip", Kind::Integer).doc("leave out so many");
const LIMIT: Param = maybe("limit", Kind::Integer).doc("at most so many");
const PRIORITY: Param = maybe("priority", Kind::Text)
    .of("mesh.priority")
    .doc("what goes first when a link or a store is crowded; normal if not said");

/// Every group, in the order of the reference.
pub const GROUPS: &[Group] =
    &[events::GROUP, talk::GROUP, time::GROUP, memory::GROUP, board::GROUP, network::GROUP, relay::GROUP, tools::GROUP];

/// Every function of the API.
pub fn calls() -> impl Iterator<Item = &'static Call> {
    GROUPS.iter().flat_map(|group| group.calls)
}

/// The call of that name.
pub(crate) fn find(name: &str) -> Option<&'static Call> {
    calls().find(|call| call.name == name)
}

#[cfg(test)]
mod tests;
