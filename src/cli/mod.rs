//! Arguments → calls; errors → exit codes.

mod add;
mod apply;
mod arguments;
mod check;
mod completions;
mod destroy;
mod frontend;
mod gateway;
mod gc;
mod graph;
mod image;
mod import;
mod init;
mod lock;
mod logs;
mod out_file;
mod plan;
mod release;
mod render;
mod rollback;
mod schema;
mod service;
mod show;
mod status;
mod test;
mod unlock;
mod why;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Parser, Subcommand};
use miette::{Diagnostic, Report};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};

use arguments::{Global, Selection, WishArgs};

use crate::event::Cancelled;
use crate::exec::Interrupt;
use crate::exhausted::Exhausted;

/// Why the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Done,
    /// Something failed.
    Failed,
    /// `plan --detailed-exitcode` found something to do, or `status --budget` more spent than may be.
    Changes,
    /// The plan was refused.
    Refused,
    /// The command line is wrong.
    Usage,
    /// A spec, lock or imported script is wrong.
    Data,
    /// Another goatbuild was at work for too long.
    Locked,
    /// Interrupted by the user.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Changes => 2,
            Self::Refused => 3,
            Self::Usage => 64,
            Self::Data => 65,
            Self::Locked => 75,
            Self::Interrupted => 130,
        }
    }

    /// The exit of a command that failed with `error`, by its stable code.
    fn of(error: &Report) -> Self {
        let code = error.code().map(|code| code.to_string()).unwrap_or_default();
        // What a full disk has to do with a file is no mistake in it.
        if error.chain().any(|cause| cause.downcast_ref().and_then(Exhausted::of_system).is_some())
        {
            return Self::Failed;
        }
        match code.strip_prefix("goatbuild::").unwrap_or(&code) {
            "interrupted" => Self::Interrupted,
            "spec" => Self::Data,
            "store::locked" | "modal::leased" => Self::Locked,
            code if code.starts_with("usage::") => Self::Usage,
            code if code.starts_with("plan::") => Self::Refused,
            "weights::no_directory"
            | "weights::empty"
            | "python::requirement"
            | "python::no_times"
            | "python::overridden_index"
            | "python::unsatisfiable"
            | "python::no_build"
            | "debian::no_package"
            | "debian::unknown_script" => Self::Data,
            code => match code.split("::").next() {
                Some("spec" | "lock" | "graph" | "plan_file" | "import") => Self::Data,
                _ => Self::Failed,
            },
        }
    }
}

/// A declarative build tool for LLM serving: specs in, a plan out, and only the stale steps run.
#[derive(Debug, Parser)]
#[command(name = "goatbuild", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Begin a project with an example that works on this machine
    Init(init::InitArgs),
    /// Write a spec for a model
    Add(add::AddArgs),
    /// Make a project of deploy scripts that are kept by hand, without running them
    Import(import::ImportArgs),
    /// Settle what the specs leave open: wheels and Debian packages
    Lock(lock::LockArgs),
    /// Check specs, lock and gateway file, and whether this machine can serve
    Check(check::CheckArgs),
    /// Print every effective value of a model and where it came from
    Show(show::ShowArgs),
    /// Print the program that serves a model on Modal
    Render(render::RenderArgs),
    /// Show what would run, and why
    Plan(plan::PlanArgs),
    /// Run what is stale, and nothing else
    Apply(apply::ApplyArgs),
    /// Explain one step: its action, its reasons, its inputs
    Why(why::WhyArgs),
    /// Draw the steps and what they take from each other, coloured by what the plan says
    Graph(graph::GraphArgs),
    /// Show what is served right now
    Status(status::StatusArgs),
    /// Ask what is deployed as its clients would: list, chat, stream, and call a tool
    Test(test::TestArgs),
    /// Print the log of a model's server, or of a step's last run
    Logs(logs::LogsArgs),
    /// Take a model on Modal back to an earlier version, and hold it there
    Rollback(rollback::RollbackArgs),
    /// Let a model that was rolled back follow its spec again
    Release(release::ReleaseArgs),
    /// Stop a model's server and remove its gateway entry
    Destroy(destroy::DestroyArgs),
    /// Break the lease of another machine that changes things at Modal
    Unlock(unlock::UnlockArgs),
    /// Print the script that lets a shell complete commands and names
    Completions(completions::CompletionsArgs),
    /// Print the JSON Schema of a kind of file, for editors
    Schema(schema::SchemaArgs),
    /// Look at images, and hand them on
    #[command(subcommand)]
    Image(image::ImageCommand),
    /// Look at the LiteLLM file
    #[command(subcommand)]
    Gateway(gateway::GatewayCommand),
    /// Have systemd serve what is locked, from boot to shutdown
    #[command(subcommand)]
    Service(service::ServiceCommand),
    /// Remove what no spec, no deployment and no recent run needs
    Gc(gc::GcArgs),
}

