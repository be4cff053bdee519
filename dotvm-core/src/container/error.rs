//! Why bytes are no module, and why a module has no bytes.

use std::fmt;

use super::layout::{Section, VERSION_MAJOR, VERSION_MINOR, flags};
use crate::gas;

/// Why bytes are refused as a module file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (at byte {offset}{})", Place(*section))]
pub struct ReadError {
    /// Where in the file, in bytes from its start.
    pub offset: usize,
    /// The section it is in, if it is in one.
    pub section: Option<Section>,
    /// What is wrong.
    pub kind: ReadErrorKind,
}

struct Place(Option<Section>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(section) => write!(f, ", in the section `{section}`"),
            None => Ok(()),
        }
    }
}

/// What is wrong with the bytes of a module file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadErrorKind {
    /// The file is larger than [`FILE_BYTES`](crate::limits::module::FILE_BYTES).
    #[error("the file has {bytes} bytes, more than the limit of {max}")]
    FileTooLarge {
        /// Bytes of the file.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The file does not start with the magic.
    #[error("this is not a DotVM module: {}", Start(start))]
    NotAModule {
        /// The first bytes of the file, at most four.
        start: Vec<u8>,
    },
    /// The format version is not the one this build reads.
    #[error("{}", version_sentence(*major, *minor))]
    Version {
        /// Major version of the file.
        major: u16,
        /// Minor version of the file.
        minor: u16,
    },
    /// The header sets flags: the module is in an envelope, see [`open`](super::open).
    #[error("the module is sealed and must be opened first: it has {}", Flags(*flags))]
    Flags {
        /// The flags, see [`flags`].
        flags: u16,
    },
    /// The file ends before what it promises to hold.
    #[error("the file is cut short: it has {bytes} of the {needed} bytes that its {what} promises")]
    FileTruncated {
        /// What asks for more.
        what: &'static str,
        /// Bytes of the file.
        bytes: usize,
        /// Bytes it needs.
        needed: u64,
    },
    /// The hash in the header is not that of the bytes.
    #[error("the checksum does not match: the file is damaged or was changed")]
    Checksum,
    /// No arch has this word width.
    #[error("words of {bits} bits are unknown: the widths are 32, 64, 128, 256 and 512")]
    Width {
        /// The width in the header.
        bits: u16,
    },
    /// The gas schedule is not the one this build charges by.
    #[error("the module is made for gas schedule {number}, but this build has schedule {}", gas::SCHEDULE)]
    GasSchedule {
        /// The schedule in the header.
        number: u16,
    },
    /// A reserved byte is not zero.
    #[error("a reserved byte is 0x{byte:02x} instead of zero")]
    Reserved {
        /// The byte.
        byte: u8,
    },
    /// No section has this kind.
    #[error("the section table lists the unknown section kind {code}")]
    UnknownSection {
        /// The kind in the section table.
        code: u16,
    },
    /// Two sections have the same kind.
    #[error("the section `{section}` is there twice")]
    DuplicateSection {
        /// The kind.
        section: Section,
    },
    /// The sections are not in ascending order.
    #[error("the section `{section}` stands behind `{previous}`, but belongs before it")]
    SectionOrder {
        /// The later section.
        section: Section,
        /// The section before it.
        previous: Section,
    },
    /// A section does not start where the one before it ends.
    #[error("the section `{section}` is said to start at byte {found}, but belongs at byte {expected}")]
    SectionPlace {
        /// The section.
        section: Section,
        /// Where the section table places it.
        found: u32,
        /// Where it belongs.
        expected: usize,
    },
    /// A section that holds nothing is there.
    #[error("the section `{section}` holds nothing and must be left out")]
    EmptySection {
        /// The section.
        section: Section,
    },
    /// A section ends inside one of its parts.
    #[error("the section ends inside the field `{what}`")]
    SectionTruncated {
        /// The field.
        what: &'static str,
    },
    /// Bytes follow the last part of a section, or the last section.
    #[error("{} too many follow the end of the {what}", Bytes(*bytes))]
    TrailingBytes {
        /// What they follow.
        what: &'static str,
        /// How many.
        bytes: usize,
    },
    /// A count is over its limit.
    #[error("{count} {what} are more than the limit of {max}")]
    CountOverLimit {
        /// What is counted.
        what: &'static str,
        /// The count.
        count: u64,
        /// The limit.
        max: u64,
    },
    /// A count or a length is more than the bytes left in the section can hold.
    #[error("{count} {what} do not fit the rest of the section, which has {}", Bytes(*left))]
    CountOverBytes {
        /// What is counted.
        what: &'static str,
        /// The count.
        count: u64,
        /// Bytes left.
        left: usize,
    },
    /// The debug section holds more than [`DEBUG_NAMES`](super::DEBUG_NAMES) names.
    #[error("there are more than {max} names")]
    TooManyDebugNames {
        /// The limit.
        max: usize,
    },
    /// A number has more bytes than it needs.
    #[error("the field `{what}` is encoded in more bytes than it needs")]
    NotMinimal {
        /// The field.
        what: &'static str,
    },
    /// A number is greater than its field holds.
    #[error("the field `{what}` is greater than {max}")]
    NumberTooLarge {
        /// The field.
        what: &'static str,
        /// The greatest number the field holds.
        max: u64,
    },
    /// A word constant or global does not fit the module's words.
    #[error("the field `{what}` has {bytes} bytes and does not fit a word of {bits} bits")]
    WordTooWide {
        /// The field.
        what: &'static str,
        /// Its length.
        bytes: u64,
        /// The module's word width.
        bits: u32,
    },
    /// A name is longer than [`NAME_BYTES`](crate::limits::module::NAME_BYTES).
    #[error("the field `{what}` has {bytes} bytes, more than the limit of {max}")]
    NameTooLong {
        /// The field.
        what: &'static str,
        /// Its length.
        bytes: u64,
        /// The limit.
        max: usize,
    },
    /// A name is not UTF-8.
    #[error("the field `{what}` is not valid UTF-8")]
    InvalidUtf8 {
        /// The field.
        what: &'static str,
    },
    /// No host call has this name.
    #[error("this build knows no host call `{name}`")]
    UnknownHostCall {
        /// The name.
        name: String,
    },
    /// A host call has another signature than this build's.
    #[error("the host call `{name}` has another signature than this build's, which is `{expected}`")]
    HostCallSignature {
        /// The name.
        name: String,
        /// Its stack effect here.
        expected: &'static str,
    },
    /// A byte that stands for one of a few meanings has none.
    #[error("0x{byte:02x} is no {what}")]
    UnknownCode {
        /// What the byte should be.
        what: &'static str,
        /// The byte.
        byte: u8,
    },
}

