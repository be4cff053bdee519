//! Continuation tokens: where a page of a result ended, so that the next begins behind it whatever
//! was inserted or deleted meanwhile.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::QueryError;

const VERSION: u8 = 1;
/// Longest token, bytes.
pub const MAX_TOKEN_BYTES: usize = 64 << 10;

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Of the query with its values.
    pub(crate) mark: [u8; 8],
    pub(crate) position: Position,
}

/// The last row of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// In the order of an index, or of the keys if there is none.
    Scan { index: Option<String>, reverse: bool, entry: Vec<u8>, key: Vec<u8> },
    /// The same in a union of ways: the names of all of them, and the number of the one.
    Union { indexes: Vec<Option<String>>, access: u32, entry: Vec<u8>, key: Vec<u8> },
    /// In the order that was asked for: the sort key, and the record's key or the group's.
    Sorted { sort_key: Vec<u8>, id: Vec<u8> },
}

impl Token {
    /// Its bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new(Vec::new());
        self.write(&mut out).expect("a vector takes everything that is written to it");
        out.into_writer()
    }

    fn write(
        &self,
        out: &mut Encoder<Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        match &self.position {
            Position::Scan { index, reverse, entry, key } => {
                out.array(6)?.u8(VERSION)?.bytes(&self.mark)?;
                match index {
                    None => out.null()?,
                    Some(name) => out.str(name)?,
                };
                out.bool(*reverse)?.bytes(entry)?.bytes(key)?;
            }
            Position::Union { indexes, access, entry, key } => {
                out.array(6)?.u8(VERSION)?.bytes(&self.mark)?.array(indexes.len() as u64)?;
                for index in indexes {
                    match index {
                        None => out.null()?,
                        Some(name) => out.str(name)?,
                    };
                }
                out.u32(*access)?.bytes(entry)?.bytes(key)?;
            }
            Position::Sorted { sort_key, id } => {
                out.array(4)?.u8(VERSION)?.bytes(&self.mark)?.bytes(sort_key)?.bytes(id)?;
            }
        }
        Ok(())
    }

    /// Reads what [`Token::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`QueryError::Token`] for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Token, QueryError> {
        if bytes.len() > MAX_TOKEN_BYTES {
            return Err(QueryError::Token(format!("it has {} bytes", bytes.len())));
        }
        let damaged = || QueryError::Token("it is damaged".to_owned());
        let token = Token::read(bytes).map_err(|_| damaged())?.ok_or_else(damaged)?;
        if token.to_bytes() == bytes { Ok(token) } else { Err(damaged()) }
    }

    fn read(bytes: &[u8]) -> Result<Option<Token>, minicbor::decode::Error> {
        let mut input = Decoder::new(bytes);
        let length = input.array()?;
        if input.u8()? != VERSION {
            return Ok(None);
        }
        let Ok(mark) = <[u8; 8]>::try_from(input.bytes()?) else { return Ok(None) };
        let position = match length {
            Some(6) if input.datatype()? == Type::Array => {
                let mut indexes = Vec::new();
                for _ in 0..input.array()?.unwrap_or(0) {
                    indexes.push(read_index(&mut input)?);
                }
                let access = input.u32()?;
                Position::Union {
                    indexes,
                    access,
                    entry: input.bytes()?.to_vec(),
                    key: input.bytes()?.to_vec(),
                }
            }
            Some(6) => {
                let index = read_index(&mut input)?;
                let reverse = input.bool()?;
                Position::Scan {
                    index,
                    reverse,
                    entry: input.bytes()?.to_vec(),
                    key: input.bytes()?.to_vec(),
                }
            }
            Some(4) => Position::Sorted { sort_key: input.bytes()?.to_vec(), id: input.bytes()?.to_vec() },
            _ => return Ok(None),
        };
        Ok(Some(Token { mark, position }))
    }

    /// As text of letters, digits, `-` and `_`.
    #[must_use]
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.to_bytes())
    }

    /// Reads what [`Token::to_text`] gave.
    ///
    /// # Errors
    /// [`QueryError::Token`] for any other text.
    pub fn from_text(text: &str) -> Result<Token, QueryError> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim());
        Token::from_bytes(&bytes.map_err(|_| QueryError::Token("it is damaged".to_owned()))?)
    }
}

fn read_index(input: &mut Decoder<'_>) -> Result<Option<String>, minicbor::decode::Error> {
    if input.datatype()? == Type::Null {
        input.null()?;
        return Ok(None);
    }
    Ok(Some(input.str()?.to_owned()))
}
