//! The structure that docs/architecture.md promises: which crate may know which, and where `unsafe` stands.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// For each of our crates those of ours that it may depend on (tests and benchmarks may know all).
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("dotvm-arch", &[]),
    ("dotvm-crypto", &[]),
    ("dotvm-simd", &["dotvm-arch"]),
    ("dotvm-codec", &[]),
    ("dotvm-core", &["dotvm-arch", "dotvm-crypto"]),
    ("dotvm-heap", &["dotvm-codec", "dotvm-core"]),
    // Documents are values of both the machine and the database: the crate is pure and knows no store.
    (
        "dotvm-engine",
        &["dotvm-arch", "dotvm-codec", "dotvm-core", "dotvm-heap", "dotvm-simd", "dotdb-document"],
    ),
    ("dotvm-reference", &["dotvm-arch", "dotvm-core", "dotdb-document"]),
    ("dotvm-runtime", &["dotvm-arch", "dotvm-codec", "dotvm-core", "dotvm-engine", "dotvm-heap", "dotdb"]),
    ("dotdb-commitment", &["dotdb-store"]),
    ("dotdb-document", &[]),
    ("dotdb-query", &["dotdb-document"]),
    ("dotdb-store", &[]),
    ("dotdb-memory", &["dotdb-store"]),
    ("dotdb-redb", &["dotdb-store"]),
    ("dotdb-rocksdb", &["dotdb-store"]),
    ("dotdb-sled", &["dotdb-store"]),
    ("dotdb-stores", &["dotdb-store", "dotdb-memory", "dotdb-redb", "dotdb-rocksdb", "dotdb-sled"]),
    ("dotdb", &["dotvm-codec", "dotdb-commitment", "dotdb-document", "dotdb-query", "dotdb-store"]),
    ("dotvm-frontend", &["dotvm-core"]),
    ("dotvm-nvm", &["dotvm-arch", "dotvm-core", "dotvm-frontend"]),
    ("dotvm-nvm-oracle", &[]),
    ("dotvm-pvm", &["dotvm-arch", "dotvm-core", "dotvm-frontend"]),
    ("dotvm-pvm-oracle", &[]),
    // The heap is a room of the core: nouns are what it holds, and the compiler keeps those that it has seen there.
    ("dotvm-nock", &["dotvm-arch", "dotvm-core", "dotvm-heap"]),
    (
        "dotvm-nock-machine",
        &["dotvm-core", "dotvm-crypto", "dotvm-engine", "dotvm-frontend", "dotvm-heap", "dotvm-nock"],
    ),
    // State: the room where Nock and the database meet.
    ("dotvm-nock-kernel", &["dotvm-core", "dotdb", "dotvm-nock-machine"]),
    ("dotvm-nock-oracle", &[]),
    ("dotvm-test-modes", &[]),
    ("dotvm-rvm", &["dotvm-arch", "dotvm-core", "dotvm-frontend"]),
    ("dotvm-rvm-oracle", &[]),
    ("dotvm-transpiler", &["dotvm-core", "dotvm-frontend", "dotvm-nvm", "dotvm-pvm", "dotvm-rvm"]),
    ("dotvm-asm", &["dotvm-arch", "dotvm-core", "dotdb-document", "dotdb-query"]),
];

/// The composition roots: they name concrete stores, frontends and widths.
const KNOW_ALL: &[&str] = &["dotvm-cli", "dotvm-tests", "dotvm-benches"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

#[test]
fn dependencies_point_one_way() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let may_know: BTreeMap<&str, &[&str]> = MAY_KNOW.iter().copied().collect();
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert_eq!(packages.len(), MAY_KNOW.len() + KNOW_ALL.len(), "a crate is missing from this test");
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        if KNOW_ALL.contains(&name) {
            continue;
        }
        let allowed = may_know.get(name).unwrap_or_else(|| panic!("{name} is missing from this test"));
        for dependency in package["dependencies"].as_array().expect("a list of dependencies") {
            let on = dependency["name"].as_str().expect("a name");
            let is_ours = on.starts_with("dotvm") || on.starts_with("dotdb");
            if is_ours && dependency["kind"].is_null() {
                assert!(allowed.contains(&on), "{name} must not depend on {on}");
            }
        }
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                rust_files(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_stands_in_few_files() {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    assert!(files.len() > 100, "only {} source files found", files.len());
    let word = ["un", "safe "].concat();
    let mut holders: Vec<String> = files
        .iter()
        .filter(|path| {
            let text = fs::read_to_string(path).expect("source is text");
            text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
                code.contains(&format!("{word}{{"))
                    || code.contains(&format!("{word}fn"))
                    || code.contains(&format!("{word}impl"))
            })
        })
        .map(|path| path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned())
        .collect();
    holders.sort();
    let allowed = [
        // The dispatch loop's access to slots; debug builds check what it assumes.
        "dotvm-core/engine/src/registers.rs",
        // Loops written by hand, to measure against.
        "simd/benches/kernels.rs",
        // What is written for vector instructions: loads and stores of arrays of the right size, and calls where the
        // instructions were found on this machine.
        "simd/src/kernels/x86.rs",
        // Calls of what was compiled for vector instructions that were found.
        "simd/src/level.rs",
    ];
    assert_eq!(holders, allowed);
}

#[test]
fn a_file_has_one_subject() {
    let mut files = Vec::new();
    rust_files(&root(), &mut files);
    for path in files {
        let lines = fs::read_to_string(&path).expect("source is text").lines().count();
        assert!(lines <= 1_200, "{} has {lines} lines: it is two files", path.display());
    }
}
