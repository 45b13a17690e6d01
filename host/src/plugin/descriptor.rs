//! Reads and checks a plugin's descriptor, in the order in which a mistake can be told from a worse one.

use qpq_plugin_api::abi::{self, ABI_MAJOR, MAGIC, interface, plugin_flags};
use serde::Serialize;

use super::error::Problem;
use super::memory::{Memory, Unreadable};

/// The longest id, kind or version, in bytes.
const MAX_NAME: usize = 64;
/// The longest other text, in bytes.
const MAX_TEXT: usize = 1024;
/// The longest configuration schema, in bytes.
const MAX_SCHEMA: usize = 64 * 1024;
/// The largest size that a descriptor of any version may state.
const MAX_SIZE: u32 = 64 * 1024;
/// Size of the descriptor of version 1.0: the least that a plugin must have.
const LEAST_SIZE: usize = abi::Plugin::SIZE_1_0;
/// The longest URI scheme, in bytes.
const MAX_SCHEME: usize = 32;
/// The most URI schemes of one transport.
const MAX_SCHEMES: usize = 16;

/// What a descriptor says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PluginInfo {
    /// The plugin's name.
    pub id: String,
    /// `transport`, `federation`, `discovery`, `routing` or `store`.
    pub kind: String,
    /// The plugin's own version.
    pub version: String,
    /// What built it.
    pub build: String,
    /// Its licence.
    pub licence: String,
    /// Version of the ABI that it was built for.
    pub abi: (u32, u32),
    /// The descriptor's size in bytes.
    pub size: u32,
    /// Its flags.
    pub flags: u32,
    /// Interfaces that it offers.
    pub interfaces: Vec<String>,
    /// Host interfaces that it needs.
    pub needs: Vec<String>,
    /// JSON Schema of its configuration; empty when it has none.
    pub config_schema: String,
    /// URI schemes that a transport serves; none for other kinds.
    pub schemes: Vec<String>,
}

/// A descriptor that passed every check.
#[derive(Clone)]
pub(super) struct Descriptor {
    pub(super) info: PluginInfo,
    pub(super) raw: abi::Plugin,
    pub(super) vtable: Vtable,
}

/// The functions of the interface that belongs to the plugin's kind.
#[derive(Clone, Copy)]
pub(super) enum Vtable {
    Transport(abi::Transport),
    Discovery(abi::Discovery),
    Routing(abi::Routing),
    Store(abi::Store),
}

impl Descriptor {
    /// Reads the descriptor at `at`. What could be read before a problem stands in `info`, for the report.
    pub(super) fn read(at: *const abi::Plugin, info: &mut PluginInfo) -> Result<Self, Problem> {
        let memory = Memory::open();
        let raw = read_head(&memory, at.cast(), info)?;
        read_texts(&memory, &raw, info)?;
        check_functions(&raw)?;
        let vtable = read_interface(&memory, &raw, info)?;
        Ok(Self { info: info.clone(), raw, vtable })
    }
}

fn read_head(memory: &Memory, at: *const u8, info: &mut PluginInfo) -> Result<abi::Plugin, Problem> {
    let lost = |Unreadable| Problem::NoDescriptor;
    let magic = memory.u64(at).map_err(lost)?;
    if magic != MAGIC {
        return Err(Problem::Magic(magic));
    }
    let size = memory.u32(at.wrapping_add(8)).map_err(lost)?;
    info.size = size;
    // The major version stands before the fields that another major version may have moved, but is checked after the
    // size, which says whether it is there at all.
    let head: abi::Plugin = memory.read(at, (size as usize).min(24)).map_err(lost)?;
    let other_major = head.abi_major != ABI_MAJOR && size >= 24;
    if size > MAX_SIZE || ((size as usize) < LEAST_SIZE && !other_major) {
        return Err(Problem::Size(size, LEAST_SIZE));
    }
    info.abi = (head.abi_major, head.abi_minor);
    if other_major {
        return Err(Problem::Major(head.abi_major));
    }
    info.flags = head.flags;
    if head.flags & plugin_flags::PANIC_UNWIND == 0 {
        return Err(Problem::PanicAborts);
    }
    if head.flags & plugin_flags::MUST_UNDERSTAND != 0 {
        return Err(Problem::UnknownFlags(head.flags & plugin_flags::MUST_UNDERSTAND));
    }
    memory.read(at, size as usize).map_err(lost)
}

fn read_texts(memory: &Memory, raw: &abi::Plugin, info: &mut PluginInfo) -> Result<(), Problem> {
    let text = |field, value, limit| memory.text(value, limit).map_err(|why| Problem::Text(field, why));
    let list = |text: String| text.split_ascii_whitespace().map(str::to_owned).collect();
    info.id = text("id", raw.id, MAX_NAME)?;
    if !is_name(&info.id) {
        return Err(Problem::Text("id", format!("{:?} has other than lower-case letters, digits and '-'", info.id)));
    }
    info.kind = text("kind", raw.kind, MAX_NAME)?;
    info.version = printable("version", text("version", raw.version, MAX_NAME)?)?;
    info.build = printable("build", text("build", raw.build, MAX_TEXT)?)?;
    info.licence = printable("licence", text("licence", raw.licence, MAX_TEXT)?)?;
    info.interfaces = list(printable("interfaces", text("interfaces", raw.interfaces, MAX_TEXT)?)?);
    info.needs = list(printable("needs", text("needs", raw.needs, MAX_TEXT)?)?);
    info.config_schema = text("config_schema", raw.config_schema, MAX_SCHEMA)?;
    info.schemes = schemes(info, &text("schemes", raw.schemes, MAX_TEXT)?)?;
    Ok(())
}

