//! Tokens to declarations and instructions. An error skips the rest of its line, so that one run reports
//! every line that is wrong.

use dotvm_arch::{ParseWordError, W512, Width, Word};
use dotvm_core::limits;
use dotvm_core::opcode::{OPS, Op, Prefix};
use dotvm_core::trap::TrapKind;
use num_bigint::{BigInt, BigUint, Sign};

use crate::diagnostics::{Lines, Problem, nearest};
use crate::directives::DIRECTIVES;
use crate::lexer::{Lexer, Span, Token};
use crate::syntax::*;

/// Errors after which the parser stops reading.
pub(crate) const MAX_PROBLEMS: usize = 1000;

/// The line cannot be understood further; the reason is already reported.
pub(crate) struct SkipLine;

/// Result of parsing a part of a line.
pub(crate) type Parse<T> = Result<T, SkipLine>;

pub(crate) struct Parser<'a> {
    lexer: Lexer<'a>,
    pub(crate) token: Token,
    pub(crate) span: Span,
    /// End of the token before.
    pub(crate) previous_end: usize,
    pub(crate) module: SourceModule,
    /// The function whose body is being read.
    pub(crate) function: Option<FunctionSource>,
    /// Place of that function's header.
    pub(crate) function_span: Span,
    /// `.loc`: the line to record instead of the one in this text.
    pub(crate) line_override: Option<u32>,
    /// Parameters and locals of all functions so far.
    pub(crate) entries: usize,
    lines: Lines<'a>,
    pub(crate) problems: Vec<Problem>,
}

/// Reads a source text.
pub(crate) fn parse(source: &str) -> (SourceModule, Vec<Problem>) {
    let mut parser = Parser {
        lexer: Lexer::new(source),
        token: Token::Newline,
        span: 0..0,
        previous_end: 0,
        module: SourceModule::default(),
        function: None,
        function_span: 0..0,
        line_override: None,
        entries: 0,
        lines: Lines::new(source),
        problems: Vec::new(),
    };
    parser.advance();
    while parser.token != Token::End && parser.problems.len() + parser.lexer.problems.len() < MAX_PROBLEMS {
        if parser.line().is_err() {
            parser.skip_line();
        }
    }
    if parser.token == Token::End && parser.function.is_some() {
        let span = parser.function_span.clone();
        parser.problems.push(Problem::new(span, "this function has no `.end`"));
        parser.end_function();
    }
    let mut problems = parser.problems;
    problems.append(&mut parser.lexer.problems);
    (parser.module, problems)
}

impl<'a> Parser<'a> {
    /// Goes to the next token.
    pub(crate) fn advance(&mut self) -> Token {
        self.previous_end = self.span.end;
        let (token, span) = self.lexer.next();
        self.span = span;
        std::mem::replace(&mut self.token, token)
    }

    fn skip_line(&mut self) {
        while !matches!(self.token, Token::Newline | Token::End) {
            // Structured forms are kept, so that their counterparts are not reported too.
            if let Token::Directive(name) = &self.token
                && let Some(form) = Form::from_name(name)
                && self.function.is_some()
            {
                let _ = self.push_item(ItemKind::Form(form), self.span.clone());
            }
            self.advance();
        }
    }

    /// Reports an error at a place and gives up the line.
    pub(crate) fn fail<T>(&mut self, problem: Problem) -> Parse<T> {
        self.problems.push(problem);
        Err(SkipLine)
    }

    /// Reports that something else was expected here and gives up the line.
    pub(crate) fn expected<T>(&mut self, what: &str) -> Parse<T> {
        if self.token == Token::Bad {
            return Err(SkipLine);
        }
        let message = format!("{what} is expected, but here is {}", self.token.describe());
        let span = self.span.clone();
        self.fail(Problem::new(span, message))
    }

    /// Goes past a punctuation mark if it is here.
    pub(crate) fn eat(&mut self, punct: char) -> bool {
        let here = self.token == Token::Punct(punct);
        if here {
            self.advance();
        }
        here
    }

    pub(crate) fn expect(&mut self, punct: char) -> Parse<()> {
        if self.eat(punct) { Ok(()) } else { self.expected(&format!("`{punct}`")) }
    }

