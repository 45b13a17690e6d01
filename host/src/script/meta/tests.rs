use std::path::{Path, PathBuf};

use mlua::Lua;

use super::super::api::EVENTS;
use super::{calls, files, groups, types, words};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts")
}

fn text(path: &str) -> String {
    files().into_iter().find(|file| file.path == path).unwrap().text
}

#[test]
fn the_committed_definitions_and_the_reference_are_those_of_the_table() {
    let regenerate = std::env::var_os("QPQ_REGENERATE").is_some();
    let mut stale = Vec::new();
    for file in files() {
        let path = scripts().join(file.path);
        if regenerate {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &file.text).unwrap();
        }
        if std::fs::read_to_string(&path).ok().as_deref() != Some(&file.text) {
            stale.push(file.path);
        }
    }
    let mend = "QPQ_REGENERATE=1 cargo test -p qpq-host --lib -- script::meta";
    assert!(stale.is_empty(), "stale in scripts/: {stale:?}; write them anew with `{mend}` and read the difference");
}

#[test]
fn every_type_in_the_table_can_be_read() {
    for call in calls() {
        assert!(words::list(call.returns).is_some(), "{} returns {}", call.name, call.returns);
        for param in call.params.iter().chain(call.options) {
            assert!(words::one(param.type_words).is_some(), "{} of {}: {}", param.name, call.name, param.type_words);
        }
    }
    let fields = types().flat_map(|table| table.fields).chain(groups().flat_map(|group| group.values));
    for field in fields {
        assert!(words::one(field.type_words).is_some(), "{}: {}", field.name, field.type_words);
    }
}

#[test]
fn the_definitions_are_sound_lua_and_luau() {
    let lua = Lua::new();
    lua.load(text("meta/mesh.lua")).set_name("=mesh.lua").into_function().unwrap();
    // A declaration is understood by analysers alone; the type behind it is Luau as everywhere.
    let definitions =
        text("meta/mesh.d.luau").replace("declare mesh:", "local mesh:").replace("declare test:", "local test:");
    lua.load(&definitions).set_name("=mesh.d.luau").into_function().unwrap();
    let broken = definitions.replacen("-> ()", "-> (", 1);
    assert!(lua.load(&broken).into_function().is_err(), "types are not looked at");
}

#[test]
fn every_type_that_the_luau_definitions_name_is_defined_there() {
    let text = text("meta/mesh.d.luau");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let code = text.lines().filter(|line| !line.trim_start().starts_with("--"));
    // Types of the API, and nothing else there, begin with a capital.
    for name in
        code.flat_map(|line| line.split(|c: char| !is_name(c))).filter(|name| name.starts_with(char::is_uppercase))
    {
        assert!(text.contains(&format!("export type {name} =")), "{name}");
    }
}

#[test]
fn the_meta_file_defines_every_call_and_value() {
    let lua = Lua::new();
    // Receivers of methods are locals there; for a look from outside they become globals.
    let text = text("meta/mesh.lua").replace("\nlocal ", "\n");
    lua.load(&text).exec().unwrap();
    for call in calls() {
        let found: bool =
            lua.load(format!("return type({}) == 'function'", call.name.replace(':', "."))).eval().unwrap();
        assert!(found, "{}", call.name);
    }
}

#[test]
fn selene_knows_every_call_event_and_removed_global() {
    let text = text("meta/mesh.yml");
    for call in calls().filter(|call| call.name.starts_with("mesh.")) {
        assert!(text.contains(&format!("\n  {}:\n", call.name.replace(':', "."))), "{}", call.name);
    }
    assert!(EVENTS.iter().all(|event| text.contains(&format!("\n          - {}\n", event.name))));
    assert!(text.contains("\n  print:\n    removed: true\n"));
}

#[test]
fn links_of_the_reference_lead_somewhere() {
    let text = text("meta/reference.md");
    let anchor = |line: &str| {
        let kept = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == ' ';
        let name = line.trim_start_matches('#').trim().to_lowercase();
        name.chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-")
    };
    let anchors: Vec<String> = text.lines().filter(|line| line.starts_with("##")).map(anchor).collect();
    for link in text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.iter().any(|anchor| anchor == link), "#{link}");
    }
}
