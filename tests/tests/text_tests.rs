//! Runs every file under `text/` and holds the opcode table to what they cover.

use std::path::{Path, PathBuf};

use dotvm_arch::Width;
use dotvm_core::opcode::{OPS, Op, Prefix};
use dotvm_core::trap::TrapKind;
use dotvm_tests::text_test::{Coverage, Report, run_file};

/// Every `.dasm` file under a folder, in order.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "dasm") {
            found.push(path);
        }
    }
}

/// Everything is run once; the coverage is that of all files together.
#[test]
fn text_tests_hold_and_cover_the_opcode_table() {
    let mut paths = Vec::new();
    files(Path::new("text"), &mut paths);
    let mut report = Report::default();
    for path in &paths {
        run_file(path, &mut report);
    }
    let mut failures = report.failures;
    failures.extend(not_covered(&report.coverage));
    assert!(
        failures.is_empty(),
        "{} of {} runs in {} files, or gaps:\n{}",
        failures.len(),
        report.runs,
        paths.len(),
        failures.join("\n")
    );
    println!("{} runs in {} files", report.runs, paths.len());
}

/// Widths at which an operation exists.
fn widths_of(op: Op) -> Vec<Width> {
    let narrowest = match op {
        Op::Load64 | Op::Store64 => Width::W64,
        // The shortest digest has 256 bits.
        Op::Hashw | Op::Hashm => Width::W256,
        _ => Width::W32,
    };
    Width::ALL.into_iter().filter(|&width| width >= narrowest).collect()
}

/// Traps of the table that no program can raise here.
fn is_out_of_reach(op: Op, trap: TrapKind) -> bool {
    match trap {
        // The store would have to fail.
        TrapKind::Db => matches!(
            op,
            Op::Sload
                | Op::Sstore
                | Op::Sdelete
                | Op::Sexists
                | Op::TxBegin
                | Op::TxCommit
                | Op::DbCount
                | Op::DbNext
                | Op::StateRoot
                | Op::Sys
                | Op::StateProve
        ),
        // 2^32 documents.
        TrapKind::Overflow => op == Op::DbCount,
        // There would have to be functions of formulas: `nock.rs` has them.
        TrapKind::Depth | TrapKind::Stack => matches!(op, Op::Nock | Op::Tnock),
        _ => false,
    }
}

/// Rows of the table that lack a test, a sentence each.
fn not_covered(coverage: &Coverage) -> Vec<String> {
    let mut gaps = Vec::new();
    for info in OPS {
        let executed = coverage.executed.get(&info.op);
        for width in widths_of(info.op) {
            if !executed.is_some_and(|widths| widths.contains(&width)) {
                gaps.push(format!("{} is not executed at {width} bits", info.mnemonic));
            }
        }
        for &trap in info.traps {
            if !coverage.traps.contains(&(info.op, trap)) && !is_out_of_reach(info.op, trap) {
                gaps.push(format!("no test raises {trap} at {}", info.mnemonic));
            }
        }
        let prefixed =
            Prefix::ALL.into_iter().any(|prefix| coverage.prefixed.contains(&(info.op, prefix.bits())));
        if info.prefixable && !prefixed {
            gaps.push(format!("{} is not executed behind a width prefix", info.mnemonic));
        }
    }
    for prefix in Prefix::ALL {
        if !coverage.prefixed.iter().any(|&(_, bits)| bits == prefix.bits()) {
            gaps.push(format!("no test uses the prefix {}", prefix.mnemonic()));
        }
    }
    gaps
}
