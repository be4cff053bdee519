//! `dotvm compare`.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, ValueHint};
use dotvm_arch::Width;
use serde::Serialize;

use crate::compare::lockstep;
use crate::compare::measure::{self, Row, Times};
use crate::compare::plot;
use crate::compare::search::{self, Found, Place};
use crate::compare::subject::{Setting, Subject, parameter};
use crate::compare::sweep::{self, Point, Range};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::{ExecutionOptions, parse_width};
use crate::output::Output;
use crate::progress::Progress;
use crate::table::Table;

/// Run one program at several word widths, side by side
///
/// Each run begins with an empty state in memory. Results agree if they are the same numbers, unsigned or signed; where
/// a width comes to another result than the widest, both are run in step, and the first value that differs is shown.
/// Times are from the opening of a run's transaction to its commit.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  dotvm compare examples/factorial.dasm --arg 30
  dotvm compare examples/fibonacci.dasm --sweep n=1..100:5 --html growth.html
  dotvm compare examples/factorial.dasm --find-divergence")]
#[command(group(ArgGroup::new("kind").args(["sweep", "find_divergence"])))]
pub(crate) struct Args {
    /// Source text (.dasm) that fixes no width (.arch any); - is standard input
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,

    /// The function to run [default: the program's entry]
    #[arg(long = "fn", value_name = "NAME")]
    function: Option<String>,

    /// An argument (can be repeated): words first, then references
    #[arg(long = "arg", value_name = "V", allow_hyphen_values = true)]
    arguments: Vec<String>,

    /// Behind --: arguments for args.get
    #[arg(last = true, value_name = "ARGV")]
    program_arguments: Vec<String>,

    /// The widths
    #[arg(
        long,
        value_name = "BITS,...",
        value_delimiter = ',',
        value_parser = parse_width,
        default_value = "32,64,128,256,512"
    )]
    arch: Vec<Width>,

    /// How often each width is run
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,

    /// Run with each value of an argument, named or numbered from 0: growth curves
    #[arg(long, value_name = "ARG=A..B[:STEP]", value_parser = sweep::parse_range)]
    sweep: Option<Range>,

    /// Search the least argument for which a width comes to another result than the widest
    #[arg(long, value_name = "ARG", num_args = 0..=1, default_missing_value = "0")]
    find_divergence: Option<String>,

    /// Write the table as CSV to standard output
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    csv: bool,

    /// Write a page with table and plots
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    html: Option<PathBuf>,

    /// Write the plots
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Output")]
    svg: Option<PathBuf>,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,

    #[command(flatten)]
    execution: ExecutionOptions,
}

/// The JSON object.
#[derive(Serialize)]
struct Report {
    status: &'static str,
    module: String,
    function: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    widths: Option<Vec<Row>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sweep: Option<Vec<Point>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    divergence: Option<Vec<Found>>,
}

