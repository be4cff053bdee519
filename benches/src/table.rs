//! The report as text for a terminal and as Markdown for the documentation.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::machine::Machine;
use crate::report::{Clock, Measured, Report, Row};

/// Everything between these two lines of the document is replaced.
const BEGIN: &str = "<!-- benchmarks:begin (written by dotvm-benches, do not edit) -->";
const END: &str = "<!-- benchmarks:end -->";

/// The document around the table, where there is none yet.
const NEW_DOCUMENT: &str = "\
# Benchmarks

DotVM and what one would use instead, on the same work, in one run. The contenders of a workload take
turns; each must return the same checksum, computed separately. Times are those of the working thread's
CPU clock, medians over the rounds, except for stores on disk, where waiting counts and wall time decides.
Translation, instantiation and set-up are not timed. DotVM and wasmi meter gas or fuel, revm meters gas.
revm runs the mainnet interpreter without an inspector on its in-memory database, with its assembler
keccak and fast hash maps; its programs are written by hand in EVM code, those of wasmi in WebAssembly text.
Ratios hold across machines better than times.

";

const HEADINGS: [&str; 8] =
    ["workload", "contender", "CPU ms", "CPU min to max", "wall ms", "ns per op", "x baseline", "verdict"];

/// The cells of one workload's rows.
fn cells(measured: &Measured) -> Vec<[String; 8]> {
    let row = |row: &Row| {
        let Row { cpu_nanos, wall_nanos, .. } = row;
        [
            measured.name.clone(),
            row.contender.clone(),
            millis(cpu_nanos.median),
            format!("{} to {}", millis(cpu_nanos.min), millis(cpu_nanos.max)),
            match measured.clock {
                Clock::ThreadCpu => millis(wall_nanos.median),
                Clock::Wall => format!(
                    "{} ({} to {})",
                    millis(wall_nanos.median),
                    millis(wall_nanos.min),
                    millis(wall_nanos.max)
                ),
            },
            significant(row.nanos_per_operation),
            significant(row.times_baseline),
            verdict(row, measured.baseline.as_deref()),
        ]
    };
    measured.rows.iter().map(row).collect()
}

/// Which of the two is faster, and by how much.
fn verdict(row: &Row, baseline: Option<&str>) -> String {
    if baseline == Some(row.contender.as_str()) {
        return "baseline".to_owned();
    }
    let ratio = row.times_baseline;
    let order = if ratio <= 1.0 {
        format!("{}x faster", significant(1.0 / ratio))
    } else {
        format!("{}x slower", significant(ratio))
    };
    if row.overlaps_baseline { order + ", spreads overlap" } else { order }
}

fn millis(nanos: f64) -> String {
    significant(nanos / 1e6)
}

