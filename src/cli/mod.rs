//! The commands beside the server: mail moved between a store and files, waited for, and sent.

mod client;
mod compose;
mod export;
mod files;
mod foreign;
mod import;
mod output;
mod progress;
mod send;
mod wait;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use tokio::runtime::Runtime;

use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::store::{Kind, Store};

/// Not all was done, or what was waited for has not come.
const EXIT_NOT_DONE: u8 = 1;
/// The command or the configuration is wrong; nothing was done.
const EXIT_SETUP: u8 = 2;
/// The server cannot be reached, or does not let us in.
const EXIT_UNREACHABLE: u8 = 3;
/// The mail was taken for some recipients, and refused for others.
const EXIT_DONE_PARTLY: u8 = 4;

/// What the program can do beside serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the configuration, secrets hidden, and exit
    ///
    /// Exit codes: 0 shown, 1 it could not be written, 2 the configuration is wrong.
    Config,
    /// Write mail of the store into files
    ///
    /// The server must not run: the embedded store belongs to one program at a time. Each message is written byte for byte,
    /// with its envelope and its times beside it, so that `restante import` brings it back as it was. The store is the one of
    /// the configuration (STORE, DATA_DIR).
    ///
    /// Exit codes: 0 all was written, 1 some was not, 2 the command or the configuration is wrong.
    Export(export::Arguments),
    /// Take mail from files into the store
    ///
    /// What `restante export` has written comes back as it was: bytes, envelope, times, id. Other .eml files, mbox files and
    /// Maildirs are taken too. Mail that is there already is not taken twice. The server must not run.
    ///
    /// Exit codes: 0 all was taken, was there already or had expired, 1 some could not be taken, 2 the command or the
    /// configuration is wrong.
    Import(import::Arguments),
    /// Wait for mail at a running server, and print it or a part of it
    ///
    /// Exit codes: 0 found and printed, 1 not found in time (what came instead is told on standard error), found without the part
    /// that was asked for, or not printed, 2 the command is wrong, 3 the server cannot be reached or does not accept the key.
    Wait(wait::Arguments),
    /// Send a small mail by SMTP
    ///
    /// A recipient that the server refuses is named with its reply, and the mail goes to the others.
    ///
    /// Exit codes: 0 the server has taken it for all recipients, 1 the server has refused it, 2 the command is wrong, 3 the
    /// server cannot be reached, 4 the server has taken it for some recipients and refused others.
    Send(send::Arguments),
}

/// How mail lies in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A file for each message, as it was sent.
    Eml,
    /// A Maildir for each mailbox.
    Maildir,
    /// An mbox file for each mailbox (mboxrd).
    Mbox,
}

/// Why a command ended without what it was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Failure {
    NotDone(String),
    DonePartly(String),
    Setup(String),
    /// Who has answered is not the API; where that has answered before, somebody does so in its place for a while.
    NotOurs(String),
    Unreachable(String),
    /// The server is there, and does not let us in; it will not the next time either.
    TurnedAway(String),
}

impl Failure {
    fn setup(error: &impl fmt::Display) -> Self {
        Self::Setup(error.to_string())
    }

    const fn exit_code(&self) -> u8 {
        match self {
            Self::NotDone(_) => EXIT_NOT_DONE,
            Self::DonePartly(_) => EXIT_DONE_PARTLY,
            Self::Setup(_) | Self::NotOurs(_) => EXIT_SETUP,
            Self::Unreachable(_) | Self::TurnedAway(_) => EXIT_UNREACHABLE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NotDone(text)
        | Self::DonePartly(text)
        | Self::Setup(text)
        | Self::NotOurs(text)
        | Self::Unreachable(text)
        | Self::TurnedAway(text)) = self;
        f.write_str(text)
    }
}

/// Does what is asked for; says with what code the program is to end.
#[must_use]
pub fn run(command: Command) -> ExitCode {
    let done = match command {
        Command::Config => show_config(),
        Command::Export(arguments) => configured().and_then(|config| {
            // To look for mail makes no directory where there is none.
            is_there(&config)?;
            with_store(&config, |runtime, store| export::run(&arguments, runtime, store, &config))
        }),
        Command::Import(arguments) => configured()
            .and_then(|config| with_store(&config, |runtime, store| import::run(&arguments, runtime, store, &config))),
        Command::Wait(arguments) => runtime().and_then(|runtime| runtime.block_on(wait::run(&arguments))),
        Command::Send(arguments) => send::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::say(format_args!("restante: {failure}"));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// The configuration; what may not be as it was meant to be is said.
fn configured() -> Result<Config, Failure> {
    let config = Config::load().map_err(|mistakes| Failure::setup(&mistakes))?;
    for warning in config.warnings() {
        output::say(format_args!("restante: {warning}"));
    }
    Ok(config)
}

fn show_config() -> Result<(), Failure> {
    let config = configured()?;
    let lines: String = config.shown().iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    output::print(lines.as_bytes())
}

fn is_there(config: &Config) -> Result<(), Failure> {
    match &config.store.kind {
        Kind::Embedded { data_dir, .. } if !data_dir.exists() => {
            Err(Failure::Setup(format!("there is no data directory {}; is DATA_DIR right?", data_dir.display())))
        }
        _ => Ok(()),
    }
}

/// Opens the store of the configuration, and closes it at the end, whatever that is.
fn with_store(config: &Config, work: impl FnOnce(&Runtime, &Store) -> Result<(), Failure>) -> Result<(), Failure> {
    let runtime = runtime()?;
    let (clock, tasks) = (Clock::system(), Shutdown::new());
    let metrics = Metrics::new(clock.now());
    if matches!(config.store.kind, Kind::Memory) {
        let text = "STORE=memory: what is in memory is the server's alone, and gone with it";
        return Err(Failure::Setup(text.to_owned()));
    }
    let opening = Store::open(&config.store, clock, metrics.store, &tasks);
    let store = runtime.block_on(opening).map_err(|error| Failure::setup(&error))?;
    let done = work(&runtime, &store);
    runtime.block_on(async {
        tasks.request();
        store.close().await;
    });
    done
}

fn runtime() -> Result<Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    built.map_err(|error| Failure::setup(&error))
}

/// What went wrong with a file.
fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> String {
    let path = path.into();
    move |error| format!("{}: {error}", path.display())
}
