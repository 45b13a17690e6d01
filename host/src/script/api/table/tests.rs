use super::*;
use crate::script::manifest::PERMISSIONS;
use crate::script::meta;

fn is_permission(need: &str) -> bool {
    PERMISSIONS.iter().any(|(name, _)| *name == need)
}

#[test]
fn calls_with_options_take_them_and_the_others_do_not() {
    for call in calls() {
        let takes = call.params.iter().any(|param| param.kind == Kind::Options);
        assert_eq!(takes, !call.options.is_empty(), "{}", call.name);
        assert!(call.needs.is_none_or(is_permission), "{}", call.name);
    }
    assert!(EVENTS.iter().all(|event| event.needs.is_empty() || is_permission(event.needs)));
}

#[test]
fn every_call_argument_option_and_field_is_explained() {
    let mut bare = Vec::new();
    for call in meta::calls() {
        let params = call.params.iter().chain(call.options).filter(|param| param.doc.is_empty());
        bare.extend(params.map(|param| format!("{} of {}", param.name, call.name)));
        bare.extend(call.help.is_empty().then(|| call.name.to_owned()));
    }
    let values = meta::groups().flat_map(|group| group.values);
    let fields = meta::types().flat_map(|table| table.fields).chain(values).filter(|field| field.doc.is_empty());
    bare.extend(fields.map(|field| field.name.to_owned()));
    bare.extend(EVENTS.iter().filter(|event| event.help.is_empty()).map(|event| event.name.to_owned()));
    assert_eq!(bare, Vec::<String>::new(), "add `.doc(\"…\")`, or a help text");
}

#[test]
fn every_type_that_is_named_is_there() {
    let known: Vec<&str> =
        meta::types().map(|t| t.name).chain(ALIASES.iter().map(|a| a.name)).chain(["mesh.event_name"]).collect();
    let words = meta::calls()
        .flat_map(|call| call.params.iter().chain(call.options).map(|p| p.type_words).chain([call.returns]))
        .chain(meta::types().flat_map(|table| table.fields).map(|field| field.type_words))
        .chain(meta::groups().flat_map(|group| group.values).map(|value| value.type_words))
        .chain(EVENTS.iter().map(|event| event.gives));
    for word in words.flat_map(|words| words.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'))) {
        assert!(!word.starts_with("mesh.") && !word.starts_with("test.") || known.contains(&word), "{word}");
    }
}

#[test]
fn methods_belong_to_a_type_or_to_a_table_of_mesh() {
    for call in meta::calls().filter(|call| call.is_method()) {
        let (receiver, _) = call.name.split_once(':').unwrap();
        assert!(
            receiver.starts_with("mesh.") || meta::types().any(|table| table.receiver == receiver),
            "{}",
            call.name
        );
    }
}

/// The sources of what bots call: here and where the node sends.
const SOURCES: &[(&str, &str)] = &[
    ("api/board.rs", include_str!("../board.rs")),
    ("api/memory.rs", include_str!("../memory.rs")),
    ("api/talk.rs", include_str!("../talk.rs")),
    ("api/tools.rs", include_str!("../tools.rs")),
    ("shared.rs", include_str!("../../shared.rs")),
    ("sources.rs", include_str!("../../sources.rs")),
    ("store.rs", include_str!("../../store.rs")),
    ("node/mail.rs", include_str!("../../../node/mail.rs")),
];

#[test]
fn every_error_code_that_bots_can_meet_is_in_the_table() {
    for (file, source) in SOURCES {
        let calls = source.split("ApiError::new(").skip(1).chain(source.split("world(").skip(1));
        for code in calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next()) {
            assert!(ERRORS.iter().any(|(known, _)| *known == code), "{file} returns {code}: add it to ERRORS");
        }
    }
}
