//! Each message `tests/messages/*.eml` is parsed and compared with the record of the same name beside it.

use std::fs;
use std::path::{Path, PathBuf};

use restante::mail::{self, Budgets, Content};
use sha2::{Digest, Sha256};

/// The messages, in the order of their names.
fn messages() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let entries = fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it can be read").path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "eml")).collect();
    assert!(paths.len() >= 60, "the fixtures are there");
    paths.sort();
    paths
}

#[test]
fn every_message_gives_its_record() {
    for path in messages() {
        let record = path.with_extension("json");
        let expected = fs::read_to_string(&record).unwrap_or_else(|e| panic!("{}: {e}", record.display()));
        let expected: Content = serde_json::from_str(&expected).unwrap_or_else(|e| panic!("{}: {e}", record.display()));
        // Codes and links have messages of their own, in `tests/codes`.
        let found = Content {
            codes: Vec::new(),
            links: Vec::new(),
            ..mail::parse(&fs::read(&path).unwrap(), &Budgets::default())
        };
        let written = serde_json::to_string_pretty(&found).unwrap();
        assert_eq!(found, expected, "{}: found {written}", path.display());
    }
}

#[test]
fn every_attachment_is_cut_out_as_its_record_says() {
    for path in messages() {
        let raw = fs::read(&path).unwrap();
        for (place, attachment) in mail::parse(&raw, &Budgets::default()).attachments.iter().enumerate() {
            let bytes = mail::attachment_bytes(&raw, attachment);
            let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(attachment.index, place, "{}", path.display());
            assert_eq!(attachment.size, bytes.len() as u64, "{}", path.display());
            assert_eq!(attachment.sha256, digest, "{}", path.display());
        }
    }
}

#[test]
fn the_fields_of_a_header_make_up_the_header() {
    // Where the header is broken something was left out or replaced.
    let broken = ["8bit-header", "bad-header-line", "no-header", "unended-header"];
    let mut whole = 0;
    for path in messages() {
        let raw = fs::read(&path).unwrap();
        let problems = mail::parse(&raw, &Budgets::default()).problems;
        let is_broken = problems.iter().any(|problem| broken.iter().any(|id| problem.starts_with(id)));
        if is_broken || raw.starts_with(b">From ") {
            continue;
        }
        whole += 1;
        let fields = mail::header_fields(&raw, &Budgets::default());
        let written: String = fields.iter().map(|field| format!("{}:{}\r\n", field.name, field.raw)).collect();
        assert!(raw.starts_with(written.as_bytes()), "{}", path.display());
        assert!(raw[written.len()..].starts_with(b"\r\n"), "{}", path.display());
    }
    assert!(whole > 40, "{whole}");
}

#[test]
fn the_bytes_of_a_text_attachment_are_those_that_were_sent() {
    let raw = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages/latin1-attachment.eml")).unwrap();
    let content = mail::parse(&raw, &Budgets::default());
    assert_eq!(&*mail::attachment_bytes(&raw, &content.attachments[0]), b"Gr\xfc\xdfe");
}
