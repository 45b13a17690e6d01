use super::*;

fn load(text: &str) -> Result<Loaded, ConfigErrors> {
    load_with(text, &[], &[])
}

fn load_with(text: &str, variables: &[(&str, &str)], flags: &[(&str, &str, &[&str])]) -> Result<Loaded, ConfigErrors> {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join(FILE_NAME), text).unwrap();
    let owned = |text: &&str| (*text).to_owned();
    let sources = Sources {
        home: home.path().to_owned(),
        file: None,
        variables: variables.iter().map(|(name, value)| (owned(name), owned(value))).collect(),
        flags: flags
            .iter()
            .map(|(flag, key, values)| Flag {
                flag: owned(flag),
                key: owned(key),
                values: values.iter().map(owned).collect(),
            })
            .collect(),
    };
    sources.load()
}

/// The errors of a file, each without its path: `line:column: message`.
fn errors(text: &str) -> Vec<String> {
    let errors = load(text).unwrap_err();
    let place = |error: &ConfigError| match &error.place {
        Place::File { line, column, .. } => format!("{line}:{column}: {}", error.message),
        _ => error.to_string(),
    };
    errors.0.iter().map(place).collect()
}

#[test]
fn without_a_file_there_are_the_defaults() {
    let loaded = Sources { home: "/nowhere".into(), ..Sources::default() }.load().unwrap();
    assert_eq!(loaded.config.node.listen, ["quic://0.0.0.0:7000"]);
    assert_eq!(loaded.config.messages.ttl_secs, 7 * 24 * 3600);
    assert_eq!(loaded.file, None);
    assert!(loaded.origins.values().all(|origin| *origin == Place::Default));
}

#[test]
fn a_flag_overrides_a_variable_overrides_the_file() {
    let file = "nickname = \"file\"\ndomain = \"file.example\"\n[links]\nmax = 7\nmax_half_open = 3\n";
    let variables = [("QPQ_NICKNAME", "variable"), ("QPQ_LOCAL_DOMAIN", "variable.example"), ("QPQ_LINKS_MAX", "9")];
    let flags: [(&str, &str, &[&str]); 2] =
        [("--nickname", "nickname", &["flag"]), ("--listen", "listen", &["[::]:1", "x://y"])];
    let loaded = load_with(file, &variables, &flags).unwrap();
    assert_eq!(loaded.config.node.nickname.as_deref(), Some("flag"));
    assert_eq!(loaded.config.node.domain.as_deref(), Some("variable.example"));
    assert_eq!(loaded.config.node.listen, ["quic://[::]:1", "x://y"]);
    assert_eq!((loaded.config.links.max, loaded.config.links.max_half_open), (9, 3));
    assert_eq!(loaded.origins["nickname"].to_string(), "flag --nickname");
    assert_eq!(loaded.origins["domain"].to_string(), "variable QPQ_LOCAL_DOMAIN");
    assert!(loaded.origins["links.max_half_open"].to_string().ends_with("qpq-server.toml:5:17"));
}

#[test]
fn the_keys_of_the_federation_are_accepted() {
    let file = "federation_domain = \"node1.mesh.local\"\nfederation_listen = \"0.0.0.0:7001\"\n";
    let config = load(file).unwrap().config;
    assert_eq!(config.node.domain.as_deref(), Some("node1.mesh.local"));
    assert_eq!(config.node.federation_listen.as_deref(), Some("0.0.0.0:7001"));
    assert_eq!(errors("federation_domain = \"a\"\ndomain = \"b\"").len(), 1);
}

#[test]
fn federation_that_lacks_something_is_refused_with_what_it_lacks() {
    let [error] = &errors("\nfederation_enabled = true\ndomain = \"a.mesh\"\nfederation_key = \"k\"")[..] else {
        panic!("one error is expected")
    };
    assert!(error.starts_with("2:22: ") && error.contains("not set: federation_cert, federation_ca;"), "{error}");
}

#[test]
fn the_variables_of_the_federation_are_enough_to_turn_it_on() {
    let variables = [
        ("QPQ_FEDERATION_LISTEN", "0.0.0.0:7001"),
        ("QPQ_LOCAL_DOMAIN", "node1.mesh.local"),
        ("QPQ_FEDERATION_CERT", "/path/to/cert.der"),
        ("QPQ_FEDERATION_KEY", "/path/to/key.der"),
        ("QPQ_FEDERATION_CA", "/path/to/ca.der"),
    ];
    let config = load_with("", &variables, &[]).unwrap().config;
    assert!(config.federates() && config.plugins.load.iter().any(|name| name == FEDERATION_PLUGIN));
    assert_eq!(config.federation_uri().as_deref(), Some("federation://0.0.0.0:7001"));
    let plugin = config.plugin_config(FEDERATION_PLUGIN);
    assert_eq!((&plugin["domain"], &plugin["ca"]), (&"node1.mesh.local".into(), &"/path/to/ca.der".into()));
    assert_eq!(&*config.federation_policy().unwrap().domain, "node1.mesh.local");
    let file = "[federation]\nallow = [\"B.mesh\"]\nblock = [\"c.mesh\"]\nlegacy_payloads = \"store\"";
    let plugin = load_with(file, &variables, &[]).unwrap().config.plugin_config(FEDERATION_PLUGIN);
    assert_eq!((&plugin["allow"][0], &plugin["block"][0]), (&"b.mesh".into(), &"c.mesh".into()));
    assert_eq!(plugin["legacy_payloads"], "store");

    let off = load_with("federation_enabled = false", &variables, &[]).unwrap().config;
    assert!(!off.federates() && off.federation_policy().is_none() && off.federation_uri().is_none());
    let warnings = load_with("", &variables[..2], &[]).unwrap().warnings;
    assert!(warnings.iter().any(|text| text.contains("federation is off: not set: federation_cert")), "{warnings:?}");
}