    pub(crate) fn skip_newlines(&mut self) {
        while self.token == Token::Newline {
            self.advance();
        }
    }

    /// Whether the line ends here.
    pub(crate) fn at_line_end(&self) -> bool {
        matches!(self.token, Token::Newline | Token::End)
    }

    fn line(&mut self) -> Parse<()> {
        match &self.token {
            Token::Newline => {
                self.advance();
                Ok(())
            }
            Token::Directive(name) => {
                let name = name.clone();
                let span = self.span.clone();
                if let Some(form) = Form::from_name(&name) {
                    self.advance();
                    let form = match form {
                        Form::Catch(_) => Form::Catch(self.trap_kinds()),
                        form => form,
                    };
                    return self.push_item(ItemKind::Form(form), span);
                }
                let Some((_, parse)) = DIRECTIVES.iter().find(|(known, _)| *known == name) else {
                    let known = DIRECTIVES.iter().map(|(known, _)| *known).chain(Form::names());
                    let hint = nearest(&name, known).map(|hint| hint.replace('`', "`.").replace(".`", "`"));
                    let hint = hint.map(|hint| hint.replace("`.?", "`?"));
                    return self.fail(
                        Problem::new(span, format!("no directive is called `.{name}`")).maybe_hint(hint),
                    );
                };
                self.advance();
                parse(self, span)?;
                if self.at_line_end() { Ok(()) } else { self.expected("the end of the line") }
            }
            Token::Word(_) | Token::Quoted(_) | Token::Punct('~') => self.label_or_instruction(),
            _ => self.expected("an instruction, a label or a directive"),
        }
    }

    /// Names of trap kinds, or none, which means all but User; as the mask of a handler.
    pub(crate) fn trap_kinds(&mut self) -> u32 {
        let mut kinds = 0;
        while let Token::Word(word) = &self.token
            && let Some(kind) = TrapKind::from_name(word)
        {
            kinds |= kind.bit();
            self.advance();
        }
        if kinds == 0 { TrapKind::CATCHABLE & !TrapKind::User.bit() } else { kinds }
    }

    fn label_or_instruction(&mut self) -> Parse<()> {
        let start = self.span.start;
        let hidden = self.eat('~');
        let span = start..self.span.end;
        match self.advance() {
            Token::Word(word) => {
                if hidden || self.token == Token::Punct(':') {
                    self.expect(':')?;
                    let recorded = !word.starts_with('@');
                    return self.label(word, !hidden, recorded, span);
                }
                self.instruction(&word, span)
            }
            Token::Quoted(name) => {
                self.expect(':')?;
                self.label(name, !hidden, true, span)
            }
            other => {
                self.problems.push(Problem::new(
                    span,
                    format!("a label is expected, but here is {}", other.describe()),
                ));
                Err(SkipLine)
            }
        }
    }

    fn label(&mut self, name: String, in_scope: bool, recorded: bool, span: Span) -> Parse<()> {
        let decl = Decl { name, in_scope, span: span.clone() };
        self.check_name(&decl);
        self.push_item(ItemKind::Label { decl, recorded }, span)
    }

    /// Adds to the function that is open.
    fn push_item(&mut self, kind: ItemKind, span: Span) -> Parse<()> {
        let line = match self.line_override {
            Some(line) => line,
            None => self.lines.line(span.start),
        };
        match &mut self.function {
            Some(function) => {
                function.body.push(Item { kind, span, line });
                Ok(())
            }
            None => {
                let problem = Problem::new(span, "code stands only inside a function");
                self.fail(
                    problem.hint(
                        "open one with `.func NAME [parameters] -> [results]` and close it with `.end`",
                    ),
                )
            }
        }
    }