/// The schemes that a transport states, or else its id without the kind: plugins of ABI 1.0 state none.
fn schemes(info: &PluginInfo, stated: &str) -> Result<Vec<String>, Problem> {
    let mut schemes: Vec<String> = stated.split_ascii_whitespace().map(str::to_owned).collect();
    if let Some(bad) = schemes.iter().find(|scheme| !is_scheme(scheme)) {
        return Err(Problem::Text("schemes", format!("{bad:?} is no URI scheme of at most {MAX_SCHEME} characters")));
    }
    if schemes.len() > MAX_SCHEMES {
        return Err(Problem::Text("schemes", format!("there are more than {MAX_SCHEMES}")));
    }
    if schemes.is_empty() && info.kind == "transport" {
        schemes.push(info.id.strip_prefix("transport-").unwrap_or(&info.id).to_owned());
    }
    Ok(schemes)
}

/// The form of a URI scheme (RFC 3986, section 3.1), in lower case.
fn is_scheme(text: &str) -> bool {
    let other = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    text.len() <= MAX_SCHEME
        && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && text.bytes().all(|b| b.is_ascii_lowercase() || other(b))
}

/// Whether a text is a plugin's name: 1 to 64 lower-case letters, digits and '-'. It becomes part of a path.
pub(super) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn printable(field: &'static str, text: String) -> Result<String, Problem> {
    if text.chars().any(char::is_control) {
        return Err(Problem::Text(field, "it has control characters".to_owned()));
    }
    Ok(text)
}

fn check_functions(raw: &abi::Plugin) -> Result<(), Problem> {
    let missing = [
        ("create", raw.create.is_none()),
        ("start", raw.start.is_none()),
        ("stop", raw.stop.is_none()),
        ("destroy", raw.destroy.is_none()),
        ("get_interface", raw.get_interface.is_none()),
    ];
    first_missing("qpq_plugin", &missing)
}

fn first_missing(of: &'static str, functions: &[(&'static str, bool)]) -> Result<(), Problem> {
    match functions.iter().find(|(_, missing)| *missing) {
        Some((name, _)) => Err(Problem::MissingFunction(of, name)),
        None => Ok(()),
    }
}

/// Host interfaces that this host offers.
pub(super) const OFFERED: [&str; 5] = [
    interface::HOST_TRANSPORT,
    interface::HOST_DISCOVERY,
    interface::HOST_ROUTING,
    interface::HOST_STORE,
    interface::HOST_IDENTITY,
];

fn read_interface(memory: &Memory, raw: &abi::Plugin, info: &PluginInfo) -> Result<Vtable, Problem> {
    let id = match info.kind.as_str() {
        "transport" | "federation" => interface::TRANSPORT,
        "discovery" => interface::DISCOVERY,
        "routing" => interface::ROUTING,
        "store" => interface::STORE,
        _ => return Err(Problem::UnknownKind(info.kind.clone())),
    };
    if !info.interfaces.iter().any(|offered| offered == id) {
        return Err(Problem::MissingInterface(info.kind.clone(), info.interfaces.join(" "), id.to_owned()));
    }
    if let Some(need) = info.needs.iter().find(|need| !OFFERED.contains(&need.as_str())) {
        return Err(Problem::NeedsInterface(need.clone()));
    }
    let at = ask(raw, id);
    let bad = |why: &str| Problem::BadInterface(id.to_owned(), why.to_owned());
    if at.is_null() {
        return Err(bad("get_interface returned NULL for it"));
    }
    let size = memory.u32(at).map_err(|Unreadable| bad("nothing readable is where it points"))? as usize;
    let vtable = read_vtable(memory, id, at, size).map_err(|Unreadable| bad("it is shorter than its size says"))?;
    check_vtable(&vtable)?;
    Ok(vtable)
}

#[allow(unsafe_code, reason = "asks the plugin for its vtable")]
fn ask(raw: &abi::Plugin, id: &str) -> *const u8 {
    // SAFETY: the function was checked not to be NULL, and is pure by the ABI; the text outlives the call.
    raw.get_interface.map_or(std::ptr::null(), |f| unsafe { f(abi::Str::new(id)) }).cast()
}

fn read_vtable(memory: &Memory, id: &str, at: *const u8, size: usize) -> Result<Vtable, Unreadable> {
    Ok(match id {
        interface::TRANSPORT => Vtable::Transport(memory.read(at, size)?),
        interface::DISCOVERY => Vtable::Discovery(memory.read(at, size)?),
        interface::ROUTING => Vtable::Routing(memory.read(at, size)?),
        _ => Vtable::Store(memory.read(at, size)?),
    })
}

/// Functions without which an interface is of no use; a vtable that is too short lacks them too.
fn check_vtable(vtable: &Vtable) -> Result<(), Problem> {
    match vtable {
        Vtable::Transport(t) => first_missing(
            interface::TRANSPORT,
            &[
                ("listen", t.listen.is_none()),
                ("dial", t.dial.is_none()),
                ("close", t.close.is_none()),
                ("send", t.send.is_none()),
                ("resume", t.resume.is_none()),
            ],
        ),
        Vtable::Discovery(d) => first_missing(
            interface::DISCOVERY,
            &[("advertise", d.advertise.is_none()), ("browse", d.browse.is_none()), ("cancel", d.cancel.is_none())],
        ),
        Vtable::Routing(r) => first_missing(
            interface::ROUTING,
            &[("on_link", r.on_link.is_none()), ("on_tick", r.on_tick.is_none()), ("route", r.route.is_none())],
        ),
        Vtable::Store(s) => first_missing(
            interface::STORE,
            &[
                ("open", s.open.is_none()),
                ("append", s.append.is_none()),
                ("fetch", s.fetch.is_none()),
                ("remove", s.remove.is_none()),
                ("expire", s.expire.is_none()),
            ],
        ),
    }
}
