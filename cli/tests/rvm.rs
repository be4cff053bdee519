//! `dotvm rvm` on the command line.

mod common;

use common::Place;

const OS: &str = include_str!("../../tests/conformance/rvm-more/os.ras");

/// Leaves with what the program gives [os]exit; prints its arguments.
fn place() -> Place {
    let place = Place::new();
    place.write("os.ras", OS);
    place.write("wrong.ras", "push 1\n    fly 3\npush 2\n");
    place.write("unlinked.ras", "call nowhere\n");
    place.write("zero.ras", "push 1\npush 0\ndiv\n");
    place
}

#[test]
fn a_program_says_how_it_ends() {
    let place = place();
    let run = place.run(&["rvm", "run", "os.ras", "one", "two"]);
    assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (42, "2\ntwo\nnull\n", ""));
    // An error of the machine: what was stopped, and where.
    let run = place.run(&["rvm", "run", "zero.ras"]);
    assert_ne!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.starts_with(&format!("rvm: error {}, ", run.code)), "{}", run.stderr);
    assert!(run.stderr.contains("record 2"), "{}", run.stderr);
    let run = place.run(&["rvm", "run", "os.ras", "--budget", "1"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
}

#[test]
fn what_is_built_runs_alike() {
    let place = place();
    place.ok(&["rvm", "build", "os.ras"]);
    place.ok(&["rvm", "build", "os.ras", "again.rvm"]);
    let bytes = place.read("os.rvm");
    assert_eq!(bytes, place.read("again.rvm"));
    assert!(!bytes.is_empty() && bytes != OS.as_bytes());
    let run = place.run(&["rvm", "run", "again.rvm", "one", "two"]);
    assert_eq!((run.code, run.stdout.as_str()), (42, "2\ntwo\nnull\n"));
    place.fails(2, &["rvm", "build", "os.rvm"], &["would replace their source"]);
    assert_eq!(place.read("os.rvm"), bytes);
}

#[test]
fn errors_show_line_column_and_caret() {
    let place = place();
    assert_eq!(place.ok(&["rvm", "check", "os.ras"]), "");
    for command in ["check", "run", "build"] {
        let run = place.run(&["rvm", command, "wrong.ras"]);
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{command}: {}", run.stderr);
        let lines: Vec<&str> = run.stderr.lines().collect();
        assert!(run.stderr.starts_with("error: wrong.ras is refused: "), "{}", run.stderr);
        assert!(run.stderr.contains("line 2, column 5: "), "{}", run.stderr);
        let shown = lines.iter().position(|line| line.contains("fly 3")).expect("the line is shown");
        assert_eq!(lines[shown + 1].find('^'), lines[shown].find("fly"), "{}", run.stderr);
    }
    // Nothing is linked by building: only what runs, or is checked, must know all names.
    place.ok(&["rvm", "build", "unlinked.ras"]);
    for command in ["check", "run"] {
        let run = place.run(&["rvm", command, "unlinked.ras"]);
        assert_eq!(run.code, 3, "{command}: {}", run.stderr);
        assert!(run.stderr.contains("nowhere"), "{command}: {}", run.stderr);
    }
    place.fails(3, &["rvm", "check", "none.ras"], &["there is no file"]);
}