    fn instruction(&mut self, word: &str, mut span: Span) -> Parse<()> {
        let mut upper = word.to_ascii_uppercase();
        let prefix = Prefix::from_mnemonic(&upper);
        if prefix.is_some() {
            let Token::Word(next) = &self.token else {
                return self.expected(&format!("the instruction that {upper} belongs to"));
            };
            upper = next.to_ascii_uppercase();
            span = span.start..self.span.end;
            self.advance();
        }
        let Some(op) = Op::from_mnemonic(&upper) else {
            let known = OPS
                .iter()
                .map(|info| info.mnemonic)
                .chain(Prefix::ALL.iter().map(|prefix| prefix.mnemonic()));
            let name = if prefix.is_some() { &upper } else { word };
            let problem = Problem::new(span.clone(), format!("no instruction is called `{name}`"));
            let hint = match Form::from_name(&word.to_lowercase()) {
                Some(_) => Some(format!("the structured form is written `.{}`", word.to_lowercase())),
                None => nearest(name, known),
            };
            return self.fail(problem.maybe_hint(hint));
        };
        let info = op.info();
        let mut operands = Vec::with_capacity(info.imms.len());
        for imm in info.imms {
            if self.at_line_end() || matches!(self.token, Token::Directive(_)) {
                let kinds: Vec<&str> = info.imms.iter().map(|imm| imm.name()).collect();
                let problem = Problem::new(
                    span.clone(),
                    format!("{} lacks its immediate `{}`", info.mnemonic, imm.name()),
                );
                return self.fail(problem.hint(format!("write {} {}", info.mnemonic, kinds.join(" "))));
            }
            operands.push(self.operand(true)?);
        }
        let span = span.start..self.previous_end.max(span.end);
        self.push_item(ItemKind::Inst { prefix, op, operands }, span)
    }

    /// A name, number, string or, where allowed, a list of them.
    pub(crate) fn operand(&mut self, list_allowed: bool) -> Parse<Operand> {
        let start = self.span.start;
        let kind = match &self.token {
            Token::Word(word) | Token::Quoted(word) => {
                let word = word.clone();
                self.advance();
                OperandKind::Name(word)
            }
            Token::Text(bytes) => {
                let bytes = bytes.clone();
                self.advance();
                OperandKind::Text(bytes)
            }
            Token::Number(text) if text.starts_with("0x") => {
                let text = text.clone();
                let span = self.span.clone();
                self.advance();
                let bytes = hex_bytes(&text);
                match parse_magnitude(&text) {
                    Ok(magnitude) => OperandKind::Hex(Some(Number { negative: false, magnitude }), bytes),
                    Err(ParseWordError::Overflow { .. }) => OperandKind::Hex(None, bytes),
                    Err(error) => return self.fail(number_problem(span, &text, error)),
                }
            }
            Token::Number(_) | Token::Char(_) | Token::Punct('-') => OperandKind::Number(self.number()?),
            Token::Punct('=') => {
                self.advance();
                let number = self.number()?;
                let span = start..self.previous_end;
                match number.to_i64() {
                    Some(value) => OperandKind::Exact(value),
                    None => {
                        return self.fail(Problem::new(span, "this number does not fit 64 bits with a sign"));
                    }
                }
            }
            Token::Punct('[') if list_allowed => {
                self.advance();
                let mut list = Vec::new();
                loop {
                    self.skip_newlines();
                    if self.eat(']') {
                        break;
                    }
                    list.push(self.operand(false)?);
                }
                OperandKind::List(list)
            }
            _ => return self.expected("a name or a number"),
        };
        Ok(Operand { kind, span: start..self.previous_end })
    }

    /// A number with its sign, or a character.
    pub(crate) fn number(&mut self) -> Parse<Number> {
        let start = self.span.start;
        let negative = self.eat('-');
        let span = start..self.span.end;
        match &self.token {
            Token::Number(text) => {
                let text = text.clone();
                self.advance();
                if let Some(number) = float_number(&text, negative) {
                    return number.or_else(|message| self.fail(Problem::new(span, message)));
                }
                match parse_magnitude(&text) {
                    Ok(magnitude) => Ok(Number { negative, magnitude }),
                    Err(error) => self.fail(number_problem(span, &text, error)),
                }
            }
            Token::Char(character) if !negative => {
                let magnitude = W512::from_u64(u64::from(*character));
                self.advance();
                Ok(Number { negative, magnitude })
            }
            _ => self.expected("a number"),
        }
    }