impl Command {
    /// Whether programs read what it prints.
    fn is_json(&self) -> bool {
        match self {
            Self::Plan(arguments) => arguments.is_json(),
            Self::Apply(arguments) => arguments.json,
            Self::Status(arguments) => arguments.json,
            Self::Test(arguments) => arguments.json,
            Self::Image(image::ImageCommand::Inspect(arguments)) => arguments.json,
            Self::Gc(arguments) => arguments.json,
            _ => false,
        }
    }
}

/// What was to be printed could not be.
#[derive(Debug, Error, Diagnostic)]
#[error("standard output can't be written: {0}")]
#[diagnostic(code(goatbuild::output), help("is the disk full?"))]
struct Unwritten(std::io::Error);

/// Runs the program and gives its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if completions::answer(&arguments) {
        return Exit::Done.code();
    }
    let mut cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let wrong = error.use_stderr();
            // Nothing can be done about a closed stream.
            let _ = error.print();
            return if wrong { Exit::Usage.code() } else { Exit::Done.code() };
        }
    };
    // A variable that is empty is as good as unset.
    cli.global.environment.take_if(|name| name.is_empty());
    crate::ui::set_up_errors();
    let json = cli.command.is_json();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(reason) => {
            crate::ui::tell(&format!("goatbuild can't start: {reason}"));
            return Exit::Failed.code();
        }
    };
    tell_of_threads();
    let interrupt = Interrupt::default();
    let command = dispatch(cli.command, &cli.global, &interrupt);
    let ended = runtime.block_on(until_interrupted(command, &interrupt));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    let written = || match crate::ui::write_error() {
        // The terminal may be gone with whoever asked.
        Some(error) if !interrupt.asked() => Err(Unwritten(error).into()),
        _ => Ok(()),
    };
    match ended.and_then(|exit| written().map(|()| exit)) {
        Ok(exit) => exit.code(),
        Err(error) => {
            let exit = Exit::of(&error);
            crate::ui::print_error(&error);
            if json {
                crate::ui::print_json_error(&error);
            }
            exit.code()
        }
    }
}

/// What commands run on. Without a thread or a file for it, it panics.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let start = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let built = std::panic::catch_unwind(start);
    std::panic::set_hook(hook);
    let reason = match built {
        Ok(Ok(runtime)) => return Ok(runtime),
        Ok(Err(error)) => error.to_string(),
        Err(told) => told.downcast::<String>().map(|told| *told).unwrap_or_default(),
    };
    let help = Exhausted::of_words(&reason).map_or(NO_THREAD, Exhausted::help);
    Err(format!("{reason}: {help}"))
}

/// Why the system starts no thread.
const NO_THREAD: &str =
    "no thread can be had: there is no more memory, or a limit is reached (`ulimit -u`)";

/// Has a panic of the runtime's for want of a thread say what to do, in place of where it happened.
fn tell_of_threads() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match panic.payload().downcast_ref::<String>() {
        Some(told) if told.starts_with("OS can't spawn") => {
            crate::ui::tell(&format!("goatbuild can't go on: {told}: {NO_THREAD}"));
        }
        _ => hook(panic),
    }));
}

/// Waits for a command, or for an interruption that it doesn't answer itself.
async fn until_interrupted(
    command: impl Future<Output = Result<Exit, Report>>,
    interrupt: &Interrupt,
) -> Result<Exit, Report> {
    tokio::spawn(listen(interrupt.clone()));
    // A file over the limit (`ulimit -f`) is an error of whoever writes it, as in Python, and no sudden end.
    let _over = signal(SignalKind::from_raw(nix::libc::SIGXFSZ)).ok();
    tokio::select! {
        ended = command => ended,
        // Nothing half-done is ever under its name: what is not attended can be dropped.
        () = interrupt.unattended() => Err(Cancelled.into()),
    }
}

