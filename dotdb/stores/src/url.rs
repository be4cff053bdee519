//! `mem:`, `redb:PATH`, `rocksdb:PATH`, `sled:PATH`, or a path alone.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use dotdb_store::{StoreError, directory};

/// A kind of store on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// One file, pure Rust; the default.
    Redb,
    /// A directory; a build feature.
    Rocksdb,
    /// A directory; a build feature that is on by default.
    Sled,
}

impl Backend {
    /// Every backend.
    pub const ALL: [Backend; 3] = [Backend::Redb, Backend::Rocksdb, Backend::Sled];

    /// The scheme of its URLs.
    pub fn scheme(self) -> &'static str {
        match self {
            Backend::Redb => "redb",
            Backend::Rocksdb => "rocksdb",
            Backend::Sled => "sled",
        }
    }
}

/// The name of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// `mem:`: in memory, thrown away when the process ends.
    Memory,
    /// `redb:PATH` and the like.
    Disk(Backend, PathBuf),
    /// A path alone: whatever store is there, or redb for a new one.
    Path(PathBuf),
}

/// Why a text is no [`StoreUrl`]: one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlError(String);

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UrlError {}

impl FromStr for StoreUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<StoreUrl, UrlError> {
        if text.is_empty() {
            return Err(UrlError("the path of the store is empty".into()));
        }
        let Some((scheme, rest)) = text.split_once(':') else { return Ok(StoreUrl::Path(text.into())) };
        if let Some(backend) = Backend::ALL.into_iter().find(|backend| backend.scheme() == scheme) {
            return match rest {
                "" => Err(UrlError(format!("`{scheme}:` needs the path of the store"))),
                path => Ok(StoreUrl::Disk(backend, path.into())),
            };
        }
        match (scheme, rest) {
            ("mem", "") => Ok(StoreUrl::Memory),
            ("mem", _) => Err(UrlError("`mem:` takes no path".into())),
            // One letter is a drive; anything else that is no word is part of a path.
            _ if scheme.len() > 1 && scheme.chars().all(|c| c.is_ascii_lowercase()) => {
                Err(UrlError(format!(
                    "there is no kind of store `{scheme}:`, only mem:, redb:PATH, rocksdb:PATH and sled:PATH \
                 (a path is ./{text})"
                )))
            }
            _ => Ok(StoreUrl::Path(text.into())),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::Memory => f.write_str("mem:"),
            StoreUrl::Disk(backend, path) => write!(f, "{}:{}", backend.scheme(), path.display()),
            StoreUrl::Path(path) => path.display().fmt(f),
        }
    }
}

impl StoreUrl {
    /// Where the store is, unless it is in memory.
    pub fn path(&self) -> Option<&Path> {
        match self {
            StoreUrl::Memory => None,
            StoreUrl::Disk(_, path) | StoreUrl::Path(path) => Some(path),
        }
    }
}

/// The backend of the store at `path`, or `None` if nothing is there or only an empty directory. A file is
/// taken for redb's, which looks closer when it opens it.
///
/// # Errors
/// [`StoreError::NotADatabase`] for a directory that is no store; [`StoreError::Io`].
pub fn detect(path: &Path) -> Result<Option<Backend>, StoreError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::from_io("opening", path, source)),
    };
    if !metadata.is_dir() {
        return Ok(Some(Backend::Redb));
    }
    match directory::read_marker(path) {
        Ok((name, _)) => match Backend::ALL.into_iter().find(|backend| backend.scheme() == name) {
            Some(backend) => Ok(Some(backend)),
            None => Err(StoreError::NotADatabase {
                path: path.to_owned(),
                detail: format!("its backend {name} is unknown"),
            }),
        },
        Err(error @ StoreError::NotADatabase { .. }) => {
            let mut entries =
                fs::read_dir(path).map_err(|source| StoreError::from_io("reading", path, source))?;
            if entries.next().is_none() { Ok(None) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_stores() {
        let parse = |text: &str| text.parse::<StoreUrl>();
        let path = |path: &str| Ok(StoreUrl::Path(path.into()));
        assert_eq!(parse("state.db"), path("state.db"));
        assert_eq!(parse("C:\\state.db"), path("C:\\state.db"));
        assert_eq!(parse("./a:b"), path("./a:b"));
        assert_eq!(parse("./redb:b"), path("./redb:b"));
        assert_eq!(parse("mem:"), Ok(StoreUrl::Memory));
        for backend in Backend::ALL {
            let text = format!("{}:a/b:c", backend.scheme());
            let url = parse(&text);
            assert_eq!(url, Ok(StoreUrl::Disk(backend, "a/b:c".into())));
            assert_eq!(url.unwrap().to_string(), text);
        }
        assert_eq!(parse("redb:mem:"), Ok(StoreUrl::Disk(Backend::Redb, "mem:".into())));
        let message = |text| parse(text).unwrap_err().to_string();
        assert_eq!(message(""), "the path of the store is empty");
        assert_eq!(message("sled:"), "`sled:` needs the path of the store");
        assert_eq!(message("mem:x"), "`mem:` takes no path");
        assert_eq!(
            message("fjall:x"),
            "there is no kind of store `fjall:`, only mem:, redb:PATH, rocksdb:PATH and sled:PATH (a path is \
             ./fjall:x)"
        );
    }
}