    /// An integer of any size.
    pub(crate) fn integer(&mut self) -> Parse<BigInt> {
        let start = self.span.start;
        let negative = self.eat('-');
        let Token::Number(text) = &self.token else { return self.expected("an integer") };
        let digits = text.replace('_', "");
        let radices = [("0x", 16), ("0b", 2), ("", 10)];
        let magnitude = radices.iter().find_map(|(prefix, radix)| {
            BigUint::parse_bytes(digits.strip_prefix(prefix)?.as_bytes(), *radix)
        });
        let span = start..self.span.end;
        let Some(magnitude) = magnitude else {
            return self.fail(Problem::new(span, format!("`{text}` is no integer")));
        };
        self.advance();
        Ok(BigInt::from_biguint(if negative { Sign::Minus } else { Sign::Plus }, magnitude))
    }

    /// An unsigned number up to `max`.
    pub(crate) fn unsigned(&mut self, what: &str, max: u64) -> Parse<u64> {
        let start = self.span.start;
        let number = self.number()?;
        match number.to_u64().filter(|&value| value <= max) {
            Some(value) => Ok(value),
            None => {
                let problem =
                    Problem::new(start..self.previous_end, format!("{what} is a number from 0 to {max}"));
                self.fail(problem)
            }
        }
    }

    /// The declaration of a name: `name`, `` `any name` ``, `~name` or `_`.
    pub(crate) fn decl(&mut self, what: &str) -> Parse<Decl> {
        let start = self.span.start;
        let hidden = self.eat('~');
        let span = start..self.span.end;
        let decl = match &self.token {
            Token::Word(word) if word == "_" && !hidden => {
                Decl { name: String::new(), in_scope: false, span }
            }
            Token::Word(name) | Token::Quoted(name) => Decl { name: name.clone(), in_scope: !hidden, span },
            _ => return self.expected(what),
        };
        self.advance();
        self.check_name(&decl);
        Ok(decl)
    }

    fn check_name(&mut self, decl: &Decl) {
        if decl.name.len() > limits::module::NAME_BYTES {
            let message = format!("a name has at most {} bytes", limits::module::NAME_BYTES);
            self.problems.push(Problem::new(decl.span.clone(), message));
        }
    }

    /// One of a set of keywords.
    pub(crate) fn keyword<T: Copy>(&mut self, what: &str, known: &[(&str, T)]) -> Parse<T> {
        let Token::Word(word) = &self.token else { return self.expected(what) };
        match known.iter().find(|(name, _)| name == word) {
            Some((_, value)) => {
                let value = *value;
                self.advance();
                Ok(value)
            }
            None => {
                let hint = nearest(word, known.iter().map(|(name, _)| *name)).unwrap_or_else(|| {
                    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                    format!("known are {}", names.join(", "))
                });
                let problem =
                    Problem::new(self.span.clone(), format!("{what} is expected, but here is `{word}`"));
                self.fail(problem.hint(hint))
            }
        }
    }

    /// Byte strings one behind the other: `"text"` and `0xHEX`.
    pub(crate) fn bytes(&mut self) -> Parse<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut any = false;
        loop {
            match &self.token {
                Token::Text(text) => bytes.extend_from_slice(text),
                Token::Number(text) => match hex_bytes(text) {
                    Some(hex) => bytes.extend_from_slice(&hex),
                    None => {
                        let problem = Problem::new(self.span.clone(), format!("`{text}` is no byte string"));
                        return self
                            .fail(problem.hint(
                                "write 0x and two hexadecimal digits for each byte, or text in quotes",
                            ));
                    }
                },
                _ if any => return Ok(bytes),
                _ => return self.expected("text in quotes or 0x with hexadecimal digits"),
            }
            any = true;
            self.advance();
        }
    }

    /// All of the source.
    pub(crate) fn source(&self) -> &'a str {
        self.lexer.source()
    }

    /// The JSON text behind the current token, which is the keyword that announces it.
    pub(crate) fn json(&mut self) -> (&'a str, Span) {
        let json = self.lexer.json(self.span.end);
        self.span = json.1.clone();
        self.advance();
        json
    }

    pub(crate) fn end_function(&mut self) {
        self.line_override = None;
        self.module.functions.extend(self.function.take());
    }
}

