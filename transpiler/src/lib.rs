//! The registry of frontends, and the runner of conformance samples over them.
//!
//! What a frontend is, [`dotvm_frontend`] says; `docs/frontends.md` walks through a new one.

pub mod conformance;
mod run;

use dotvm_frontend::{Detection, Frontend, Source};

pub use dotvm_frontend as frontend;
pub use run::{Executor, Inputs, Ran};

/// All frontends: the only list there is.
pub const FRONTENDS: &[&dyn Frontend] = &[&dotvm_nvm::Nvm, &dotvm_pvm::Pvm, &dotvm_rvm::Rvm];

/// The frontend with this name.
pub fn by_name(name: &str) -> Option<&'static dyn Frontend> {
    FRONTENDS.iter().copied().find(|frontend| frontend.name() == name)
}

/// The frontend whose machine a file is a program of: one that recognises its contents, or else its name. `None` if no
/// one does, or several do and none with more right than the others.
pub fn detect(source: &Source<'_>) -> Option<&'static dyn Frontend> {
    let best = FRONTENDS.iter().map(|frontend| frontend.detect(source)).max()?;
    let mut found = FRONTENDS.iter().copied().filter(|frontend| frontend.detect(source) == best);
    match (best, found.next(), found.next()) {
        (Detection::No, _, _) => None,
        (_, Some(frontend), None) => Some(frontend),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lead_back() {
        for frontend in FRONTENDS {
            let found = by_name(frontend.name()).expect("it is in the list");
            assert_eq!(found.title(), frontend.title());
        }
        assert!(by_name("no such machine").is_none());
    }

    #[test]
    fn a_file_is_told_by_its_name() {
        let name =
            |source: &str| detect(&Source::new(source, b"\x20\x00\x05")).map(|frontend| frontend.name());
        assert_eq!(name("a/sort.pvm"), Some("pvm"));
        assert_eq!(name("sort.txt"), None);
        assert_eq!(name("-"), None);
    }
}
