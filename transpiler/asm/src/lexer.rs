//! Source text to tokens, on demand.

use std::ops::Range;

use crate::diagnostics::Problem;

/// A range of bytes of the source text.
pub(crate) type Span = Range<usize>;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A mnemonic, keyword or name.
    Word(String),
    /// A name in backquotes.
    Quoted(String),
    /// `.name`, without the dot.
    Directive(String),
    /// A number as written, without its sign.
    Number(String),
    /// A character literal.
    Char(char),
    /// A string literal: its bytes.
    Text(Vec<u8>),
    /// One of `[ ] { } : = ~ -`.
    Punct(char),
    /// `->`.
    Arrow,
    /// End of a line.
    Newline,
    /// End of the source.
    End,
    /// Something that is no token; already reported.
    Bad,
}

impl Token {
    /// How a message names the token.
    pub(crate) fn describe(&self) -> String {
        match self {
            Token::Word(word) => format!("`{word}`"),
            Token::Quoted(name) => format!("`{name}`"),
            Token::Directive(name) => format!("`.{name}`"),
            Token::Number(number) => format!("`{number}`"),
            Token::Char(character) => format!("{character:?}"),
            Token::Text(_) => "a string".to_owned(),
            Token::Punct(punct) => format!("`{punct}`"),
            Token::Arrow => "`->`".to_owned(),
            Token::Newline => "the end of the line".to_owned(),
            Token::End => "the end of the file".to_owned(),
            Token::Bad => "this text".to_owned(),
        }
    }
}

/// Whether a character can start a name that needs no backquotes.
pub(crate) fn starts_word(character: char) -> bool {
    character.is_alphabetic() || matches!(character, '_' | '@' | '$')
}

/// Whether a character can stand inside a name that needs no backquotes (`-` can too, before one of these).
pub(crate) fn continues_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '@' | '$' | '.')
}

