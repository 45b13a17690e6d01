//! `plugin new`: writes a plugin that builds anywhere, works, and passes the tests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use qpq_plugin_api::kit::templates::{self, File};
use serde::Serialize;

use crate::cli::answer::Answer;
use crate::cli::args::{NewPluginArgs, NewPluginKind, PluginLanguage};
use crate::cli::failure::Failure;

/// The longest name, in characters.
const MAX_NAME: usize = 40;

#[derive(Serialize)]
struct Report<'a> {
    id: &'a str,
    dir: &'a Path,
    files: Vec<&'a str>,
    next: Vec<String>,
}

/// Writes the plugin.
pub(super) fn run(args: &NewPluginArgs) -> Result<Answer, Failure> {
    let kind = match args.kind {
        NewPluginKind::Transport => "transport",
        NewPluginKind::Routing => "routing",
    };
    let name = short_name(&args.name, kind)?;
    let files = match (args.lang, args.kind) {
        (PluginLanguage::Rust, NewPluginKind::Transport) => templates::rust_transport(),
        (PluginLanguage::Rust, NewPluginKind::Routing) => templates::rust_routing(),
        (PluginLanguage::C, NewPluginKind::Transport) => templates::c_transport(),
        (PluginLanguage::C, NewPluginKind::Routing) => {
            return Err(Failure::Usage(
                "There is no template for routing in C. Take --lang rust, or begin with a transport in C: \
                 `qpq_plugin.h` explains each function."
                    .to_owned(),
            ));
        }
    };
    let id = format!("{kind}-{name}");
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(&id));
    write(&dir, &files, name)?;
    Ok(answer(&id, &dir, args.lang, &files))
}

/// The name without the kind in front, if it is one.
fn short_name<'a>(name: &'a str, kind: &str) -> Result<&'a str, Failure> {
    let short = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')).unwrap_or(name);
    let letters = short.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let begins = short.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if letters && begins && short.len() <= MAX_NAME && !short.ends_with('-') && !short.contains("--") {
        return Ok(short);
    }
    Err(Failure::Usage(format!(
        "`{name}` can't be a plugin's name: it has up to {MAX_NAME} lower-case letters, digits and single '-' between \
         them, and begins with a letter, such as `radio` or `serial-2`."
    )))
}

fn write(dir: &Path, files: &[File], name: &str) -> Result<(), Failure> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
    }
    fs::create_dir(dir).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::Usage(format!(
            "{} exists already, and nothing is overwritten. Choose another name, or another folder with --dir.",
            dir.display()
        )),
        _ => failed(dir, &error),
    })?;
    for file in files {
        let path = dir.join(file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        }
        fs::write(&path, file.named(name)).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::new("io", format!("{}: {error}", path.display()))
}

fn answer(id: &str, dir: &Path, lang: PluginLanguage, files: &[File]) -> Answer {
    let (build, library) = match lang {
        PluginLanguage::Rust => ("cargo build", format!("target/debug/libqpq_{}.so", id.replace('-', "_"))),
        PluginLanguage::C => ("make", format!("{id}.so")),
    };
    let next = vec![
        format!("cd {}", dir.display()),
        build.to_owned(),
        format!("qpq plugin check {library}"),
        format!("qpq plugin test {library}"),
    ];
    let mut text = format!("{id} is in {}. Next:\n", dir.display());
    for command in &next {
        text += &format!("  {command}\n");
    }
    text += "Its README.md says how to load it into a node, and where to change what.";
    let files = files.iter().map(|file| file.path).collect();
    Answer::new("qpq.plugin-new/1", &Report { id, dir, files, next }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_ids_and_files() {
        assert_eq!(short_name("radio", "transport").unwrap(), "radio");
        assert_eq!(short_name("transport-radio", "transport").unwrap(), "radio");
        assert_eq!(short_name("serial-2", "routing").unwrap(), "serial-2");
        for bad in ["", "-", "Radio", "2fast", "a--b", "a-", "../up", "a/b", "ü", "a b", "transport-", &"x".repeat(41)]
        {
            assert!(short_name(bad, "transport").is_err(), "{bad}");
        }
    }
}
