//! The names that operands can refer to, one scope for each kind of thing.

use std::collections::HashMap;

use crate::diagnostics::{Problem, nearest};
use crate::lexer::Span;
use crate::syntax::Decl;

/// Names of one kind.
pub(crate) struct Scope {
    /// What the names are names of, with its article.
    pub(crate) what: &'static str,
    /// How to declare one.
    declare_hint: &'static str,
    index: HashMap<String, u32>,
    /// In order of declaration, so that hints do not depend on the map.
    names: Vec<String>,
}

impl Scope {
    pub(crate) fn new(what: &'static str, declare_hint: &'static str) -> Scope {
        Scope { what, declare_hint, index: HashMap::new(), names: Vec::new() }
    }

    /// A scope with the names of a list, numbered from 0.
    pub(crate) fn of<'d>(
        what: &'static str,
        declare_hint: &'static str,
        decls: impl Iterator<Item = &'d Decl>,
        problems: &mut Vec<Problem>,
    ) -> Scope {
        let mut scope = Scope::new(what, declare_hint);
        for (index, decl) in decls.enumerate() {
            scope.declare(decl, index as u32, problems);
        }
        scope
    }

    /// Gives a name its number; a name that is taken is reported.
    pub(crate) fn declare(&mut self, decl: &Decl, number: u32, problems: &mut Vec<Problem>) {
        if !decl.in_scope {
            return;
        }
        if self.index.contains_key(&decl.name) {
            let message = format!("`{}` is already the name of {}", decl.name, self.what);
            problems.push(Problem::new(decl.span.clone(), message));
            return;
        }
        self.index.insert(decl.name.clone(), number);
        self.names.push(decl.name.clone());
    }

    /// The number of a name.
    pub(crate) fn get(&self, name: &str) -> Option<u32> {
        self.index.get(name).copied()
    }

    /// The error for a name that is not here; `others` are searched for a thing of another kind with that name.
    pub(crate) fn unknown<'s>(
        &self,
        name: &str,
        span: &Span,
        others: impl IntoIterator<Item = &'s Scope>,
    ) -> Problem {
        let problem = Problem::new(span.clone(), format!("`{name}` is not the name of {}", self.what));
        if let Some(other) = others.into_iter().find(|other| other.get(name).is_some()) {
            return problem.hint(format!("`{name}` is {}", other.what));
        }
        match nearest(name, self.names.iter().map(String::as_str)) {
            Some(hint) => problem.hint(hint),
            None => problem.hint(self.declare_hint),
        }
    }
}
