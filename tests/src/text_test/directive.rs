//! The directives of text tests.

use std::time::Duration;

use bytes::Bytes;
use dotvm_arch::{W512, Width};
use dotvm_core::env::Env;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::Ref;
use dotvm_core::trap::TrapKind;

use super::value;
use crate::outside::Script;

/// Name of the contract that tests run as, unless they say otherwise.
const CONTRACT: &str = "text-test";
/// Gas of a run that states none.
const GAS: u64 = 10_000_000;

/// The directives of a file.
#[derive(Debug, Default)]
pub struct Directives {
    /// Widths at which the file runs; `None` = all five.
    pub widths: Option<Vec<Width>>,
    /// In the order of the file.
    pub steps: Vec<Directive>,
}

/// A directive with a line of its own.
#[derive(Debug)]
pub struct Directive {
    /// Line, from 1.
    pub line: usize,
    /// Widths it is for.
    pub widths: Vec<Width>,
    /// What it asks.
    pub body: Body,
}

/// What a directive asks.
#[derive(Debug)]
pub enum Body {
    /// Assembler or verifier refuse the file with a message that contains the text.
    Refused(String),
    /// A call and how it ends.
    Run {
        /// Whether the state is the one that the run before left.
        follows: bool,
        /// How it is to end.
        end: EndKind,
        /// What stands behind the colon.
        text: String,
    },
}

/// How a run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndKind {
    /// By RET.
    Return,
    /// By a trap.
    Trap,
    /// By HALT.
    Halt,
}

/// Topics and data.
pub type ExpectedEvent = (Vec<W512>, Ref);

/// A run at one width.
#[derive(Debug)]
pub struct Step {
    /// Width to run at: another than the file's with `arch=`.
    pub width: Width,
    /// Name of the function.
    pub function: String,
    /// Word arguments.
    pub words: Vec<W512>,
    /// Reference arguments.
    pub refs: Vec<Ref>,
    /// Environment.
    pub env: Env,
    /// Limits.
    pub limits: Limits,
    /// The outside.
    pub script: Script,
    /// Every so many commits conflict, which only a mock host can do; 0 = none.
    pub conflict_every: u64,
    /// Runs on the runtime alone, because of rules that the mock host does not have.
    pub runtime_only: bool,
    /// The expected end.
    pub end: Expected,
    /// Gas used, if stated.
    pub gas: Option<u64>,
    /// Guest gas used, if stated.
    pub guest: Option<u64>,
    /// What is written to standard output and to standard error, if stated.
    pub written: [Option<Bytes>; 2],
    /// Events kept, if stated.
    pub events: Option<Vec<ExpectedEvent>>,
}

/// An expected end.
#[derive(Debug)]
pub enum Expected {
    /// Results.
    Return(Vec<W512>, Vec<Ref>),
    /// Code and result.
    Halt(W512, Ref),
    /// Kind, part of the detail, mnemonic of the instruction.
    Trap(TrapKind, Option<String>, Option<String>),
}

const KEYWORDS: [&str; 8] =
    ["run", "traps", "halts", "then run", "then traps", "then halts", "widths", "refused"];

/// Reads the directives of a source text: comment lines of the form `; word: …`.
///
/// Errors: line and sentence.
pub fn parse(source: &str) -> Result<Directives, (usize, String)> {
    let mut directives = Directives::default();
    for (index, text) in source.lines().enumerate() {
        let line = index + 1;
        let Some((head, rest)) = text.trim_start().strip_prefix(';').and_then(|text| text.split_once(':'))
        else {
            continue;
        };
        let (keyword, widths) = match head.trim().split_once('@') {
            Some((keyword, widths)) => (keyword, parse_widths(widths).map_err(|error| (line, error))?),
            None => (head.trim(), Width::ALL.to_vec()),
        };
        let run = |follows, end| Body::Run { follows, end, text: rest.trim().to_owned() };
        let body = match keyword {
            "widths" => {
                directives.widths = Some(parse_widths(rest.trim()).map_err(|error| (line, error))?);
                continue;
            }
            "refused" => match rest.trim() {
                "" => return Err((line, "`refused` needs a part of the message".to_owned())),
                part => Body::Refused(part.to_owned()),
            },
            "run" => run(false, EndKind::Return),
            "traps" => run(false, EndKind::Trap),
            "halts" => run(false, EndKind::Halt),
            "then run" => run(true, EndKind::Return),
            "then traps" => run(true, EndKind::Trap),
            "then halts" => run(true, EndKind::Halt),
            _ if is_prose(keyword) => continue,
            _ => {
                return Err((
                    line,
                    format!("`{keyword}:` is no directive: those are {}", KEYWORDS.join(", ")),
                ));
            }
        };
        directives.steps.push(Directive { line, widths, body });
    }
    Ok(directives)
}

