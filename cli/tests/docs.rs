//! The documents made from the program are those that are committed. `DOTVM_BLESS=1` writes them.

use std::path::Path;

fn check(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("DOTVM_BLESS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    let different = found.lines().zip(wanted.lines()).position(|(found, wanted)| found != wanted);
    assert!(
        found == wanted,
        "docs/{name} is out of date (from line {} on): DOTVM_BLESS=1 cargo test -p dotvm-cli --test docs",
        different.unwrap_or(found.lines().count().min(wanted.lines().count())) + 1
    );
}

#[test]
fn opcodes_are_up_to_date() {
    check("opcodes.md", &dotvm_cli::commands::isa::markdown());
}

#[test]
fn the_audit_log_is_described_as_it_is() {
    check("audit.md", &dotvm_cli::audit::markdown());
}

#[test]
fn the_command_line_reference_is_up_to_date() {
    check("cli.md", &dotvm_cli::docs::cli_markdown());
}
