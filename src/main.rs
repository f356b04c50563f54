//! The program: arguments, logging, signals and the exit code.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use restante::app::App;
use restante::cli::{self, Command};
use restante::clock::Clock;
use restante::config::{Config, Log};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What is wrong is in the configuration or around the server, not in it.
const EXIT_SETUP: u8 = 2;
/// Stopped by a second signal before everything was in order; what a shell reports for an interrupt.
const EXIT_IMPATIENT: u8 = 130;

/// An inbound catch-all mailbox server: any mail in by SMTP, out by an HTTP API.
///
/// Without a command it is the server. All settings are variables of the environment or of the file .env; .env.example lists them.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

fn main() -> ExitCode {
    if let Some(command) = Arguments::parse().command {
        // What a command has done it says itself.
        start_log(&Log { filter: "warn".to_owned(), json: false });
        raise_open_files();
        return cli::run(command);
    }
    // Before any thread is started.
    let config = match Config::load() {
        Ok(config) => config,
        Err(mistakes) => return refuse(&mistakes),
    };
    start_log(&config.log);
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(worker_threads()).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    let code = runtime.block_on(run(config));
    // All that matters has been waited for; a thread that hangs in a system call must not keep the process.
    runtime.shutdown_background();
    code
}

async fn run(config: Config) -> ExitCode {
    // Before the start, so that a signal that comes during it is not the end of the process.
    let Signals { mut terminate, mut interrupt, mut hang_up } = match signals() {
        Ok(signals) => signals,
        Err(error) => return refuse(&error),
    };
    let app = tokio::select! {
        started = App::start(config, Clock::system()) => match started {
            Ok(app) => app,
            Err(error) => return refuse(&error),
        },
        // Nobody has been promised anything yet, so nothing has to be put in order.
        _ = terminate.recv() => return ExitCode::SUCCESS,
        _ = interrupt.recv() => return ExitCode::SUCCESS,
    };
    // A server whose output nobody reads still serves.
    _ = writeln!(io::stdout(), "{}", app.welcome());
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => app.reload(),
        }
    }
    tracing::info!("stopping");
    tokio::select! {
        () = app.stop() => ExitCode::SUCCESS,
        // Whoever asks a second time does not want to wait. What has been acknowledged is on the disk already.
        _ = terminate.recv() => ExitCode::from(EXIT_IMPATIENT),
        _ = interrupt.recv() => ExitCode::from(EXIT_IMPATIENT),
    }
}

/// The store writes in a thread of its own, and is the busiest of all. With one core left to it more mail is taken than
/// with workers on every core, which would only wake each other.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1))
}

/// Each connection takes an open file, and so does much of a store. Shells give a program few of them, and let it have more if it asks.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, ?current, ?maximum, "the limit of open files cannot be raised");
    }
}

/// What the operator can say to a running server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

fn signals() -> io::Result<Signals> {
    Ok(Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hang_up: signal(SignalKind::hangup())?,
    })
}

fn start_log(log: &Log) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&log.filter))
        .with_writer(io::stderr)
        // A line that cannot be written is lost. To say so on the same standard error would panic, and the log of that
        // panic would end the process: a full disk or a reader that went away must not stop the mail.
        .log_internal_errors(false)
        // Colours are for people; in a file they are noise.
        .with_ansi(io::stderr().is_terminal());
    if log.json {
        lines.json().init()
    } else {
        lines.init()
    }
    // A panic is contained in its task; it belongs into the log like everything else.
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a task has panicked")));
}

fn refuse(error: &impl Display) -> ExitCode {
    _ = writeln!(io::stderr(), "restante: {error}");
    ExitCode::from(EXIT_SETUP)
}