/// Whether what stands before a colon is a remark: it starts with a capital letter or has more than two words.
fn is_prose(text: &str) -> bool {
    let is_keyword = KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(text));
    !is_keyword && (text.starts_with(char::is_uppercase) || text.split_whitespace().count() > 2)
}

/// Widths: `32`, `64..`, `..128`, `64..256` (both ends included), separated by commas or spaces.
fn parse_widths(text: &str) -> Result<Vec<Width>, String> {
    let bound = |text: &str, default| match text {
        "" => Ok(default),
        text => text.parse::<Width>().map_err(|error| error.to_string()),
    };
    let mut widths = Vec::new();
    for item in text.split([',', ' ']).filter(|item| !item.is_empty()) {
        let (low, high) = match item.split_once("..") {
            Some((low, high)) => (bound(low, Width::W32)?, bound(high, Width::W512)?),
            None => (bound(item, Width::W32)?, bound(item, Width::W32)?),
        };
        widths.extend(Width::ALL.into_iter().filter(|&width| low <= width && width <= high));
    }
    if widths.is_empty() { Err(format!("{text:?} names no width")) } else { Ok(widths) }
}

/// Reads a run for one width: `FUNCTION [words] {refs} with key=value … => result … extras`.
pub fn parse_step(text: &str, end: EndKind, width: Width) -> Result<Step, String> {
    let (call, result) = text.split_once("=>").ok_or("`=>` is missing")?;
    let (call, settings) = match call.split_once(" with ") {
        Some((call, settings)) => (call, settings),
        None => (call, ""),
    };
    let settings = value::split(settings)?;
    let width = match settings.iter().find_map(|setting| setting.strip_prefix("arch=")) {
        Some(arch) => arch.parse::<Width>().map_err(|error| error.to_string())?,
        None => width,
    };
    let call = call.trim();
    let name_end = call.find([' ', '[', '{']).unwrap_or(call.len());
    let (words, refs, rest) = groups(&call[name_end..], width)?;
    if !rest.is_empty() {
        return Err(format!("{rest:?} is not expected behind the arguments"));
    }
    let mut step = Step {
        width,
        function: call[..name_end].to_owned(),
        words,
        refs,
        env: Env { contract: Bytes::from_static(CONTRACT.as_bytes()), ..Env::default() },
        limits: Limits { gas: GAS, ..Limits::default() },
        script: Script::default(),
        conflict_every: 0,
        runtime_only: false,
        end: Expected::Return(Vec::new(), Vec::new()),
        gas: None,
        guest: None,
        written: [None, None],
        events: None,
    };
    for setting in settings {
        step.set(setting, width)?;
    }
    let rest = step.expect(result.trim(), end, width)?;
    step.extras(&rest, width)?;
    Ok(step)
}

