//! How fast messages are parsed: small ones, large texts, attachments that are decoded and hashed, and HTML in which a code
//! and a link are to be found.

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

/// An HTML mail as a program for newsletters writes it: rows of a table with styles, a picture and a tracked link in each,
/// and a code and a button in the middle.
fn newsletter(size: usize) -> String {
    let row = "<tr><td align=\"center\" valign=\"top\" style=\"padding:24px 48px 0 48px; font-family:Helvetica,Arial,sans-serif; \
        font-size:16px; line-height:24px; color:#333333;\"><p style=\"margin:0\">We have made a few changes to the terms &amp; \
        conditions of order 20418827, which begin on 2026-11-19.</p><img src=\"https://cdn.sender.example/i/48.png\" width=\"48\" alt=\"\">\
        <a href=\"https://click.sender.example/ls/click?upn=u001.Q2xpY2tUcmFja2&amp;x=1\" style=\"color:#0066cc\">Read more</a></td></tr>\r\n";
    let rows = row.repeat(size / row.len() / 2);
    format!(
        "{HEADER}Content-Type: text/html; charset=utf-8\r\n\r\n<html><head><style>p{{color:#333333}}</style></head><body><table>\r\n{rows}\
        <tr><td>Your verification code is <b style=\"font-size:24px\">482 913</b></td></tr>\r\n\
        <tr><td><a class=\"button\" href=\"https://sender.example/verify?token=8f2a9c40d7be4f13\">Verify</a></td></tr>\r\n{rows}</table></body></html>\r\n"
    )
}

fn parse(criterion: &mut Criterion) {
    let budgets = Budgets::default();
    let mut group = criterion.benchmark_group("parse");
    for (name, raw) in [
        ("plain 200 bytes", plain()),
        ("alternative 4 KiB", alternative()),
        ("newsletter 10 KiB", newsletter(10 << 10)),
        ("newsletter 1 MiB", newsletter(1 << 20)),
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