struct Bytes(usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, if self.0 == 1 { "byte" } else { "bytes" })
    }
}

struct Start<'a>(&'a [u8]);

impl fmt::Display for Start<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "the file is empty");
        }
        write!(f, "it starts with")?;
        self.0.iter().try_for_each(|byte| write!(f, " {byte:02x}"))?;
        write!(f, " and not with `DOTV`")
    }
}

struct Flags(u16);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (flags::COMPRESSED, "compression"),
            (flags::ENCRYPTED, "encryption"),
            (flags::SIGNED, "signatures"),
        ];
        let mut separator = "";
        for (flag, name) in names {
            if self.0 & flag != 0 {
                write!(f, "{separator}{name}")?;
                separator = ", ";
            }
        }
        let unknown = names.iter().fold(self.0, |rest, (flag, _)| rest & !flag);
        if unknown != 0 {
            write!(f, "{separator}unknown flags 0x{unknown:04x}")?;
        }
        Ok(())
    }
}

fn version_sentence(major: u16, minor: u16) -> String {
    let supported = format!("{VERSION_MAJOR}.{VERSION_MINOR}");
    if (major, minor) > (VERSION_MAJOR, VERSION_MINOR) {
        format!(
            "the module has format version {major}.{minor}, newer than this build reads, which is {supported}"
        )
    } else {
        format!("the module has format version {major}.{minor}, but this build reads only {supported}")
    }
}

/// Why a module cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the module cannot be written: {kind}{}", Place(*section))]
pub struct WriteError {
    /// The section it would be in, if it would be in one.
    pub section: Option<Section>,
    /// What is wrong.
    pub kind: WriteErrorKind,
}

/// What keeps a module from having bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteErrorKind {
    /// The file would be larger than [`FILE_BYTES`](crate::limits::module::FILE_BYTES).
    #[error("it takes more than the limit of {max} bytes")]
    FileTooLarge {
        /// The limit.
        max: usize,
    },
    /// The entry is the number that stands for none.
    #[error("function {0} cannot be the entry", u32::MAX)]
    Entry,
    /// A count is over its limit.
    #[error("{count} {what} are more than the limit of {max}")]
    CountOverLimit {
        /// What is counted.
        what: &'static str,
        /// The count.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// The debug section would hold more than [`DEBUG_NAMES`](super::DEBUG_NAMES) names.
    #[error("there are more than {max} names")]
    TooManyDebugNames {
        /// The limit.
        max: usize,
    },
    /// A word constant or global does not fit the module's words.
    #[error("{what} {index} does not fit a word of {bits} bits")]
    WordTooWide {
        /// What the word is.
        what: &'static str,
        /// Its index.
        index: usize,
        /// The module's word width.
        bits: u32,
    },
    /// A name is longer than [`NAME_BYTES`](crate::limits::module::NAME_BYTES).
    #[error("the field `{what}` has {bytes} bytes, more than the limit of {max}")]
    NameTooLong {
        /// The field.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Offsets of lines or labels descend.
    #[error("{what} are not in ascending order of their offsets")]
    Order {
        /// What is out of order.
        what: &'static str,
    },
}