/// Three digits or all before the point.
fn significant(value: f64) -> String {
    match value.abs() {
        magnitude if magnitude >= 99.95 => format!("{value:.0}"),
        magnitude if magnitude >= 9.995 => format!("{value:.1}"),
        magnitude if magnitude >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The machine, a line a fact.
fn machine_lines(machine: &Machine) -> Vec<String> {
    let versions: Vec<String> =
        machine.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    vec![
        format!("Processor: {}, {} cores", machine.cpu, machine.cores),
        format!("System: {}; durable stores on {}", machine.system, machine.store_file_system),
        format!("Compiler: {} ({})", machine.rustc, machine.build),
        format!("Versions: {}", versions.join(", ")),
    ]
}

/// The sentences below the table: what each workload is, DotVM's goals, its losses.
fn notes(report: &Report) -> Vec<(&'static str, Vec<String>)> {
    let workload = |measured: &Measured| {
        let Measured { name, summary, unit, rounds, .. } = measured;
        if measured.rows.is_empty() {
            return format!("{name}: {summary} - not measured, nobody takes part yet");
        }
        let clock = match measured.clock {
            Clock::ThreadCpu => "thread CPU time",
            Clock::Wall => "wall time",
        };
        format!("{name}: {summary}; op = one {unit}; {clock}, {rounds} rounds")
    };
    let goals = report.workloads.iter().flat_map(|measured| &measured.goals);
    vec![
        ("Workloads", report.workloads.iter().map(workload).collect()),
        (
            "Goals of DotVM",
            goals
                .map(|goal| format!("{}: {}", if goal.met { "met" } else { "MISSED" }, goal.sentence))
                .collect(),
        ),
        ("Losses of DotVM", report.workloads.iter().flat_map(|measured| measured.losses.clone()).collect()),
    ]
}

/// The report for a terminal.
pub fn text(report: &Report) -> String {
    let rows: Vec<[String; 8]> = report.workloads.iter().flat_map(cells).collect();
    let headings = HEADINGS.map(str::to_owned);
    let widths: [usize; 8] = std::array::from_fn(|column| {
        rows.iter().chain([&headings]).map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    let mut out = machine_lines(&report.machine).join("\n") + "\n\n";
    let mut previous = headings[0].clone();
    for row in [&headings].into_iter().chain(&rows) {
        if row[0] != previous {
            previous.clone_from(&row[0]);
            out.push('\n');
        }
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            let (left, right) = if matches!(column, 0 | 1 | 7) { (cell, &padding) } else { (&padding, cell) };
            line += &format!("{left}{right}  ");
        }
        out += line.trim_end();
        out.push('\n');
    }
    for (title, lines) in notes(report) {
        if !lines.is_empty() {
            let _ = write!(out, "\n{title}\n  {}\n", lines.join("\n  "));
        }
    }
    if report.quick {
        out += "\nReduced workloads: these figures only show that everything runs.\n";
    }
    out
}

/// The report in Markdown, between the two marker lines.
pub fn markdown(report: &Report) -> String {
    let mut out = format!("{BEGIN}\n\nRepeat with `{}`.\n\n", report.command);
    for line in machine_lines(&report.machine) {
        let _ = writeln!(out, "- {line}");
    }
    let _ = write!(out, "\n| {} |\n|---|---|--:|--:|--:|--:|--:|---|\n", HEADINGS.join(" | "));
    for row in report.workloads.iter().flat_map(cells) {
        let _ = writeln!(out, "| {} |", row.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    for (title, lines) in notes(report) {
        if !lines.is_empty() {
            let _ = write!(out, "\n## {title}\n\n- {}\n", lines.join("\n- "));
        }
    }
    let _ = write!(out, "\n{END}\n");
    out
}

/// Writes the report between the marker lines of the document at `path`, which is created if absent.
///
/// # Errors
/// A document that cannot be read or written, or that lacks the two markers in their order.
pub fn write_markdown(report: &Report, path: &Path) -> Result<()> {
    let place = || path.display().to_string();
    let document = match fs::read_to_string(path) {
        Ok(document) => document,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("{NEW_DOCUMENT}{BEGIN}\n{END}\n")
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", place())),
    };
    let document = splice(&document, &markdown(report)).with_context(place)?;
    fs::write(path, document).with_context(|| format!("cannot write {}", place()))
}

/// `document` with everything from the first marker to the second replaced by `section`.
fn splice(document: &str, section: &str) -> Result<String> {
    let (Some(begin), Some(end)) = (document.find(BEGIN), document.find(END)) else {
        bail!("the lines \"{BEGIN}\" and \"{END}\" are needed, between which the table goes");
    };
    if end < begin {
        bail!("the end marker stands before the begin marker");
    }
    let rest = document[end + END.len()..].trim_start_matches('\n');
    Ok([&document[..begin], section, rest].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Finding, Times};

    fn row(contender: &str, median: f64, times_baseline: f64, overlaps_baseline: bool) -> Row {
        let times = Times { median, min: median, max: median * 2.0 };
        Row {
            contender: contender.to_owned(),
            cpu_nanos: times,
            wall_nanos: times,
            nanos_per_operation: median / 10.0,
            times_baseline,
            overlaps_baseline,
        }
    }

    fn report() -> Report {
        Report {
            command: "cargo bench-it".to_owned(),
            quick: false,
            machine: Machine {
                cpu: "Fast".to_owned(),
                cores: 2,
                system: "linux".to_owned(),
                rustc: "rustc 1",
                build: "release",
                versions: vec![("a".to_owned(), "1.0.0".to_owned())],
                store_file_system: "ext4".to_owned(),
            },
            workloads: vec![Measured {
                name: "work".to_owned(),
                summary: "much".to_owned(),
                operations: 10,
                unit: "step".to_owned(),
                clock: Clock::ThreadCpu,
                rounds: 7,
                baseline: Some("rival".to_owned()),
                rows: vec![row("DotVM", 3e6, 1.5, true), row("rival", 2e6, 1.0, false)],
                goals: vec![Finding { met: false, sentence: "too slow".to_owned() }],
                losses: vec!["work: DotVM loses".to_owned()],
            }],
        }
    }

    #[test]
    fn both_forms_show_figures_losses_and_goals() {
        let report = report();
        let (text, markdown) = (text(&report), markdown(&report));
        assert!(markdown.contains(
            "| work | DotVM | 3.00 | 3.00 to 6.00 | 3.00 | 300000 | 1.50 | 1.50x slower, spreads overlap |"
        ));
        for expected in ["rival", "baseline", "MISSED: too slow", "work: DotVM loses", "7 rounds", "a 1.0.0"]
        {
            assert!(text.contains(expected), "{text}");
            assert!(markdown.contains(expected), "{markdown}");
        }
        assert!(markdown.contains("`cargo bench-it`"));
    }

    #[test]
    fn a_document_is_created_then_only_its_section_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("benchmarks.md");
        let mut report = report();
        write_markdown(&report, &path).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        assert!(first.starts_with("# Benchmarks\n"));

        fs::write(&path, format!("{first}\nKept.\n")).unwrap();
        report.workloads[0].summary = "little".to_owned();
        for _ in 0..2 {
            write_markdown(&report, &path).unwrap();
            let second = fs::read_to_string(&path).unwrap();
            assert_eq!(second, format!("{}Kept.\n", first.replace("much", "little")));
        }
    }

    #[test]
    fn a_document_without_markers_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.md");
        fs::write(&path, "# Other\n").unwrap();
        let message = format!("{:#}", write_markdown(&report(), &path).unwrap_err());
        assert!(message.contains("are needed"), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "# Other\n");
        assert!(splice(&format!("{END}\n{BEGIN}\n"), "").is_err());
    }

    #[test]
    fn three_digits() {
        let digits = [0.01234, 0.9999, 1.5, 9.999, 10.04, 99.99, 12345.6].map(significant);
        assert_eq!(digits, ["0.012", "1.00", "1.50", "10.0", "10.0", "100", "12346"]);
    }
}
