//! What a frontend is given.

use std::path::Path;

/// Files beside the program: libraries that it names.
pub trait Neighbours {
    /// The contents of a file with this name, or `None` if there is none. The name is relative to the program's folder.
    fn read(&self, name: &str) -> Option<Vec<u8>>;
}

/// Nothing lies beside the program.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNeighbours;

impl Neighbours for NoNeighbours {
    fn read(&self, _name: &str) -> Option<Vec<u8>> {
        None
    }
}

/// A program's file.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The file's name, for messages, the debug section and to tell its kind.
    pub name: &'a str,
    /// Its contents.
    pub bytes: &'a [u8],
    /// What lies beside it.
    pub neighbours: &'a dyn Neighbours,
}

impl<'a> Source<'a> {
    /// A file with nothing beside it.
    pub fn new(name: &'a str, bytes: &'a [u8]) -> Source<'a> {
        Source { name, bytes, neighbours: &NoNeighbours }
    }

    /// The end of the file's name, without the point.
    pub fn extension(&self) -> Option<&'a str> {
        Path::new(self.name).extension()?.to_str()
    }

    /// The file's name without its folder, no longer than a name in a module may be.
    pub fn file_name(&self) -> &'a str {
        let name = Path::new(self.name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        &name[..name.floor_char_boundary(dotvm_core::limits::module::NAME_BYTES)]
    }

    /// The name of a module that is given none: the file's name without its end.
    pub fn module_name(&self) -> &'a str {
        match Path::new(self.file_name()).file_stem().and_then(|stem| stem.to_str()) {
            Some(stem) if !stem.is_empty() => stem,
            _ => "module",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_path() {
        let source = Source::new("folder/sort.pvm", &[]);
        assert_eq!(
            (source.extension(), source.file_name(), source.module_name()),
            (Some("pvm"), "sort.pvm", "sort")
        );
        assert_eq!(Source::new("", &[]).module_name(), "module");
    }
}
