//! Messages made at random from a grammar of MIME, read by us and by the `email` package of Python: both must find the same.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod grammar;

use std::fs;
use std::path::Path;
use std::process::Command;

use restante::mail::{self, Budgets, Content};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How many messages are compared, and the number that they are made from.
const MESSAGES: u64 = 1_500;
const SEED: u64 = 0x5eed_2026;

/// What Python finds in each message of a folder, in the order of their names.
fn reference(folder: &Path) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/reference.py");
    let output = Command::new("python3").arg("-I").arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What we find, in the words of the reference.
fn found(raw: &[u8], content: &Content) -> Value {
    let attachment = |attachment: &mail::Attachment| {
        // Python parses attached messages and does not keep their bytes; both know the subject.
        let is_message = attachment.content_type == "message/rfc822";
        let bytes = mail::attachment_bytes(raw, attachment);
        assert_eq!(bytes.len() as u64, attachment.size);
        json!({
            "filename": attachment.filename,
            "content_type": attachment.content_type,
            "content_id": attachment.content_id,
            "sha256": if is_message { Value::Null } else { attachment.sha256.clone().into() },
            "subject": attachment.subject,
        })
    };
    json!({
        "subject": content.subject,
        "text": content.text,
        "html": content.html,
        "attachments": content.attachments.iter().map(attachment).collect::<Vec<_>>(),
    })
}

#[test]
fn python_finds_the_same_in_messages_of_a_grammar() {
    let folder = TempDir::new().unwrap();
    let messages: Vec<Vec<u8>> = (0..MESSAGES).map(|number| grammar::message(SEED + number)).collect();
    for (number, raw) in messages.iter().enumerate() {
        fs::write(folder.path().join(format!("{number:05}.eml")), raw).unwrap();
    }
    let expected = reference(folder.path());
    assert_eq!(expected.len(), messages.len());
    let (mut attachments, mut bodies) = (0, 0);
    for (number, (raw, expected)) in messages.iter().zip(&expected).enumerate() {
        let content = mail::parse(raw, &Budgets::default());
        let found = found(raw, &content);
        assert_eq!(&found, expected, "message {number}, left ours:\n{}", String::from_utf8_lossy(raw));
        attachments += content.attachments.len();
        bodies += usize::from(content.text.is_some()) + usize::from(content.html.is_some());
    }
    assert!(attachments > 1_000 && bodies > 900, "{attachments} attachments, {bodies} bodies");
}
