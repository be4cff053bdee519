//! Running the binary, and what every run must hold to.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod line;

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dotdb::{Direction, Store};
use dotdb_redb::RedbStore;
use serde_json::Value;
use tempfile::TempDir;

/// A contract with something for every command.
pub const BANK: &str = r#"
.module bank
.arch any
.cap db.read db.write tx
.collection notes bytes
.collection people doc
.const alice doc {"name": "Alice", "age": 30}
.entry hello

.func pub hello -> {greeting}
  RCONST "hello" RET
.end

.func pub add [amount] -> [sum]
  .local sum
  PUSH 0 SLOAD LGET amount ADD LTEE sum
  LGET amount LT
  .if
    PUSH 1 RCONST "overflow" THROW
  .end_if
  PUSH 0 LGET sum SSTORE
  PUSH 7 LGET sum RCONST "added" EMIT 2
  LGET sum RET
.end

.func pub write_then_trap
  PUSH 0 PUSH 99 SSTORE
  PUSH 1 PUSH 0 DIV POP
  RET
.end

.func pub write_then_halt [code]{result}
  PUSH 0 PUSH 99 SSTORE
  LGET code RLGET result HALT
.end

.func pub write_then_spin
  PUSH 0 PUSH 99 SSTORE
again:
  JMP again
.end

.func pub commit_then_trap
  PUSH 5 PUSH 55 SSTORE
  TX_COMMIT POP
  TX_BEGIN 0
  PUSH 5 PUSH 66 SSTORE
  TRAP
.end

.func pub note {key text} -> [replaced]
  RLGET key RLGET text DB_PUT notes
  RET
.end

.func pub read {key} -> [found]{text}
  RLGET key DB_GET notes RET
.end

.func pub enrol {id}
  RLGET id RCONST alice DB_PUT people POP RET
.end

.func pub echo [a b]{x} -> [a b]{x}
  LGET a LGET b RLGET x RET
.end

.func pub words_of_env -> [caller value height time chain arch]
  ENV caller ENV value ENV height ENV time ENV chain ENV arch RET
.end

.func pub refs_of_env -> {contract input seed}
  ENV contract ENV input ENV seed RET
.end

.func pub deeper
  CALL deeper RET
.end
"#;

/// A directory with the contract in it, and the program to run there.
pub struct Place {
    directory: TempDir,
}

/// How a run ended.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Place {
        let place = Place { directory: tempfile::tempdir().unwrap() };
        std::fs::write(place.path("bank.dasm"), BANK).unwrap();
        place
    }

    /// One with `bank` deployed in `state.db`, at 64 bits.
    pub fn deployed() -> Place {
        let place = Place::new();
        place.ok(&["deploy", "bank.dasm", "--db", "state.db"]);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), contents).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dotvm"));
        command.args(args).current_dir(self.directory.path());
        command.env_remove("RUST_BACKTRACE").env_remove("CLICOLOR_FORCE").stdin(Stdio::null());
        command
    }

    /// Runs it and checks what always holds.
    pub fn run(&self, args: &[&str]) -> Run {
        let output = self.command(args).output().unwrap();
        let run = Run {
            code: output.status.code().expect("no signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        for sign in ["panicked", "bug in dotvm", "RUST_BACKTRACE"] {
            assert!(!run.stderr.contains(sign), "{args:?}: {}", run.stderr);
        }
        assert!(!run.stderr.contains('\x1b') && !run.stdout.contains('\x1b'), "colour in a pipe");
        run
    }

    /// Standard output of a run that must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?}: {}", run.stderr);
        run.stdout
    }

    /// The one object of a run with `--json`.
    pub fn json(&self, code: i32, args: &[&str]) -> Value {
        let run = self.run(args);
        assert_eq!(run.code, code, "{args:?}: {}{}", run.stdout, run.stderr);
        assert_eq!(run.stderr, "", "{args:?}");
        assert_eq!(run.stdout.lines().count(), 1, "{args:?}");
        serde_json::from_str(&run.stdout).unwrap()
    }

    /// Runs what must fail with this exit code and one sentence that has these words in it.
    pub fn fails(&self, code: i32, args: &[&str], words: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.code, code, "{args:?}: {}{}", run.stdout, run.stderr);
        assert_eq!(run.stdout, "", "{args:?}");
        assert!(run.stderr.starts_with("error: "), "{args:?}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{args:?}: {}", run.stderr);
        for word in words {
            assert!(run.stderr.contains(word), "{args:?}: {word:?} is not in {}", run.stderr);
        }
        run.stderr
    }

    /// Everything a store holds.
    pub fn contents(&self, store: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        contents(&self.path(store))
    }
}

pub fn contents(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let store = RedbStore::open(path).unwrap();
    let snapshot = store.snapshot().unwrap();
    let pairs = snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward).unwrap();
    pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}
