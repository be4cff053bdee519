//! What a translation did, for people who want to know why it is as fast as it is.

use std::fmt;

/// How a part of a program is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Code of its own, because analysis proved enough.
    Direct,
    /// The general scheme, which does everything as the reference says, step by step.
    General,
}

/// A part of the source program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Byte address, or line of source text, where it starts.
    pub at: u64,
    /// Byte address, or line, behind it.
    pub end: u64,
    /// How it is carried out.
    pub scheme: Scheme,
    /// What was proved, or what kept it from being direct.
    pub why: String,
}

/// What was translated how, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What holds for the whole program, a sentence each.
    pub remarks: Vec<String>,
    /// Its parts in the order of the source, as far as they are listed.
    pub spans: Vec<Span>,
    /// Whether `at` counts lines of text; otherwise it counts bytes.
    pub in_lines: bool,
}

/// The longest list of spans that a frontend need give.
pub const MAX_SPANS: usize = 100_000;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for remark in &self.remarks {
            writeln!(f, "{remark}.")?;
        }
        for span in &self.spans {
            let scheme = match span.scheme {
                Scheme::Direct => "direct ",
                Scheme::General => "general",
            };
            if self.in_lines {
                writeln!(f, "line {:5}  {scheme}  {}", span.at, span.why)?;
            } else {
                writeln!(f, "{:05x}..{:05x}  {scheme}  {}", span.at, span.end, span.why)?;
            }
        }
        Ok(())
    }
}
