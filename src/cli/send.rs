//! A small mail, sent by SMTP.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::response::Response;
use lettre::{Address, SmtpTransport, Transport};

use super::client::causes;
use super::compose::{self, Parts};
use super::{Failure, at};

/// How long the server may take for each answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The port of a server that is named without one: that of restante where nothing is set.
const PORT: u16 = 2525;

/// What is sent, and where to.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The server, as HOST or HOST:PORT
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2525")]
    server: String,
    /// The sender; '' is the null sender, as bounces have it
    #[arg(long, value_name = "ADDRESS", default_value = "sender@example.com")]
    from: String,
    /// A recipient; may be given several times
    #[arg(long, value_name = "ADDRESS", required = true)]
    to: Vec<Address>,
    /// The subject
    #[arg(long, default_value = "Test")]
    subject: String,
    /// The text
    #[arg(long)]
    text: Option<String>,
    /// The HTML
    #[arg(long)]
    html: Option<String>,
    /// A file to attach; may be given several times
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// A header field, as 'Name: value'; may be given several times
    #[arg(long, value_name = "FIELD")]
    header: Vec<String>,
    /// Whether to encrypt
    #[arg(long, value_enum, default_value_t = Encryption::Offered)]
    tls: Encryption,
    /// Certificates in PEM that vouch for the server; else those that browsers trust
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Take any certificate of the server
    #[arg(long, conflicts_with = "ca_file")]
    insecure: bool,
}

/// Whether the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Encryption {
    /// By STARTTLS where the server offers it; its certificate is not looked at, as mail servers do
    Offered,
    /// By STARTTLS, or nothing is sent
    Required,
    /// From the first byte on
    Implicit,
    /// Never
    Off,
}

/// Sends, and prints the answer.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let from = match arguments.from.trim() {
        "" | "<>" => None,
        text => Some(text.parse::<Address>().map_err(|error| Failure::Setup(format!("--from {text:?}: {error}")))?),
    };
    let nobody = || Address::new("mailer-daemon", arguments.to[0].domain());
    let author = from.clone().map_or_else(nobody, Ok).map_err(|error| Failure::setup(&error))?;
    let mail = compose::message(Parts {
        from: Mailbox::new(None, author),
        to: arguments.to.iter().map(|to| Mailbox::new(None, to.clone())).collect(),
        subject: &arguments.subject,
        text: arguments.text.as_deref(),
        html: arguments.html.as_deref(),
        attach: &arguments.attach,
        headers: &arguments.header,
    });
    let mail = mail.map_err(Failure::Setup)?;
    let envelope = Envelope::new(from, arguments.to.clone()).map_err(|error| Failure::setup(&error))?;
    let reply = transport(arguments)?.send_raw(&envelope, &mail.formatted()).map_err(refused)?;
    println!("{}", written(&reply));
    Ok(())
}

fn transport(arguments: &Arguments) -> Result<SmtpTransport, Failure> {
    let (host, port) = host_and_port(&arguments.server)?;
    let parameters = |insecure| parameters(&host, insecure, arguments);
    let tls = match arguments.tls {
        Encryption::Off => Tls::None,
        Encryption::Offered => Tls::Opportunistic(parameters(arguments.ca_file.is_none())?),
        Encryption::Required => Tls::Required(parameters(arguments.insecure)?),
        Encryption::Implicit => Tls::Wrapper(parameters(arguments.insecure)?),
    };
    Ok(SmtpTransport::builder_dangerous(host.as_str()).port(port).tls(tls).timeout(Some(TIMEOUT)).build())
}

/// An IPv6 address stands in brackets where a port is behind it.
fn host_and_port(server: &str) -> Result<(String, u16), Failure> {
    let wrong = || Failure::Setup(format!("--server {server:?}: write HOST or HOST:PORT, such as 127.0.0.1:2525"));
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (server, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

fn parameters(host: &str, insecure: bool, arguments: &Arguments) -> Result<TlsParameters, Failure> {
    let builder = TlsParameters::builder(host.to_owned());
    let mut builder = builder.dangerous_accept_invalid_certs(insecure).dangerous_accept_invalid_hostnames(insecure);
    builder = match &arguments.ca_file {
        None => builder.certificate_store(CertificateStore::WebpkiRoots),
        Some(file) => {
            let pem = fs::read(file).map_err(at(file)).map_err(Failure::Setup)?;
            let certificate = Certificate::from_pem(&pem);
            let certificate = certificate.map_err(|error| Failure::Setup(format!("{}: {error}", file.display())))?;
            builder.certificate_store(CertificateStore::None).add_root_certificate(certificate)
        }
    };
    builder.build().map_err(|error| Failure::setup(&error))
}

fn written(reply: &Response) -> String {
    let lines: Vec<_> = reply.message().map(|line| format!("{} {line}", reply.code())).collect();
    lines.join("\n")
}

fn refused(error: Error) -> Failure {
    match error.status() {
        Some(code) => Failure::NotDone(format!("refused with {code}: {}", causes(&error))),
        None => Failure::Unreachable(format!("no mail could be sent: {}", causes(&error))),
    }
}
