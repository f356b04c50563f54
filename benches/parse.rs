//! How fast messages are parsed: small ones, large texts, and attachments that are decoded and hashed.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use restante::mail::Budgets;

const HEADER: &str = "From: Ada <ada@sender.example>\r\nTo: Ben <ben@restante.example>\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\
    Date: Fri, 2 Jan 2026 03:04:05 +0100\r\nMessage-ID: <1@sender.example>\r\nMIME-Version: 1.0\r\n";

/// A `multipart/alternative` of about 4 KiB.
fn alternative() -> String {
    let text = "A line of the text, as long as lines of texts are.\r\n".repeat(30);
    let html = "<p>A line of the text, as long as lines of texts are.</p>=20\r\n".repeat(30);
    format!(
        "{HEADER}Content-Type: multipart/alternative; boundary=\"alt\"\r\n\r\n\
        --alt\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n\
        --alt\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{html}\r\n--alt--\r\n"
    )
}

/// A message of one line.
fn plain() -> String {
    format!("{HEADER}\r\nYour code is 482913.\r\n")
}

/// An HTML text of about 1 MiB in a charset that has to be decoded.
fn html() -> String {
    let line = "<td class=3D\"cell\">Gr=FC=DFe aus K=F6ln, as long as lines of newsletters =\r\nare</td>\r\n";
    format!(
        "{HEADER}Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
        line.repeat((1 << 20) / line.len())
    )
}

/// A message of about this size that is nearly all attachment.
fn with_attachment(size: usize) -> String {
    let line = format!("{}\r\n", "SGVsbG8h".repeat(9) + "SGVs");
    format!(
        "{HEADER}Content-Type: multipart/mixed; boundary=\"mix\"\r\n\r\n\
        --mix\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n\
        --mix\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
        Content-Disposition: attachment; filename=data.bin\r\n\r\n{}\r\n--mix--\r\n",
        line.repeat(size / line.len())
    )
}

fn parse(criterion: &mut Criterion) {
    let budgets = Budgets::default();
    let mut group = criterion.benchmark_group("parse");
    for (name, raw) in [
        ("plain 200 bytes", plain()),
        ("alternative 4 KiB", alternative()),
        ("html 1 MiB", html()),
        ("attachment 1 MiB", with_attachment(1 << 20)),
        ("attachment 20 MiB", with_attachment(20 << 20)),
    ] {
        group.throughput(Throughput::Bytes(raw.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| restante::mail::parse(black_box(raw.as_bytes()), &budgets))
        });
    }
    group.finish();
}

criterion_group!(benches, parse);
criterion_main!(benches);
