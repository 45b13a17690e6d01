use std::sync::Arc;

use super::*;
use crate::control::testing::Double;

fn mail() -> Vec<Vec<u8>> {
    (1..=5u8).map(|n| vec![n; 200]).collect()
}

fn node(mail: Vec<Vec<u8>>) -> Arc<Double> {
    let node = Arc::<Double>::default();
    *node.mail.lock().unwrap() = mail;
    node
}

fn args(file: PathBuf) -> ExportArgs {
    ExportArgs { file, recipient: None, topic: None, all: false }
}

fn shown(answer: &Answer) -> serde_json::Value {
    serde_json::from_str(&answer.show(true)).unwrap()
}

async fn exported() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mail.qpq");
    export(&*node(mail()), args(file.clone())).await.unwrap();
    (folder, file)
}

#[tokio::test]
async fn what_one_node_exports_another_imports_and_twice_changes_nothing() {
    let (_folder, file) = exported().await;
    let other = node(Vec::new());
    let told = shown(&import(&*other, &file).await.unwrap());
    assert_eq!((told["schema"].as_str(), told["new"].as_u64()), (Some("qpq.imported/1"), Some(5)));
    assert_eq!(*other.mail.lock().unwrap(), mail());
    let again = shown(&import(&*other, &file).await.unwrap());
    assert_eq!((again["new"].as_u64(), again["known"].as_u64()), (Some(0), Some(5)));
}

#[tokio::test]
async fn a_file_is_private_and_one_that_is_there_is_not_touched() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, file) = exported().await;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&file).unwrap();
    let failure = export(&*node(Vec::new()), args(file.clone())).await.unwrap_err();
    assert!(failure.to_string().contains("already"), "{failure}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn of_a_file_that_was_cut_off_everything_before_is_taken_and_the_command_says_so_and_fails() {
    let (_folder, file) = exported().await;
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 300]).unwrap();
    let other = node(Vec::new());
    let answer = import(&*other, &file).await.unwrap();
    let told = shown(&answer);
    assert_eq!((told["new"].as_u64(), told["broken"].as_str()), (Some(3), Some("parcel-truncated")));
    assert_eq!(*other.mail.lock().unwrap(), mail()[..3]);
    assert!(answer.print(true).is_err(), "the exit code says that something is missing");
}

#[tokio::test]
async fn a_damaged_message_is_named_and_the_others_are_taken() {
    let (_folder, file) = exported().await;
    let mut bytes = fs::read(&file).unwrap();
    bytes[64 + 224 + 50] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let other = node(Vec::new());
    let told = shown(&import(&*other, &file).await.unwrap());
    assert_eq!((told["new"].as_u64(), told["damaged"].as_u64()), (Some(4), Some(1)));
    assert!(told["remarks"][0].as_str().unwrap().contains("message 1 of the file, at byte 288"), "{told}");
}

#[tokio::test]
async fn of_an_unknown_recipient_or_channel_nothing_is_exported_and_the_command_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mail.qpq");
    let empty = node(Vec::new());
    let stranger = ExportArgs { recipient: Some("09".repeat(32)), ..args(file.clone()) };
    let slip = ExportArgs { topic: Some("anouncements".into()), ..args(file.clone()) };
    for (args, word) in [(stranger, "no such peer"), (slip, "No channel anouncements")] {
        let failure = export(&*empty, args).await.unwrap_err();
        assert_eq!(failure.exit_code(), 1);
        assert!(failure.to_string().contains(word), "{failure}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no file is left behind");
    }
    let joined = ExportArgs { topic: Some("Announcements".into()), ..args(file.clone()) };
    assert_eq!(shown(&export(&*empty, joined).await.unwrap())["envelopes"], 0, "a channel of ours may be empty");
    fs::remove_file(&file).unwrap();
    let unlisted = ExportArgs { recipient: Some("09".repeat(32)), ..args(file.clone()) };
    assert_eq!(shown(&export(&*node(mail()), unlisted).await.unwrap())["envelopes"], 5, "what waits needs no name");
}
