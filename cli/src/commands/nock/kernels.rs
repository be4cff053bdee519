//! `dotvm nock boot`, `poke`, `peek`, `get`, `kernels` and `forget`.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueHint};
use dotdb::{Database, Mode, Tx};
use dotvm_core::value::Ref;
use dotvm_nock_kernel::store::{self, Source};
use dotvm_nock_kernel::{Error, Head, Kernel, STATE, part};
use dotvm_nock_machine::Bounds;
use dotvm_nock_machine::text::{Style, show};
use dotvm_runtime::args::nearest;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{jam, mug, noun, write};
use crate::commands::db::ReadOptions;
use crate::exit::Exit;
use crate::failure::{Cause, Failure};
use crate::input::read_file;
use crate::options::{StoreOption, WaitOption};
use crate::output::Output;
use crate::store::{Access, StoreUrl};

#[derive(Subcommand)]
pub(super) enum Action {
    /// Install a kernel in a database
    ///
    /// A kernel is [battery state context] with the arms load, peek and poke at the axes 4, 22 and 23.
    Boot {
        /// The name that it gets
        name: String,
        /// The kernel: a jam if the name ends in .jam, else text
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// The file holds a trap whose product is the kernel, as compilers of Hoon write it
        #[arg(long)]
        trap: bool,
        /// There is a kernel with this name: its state goes to the new one's arm load
        #[arg(long)]
        upgrade: bool,
        #[command(flatten)]
        store: StoreOption,
    },
    /// Give a kernel an event and print its effects
    ///
    /// The new kernel is kept durably before the command ends, in one transaction; if there is none, nothing changes.
    Poke {
        /// A kernel's name; or FILE.jam, which is installed under the file's name if it is not there, and without --db
        /// is not kept
        #[arg(value_name = "NAME|FILE.jam")]
        kernel: String,
        /// The event: what poke gets as its sample
        event: String,
        /// The file holds a trap whose product is the kernel
        #[arg(long)]
        trap: bool,
        /// The store
        #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
        db: Option<StoreUrl>,
        #[command(flatten)]
        wait: WaitOption,
        /// Write the jam of the effects to this file instead
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Write the jam of the new kernel to this file too
        #[arg(long, value_name = "FILE")]
        kernel_out: Option<PathBuf>,
    },
    /// Ask a kernel something and print its answer; nothing changes
    Peek {
        /// The kernel's name
        name: String,
        /// What peek gets as its sample, a path as a rule: [%a %b 0]
        path: String,
        /// Write the jam of the answer to this file instead
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        read: ReadOptions,
    },
    /// Print a part of a kernel, as a rule its state
    Get {
        /// The kernel's name
        name: String,
        /// The part of the kernel: 1 is all of it, 6 the state, 2n and 2n+1 head and tail of n
        #[arg(long, value_name = "N", default_value_t = STATE.to_string())]
        axis: String,
        /// Write its jam to this file instead; the state's has the hash that the kernel's head names
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        read: ReadOptions,
    },
    /// List the kernels of a database
    Kernels {
        #[command(flatten)]
        read: ReadOptions,
    },
    /// Remove a kernel from a database
    Forget {
        /// The kernel's name
        name: String,
        #[command(flatten)]
        store: StoreOption,
    },
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let sentence = error.to_string();
        let exit = match error {
            Error::Nock(failure) => return failure.into(),
            Error::Db(error) => return error.into(),
            Error::Product(_) => {
                let cause = Some(Cause { deterministic: true, limit: None });
                return Failure { cause, ..Failure::new(Exit::Program, sentence) };
            }
            Error::Shape(_) => Exit::Input,
            Error::Unknown(_) | Error::Exists(_) | Error::Taken(_) | Error::Damaged { .. } => Exit::Database,
        };
        Failure::new(exit, sentence)
    }
}

/// A failure about a kernel that is not there, with what it may have been meant to be.
fn explained(error: Error, database: &Database) -> Failure {
    let hint = match &error {
        Error::Unknown(name) => database
            .begin(Mode::ReadOnly)
            .ok()
            .and_then(|mut tx| store::list(&mut tx).ok())
            .and_then(|kernels| {
                nearest(name, kernels.iter().map(|(name, _)| name.as_str())).map(str::to_owned)
            })
            .map(|near| format!(": did you mean {near:?}?")),
        Error::Exists(_) => Some(": --upgrade gives its state to another".to_owned()),
        _ => None,
    };
    let mut failure = Failure::from(error);
    failure.sentence.push_str(&hint.unwrap_or_default());
    failure
}

