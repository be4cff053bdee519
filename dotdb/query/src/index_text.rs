//! The text form of index specifications and of paths.

use std::iter::Peekable;
use std::str::Chars;

use crate::QueryError;
use crate::index::{IndexPath, IndexSpec};
use crate::path::{Path, Step};

struct Reader<'t> {
    chars: Peekable<Chars<'t>>,
    line: u64,
    column: u64,
}

/// A step, or "each element".
enum Part {
    Step(Step),
    Each,
}

/// Reads a path alone.
pub(crate) fn path(text: &str) -> Result<Path, QueryError> {
    let mut reader = Reader::new(text);
    let column = reader.column()?;
    if reader.peek().is_some() {
        return Err(reader.fail("the path should end here"));
    }
    match column {
        IndexPath::Value(path) => Ok(path),
        IndexPath::Elements { .. } => {
            Err(QueryError::Text { line: 1, column: 1, problem: "`[*]` stands only in indexes".to_owned() })
        }
    }
}

/// Reads an index specification.
pub(crate) fn spec(text: &str) -> Result<IndexSpec, QueryError> {
    let mut reader = Reader::new(text);
    let mut columns = vec![];
    let mut unique = false;
    let mut first = reader.column()?;
    // `unique` followed by another path is the mark; alone it is a field of that name.
    let word = |column: &IndexPath| {
        column.to_string().eq_ignore_ascii_case("unique") || column.to_string() == "\"unique\""
    };
    if word(&first) && text.trim_start().get(..6).is_some_and(|start| start.eq_ignore_ascii_case("unique")) {
        reader.space();
        if !matches!(reader.peek(), None | Some(',')) {
            unique = true;
            first = reader.column()?;
        }
    }
    columns.push(first);
    loop {
        reader.space();
        match reader.peek() {
            None => break,
            Some(',') => {
                reader.next();
                columns.push(reader.column()?);
            }
            Some(_) => return Err(reader.fail("expected a comma or the end")),
        }
    }
    IndexSpec::new(columns, unique)
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Reader<'t> {
        Reader { chars: text.chars().peekable(), line: 1, column: 1 }
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.chars.next()?;
        if next == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        Some(next)
    }

    fn space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.next();
        }
    }

    fn fail(&self, problem: &str) -> QueryError {
        QueryError::Text { line: self.line, column: self.column, problem: problem.to_owned() }
    }

    fn column(&mut self) -> Result<IndexPath, QueryError> {
        self.space();
        let mut steps = vec![Step::Field(self.name()?)];
        let mut array: Option<Vec<Step>> = None;
        loop {
            let (line, column) = (self.line, self.column);
            let part = match self.peek() {
                Some('.') => {
                    self.next();
                    Part::Step(Step::Field(self.name()?))
                }
                Some('[') => {
                    self.next();
                    self.bracket()?
                }
                _ => break,
            };
            match part {
                Part::Step(step) => steps.push(step),
                Part::Each if array.is_some() => {
                    return Err(QueryError::Text {
                        line,
                        column,
                        problem: "a second `[*]` in one path".to_owned(),
                    });
                }
                Part::Each => array = Some(std::mem::take(&mut steps)),
            }
        }
        Ok(match array {
            None => IndexPath::Value(Path::new(steps)?),
            Some(array) => IndexPath::Elements { array: Path::new(array)?, below: Path::new(steps)? },
        })
    }

    /// A name: letters, digits and `_`, or anything in quotation marks, doubled inside.
    fn name(&mut self) -> Result<String, QueryError> {
        let mut name = String::new();
        if self.peek() == Some('"') {
            self.next();
            loop {
                match self.next() {
                    None => return Err(self.fail("the name's closing quotation mark is missing")),
                    Some('"') if self.peek() == Some('"') => {
                        self.next();
                        name.push('"');
                    }
                    Some('"') => return Ok(name),
                    Some(c) => name.push(c),
                }
            }
        }
        if !self.peek().is_some_and(|c| c.is_alphabetic() || c == '_') {
            return Err(self.fail("expected a field's name"));
        }
        while let Some(c) = self.peek().filter(|&c| c.is_alphanumeric() || c == '_') {
            name.push(c);
            self.next();
        }
        Ok(name)
    }

    /// `0]` or `*]`.
    fn bracket(&mut self) -> Result<Part, QueryError> {
        let part = if self.peek() == Some('*') {
            self.next();
            Part::Each
        } else {
            let (line, column) = (self.line, self.column);
            let mut digits = String::new();
            while let Some(c) = self.peek().filter(char::is_ascii_digit) {
                digits.push(c);
                self.next();
            }
            let index = digits.parse().map_err(|_| QueryError::Text {
                line,
                column,
                problem: "expected an element's number, from 0, or `*`".to_owned(),
            })?;
            Part::Step(Step::Index(index))
        };
        if self.peek() != Some(']') {
            return Err(self.fail("expected `]`"));
        }
        self.next();
        Ok(part)
    }
}