#[test]
fn an_unknown_key_is_refused_where_it_stands_with_the_nearest_known() {
    assert_eq!(errors("nicknam = 1"), ["1:1: there is no key `nicknam`; did you mean `nickname`?"]);
    assert_eq!(errors("# ä\n[links]\n  maxx = 1"), ["3:3: [links] has no key `maxx`; did you mean `max`?"]);
    assert_eq!(errors("[link]\nmax = 1"), ["1:2: there is no key `link`; did you mean `links`?"]);
    assert_eq!(errors("ttl_secs = 1"), ["1:1: there is no key `ttl_secs`; `ttl_secs` belongs to [messages]"]);
    assert_eq!(errors("[log]\nlisten = []"), ["2:1: [log] has no key `listen`; `listen` stands before all tables"]);
    assert_eq!(errors("zzz = 1"), ["1:1: there is no key `zzz`; see `qpq config reference`"]);
}

#[test]
fn a_wrong_type_or_value_is_refused_where_it_stands() {
    assert_eq!(errors("nickname = 5"), ["1:12: `nickname`: expected a text, got a whole number"]);
    assert_eq!(
        errors("[messages]\nttl_secs = 0"),
        ["2:12: `messages.ttl_secs`: 0 is out of range: it must be from 1 to 2592000"]
    );
    assert_eq!(errors("[messages]\nmax_hops = 300"), ["2:12: `messages.max_hops`: 300 is out of range"]);
    assert_eq!(errors("listen = [\"a:1\", 7]"), ["1:18: `listen`: expected a text, got a whole number"]);
    assert_eq!(errors("links = 3"), ["1:1: `links` is a table: write `[links]` on a line of its own"]);
    assert_eq!(errors("[log]\nformat = \"xml\""), ["2:10: `log.format`: expected \"text\" or \"json\""]);
    assert_eq!(errors("[links]\nmax = 99999999999999999999").len(), 1);
    assert!(errors("[log]\nfilter = \"a=b=c\"")[0].starts_with("2:10: `log.filter`: "));
}

#[test]
fn all_errors_are_told_at_once() {
    assert_eq!(errors("nicknam = 1\ndomain = 2\n[store]\ntotal_bytes = true").len(), 3);
}

#[test]
fn broken_syntax_is_refused_where_it_stands() {
    assert!(errors("nickname = \"a\"\nlisten = [\n\"x:1\"")[0].starts_with("3:"), "{:?}", errors("listen = ["));
    assert!(errors("nickname = \"a\"\nnickname = \"b\"")[0].starts_with("2:1: "));
    assert!(load(&"[".repeat(100_000)).is_err(), "deep nesting is refused, not followed");
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let text = "[links]\nredial_min_ms = 70000";
    assert_eq!(errors(text), ["2:17: `links.redial_min_ms` is 70000, more than `links.redial_max_ms`, which is 15000"]);
}

#[test]
fn plugins_and_bots_get_their_tables_as_json() {
    let text = "[plugins.transport-quic]\nport = 7\nwhen = 2026-01-01\n[scripts.config.board]\nadmins = [\"x\"]\n";
    let config = load(text).unwrap().config;
    assert_eq!(config.plugin_config("transport-quic"), serde_json::json!({ "port": 7, "when": "2026-01-01" }));
    assert_eq!(config.plugin_config("routing-flood"), serde_json::json!({}));
    assert_eq!(config.script_config("board"), serde_json::json!({ "admins": ["x"] }));
}

#[test]
fn a_table_for_a_plugin_that_is_not_loaded_is_refused() {
    let [error] = &errors("[plugins.transport-quik]\nport = 7")[..] else { panic!("one error is expected") };
    assert!(error.starts_with("1:1: ") && error.contains("did you mean [plugins.transport-quic]?"), "{error}");
    assert_eq!(errors("[scripts.config]\nboard = 1").len(), 1);
}