/// The kernel in a file, and the file's bytes.
fn kernel_of(file: &Path, is_trap: bool, bounds: &Bounds) -> Result<(Kernel, Vec<u8>), Failure> {
    let bytes = read_file(file)?;
    let found = noun(&format!("@{}", file.display()), bounds)?;
    let kernel = if is_trap { Kernel::of_trap(found, bounds) } else { Kernel::new(found) };
    let kernel = kernel.map_err(|error| match error {
        Error::Shape(_) => {
            let hint = if is_trap { "" } else { " (--trap if it is a trap that makes one)" };
            Failure::new(Exit::Input, format!("{}: {error}{hint}", file.display()))
        }
        error => error.into(),
    })?;
    Ok((kernel, bytes))
}

/// What is told of a kernel.
#[derive(Serialize)]
struct KernelReport<'a> {
    name: &'a str,
    events: u64,
    /// The hash of the file that it came from.
    source: &'a str,
    state_bytes: u64,
    state_blake3: &'a str,
    state_mug: u32,
    code_bytes: u64,
    code_blake3: &'a str,
    code_mug: u32,
}

impl<'a> KernelReport<'a> {
    fn new(name: &'a str, head: &'a Head) -> KernelReport<'a> {
        KernelReport {
            name,
            events: head.events,
            source: &head.source,
            state_bytes: head.state.bytes,
            state_blake3: &head.state.blake3,
            state_mug: head.state.mug,
            code_bytes: head.code.bytes,
            code_blake3: &head.code.blake3,
            code_mug: head.code.mug,
        }
    }
}

/// The root of a database's state, if it keeps one.
fn root_of(database: &Database) -> Result<Option<String>, Failure> {
    if !database.settings().state_root {
        return Ok(None);
    }
    Ok(Some(database.state_root(database.version())?.to_string()))
}

/// What an answer has besides its noun.
struct More {
    gas_used: Option<u64>,
    events: Option<u64>,
    root: Option<String>,
}

/// Prints a noun, or writes its jam to a file.
fn answer(
    (name, noun): (&str, &Ref),
    style: Style,
    out: Option<&Path>,
    more: More,
    bounds: &Bounds,
    json: bool,
    output: &Output,
) -> Result<Exit, Failure> {
    if let Some(out) = out {
        write(out, &jam(noun, bounds.max_memory)?)?;
    }
    let More { gas_used, events, root } = more;
    if json {
        let mut report = Map::new();
        report.insert("status".to_owned(), "ok".into());
        if out.is_none() {
            report.insert(name.to_owned(), show(noun, Style::PLAIN).into());
        }
        report.insert("mug".to_owned(), mug(noun, bounds.max_memory)?.into());
        let numbers = [("events", events), ("gas_used", gas_used)];
        for (name, number) in numbers {
            number.into_iter().for_each(|number| {
                report.insert(name.to_owned(), number.into());
            });
        }
        if let Some(root) = root {
            report.insert("state_root".to_owned(), root.into());
        }
        output.print_json(&Value::Object(report))?;
        return Ok(Exit::Success);
    }
    if out.is_none() {
        output.print(&(show(noun, style) + "\n"))?;
    }
    gas_used.into_iter().for_each(|gas| output.remark(&format!("gas {gas}")));
    events.into_iter().for_each(|events| output.remark(&format!("events {events}")));
    root.into_iter().for_each(|root| output.remark(&format!("state root {root}")));
    Ok(Exit::Success)
}

fn told_of_head(
    name: &str,
    head: &Head,
    database: &Database,
    json: bool,
    output: &Output,
) -> Result<Exit, Failure> {
    let root = root_of(database)?;
    if json {
        #[derive(Serialize)]
        struct Report<'a> {
            status: &'static str,
            #[serde(flatten)]
            kernel: KernelReport<'a>,
            state_root: Option<String>,
        }
        output.print_json(&Report {
            status: "ok",
            kernel: KernelReport::new(name, head),
            state_root: root,
        })?;
        return Ok(Exit::Success);
    }
    let (state, code) = (head.state.bytes, head.code.bytes);
    output.remark(&format!("kernel {name:?}: state of {state} bytes, code of {code} bytes"));
    root.into_iter().for_each(|root| output.remark(&format!("state root {root}")));
    Ok(Exit::Success)
}

/// A part of a kernel that must be there.
fn part_of(tx: &mut Tx, name: &str, axis: &str, bounds: &Bounds) -> Result<Ref, Error> {
    let (kernel, _) = store::read(tx, name, bounds.max_memory)?;
    let Ok(Ref::Int(axis)) = dotvm_nock_machine::text::parse(axis) else {
        return Err(Error::Shape("an axis is a number from 1 on"));
    };
    part(kernel.noun(), axis.magnitude()).ok_or(Error::Shape("it has no part at this axis"))
}