/// What there is to show.
struct Shown {
    table: Vec<Vec<String>>,
    remarks: Vec<String>,
    plot: Option<String>,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let mut widths = args.arch.clone();
    widths.sort_by_key(|width| width.bits());
    widths.dedup();
    if args.execution.records.is_on() || args.execution.outside.files_out.writes_files() {
        let sentence = "runs that are compared are not written down and leave no files: no --record, --receipt, \
                        --file-out";
        return Err(Failure::new(Exit::Usage, sentence));
    }
    if args.find_divergence.is_some() && (args.svg.is_some() || args.html.is_some()) {
        return Err(Failure::new(Exit::Usage, "a search has nothing to plot: no --svg, --html"));
    }
    let taken = args.file.as_os_str() == "-";
    let setting = Setting {
        options: args.execution.runtime()?,
        stdin: args.execution.outside.whole_input(taken)?,
        argv: args
            .execution
            .outside
            .arguments(&args.program_arguments)
            .into_iter()
            .map(String::into_bytes)
            .collect(),
    };
    let source = SourceFile::read(&args.file)?;
    let subjects = widths
        .iter()
        .map(|&width| Subject::read(source.path(), width, args.function.as_deref()))
        .collect::<Result<Vec<Subject>, Failure>>()?;
    let Some(widest) = subjects.last() else {
        return Err(Failure::new(Exit::Usage, "--arch names no width"));
    };
    let mut report = Report {
        status: "ok",
        module: widest.module().name.clone(),
        function: widest.module().function_name(widest.function),
        widths: None,
        sweep: None,
        divergence: None,
    };
    let shown = if let Some(argument) = &args.find_divergence {
        let found = find(args, &subjects, widest, argument, &setting, output)?;
        let shown = show_search(&found, widest);
        report.divergence = Some(found);
        shown
    } else if let Some(range) = &args.sweep {
        let runs = u64::from(args.runs) * subjects.len() as u64 * range.values().count() as u64;
        let mut progress = Progress::new("running", "runs", Some(runs), output);
        let done = || progress.advance(1);
        let points = sweep::sweep(&subjects, range, &args.arguments, &setting, args.runs as usize, done)?;
        let shown = show_sweep(range, &points)?;
        report.sweep = Some(points);
        shown
    } else {
        let runs = (u64::from(args.runs) + 1) * subjects.len() as u64;
        let mut progress = Progress::new("running", "runs", Some(runs), output);
        let mut rows = measure::measure(&subjects, &args.arguments, &setting, args.runs as usize, || {
            progress.advance(1)
        })?;
        for (row, subject) in rows.iter_mut().zip(&subjects).filter(|(row, _)| !row.agrees) {
            row.parting = lockstep::parting(subject, widest, &args.arguments, &setting)?;
        }
        let shown = show_rows(&rows, widest.width)?;
        report.widths = Some(rows);
        shown
    };
    let title = format!("{} of {} at several word widths", report.function, report.module);
    write_files(args, &title, &shown)?;
    if args.json {
        output.print_json(&report)?;
    } else if args.csv {
        output.print_bytes(&csv(&shown.table)?)?;
    } else {
        let mut rows = shown.table.into_iter();
        let head = rows.next().unwrap_or_default();
        output.print_lines(Table::new(head, rows.map(Ok::<_, Failure>))?)?;
        for remark in &shown.remarks {
            output.print(&format!("{remark}\n"))?;
        }
    }
    Ok(Exit::Success)
}

/// The source, which is assembled once for each width: what comes by standard input is kept in a file meanwhile.
struct SourceFile {
    path: PathBuf,
    is_temporary: bool,
}