#[test]
fn what_is_different_for_one_bot_is_checked() {
    let text = "[scripts.limits]\ntimers = 3\n[scripts.bots.board]\ngranted = [\"send\"]\nlimits = { timers = 9 }\n\
                [scripts.config.board]\nper_page = 5\n";
    let host = load(text).unwrap().config.script_host();
    assert_eq!(host.limits.timers, 3);
    let board = &host.bots["board"];
    assert_eq!((board.limits.timers, board.granted.as_deref()), (Some(9), Some(&["send".to_owned()][..])));
    assert_eq!(board.config["per_page"], 5);

    let [low] = &errors("[scripts.bots.board]\nlimits = { memory_bytes = 0 }")[..] else {
        panic!("one error is expected")
    };
    assert!(low.contains("memory_bytes = 0 is too little"), "{low}");
    let [error] = &errors("[scripts.bots.board]\nlimits = { timer = 9 }")[..] else { panic!("one error is expected") };
    assert!(error.starts_with("1:1: [scripts.bots.board]: ") && error.contains("timer"), "{error}");
    assert_eq!(
        errors("[scripts.limits]\ntimer = 1"),
        ["2:1: [scripts.limits] has no key `timer`; did you mean `timers`?"]
    );
}

#[test]
fn the_defaults_are_those_of_the_parts() {
    let config = Config::default();
    assert_eq!(config.store_limits(), crate::core::shelf::StoreLimits::default());
    assert_eq!(config.script_host().limits, crate::script::ScriptLimits::default());
    let (ours, theirs) = (config.store_engine(), crate::store::StoreConfig::default());
    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
}

#[test]
fn paths_in_the_file_start_at_the_data_directory() {
    let loaded = load("[scripts]\ndirs = [\"bots\", \"/abs\"]").unwrap();
    assert_eq!(loaded.config.script_dirs(), [loaded.config.home.join("bots"), "/abs".into()]);
}

#[test]
fn a_variable_of_the_wrong_type_is_refused_by_name() {
    let errors = load_with("", &[("QPQ_LINKS_MAX", "many")], &[]).unwrap_err();
    assert_eq!(errors.to_string(), "variable QPQ_LINKS_MAX: `links.max`: expected a whole number, got `many`");
}

#[test]
fn an_unknown_variable_is_warned_about() {
    let loaded = load_with("", &[("QPQ_NICKNAM", "x"), ("QPQ_HOME", "/x"), ("QPQ_LISTEN", "")], &[]).unwrap();
    assert_eq!(loaded.warnings, ["the variable QPQ_NICKNAM sets nothing; did you mean QPQ_NICKNAME?"]);
}

#[test]
fn a_file_that_was_asked_for_must_exist() {
    let sources = Sources { home: "/nowhere".into(), file: Some("/nowhere/x.toml".into()), ..Sources::default() };
    assert_eq!(sources.load().unwrap_err().to_string(), "/nowhere/x.toml: there is no such file");
}

#[test]
fn an_oversize_file_is_refused() {
    let text = "#".repeat(usize::try_from(MAX_FILE_BYTES).unwrap() + 1);
    assert!(load(&text).unwrap_err().to_string().contains("larger than"));
}

#[test]
fn the_reference_is_a_valid_file_that_names_every_key_and_variable() {
    let reference = reference();
    load(&reference).unwrap();
    let taken_over: String = reference
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') && !rest.ends_with("(not set)") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let loaded = load(&taken_over).unwrap();
    let set = loaded.origins.values().filter(|origin| **origin != Place::Default).count();
    assert_eq!(set, loaded.config.values().values().flatten().count(), "each default can be taken over");
    for key in keys() {
        assert!(reference.contains(&format!("variable {})", key.variable())), "{}", key.full_name());
    }
}

#[test]
fn every_default_passes_its_own_check() {
    let defaults = Config::default();
    for key in keys() {
        if let Some(value) = sections::value(&defaults, key) {
            sections::set(&mut Config::default(), key, &value).unwrap();
        }
    }
}

#[test]
fn what_is_printed_is_a_valid_file_without_secrets() {
    let loaded = load("nickname = \"a\"\n[plugins.transport-quic]\nadmin_token = \"t0p\"\nport = 1\n").unwrap();
    let printed = loaded.to_toml();
    assert!(!printed.contains("t0p") && printed.contains("qpq-server.toml:1:12"), "{printed}");
    assert!(load(&printed).is_ok(), "{printed}");
    assert!(!loaded.to_json().to_string().contains("t0p"));
    assert_eq!(loaded.to_json()["keys"]["nickname"]["value"], "a");
}

#[test]
fn a_quorum_that_nobody_could_reach_is_refused_and_nobody_is_named_twice() {
    let key = |n: &str| format!("\"{}\"", n.repeat(64));
    let text = format!("[emergency]\nadmins = [{}]\n", key("a"));
    assert_eq!(
        errors(&text),
        ["2:10: `emergency.quorum` is 2, and `emergency.admins` names 1: nothing could reach it"],
        "the default is two"
    );
    assert!(load(&format!("{text}quorum = 1")).unwrap().config.emergency_policy().is_some());
    assert!(load("").unwrap().config.emergency_policy().is_none());
    assert!(errors(&format!("[emergency]\nadmins = [{}, {}]", key("a"), key("A")))[0].contains("named twice"));
    assert!(errors("[emergency]\nchannel = \"\"")[0].starts_with("2:11: "));
}
