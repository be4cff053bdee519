//! The last resort: a panic is one sentence that asks for a report.

use std::process::Command;

/// Run by the test below in a process of its own.
#[test]
#[ignore = "panics"]
fn panicking_child() {
    dotvm_cli::install_panic_message();
    panic!("the impossible\nhappened");
}

#[test]
fn a_panic_asks_for_a_report() {
    let run = |backtrace: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "panicking_child", "--nocapture"])
            .env("RUST_BACKTRACE", backtrace)
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let text = run("0");
    assert!(text.contains("error: this is a bug in dotvm"), "{text}");
    assert!(text.contains("cli/tests/panic.rs:10") && text.contains("please report it"), "{text}");
    assert!(text.contains("the impossible") && !text.contains("happened"), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    assert!(run("1").lines().count() > text.lines().count() + 5);
}