pub(super) fn run(action: &Action, bounds: &Bounds, json: bool, output: &Output) -> Result<Exit, Failure> {
    match action {
        Action::Boot { name, file, trap, upgrade, store: to } => {
            let (kernel, bytes) = kernel_of(file, *trap, bounds)?;
            let database = to.open(if *upgrade { Access::Write } else { Access::Create })?;
            let done = if *upgrade {
                store::upgrade(&database, name, &kernel, &bytes, bounds)
            } else {
                store::boot(&database, name, &kernel, &bytes, bounds)
            };
            let head = done.map_err(|error| explained(error, &database))?;
            told_of_head(name, &head, &database, json, output)
        }
        Action::Poke { kernel: target, event, trap, db, wait, out, kernel_out } => {
            let event = noun(event, bounds)?;
            let path = Path::new(target);
            let file = (path.extension().is_some_and(|extension| extension == "jam")).then_some(path);
            let (poked, more) = match (file, db) {
                (None, _) if *trap => {
                    let sentence = "--trap is about FILE.jam, and this is a kernel's name";
                    return Err(Failure::new(Exit::Usage, sentence));
                }
                (None, None) => {
                    let sentence = format!("--db says where the kernel {target:?} is kept");
                    return Err(Failure::new(Exit::Usage, sentence));
                }
                (Some(file), None) => {
                    let poked = kernel_of(file, *trap, bounds)?.0.poke(event, bounds)?;
                    (poked, (None, None))
                }
                (file, Some(url)) => {
                    let source = file.map(|file| kernel_of(file, *trap, bounds)).transpose()?;
                    let name = match file.and_then(|file| file.file_stem()) {
                        Some(stem) => stem.to_string_lossy(),
                        None => target.into(),
                    };
                    let access = if source.is_some() { Access::Create } else { Access::Write };
                    let database = crate::store::open(url, access, wait.wait)?;
                    let source = source.as_ref().map(|(kernel, file)| Source { kernel, file });
                    let (poked, head) = store::poke(&database, &name, source, &event, bounds)
                        .map_err(|error| explained(error, &database))?;
                    (poked, (Some(head.events), root_of(&database)?))
                }
            };
            if let Some(out) = kernel_out {
                write(out, &jam(poked.kernel.noun(), bounds.max_memory)?)?;
            }
            let (events, root) = more;
            let more = More { gas_used: Some(poked.gas_used), events, root };
            answer(("effects", &poked.effects), Style::PRETTY, out.as_deref(), more, bounds, json, output)
        }
        Action::Peek { name, path, out, read } => {
            let path = noun(path, bounds)?;
            let (database, mut tx) = read.begin()?;
            let kernel = store::read(&mut tx, name, bounds.max_memory);
            let (kernel, _) = kernel.map_err(|error| explained(error, &database))?;
            let (product, gas) = kernel.peek(path, bounds)?;
            let more = More { gas_used: Some(gas), events: None, root: None };
            answer(("product", &product), Style::PLAIN, out.as_deref(), more, bounds, json, output)
        }
        Action::Get { name, axis, out, read } => {
            let (database, mut tx) = read.begin()?;
            let found = part_of(&mut tx, name, axis, bounds);
            let found = found.map_err(|error| match error {
                Error::Shape(what) => Failure::new(Exit::Usage, format!("--axis {axis}: {what}")),
                error => explained(error, &database),
            })?;
            let more = More { gas_used: None, events: None, root: None };
            answer(("noun", &found), Style::PLAIN, out.as_deref(), more, bounds, json, output)
        }
        Action::Kernels { read } => {
            let (_, mut tx) = read.begin()?;
            let kernels = store::list(&mut tx)?;
            let reports: Vec<_> = kernels.iter().map(|(name, head)| KernelReport::new(name, head)).collect();
            if json {
                #[derive(Serialize)]
                struct List<'a> {
                    status: &'static str,
                    kernels: Vec<KernelReport<'a>>,
                }
                output.print_json(&List { status: "ok", kernels: reports })?;
                return Ok(Exit::Success);
            }
            let names = ["kernel", "events", "state bytes", "state mug", "code bytes", "code mug", "source"];
            let rows = reports.iter().map(|report| {
                Ok::<_, Failure>(vec![
                    report.name.to_owned(),
                    report.events.to_string(),
                    report.state_bytes.to_string(),
                    format!("0x{:08x}", report.state_mug),
                    report.code_bytes.to_string(),
                    format!("0x{:08x}", report.code_mug),
                    report.source.get(..16).unwrap_or(report.source).to_owned(),
                ])
            });
            output.print_lines(crate::table::Table::new(names.map(str::to_owned).to_vec(), rows)?)?;
            Ok(Exit::Success)
        }
        Action::Forget { name, store: from } => {
            let database = from.open(Access::Write)?;
            store::forget(&database, name).map_err(|error| explained(error, &database))?;
            if json {
                let mut report = Map::new();
                report.insert("status".to_owned(), "ok".into());
                report.insert("name".to_owned(), name.clone().into());
                output.print_json(&Value::Object(report))?;
            } else {
                output.remark(&format!("kernel {name:?} is forgotten"));
            }
            Ok(Exit::Success)
        }
    }
}
