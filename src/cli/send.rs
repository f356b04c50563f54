//! A small mail, sent by SMTP.

use std::error::Error as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::{Certificate, CertificateStore, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::{Code, Response};

use super::client::causes;
use super::compose::{self, Parts};
use super::{Failure, at, output};

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
    let mut connection = connect(arguments)?;
    let sent = send(&mut connection, from, &arguments.to, &mail.formatted());
    // What the server has said about the mail stands, however the connection ends.
    connection.abort();
    sent
}

/// Sends to all recipients that the server takes, and says which it does not.
fn send(connection: &mut SmtpConnection, from: Option<Address>, to: &[Address], mail: &[u8]) -> Result<(), Failure> {
    let parameters = parameters_of_mail(connection, from.iter().chain(to), mail)?;
    connection.command(Mail::new(from, parameters)).map_err(refused)?;
    let mut refused_count = 0;
    for recipient in to {
        match connection.command(Rcpt::new(recipient.clone(), Vec::new())) {
            Ok(_) => {}
            Err(error) => match error.status() {
                Some(code) => {
                    refused_count += 1;
                    output::say(format_args!("refused: {recipient}: {}", said(code, &error)));
                }
                None => return Err(refused(error)),
            },
        }
    }
    if refused_count == to.len() {
        return Err(Failure::NotDone("the server has taken no recipient; nothing was sent".to_owned()));
    }
    connection.command(Data).map_err(refused)?;
    let reply = connection.message(mail).map_err(refused)?;
    // The mail is on its way, whether or not that can be printed; who is told otherwise sends it once more.
    if let Err(unprinted) = output::print(format!("{}\n", written(&reply)).as_bytes()) {
        output::say(format_args!("{unprinted}; the server has said: {}", written(&reply)));
    }
    match refused_count {
        0 => Ok(()),
        _ => Err(Failure::DonePartly(format!("refused for {refused_count} of {} recipients", to.len()))),
    }
}

/// What the server has to be told of the mail, and has to be able to.
fn parameters_of_mail<'a>(
    connection: &SmtpConnection,
    mut addresses: impl Iterator<Item = &'a Address>,
    mail: &[u8],
) -> Result<Vec<MailParameter>, Failure> {
    let mut parameters = Vec::new();
    let is_offered = |extension| connection.server_info().supports_feature(extension);
    if addresses.any(|address| !AsRef::<str>::as_ref(address).is_ascii()) {
        if !is_offered(Extension::SmtpUtfEight) {
            return Err(Failure::NotDone("an address is not ASCII, and the server does not offer SMTPUTF8".to_owned()));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !mail.is_ascii() {
        if !is_offered(Extension::EightBitMime) {
            return Err(Failure::NotDone("the mail is not ASCII, and the server does not offer 8BITMIME".to_owned()));
        }
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(parameters)
}

fn connect(arguments: &Arguments) -> Result<SmtpConnection, Failure> {
    let (host, port) = host_and_port(&arguments.server)?;
    let insecure = match arguments.tls {
        Encryption::Offered => arguments.ca_file.is_none(),
        _ => arguments.insecure,
    };
    let tls = parameters(&host, insecure, arguments)?;
    let name = ClientId::default();
    let from_the_first_byte = Some(&tls).filter(|_| arguments.tls == Encryption::Implicit);
    let mut connection =
        SmtpConnection::connect((host.as_str(), port), Some(TIMEOUT), &name, from_the_first_byte, None)
            .map_err(refused)?;
    let is_upgraded = match arguments.tls {
        Encryption::Off | Encryption::Implicit => false,
        Encryption::Offered => connection.can_starttls(),
        Encryption::Required => true,
    };
    if is_upgraded {
        connection.starttls(&tls, &name).map_err(refused)?;
    }
    Ok(connection)
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

/// The reply that is an error.
fn said(code: Code, error: &Error) -> String {
    format!("{code} {}", error.source().map(ToString::to_string).unwrap_or_default())
}

fn refused(error: Error) -> Failure {
    match error.status() {
        Some(code) => Failure::NotDone(format!("refused: {}", said(code, &error))),
        None => Failure::Unreachable(format!("no mail could be sent: {}", causes(&error))),
    }
}
