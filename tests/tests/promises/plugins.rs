//! Broken plugins: told by name with a remedy, and the node stays up.

use std::fs;
use std::path::Path;

use qpq_tests::{Outcome, TestNode, binaries, ensure};

/// Makes each broken plugin file that can be made without a compiler.
fn broken_files(folder: &Path) -> Outcome<Vec<(&'static str, std::path::PathBuf)>> {
    let whole = fs::read(binaries::plugin("routing-flood")?)?;
    let half = whole.get(..whole.len() / 2).unwrap_or_default().to_vec();
    let mut foreign = whole.clone();
    // e_machine of the ELF header, two bytes at offset 18: 0xf3 is RISC-V.
    if let Some(machine) = foreign.get_mut(18..20) {
        machine.copy_from_slice(&[0xf3, 0]);
    }
    let contents = [
        ("a text file", b"hello".to_vec()),
        ("an empty file", Vec::new()),
        ("half a library", half),
        ("another architecture", foreign),
    ];
    let mut files = Vec::new();
    for (index, (what, bytes)) in contents.into_iter().enumerate() {
        let path = folder.join(format!("libbroken{index}.so"));
        fs::write(&path, bytes)?;
        files.push((what, path));
    }
    Ok(files)
}

#[test]
fn plugin_check_tells_what_is_wrong_with_a_broken_file() -> Outcome {
    let node = TestNode::plan("a").prepare()?;
    for (what, file) in broken_files(&node.home())? {
        let output = node.run(&["plugin", "check", &file.to_string_lossy()])?;
        ensure!(output.code == Some(1), "{what}: exit code {:?}\n{}{}", output.code, output.stdout, output.stderr);
        let told = format!("{}{}", output.stdout, output.stderr);
        ensure!(told.contains("libbroken"), "{what}: the file is not named: {told}");
    }
    let good = binaries::plugin("transport-quic")?;
    let told = node.cli(&["plugin", "check", &good.to_string_lossy()])?;
    ensure!(told.contains("transport-quic"), "a good plugin: {told}");
    Ok(())
}

#[test]
fn a_broken_plugin_in_the_configuration_leaves_the_node_up_and_named_in_the_status() -> Outcome {
    let config = "[plugins]\nload = [\"transport-quic\", \"routing-flood\", \"broken\"]\n";
    let folder = tempfile::tempdir()?;
    for (what, file) in broken_files(folder.path())? {
        let mut node = TestNode::plan("a").config(config).prepare()?;
        let plugins = node.home().join("plugins");
        fs::create_dir(&plugins)?;
        fs::copy(&file, plugins.join("libqpq_broken.so"))?;
        node.start()?;
        let status = node.json(&["status"])?;
        let shown = status["plugins"].as_array().into_iter().flatten().find(|plugin| plugin["name"] == "broken");
        let error = shown.and_then(|plugin| plugin["last_error"].as_str()).unwrap_or_default();
        ensure!(!error.is_empty(), "{what}: the broken plugin is not explained in the status: {status}");
        ensure!(node.is_alive(), "{what}: the node died");
    }
    Ok(())
}

#[test]
fn a_library_that_others_can_write_is_refused() -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let node = TestNode::plan("a").prepare()?;
    let copy = node.home().join("libloose.so");
    fs::copy(binaries::plugin("routing-flood")?, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o666))?;
    let output = node.run(&["plugin", "check", &copy.to_string_lossy()])?;
    let told = format!("{}{}", output.stdout, output.stderr);
    ensure!(output.code == Some(1) && told.contains("chmod"), "{:?}: {told}", output.code);
    Ok(())
}