impl Step {
    fn set(&mut self, setting: &str, width: Width) -> Result<(), String> {
        let (key, text) = setting.split_once('=').ok_or_else(|| format!("{setting:?} is not KEY=VALUE"))?;
        let number = || value::number64(text, width);
        let bytes = || match value::reference(text, width)? {
            Ref::Bytes(bytes) => Ok(bytes),
            _ => Err(format!("{key} is bytes")),
        };
        let small = || u32::try_from(number()?).map_err(|_| format!("{text} is too large"));
        match key {
            "caller" => self.env.caller = value::wide(text, width)?,
            "value" => self.env.value = value::wide(text, width)?,
            "height" => self.env.height = number()?,
            "time" => self.env.time = number()?,
            "chain" => self.env.chain = number()?,
            "contract" => self.env.contract = bytes()?,
            "input" => self.env.input = bytes()?,
            "seed" => {
                self.env.seed = bytes()?.as_ref().try_into().map_err(|_| "a seed has 32 bytes".to_owned())?;
            }
            "gas" => self.limits.gas = number()?,
            "guest" => self.limits.guest_gas = number()?,
            "pages" => self.limits.memory_pages = number()?,
            "depth" => self.limits.call_depth = small()?,
            "words" => self.limits.stack_words = small()?,
            "refs" => self.limits.stack_refs = small()?,
            "heap" => self.limits.heap_bytes = number()?,
            "tasks" => self.limits.tasks = small()?,
            "mailbox" => self.limits.mailbox = small()?,
            "contracts" => self.limits.contract_depth = small()?,
            "stdin" => self.script.input = bytes()?,
            "arg" => self.script.arguments.push(bytes()?),
            "clock" => self.script.clock = Duration::from_secs(number()?),
            "arch" => {}
            "host" if text == "runtime" => self.runtime_only = true,
            "conflict" => self.conflict_every = number()?,
            _ => return Err(format!("there is no setting {key:?}")),
        }
        Ok(())
    }

    /// Reads the expected end and answers what is behind it.
    fn expect(&mut self, text: &str, end: EndKind, width: Width) -> Result<String, String> {
        if end == EndKind::Trap {
            let name_end = text.find(' ').unwrap_or(text.len());
            let kind = TrapKind::ALL
                .iter()
                .find(|kind| kind.name() == &text[..name_end])
                .ok_or_else(|| format!("{:?} is no kind of trap", &text[..name_end]))?;
            let mut rest = text[name_end..].trim_start();
            let mut detail = None;
            if let Some(quoted) = rest.strip_prefix('"') {
                let (part, behind) = quoted.split_once('"').ok_or("the detail is not closed")?;
                detail = Some(part.to_owned());
                rest = behind.trim_start();
            }
            let mut at = None;
            if let Some(behind) = rest.strip_prefix("at ") {
                let (mnemonic, behind) = behind.split_once(' ').unwrap_or((behind, ""));
                at = Some(mnemonic.to_owned());
                rest = behind.trim_start();
            }
            self.end = Expected::Trap(*kind, detail, at);
            return Ok(rest.to_owned());
        }
        let (mut words, mut refs, rest) = groups(text, width)?;
        self.end = match end {
            EndKind::Halt => match (words.pop(), words.is_empty(), refs.pop(), refs.is_empty()) {
                (Some(code), true, Some(result), true) => Expected::Halt(code, result),
                _ => return Err("HALT has one code and one reference: [code] {result}".to_owned()),
            },
            _ => Expected::Return(words, refs),
        };
        Ok(rest.to_owned())
    }

    /// `gas N`, `guest N`, `out BYTES`, `err BYTES`, `events [topics]{data} …` or `events none`, in this order.
    fn extras(&mut self, text: &str, width: Width) -> Result<(), String> {
        let mut text = text.trim();
        for (name, place) in [("gas ", &mut self.gas), ("guest ", &mut self.guest)] {
            if let Some(rest) = text.strip_prefix(name) {
                let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                *place = Some(value::number64(number, width)?);
                text = rest.trim_start();
            }
        }
        for (name, place) in [("out ", 0), ("err ", 1)] {
            if let Some(rest) = text.strip_prefix(name) {
                let item = value::split(rest)?.first().copied().unwrap_or_default();
                let Ref::Bytes(bytes) = value::reference(item, width)? else {
                    return Err("what is written is bytes".to_owned());
                };
                self.written[place] = Some(bytes);
                text = rest.trim_start()[item.len()..].trim_start();
            }
        }
        if let Some(rest) = text.strip_prefix("events ") {
            let mut events = Vec::new();
            text = rest.strip_prefix("none").unwrap_or(rest).trim_start();
            while !text.is_empty() {
                let (topics, mut data, rest) = groups(text, width)?;
                match (data.pop(), data.is_empty()) {
                    (Some(bytes), true) => events.push((topics, bytes)),
                    _ => return Err("an event is [topics]{data}".to_owned()),
                }
                text = rest;
            }
            self.events = Some(events);
        }
        if text.is_empty() { Ok(()) } else { Err(format!("{text:?} is not expected")) }
    }
}

