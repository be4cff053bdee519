//! What the figures depend on: processor, compiler, versions, file system.

use std::fs;
use std::path::Path;

use serde::Serialize;

/// The lock file that the suite was built with.
const LOCK: &str = include_str!("../../Cargo.lock");

/// The crates whose versions belong to the figures.
const CRATES: [&str; 10] =
    ["dotvm-engine", "wasmi", "revm", "revm-interpreter", "ruint", "sha3", "redb", "sled", "rocksdb", "jmt"];

/// Where and with what the figures were taken.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// Processors that the suite may use.
    pub cores: usize,
    /// Operating system, kernel release and processor family.
    pub system: String,
    /// Compiler that built the suite.
    pub rustc: &'static str,
    /// Build settings that matter.
    pub build: &'static str,
    /// Names and versions of crates, and of SQLite.
    pub versions: Vec<(String, String)>,
    /// Kind of the file system on which durable stores keep their files.
    pub store_file_system: String,
}

impl Machine {
    /// Describes this machine; what it does not tell is "unknown".
    pub fn detect(store_directory: &Path) -> Self {
        let unknown = || "unknown".to_owned();
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown);
        let release = read("/proc/sys/kernel/osrelease");
        let system = format!("{} {} {}", std::env::consts::OS, release.trim(), std::env::consts::ARCH);
        let directory = store_directory.canonicalize().unwrap_or_else(|_| store_directory.to_path_buf());
        let mut versions: Vec<(String, String)> = CRATES
            .iter()
            .filter_map(|name| {
                Some(((*name).to_owned(), locked_version(LOCK, env!("CARGO_PKG_NAME"), name)?))
            })
            .collect();
        versions.push(("SQLite".to_owned(), rusqlite::version().to_owned()));
        Self {
            cpu,
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            system,
            rustc: env!("DOTVM_BENCHES_RUSTC"),
            build: if cfg!(debug_assertions) { "unoptimised" } else { "release, no target-cpu flags" },
            versions,
            store_file_system: file_system(&read("/proc/mounts"), &directory).unwrap_or_else(unknown),
        }
    }
}

/// The value of the first `name : value` line.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

/// The version of package `name` that a Cargo lock file gives to package `user`, or the only one there is.
fn locked_version(lock: &str, user: &str, name: &str) -> Option<String> {
    let mut packages = lock.split("[[package]]\n");
    // Where there are several versions, the users' dependency lists say which: "name version".
    let (of_user, of_several) = (format!("name = \"{user}\"\n"), format!(" \"{name} "));
    let chosen = packages.clone().find(|package| package.starts_with(&of_user)).and_then(|package| {
        let line = package.lines().find_map(|line| line.strip_prefix(&of_several))?;
        Some(line.trim_end_matches(',').trim_end_matches('"').to_owned())
    });
    chosen.or_else(|| {
        let version = packages.find_map(|package| package.strip_prefix(&format!("name = \"{name}\"\n")))?;
        Some(version.lines().next()?.strip_prefix("version = \"")?.strip_suffix('"')?.to_owned())
    })
}

/// The type of the mount that holds `path`: the longest mount point that leads to it, the last of equals.
fn file_system(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (point, kind) = (words.nth(1)?, words.next()?);
            path.starts_with(point).then_some((point.len(), kind))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = concat!(
            "version = 4\n\n[[package]]\nname = \"ab\"\nversion = \"1.2.3\"\n\n",
            "[[package]]\nname = \"b\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"b\"\nversion = \"2.0.0\"\n\n",
            "[[package]]\nname = \"us\"\nversion = \"0.1.0\"\ndependencies = [\n \"ab\",\n \"b 2.0.0\",\n]\n",
        );
        let version = |name| locked_version(lock, "us", name);
        assert_eq!(version("ab").as_deref(), Some("1.2.3"));
        assert_eq!(version("b").as_deref(), Some("2.0.0"));
        assert_eq!(version("a"), None);
        for name in CRATES {
            assert!(locked_version(LOCK, env!("CARGO_PKG_NAME"), name).is_some(), "{name}");
        }
    }

    #[test]
    fn the_longest_mount_point_wins() {
        let mounts = "overlay / overlay rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/sda /tmp/a ext4 rw 0 0\n";
        let kind = |path: &str| file_system(mounts, Path::new(path));
        assert_eq!(kind("/home").as_deref(), Some("overlay"));
        assert_eq!(kind("/tmp/ab").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/tmp/a/b").as_deref(), Some("ext4"));
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        assert_eq!(
            field("model\t: 1\nmodel name\t: Fast: 3 GHz\n", "model name").as_deref(),
            Some("Fast: 3 GHz")
        );
        assert_eq!(field("", "model name"), None);
    }
}