impl SourceFile {
    fn read(path: &Path) -> Result<SourceFile, Failure> {
        if path != Path::new("-") {
            return Ok(SourceFile { path: path.to_owned(), is_temporary: false });
        }
        let bytes = crate::input::read_file(path)?;
        let path = std::env::temp_dir().join(format!("dotvm-compare-{}.dasm", std::process::id()));
        std::fs::write(&path, bytes).map_err(|error| Failure::unwritable(path.display(), &error))?;
        Ok(SourceFile { path, is_temporary: true })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SourceFile {
    fn drop(&mut self) {
        if self.is_temporary {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn find(
    args: &Args,
    subjects: &[Subject],
    widest: &Subject,
    argument: &str,
    setting: &Setting,
    output: &Output,
) -> Result<Vec<Found>, Failure> {
    let signature = widest.module().signature_of(widest.function);
    let place = Place {
        arguments: &args.arguments,
        count: usize::from(signature.words_in) + usize::from(signature.refs_in),
        index: parameter(widest, argument)?,
    };
    let mut progress = Progress::new("searching", "runs", None, output);
    let narrow = subjects.iter().filter(|subject| subject.width != widest.width);
    narrow.map(|subject| search::search(subject, widest, &place, setting, || progress.advance(1))).collect()
}

fn show_rows(rows: &[Row], widest: Width) -> Result<Shown, Failure> {
    let mut table = vec![
        ["arch", "result", "agrees", "gas", "time", "min to max", "transfers", "memory", "code", "module"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let mut remarks = Vec::new();
    for row in rows {
        let Times { median, min, max, .. } = row.time;
        table.push(vec![
            row.arch.to_string(),
            row.result.clone(),
            if row.agrees { "yes" } else { "no" }.to_owned(),
            row.gas.to_string(),
            time(median),
            format!("{} to {}", time(min), time(max)),
            row.transfers.to_string(),
            format!("{} KiB", row.memory_bytes >> 10),
            format!("{} B", row.code_bytes),
            format!("{} B", row.module_bytes),
        ]);
        if let Some(trap) = &row.trap {
            remarks.push(format!("{} bits: {trap}", row.arch));
        }
        if row.agrees {
            continue;
        }
        let Some(parting) = &row.parting else {
            remarks.push(format!(
                "{} bits: no value that differs was seen where control is transferred, only the result",
                row.arch
            ));
            continue;
        };
        let place = match parting.line {
            0 => format!("in `{}`", parting.function),
            line => format!("in `{}` before line {line}", parting.function),
        };
        remarks.push(match (&parting.here, &parting.widest) {
            (Some(here), Some(there)) => format!(
                "{} bits part {place}: {} is {here}, and {there} at {} bits",
                row.arch,
                parting.what,
                widest.bits()
            ),
            _ => format!("{} bits part {place}: {}", row.arch, parting.what),
        });
    }
    Ok(Shown { table, remarks, plot: Some(plot::bars(rows)?) })
}

fn show_sweep(range: &Range, points: &[Point]) -> Result<Shown, Failure> {
    let mut head = vec![range.argument.clone()];
    for cell in points.first().map_or(&[][..], |point| &point.cells) {
        for what in ["result", "gas", "time"] {
            head.push(format!("{what} {}", cell.arch));
        }
    }
    let mut table = vec![head];
    for point in points {
        let mut row = vec![point.value.clone()];
        for cell in &point.cells {
            row.extend([cell.result.clone(), cell.gas.to_string(), time(cell.seconds)]);
        }
        table.push(row);
    }
    Ok(Shown { table, remarks: Vec::new(), plot: Some(plot::curves(&range.argument, points)?) })
}

fn show_search(found: &[Found], widest: &Subject) -> Shown {
    let head = ["arch", "differs from", "result", "widest", "alike at", "remark"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for found in found {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let remark = match (&found.argument, found.stopped) {
            (Some(_), _) if found.is_least => "every smaller argument was tried",
            (Some(_), _) => "smaller arguments were sampled",
            (None, Some(stopped)) => stopped,
            (None, None) => "",
        };
        table.push(vec![
            found.arch.to_string(),
            or_dash(&found.argument),
            or_dash(&found.here),
            or_dash(&found.widest),
            or_dash(&found.alike_at),
            remark.to_owned(),
        ]);
    }
    let remarks = vec![format!("compared with {} bits", widest.width.bits())];
    Shown { table, remarks, plot: None }
}

fn write_files(args: &Args, title: &str, shown: &Shown) -> Result<(), Failure> {
    let Some(plot) = &shown.plot else { return Ok(()) };
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).map_err(|error| Failure::unwritable(path.display(), &error))
    };
    if let Some(path) = &args.svg {
        write(path, plot)?;
    }
    if let Some(path) = &args.html {
        write(path, &plot::page(title, &shown.remarks, &shown.table, std::slice::from_ref(plot)))?;
    }
    Ok(())
}

fn csv(table: &[Vec<String>]) -> Result<Vec<u8>, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in table {
        writer.write_record(row).map_err(|error| Failure::unwritable("CSV", &error.into()))?;
    }
    writer.into_inner().map_err(|error| Failure::unwritable("CSV", &error.into_error()))
}

/// A time with its unit.
fn time(seconds: f64) -> String {
    match seconds {
        1.0.. => format!("{seconds:.2} s"),
        1e-3.. => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{:.1} us", seconds * 1e6),
    }
}
