//! A bot's sources, compiled. Compiling takes memory and time that count for no budget, so it happens on a thread of
//! its own and before the machine is built; what protects the host is the size limit of the sources.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua};

use super::failure::{Failure, Kind};
use super::source::Source;

/// Stack of the compiling thread: Luau's parser has its own bound on nesting, this is well above it.
const STACK_BYTES: usize = 8 << 20;
/// The name of what an admin types, in messages.
const TYPED: &str = "=repl";
const PRELUDE: &str = include_str!("prelude.luau");

/// Sources and the bytecode that this process made of them. Bytecode from elsewhere is never loaded.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub source: Source,
    chunks: BTreeMap<String, Vec<u8>>,
}

impl Program {
    /// Compiles every file, or says what is wrong with each.
    pub(crate) fn compile(source: Source) -> Result<Self, Vec<Failure>> {
        let thread = std::thread::Builder::new().name("bot-compile".to_owned()).stack_size(STACK_BYTES);
        let failed = |message: &str| vec![Failure::new(Kind::Panic, message)];
        let compiling = thread.spawn(move || compile_all(source)).map_err(|error| failed(&error.to_string()))?;
        compiling.join().map_err(|_| failed("the compiler failed inside"))?
    }

    /// The same on the calling thread, which must have stack enough, and with the first thing that is wrong.
    pub(crate) fn compile_here(source: Source) -> Result<Self, Failure> {
        compile_all(source).map_err(first)
    }

    /// Puts a file's chunk into a machine; `None` when there is no such file.
    pub(crate) fn chunk(&self, lua: &Lua, name: &str) -> Option<mlua::Result<Function>> {
        self.chunks.get(name).map(|bytes| load(lua, &format!("@{name}"), bytes))
    }
}

/// What the admin typed: an expression where it is one, else statements.
pub(crate) fn typed(lua: &Lua, code: &str) -> mlua::Result<Function> {
    let told = |error: mlua::Error| match error {
        // `line: what`
        mlua::Error::SyntaxError { message, .. } => mlua::Error::runtime(format!("repl:{message}")),
        other => other,
    };
    // Luau would otherwise look up a chain like `conf.limit` while it loads the chunk: the bot's own `__index` would run
    // then, without a budget and with every right.
    let compiler = compiler().set_optimization_level(0);
    let expression = compiler.compile(format!("return {code}"));
    let bytes = expression.or_else(|_| compiler.compile(code)).map_err(told)?;
    load(lua, TYPED, &bytes)
}

/// Whether typed code is the beginning of something: more lines may make a statement of it.
pub(crate) fn is_unfinished(code: &str) -> bool {
    let at_the_end = |error: mlua::Error| match error {
        mlua::Error::SyntaxError { message, .. } => message.trim_end().ends_with("got <eof>"),
        _ => false,
    };
    let as_expression = compiler().compile(format!("return {code}")).map_err(at_the_end);
    let as_statements = compiler().compile(code).map_err(at_the_end);
    matches!((as_expression, as_statements), (Err(one), Err(other)) if one || other)
}

/// The prelude's chunk.
pub(crate) fn prelude(lua: &Lua) -> mlua::Result<Function> {
    static CHUNK: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = match CHUNK.get() {
        Some(bytes) => bytes,
        None => {
            // Without line numbers: its errors are reported at the bot's lines, and each machine is smaller.
            let bytes = compiler().set_debug_level(0).compile(PRELUDE)?;
            CHUNK.get_or_init(|| bytes)
        }
    };
    load(lua, "=host", bytes)
}

fn load(lua: &Lua, name: &str, bytes: &[u8]) -> mlua::Result<Function> {
    lua.load(bytes).set_name(name).set_mode(ChunkMode::Binary).into_function()
}

fn compiler() -> Compiler {
    // `mesh` counts as mutable: Luau would otherwise look up a chain like `mesh.state.count` once, when the chunk is
    // loaded, and use that value for ever.
    Compiler::new().set_optimization_level(1).set_debug_level(1).add_mutable_global("mesh")
}

fn compile_all(mut source: Source) -> Result<Program, Vec<Failure>> {
    let (mut chunks, mut failures) = (BTreeMap::new(), Vec::new());
    for (name, text) in &source.files {
        match compiler().compile(text) {
            Ok(bytes) => {
                chunks.insert(name.clone(), bytes);
            }
            Err(error) => failures.push(syntax(name, &error)),
        }
    }
    // The texts have served; the names are still needed.
    source.files.values_mut().for_each(|text| *text = String::new());
    if failures.is_empty() { Ok(Program { source, chunks }) } else { Err(failures) }
}

/// What is told of several failures.
pub(crate) fn first(failures: Vec<Failure>) -> Failure {
    failures.into_iter().next().unwrap_or_else(|| Failure::new(Kind::Error, "not compiled"))
}

/// The compiler's message is `line: what`.
fn syntax(name: &str, error: &mlua::Error) -> Failure {
    let text = match error {
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        other => other.to_string(),
    };
    let (line, message) = match text.split_once(": ") {
        Some((line, message)) => (line.parse().ok(), message),
        None => (None, text.as_str()),
    };
    Failure { file: Some(name.to_owned()), line, ..Failure::new(Kind::Error, super::api::clean(message, 1_024)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_waits_for_more_lines_is_told_from_a_wrong_one() {
        for code in
            ["for i = 1, 3 do", "local function f(a)\n  return a", "x = {", "mesh.send(", "1 +", "if x then y = 1 else"]
        {
            assert!(is_unfinished(code), "{code}");
        }
        for code in ["", "1 + 1", "x = 1", "for i = 1, 3 do end", "x y", ")", "return = 1", "\"open"] {
            assert!(!is_unfinished(code), "{code}");
        }
    }
}