fn number_problem(span: Span, text: &str, error: ParseWordError) -> Problem {
    match error {
        ParseWordError::Overflow { .. } => Problem::new(span, "this number is longer than 512 bits"),
        ParseWordError::Empty | ParseWordError::BadDigit { .. } => {
            Problem::new(span, format!("`{text}` is no number"))
                .hint("numbers are 12, 1_000, 0xFF, 0b101 or 'c', with - in front if negative")
        }
    }
}

fn parse_magnitude(text: &str) -> Result<W512, ParseWordError> {
    <W512 as Word>::parse(text)
}

/// The bytes of `0x…` with two digits for each, `_` allowed between digits.
pub(crate) fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .strip_prefix("0x")?
        .chars()
        .filter(|&digit| digit != '_')
        .map(|digit| digit.to_digit(16))
        .collect::<Option<_>>()?;
    digits
        .len()
        .is_multiple_of(2)
        .then(|| digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

/// The bits of a floating-point number such as 1.5f64, or `None` if the text is no such number.
fn float_number(text: &str, negative: bool) -> Option<Result<Number, String>> {
    if text.starts_with("0x") {
        return None;
    }
    let bits = |digits: &str, is_single: bool| {
        let digits = digits.replace('_', "");
        let digits = if negative { format!("-{digits}") } else { digits };
        // Only digits, a point and an exponent come here: `inf` and `nan` start with no digit.
        Some(if is_single {
            digits.parse::<f32>().ok().filter(|number| number.is_finite())?.to_bits() as u64
        } else {
            digits.parse::<f64>().ok().filter(|number| number.is_finite())?.to_bits()
        })
    };
    let parsed = match (text.strip_suffix("f64"), text.strip_suffix("f32")) {
        (Some(digits), _) => bits(digits, false),
        (_, Some(digits)) => bits(digits, true),
        // A fraction without a format.
        _ if text.contains('.') => {
            return Some(Err(format!("`{text}` does not say its format: write {text}f64 or {text}f32")));
        }
        _ => return None,
    };
    let number = parsed.map(|bits| Number { negative: false, magnitude: W512::from_u64(bits) });
    Some(number.ok_or_else(|| format!("`{text}` is no finite floating-point number of its format")))
}

impl Number {
    /// The value, if it is not negative and below 2^64.
    pub(crate) fn to_u64(self) -> Option<u64> {
        if self.negative && !self.magnitude.is_zero() { None } else { Word::try_u64(self.magnitude) }
    }

    /// The value, if it fits 64 bits with a sign.
    pub(crate) fn to_i64(self) -> Option<i64> {
        let magnitude = i128::from(Word::try_u64(self.magnitude)?);
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// The word of `bits` bits with this value, unsigned or two's complement.
    pub(crate) fn to_word(self, bits: u32) -> Option<W512> {
        let mask = mask(bits);
        if !self.negative {
            return (self.magnitude <= mask).then_some(self.magnitude);
        }
        let limit = Word::shl(W512::ONE, W512::from_u64(u64::from(bits) - 1));
        (self.magnitude <= limit).then(|| Word::and(Word::neg(self.magnitude), mask))
    }
}

/// 2^bits − 1.
fn mask(bits: u32) -> W512 {
    Word::shr(<W512 as Word>::MAX, W512::from_u64(u64::from(512 - bits)))
}

/// A word of `bits` bits read with its sign, if that fits 64 bits.
pub(crate) fn signed_word(word: W512, bits: u32) -> Option<i64> {
    if word.bit(bits - 1) {
        let magnitude = Word::and(Word::neg(word), mask(bits));
        Number { negative: true, magnitude }.to_i64()
    } else {
        Number { negative: false, magnitude: word }.to_i64()
    }
}

/// The width named by `.arch`.
pub(crate) fn arch_keyword(text: &str) -> Option<ArchSource> {
    match text {
        "any" => Some(ArchSource::Any),
        _ => text.parse::<Width>().ok().map(ArchSource::Fixed),
    }
}