/// Words, references, and what is behind them.
type Groups<'a> = (Vec<W512>, Vec<Ref>, &'a str);

/// Reads an optional `[words]` and an optional `{references}`.
fn groups(text: &str, width: Width) -> Result<Groups<'_>, String> {
    let mut rest = text.trim_start();
    let (mut words, mut refs) = (Vec::new(), Vec::new());
    if let Some(inner) = rest.strip_prefix('[') {
        let (inner, behind) = inner.split_once(']').ok_or("`]` is missing")?;
        words = value::split(inner)?
            .into_iter()
            .map(|item| value::word(item, width))
            .collect::<Result<_, _>>()?;
        rest = behind.trim_start();
    }
    if let Some(inner) = rest.strip_prefix('{') {
        let end = closing_brace(inner).ok_or("`}` is missing")?;
        refs = value::split(&inner[..end])?
            .into_iter()
            .map(|item| value::reference(item, width))
            .collect::<Result<_, _>>()?;
        rest = inner[end + 1..].trim_start();
    }
    Ok((words, refs, rest))
}

/// The first `}` outside of quotes.
fn closing_brace(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().find_map(|(at, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return Some(at),
            _ => {}
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_told_from_prose() {
        let source = "; Remark: prose\n; widths: 64.. \n\
            ; run@32,128..: f [1] => [2]\n; then traps: f => DivZero\n.func f\n  POP ; drop: this\n";
        let directives = parse(source).unwrap();
        assert_eq!(directives.widths, Some(vec![Width::W64, Width::W128, Width::W256, Width::W512]));
        let lines: Vec<_> = directives.steps.iter().map(|step| (step.line, step.widths.len())).collect();
        assert_eq!(lines, [(3, 4), (4, 5)]);
        for bad in ["; rum: f => [1]", "; Run: f => [1]", "; run@48: f => ", "; widths: ", "; refused:"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_step_is_read_whole() {
        let text = "f [1 -1] {\"}\" null} with gas=50 caller=2^300 => [w] {0x00} gas 12 guest 3 events [1]{\"x\"} {\"\"}";
        let step = parse_step(text, EndKind::Return, Width::W32).unwrap();
        assert_eq!((step.words.len(), step.refs.len(), step.limits.gas), (2, 2, 50));
        assert_eq!(step.env.caller, W512::from(1) << 300);
        assert_eq!((step.gas, step.guest), (Some(12), Some(3)));
        assert_eq!(step.events.unwrap().len(), 2);
        let Expected::Return(words, refs) = step.end else { panic!() };
        assert_eq!((words, refs.len()), (vec![W512::from(32)], 1));

        let trap = parse_step("f => User \"too much\" at THROW gas 3", EndKind::Trap, Width::W32).unwrap();
        let Expected::Trap(kind, detail, at) = trap.end else { panic!() };
        assert_eq!(
            (kind, detail.as_deref(), at.as_deref()),
            (TrapKind::User, Some("too much"), Some("THROW"))
        );
        for bad in
            ["f [1]", "f [1 => [1]", "f => [1] gass 3", "f with x=1 => [1]", "f 3 => [1]", "f => [1] {0x0}"]
        {
            assert!(parse_step(bad, EndKind::Return, Width::W32).is_err(), "{bad}");
        }
        assert!(parse_step("f => [1]", EndKind::Halt, Width::W32).is_err());
        assert!(parse_step("f => Nothing", EndKind::Trap, Width::W32).is_err());
    }
}