/// Reads tokens from left to right.
pub(crate) struct Lexer<'a> {
    source: &'a str,
    at: usize,
    pub(crate) problems: Vec<Problem>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(source: &'a str) -> Lexer<'a> {
        // A byte order mark is no part of the text.
        let at = if source.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Lexer { source, at, problems: Vec::new() }
    }

    fn peek_char(&self) -> Option<char> {
        self.source[self.at..].chars().next()
    }

    fn second_char(&self) -> Option<char> {
        self.source[self.at..].chars().nth(1)
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) {
        let rest = &self.source[self.at..];
        self.at += rest.find(|character| !accept(character)).unwrap_or(rest.len());
    }

    /// The next token and its place.
    pub(crate) fn next(&mut self) -> (Token, Span) {
        loop {
            self.take_while(|character| matches!(character, ' ' | '\t' | '\r'));
            if self.peek_char() != Some(';') {
                break;
            }
            self.take_while(|character| character != '\n');
        }
        let start = self.at;
        let Some(first) = self.peek_char() else { return (Token::End, start..start) };
        let token = match first {
            '\n' => {
                self.at += 1;
                Token::Newline
            }
            '-' if self.second_char() == Some('>') => {
                self.at += 2;
                Token::Arrow
            }
            '[' | ']' | '{' | '}' | ':' | '=' | '~' | '-' => {
                self.at += 1;
                Token::Punct(first)
            }
            '.' if self.second_char().is_some_and(starts_word) => {
                self.at += 1;
                Token::Directive(self.word())
            }
            '0'..='9' => {
                self.number();
                Token::Number(self.source[start..self.at].to_owned())
            }
            '"' => match self.quoted('"', "string") {
                Some(bytes) => Token::Text(bytes),
                None => Token::Bad,
            },
            '`' => self.quoted_name(),
            '\'' => self.character(),
            _ if starts_word(first) => Token::Word(self.word()),
            _ => {
                self.at += first.len_utf8();
                let problem = Problem::new(start..self.at, format!("{first:?} has no meaning here"));
                self.problems.push(match first {
                    ',' => problem.hint("operands are separated by spaces"),
                    '#' | '/' => problem.hint("a comment starts with `;`"),
                    _ => problem,
                });
                Token::Bad
            }
        };
        (token, start..self.at)
    }

    /// Takes a number; a fraction and an exponent belong to it, as in 1.5f64 and 1e-9f32.
    fn number(&mut self) {
        let start = self.at;
        let digits = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let is_digit = |character: Option<char>| character.is_some_and(|digit| digit.is_ascii_digit());
        self.take_while(digits);
        if self.source[start..self.at].starts_with("0x") {
            return;
        }
        if self.peek_char() == Some('.') && is_digit(self.second_char()) {
            self.at += 1;
            self.take_while(digits);
        }
        let has_exponent = self.source[start..self.at].ends_with(['e', 'E']);
        if has_exponent && matches!(self.peek_char(), Some('-' | '+')) && is_digit(self.second_char()) {
            self.at += 1;
            self.take_while(digits);
        }
    }

    fn word(&mut self) -> String {
        let start = self.at;
        loop {
            self.take_while(continues_word);
            // A dash between letters belongs to the name, as in sha2-256.
            if self.peek_char() == Some('-') && self.second_char().is_some_and(continues_word) {
                self.at += 1;
            } else {
                return self.source[start..self.at].to_owned();
            }
        }
    }

    fn quoted_name(&mut self) -> Token {
        let start = self.at;
        let Some(bytes) = self.quoted('`', "name") else { return Token::Bad };
        match String::from_utf8(bytes) {
            Ok(name) => Token::Quoted(name),
            Err(_) => {
                self.problems.push(Problem::new(start..self.at, "the name is not UTF-8 text"));
                Token::Bad
            }
        }
    }

    fn character(&mut self) -> Token {
        let start = self.at;
        let Some(bytes) = self.quoted('\'', "character") else { return Token::Bad };
        let text = String::from_utf8(bytes).unwrap_or_default();
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Token::Char(character),
            _ => {
                let problem = Problem::new(start..self.at, "a character literal holds one character");
                self.problems.push(problem.hint("text stands in double quotes"));
                Token::Bad
            }
        }
    }

    /// Reads a literal up to its closing quote; an error is reported and the rest of the line skipped.
    fn quoted(&mut self, quote: char, what: &str) -> Option<Vec<u8>> {
        let start = self.at;
        let mut bytes = Vec::new();
        let mut sound = true;
        self.at += 1;
        loop {
            let here = self.at;
            match self.peek_char() {
                None | Some('\n') => {
                    let problem =
                        Problem::new(start..self.at, format!("the {what} is not closed on its line"));
                    self.problems.push(
                        problem.hint(format!("close it with {quote}; a new line inside is written \\n")),
                    );
                    return None;
                }
                Some(character) if character == quote => {
                    self.at += 1;
                    return sound.then_some(bytes);
                }
                Some('\\') => {
                    self.at += 1;
                    if !self.escape(&mut bytes) {
                        sound = false;
                        let problem = Problem::new(here..self.at.max(here + 1), "this escape is not known");
                        self.problems
                            .push(problem.hint(r#"escapes are \n \r \t \0 \\ \" \' \` \xNN \u{N…}"#));
                    }
                }
                Some(character) => {
                    self.at += character.len_utf8();
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }

    /// All of the source.
    pub(crate) fn source(&self) -> &'a str {
        self.source
    }

    /// Reads an escape behind its backslash; whether it is one.
    fn escape(&mut self, bytes: &mut Vec<u8>) -> bool {
        let Some(kind) = self.peek_char().filter(|&kind| kind != '\n') else { return false };
        self.at += kind.len_utf8();
        let character = match kind {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '0' => '\0',
            '\\' | '"' | '\'' | '`' => kind,
            'x' => {
                let start = self.at;
                while self.at < start + 2 && self.peek_char().is_some_and(|digit| digit.is_ascii_hexdigit()) {
                    self.at += 1;
                }
                let digits = &self.source[start..self.at];
                if digits.len() != 2 {
                    return false;
                }
                bytes.extend(u8::from_str_radix(digits, 16));
                return true;
            }
            'u' => {
                if self.peek_char() != Some('{') {
                    return false;
                }
                self.at += 1;
                let start = self.at;
                self.take_while(|digit| digit.is_ascii_hexdigit());
                let code = u32::from_str_radix(&self.source[start..self.at], 16);
                let character = code.ok().and_then(char::from_u32);
                if self.peek_char() != Some('}') {
                    return false;
                }
                self.at += 1;
                match character {
                    Some(character) => character,
                    None => return false,
                }
            }
            _ => return false,
        };
        bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        true
    }

    /// Takes a JSON text from `from` on, which may go over several lines: up to the bracket that closes its
    /// first one, or to the end of a scalar. The text itself is not checked here.
    pub(crate) fn json(&mut self, from: usize) -> (&'a str, Span) {
        self.at = from;
        self.take_while(|character| matches!(character, ' ' | '\t' | '\r' | '\n'));
        let start = self.at;
        let mut depth = 0usize;
        let mut in_string = false;
        let mut escaped = false;
        for (offset, character) in self.source[start..].char_indices() {
            let end = start + offset + character.len_utf8();
            self.at = end;
            if in_string {
                match character {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    '"' => in_string = false,
                    _ => continue,
                }
                if in_string || depth > 0 {
                    continue;
                }
                break;
            }
            match character {
                '"' => in_string = true,
                '{' | '[' => depth += 1,
                '}' | ']' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        break;
                    }
                }
                ' ' | '\t' | '\r' | '\n' | ';' if depth == 0 => {
                    self.at = end - character.len_utf8();
                    break;
                }
                _ => {}
            }
        }
        (&self.source[start..self.at], start..self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(source: &str) -> Vec<Token> {
        let mut lexer = Lexer::new(source);
        let mut tokens = Vec::new();
        loop {
            match lexer.next().0 {
                Token::End => break,
                token => tokens.push(token),
            }
        }
        assert!(lexer.problems.is_empty(), "{:?}", lexer.problems);
        tokens
    }

    #[test]
    fn words_numbers_and_signs_are_told_apart() {
        let word = |word: &str| Token::Word(word.to_owned());
        let number = |number: &str| Token::Number(number.to_owned());
        assert_eq!(
            tokens("HASH sha2-256 -> -0x_f a-1 x.len ; comment"),
            [
                word("HASH"),
                word("sha2-256"),
                Token::Arrow,
                Token::Punct('-'),
                number("0x_f"),
                word("a-1"),
                word("x.len")
            ]
        );
        assert_eq!(tokens("f->"), [word("f"), Token::Arrow]);
        assert_eq!(
            tokens(".func\tf:\r\n"),
            [Token::Directive("func".into()), word("f"), Token::Punct(':'), Token::Newline]
        );
    }

    #[test]
    fn fractions_and_exponents_belong_to_a_number() {
        let number = |number: &str| Token::Number(number.to_owned());
        assert_eq!(
            tokens("1.5f64 1e-9f32 2E+3f64 0x1e-1 3.x"),
            [
                number("1.5f64"),
                number("1e-9f32"),
                number("2E+3f64"),
                number("0x1e"),
                Token::Punct('-'),
                number("1"),
                number("3"),
                Token::Directive("x".into()),
            ]
        );
    }

    #[test]
    fn escapes_become_their_bytes() {
        assert_eq!(
            tokens(r#""a\n\x00\xFF\u{1F600}\"""#),
            [Token::Text(b"a\n\0\xff\xf0\x9f\x98\x80\"".to_vec())]
        );
        assert_eq!(tokens(r"'\'' `a \` b`"), [Token::Char('\''), Token::Quoted("a ` b".into())]);
    }

    #[test]
    fn json_ends_with_its_bracket_or_scalar() {
        for (source, json) in [
            (" {\"a]\": [1, {\"}\": 2}]} POP", "{\"a]\": [1, {\"}\": 2}]}"),
            (" \"x \\\" y\" ; comment", "\"x \\\" y\""),
            (" 12.5\n", "12.5"),
            ("\n[\n1]\n", "[\n1]"),
            ("{\"open", "{\"open"),
        ] {
            assert_eq!(Lexer::new(source).json(0).0, json);
        }
    }
}