async fn dispatch(
    command: Command,
    global: &Global,
    interrupt: &Interrupt,
) -> Result<Exit, Report> {
    match command {
        Command::Init(arguments) => init::run(global, &arguments),
        Command::Add(arguments) => add::run(global, arguments).await,
        Command::Import(arguments) => import::run(global, arguments),
        Command::Completions(arguments) => Ok(completions::run(&arguments)),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Lock(arguments) => lock::run(global, arguments).await,
        Command::Check(arguments) => check::run(global, &arguments, interrupt).await,
        Command::Show(arguments) => show::run(global, &arguments).await,
        Command::Render(arguments) => render::run(global, &arguments).await,
        Command::Unlock(arguments) => unlock::run(global, &arguments).await,
        Command::Plan(arguments) => plan::run(global, &arguments).await,
        Command::Apply(arguments) => apply::run(global, arguments, interrupt).await,
        Command::Why(arguments) => why::run(global, &arguments).await,
        Command::Graph(arguments) => graph::run(global, &arguments).await,
        Command::Status(arguments) => status::run(global, &arguments).await,
        Command::Test(arguments) => test::run(global, &arguments).await,
        Command::Logs(arguments) => logs::run(global, arguments, interrupt).await,
        Command::Rollback(arguments) => rollback::run(global, arguments).await,
        Command::Release(arguments) => release::run(global, &arguments).await,
        Command::Destroy(arguments) => destroy::run(global, &arguments).await,
        Command::Gateway(command) => gateway::run(global, &command).await,
        Command::Image(command) => image::run(global, &command, interrupt).await,
        Command::Service(command) => service::run(global, &command, interrupt).await,
        Command::Gc(arguments) => gc::run(global, &arguments).await,
    }
}

/// What is put in order at once after a second request to stop may take so long; what can't be stopped,
/// such as reading what never ends, is left where it is.
const GRACE: Duration = Duration::from_secs(5);

/// Turns Ctrl-C, SIGTERM and a terminal that is closed into a request to stop.
async fn listen(interrupt: Interrupt) {
    /// Never, where the signal can't be had.
    async fn next(signal: &mut Option<Signal>) {
        match signal {
            Some(signal) => _ = signal.recv().await,
            None => std::future::pending().await,
        }
    }
    let mut keys = signal(SignalKind::interrupt()).ok();
    let mut term = signal(SignalKind::terminate()).ok();
    // Who started this under `nohup` wants it to go on.
    let mut hangup = if ignores_hangups() { None } else { signal(SignalKind::hangup()).ok() };
    let mut asked = 0;
    loop {
        tokio::select! {
            () = next(&mut keys) => {}
            () = next(&mut term) => {}
            () = next(&mut hangup) => {}
        }
        asked += 1;
        match asked {
            1 => {
                let told = "stopping; what is done is kept (again: stop at once)";
                tell_to_the_end("stopping", told).await;
            }
            2 => {
                std::thread::spawn(|| {
                    std::thread::sleep(GRACE);
                    std::process::exit(Exit::Interrupted.code().into());
                });
                tell_to_the_end("stopping at once", "stopping at once").await;
            }
            _ => std::process::exit(Exit::Interrupted.code().into()),
        }
        interrupt.ask();
    }
}

/// Tells it, unless the terminal is one that nobody reads.
async fn tell_to_the_end(mark: &'static str, text: &'static str) {
    const PATIENCE: Duration = Duration::from_millis(300);
    let (told, waits) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        crate::ui::tell_to_the_end(mark, text);
        let _ = told.send(());
    });
    let _ = tokio::time::timeout(PATIENCE, waits).await;
}

/// Whether this process was started so that a closed terminal does not end it.
fn ignores_hangups() -> bool {
    /// The first of the bits.
    const HANGUP: u64 = 1;
    // Where that can't be told, whatever was there stays.
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return true };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    ignored.is_some_and(|bits| bits & HANGUP != 0)
}
