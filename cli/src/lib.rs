//! The command line of DotVM: library calls plus rendering, one file per command in [`commands`].
//!
//! This crate is the composition root: here, and in the tests, storage backends, source languages and word widths
//! have names.

pub mod audit;
pub mod commands;
mod compare;
pub mod docs;
mod ended;
pub mod exit;
mod failure;
mod guest;
mod input;
mod keys;
mod options;
mod output;
mod outside;
mod progress;
mod receipt;
mod record;
mod report;
mod store;
mod table;

use std::backtrace::Backtrace;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum, ValueHint};

use commands::Command;
use exit::Exit;
use failure::Failure;
use output::Output;

/// Runs programs of 32 to 512-bit words on a transactional store.
#[derive(Parser)]
#[command(name = "dotvm", version, after_help = exit::HELP, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Leave out remarks: only results and errors
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,

    /// Append what matters for security to a file, a JSON line each (docs/audit.md)
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    audit: Option<PathBuf>,

    /// When to use colour; auto is on a terminal, unless NO_COLOR is in the environment
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    color: Color,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// The command line as clap knows it.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Does what the arguments ask for; the first one is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &args),
    };
    let color = match cli.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    };
    let output = Output::new(color, cli.quiet);
    let json = cli.command.json();
    let done = cli.audit.as_deref().map_or(Ok(()), audit::open).and_then(|()| cli.command.run(&output));
    let exit = match done {
        Ok(exit) => exit,
        Err(failure) => report_failure(&failure, json, &output),
    };
    match audit::finish() {
        Ok(()) => exit.into(),
        // The answer is given already.
        Err(failure) => report_failure(&failure, false, &output).into(),
    }
}

fn report_failure(failure: &Failure, json: bool, output: &Output) -> Exit {
    if failure.told {
        return failure.exit;
    }
    if json {
        return match output.print_json(&report::ErrorReport::new(failure)) {
            Ok(()) => failure.exit,
            Err(unwritable) => report_failure(&unwritable, false, output),
        };
    }
    match &failure.rendered {
        Some(rendered) => output.complain(rendered),
        None => {
            let style = input::ERROR;
            let (start, end) = (style.render(), style.render_reset());
            output.complain(&format!("{start}error{end}: {}", failure.sentence));
        }
    }
    failure.exit
}

/// Arguments that clap does not take, and `--help` and `--version`, which it answers itself.
fn usage(error: &clap::Error, args: &[OsString]) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !asked && args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json") {
        let text = error.render().to_string();
        // Its first paragraph says what is wrong; the others show the usage.
        let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let sentence = lines.join(" ").trim_start_matches("error: ").to_owned();
        let output = Output::new(anstream::ColorChoice::Never, true);
        return report_failure(&Failure::new(Exit::Usage, sentence), true, &output).into();
    }
    match error.print() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Exit::Output.into(),
        _ if asked => Exit::Success.into(),
        _ => Exit::Usage.into(),
    }
}

/// Makes a panic, the last resort, one sentence that asks for a report; with RUST_BACKTRACE in the environment a
/// backtrace follows.
pub fn install_panic_message() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
        let message = panic.payload_as_str().unwrap_or("no message").lines().next().unwrap_or_default();
        let output = Output::new(anstream::ColorChoice::Auto, false);
        output.complain(&format!(
            "error: this is a bug in dotvm {}{}, please report it with the command that led here: {message}",
            env!("CARGO_PKG_VERSION"),
            place.unwrap_or_default(),
        ));
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            output.complain(&Backtrace::force_capture().to_string());
        }
    }));
}
