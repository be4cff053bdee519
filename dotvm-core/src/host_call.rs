//! Host calls: what `SYS` asks of the world outside, each described here once.
//!
//! A module lists the calls that it makes, by name and signature, and `SYS` names one by its index there. A reader
//! that does not know a call, or knows it with another signature, refuses the module; the capability of each is
//! checked when the module is linked, and again when it runs, because capabilities can be dropped.
//!
//! A row reads
//!
//! ```text
//! Variant "name" (Capability) "stack effect" "gas beyond that of SYS" "meaning";
//! ```

use bytes::Bytes;

use crate::capability::Capability;
use crate::module::Signature;
use crate::opcode::Effect;

macro_rules! host_calls {
    ($($variant:ident $name:literal ($($capability:ident)?) $effect:literal $gas:literal $meaning:literal;)*) => {
        /// A host call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum HostCall {
            $(#[doc = concat!("`", $name, "` `", $effect, "`: ", $meaning, ".")] $variant,)*
        }

        impl HostCall {
            /// All host calls, in the order of their description.
            pub const ALL: &'static [HostCall] = &[$(HostCall::$variant),*];

            /// The name in modules and assembly text.
            pub const fn name(self) -> &'static str {
                match self { $(HostCall::$variant => $name),* }
            }

            /// The capability it needs, if it needs one.
            pub const fn capability(self) -> Option<Capability> {
                match self { $(HostCall::$variant => host_calls!(@capability $($capability)?)),* }
            }

            /// The stack effect as documented.
            pub const fn effect_text(self) -> &'static str {
                match self { $(HostCall::$variant => $effect),* }
            }

            /// What it costs besides the static gas of SYS, for documentation.
            pub const fn gas_text(self) -> &'static str {
                match self { $(HostCall::$variant => $gas),* }
            }

            /// What it does.
            pub const fn meaning(self) -> &'static str {
                match self { $(HostCall::$variant => $meaning),* }
            }
        }
    };
    (@capability) => { None };
    (@capability $capability:ident) => { Some(Capability::$capability) };
}

host_calls! {
    ConsoleWrite "console.write" (ConsoleWrite) "[stream]{bytes} → []" "1 per 8 bytes" "write to stream 1, standard output, or 2, standard error; no transaction undoes it";
    ConsoleRead "console.read" (ConsoleRead) "[max] → {bytes}" "1 per 8 bytes asked for" "read standard input: at least one byte and at most max, or none at its end";
    ArgsGet "args.get" (Args) "[i] → {argument}" "1 per 8 bytes" "argument i of the command line, or null behind the last";
    FileOpen "file.open" (FileRead) "{path} → [file]" "a row over the path" "open a file at its start; its number, or 0 if there is none";
    FileCreate "file.create" (FileCreate) "{path} → [file]" "a row over the path, and one for each block emptied" "make an empty file, or empty one that is there, and open it";
    FileRead "file.read" (FileRead) "[file max] → {bytes}" "a row and one for each block, over the bytes" "read at most max bytes from the position on and move it; none at the end";
    FileWrite "file.write" (FileWrite) "[file]{bytes} → []" "a row and one for each block, over the bytes" "write at the position and move it; a gap behind the end is zeros";
    FileSeek "file.seek" () "[file position] → [old]" "none" "set the position and answer what it was";
    FileClose "file.close" () "[file] → []" "none" "close a file; all close with their transaction";
    FileStat "file.stat" (FileRead) "{path} → [found size]" "a row over the path" "whether there is such a file, and its size in bytes";
    FileList "file.list" (FileRead) "{prefix after} → {path}" "a row over both and the answer" "the first path behind `after` that begins with the prefix, or null";
    FileRemove "file.remove" (FileRemove) "{path} → [existed]" "a row over the path, and one for each block" "remove a file and close it where it is open";
    ClockWall "clock.wall" (Clock) "[] → [seconds nanoseconds]" "none" "time since 1970";
    ClockMonotonic "clock.monotonic" (Clock) "[] → [seconds nanoseconds]" "none" "time since the execution began, which never goes back";
    EntropyGet "entropy.get" (Entropy) "[n] → {bytes}" "1 per 8 bytes" "n random bytes, at most 65536";
    AuditDenied "audit.denied" () "[subject]{right action} → []" "1 per 8 bytes" "tell the audit log that the program kept a part of itself, known by a number, from an action for which it lacks a right";
}

/// Bytes of a block of a file: what is read and written at once.
pub const FILE_BLOCK_BYTES: u64 = 4096;
/// Longest file, bytes.
pub const MAX_FILE_BYTES: u64 = 16 << 20;
/// Longest path of a file, bytes.
pub const MAX_PATH_BYTES: usize = 255;
/// Files open at a time.
pub const MAX_OPEN_FILES: usize = 64;
/// Random bytes given at once.
pub const MAX_ENTROPY_BYTES: u64 = 65_536;

impl HostCall {
    /// The call with this name.
    pub fn from_name(name: &str) -> Option<HostCall> {
        HostCall::ALL.iter().copied().find(|call| call.name() == name)
    }

    /// The stack effect.
    pub const fn effect(self) -> Effect {
        Effect::parse(self.effect_text())
    }

    /// What it takes and leaves, as the module's table states it.
    pub const fn signature(self) -> Signature {
        let effect = self.effect();
        Signature {
            words_in: effect.words_in as u16,
            words_out: effect.words_out as u16,
            refs_in: effect.refs_in as u16,
            refs_out: effect.refs_out as u16,
        }
    }

    /// Whether it is about files.
    pub const fn is_file(self) -> bool {
        use HostCall::*;
        matches!(
            self,
            FileOpen
                | FileCreate
                | FileRead
                | FileWrite
                | FileSeek
                | FileClose
                | FileStat
                | FileList
                | FileRemove
        )
    }
}

/// Most words or references that a call takes.
pub const MAX_OPERANDS: usize = 2;

const _: () = {
    let mut index = 0;
    while index < HostCall::ALL.len() {
        let effect = HostCall::ALL[index].effect();
        assert!(effect.words_in as usize <= MAX_OPERANDS && effect.refs_in as usize <= MAX_OPERANDS);
        assert!(effect.words_out <= 2 && effect.refs_out <= 1, "an Answer holds no more");
        index += 1;
    }
};

/// What a host call leaves: of each kind as many as its signature says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Answer {
    /// Words.
    pub words: [u64; 2],
    /// Bytes, or null.
    pub bytes: Option<Bytes>,
}

impl Answer {
    /// One word.
    pub fn word(word: impl Into<u64>) -> Answer {
        Answer { words: [word.into(), 0], bytes: None }
    }

    /// Two words.
    pub fn pair(first: impl Into<u64>, second: impl Into<u64>) -> Answer {
        Answer { words: [first.into(), second.into()], bytes: None }
    }

    /// A reference.
    pub fn reference(bytes: Option<Bytes>) -> Answer {
        Answer { words: [0; 2], bytes }
    }
}

/// Whether a byte string is the path of a file: 1 to [`MAX_PATH_BYTES`] bytes, none of them zero.
pub fn is_path(path: &[u8]) -> bool {
    !path.is_empty() && path.len() <= MAX_PATH_BYTES && !path.contains(&0)
}

/// Number of blocks that the bytes from `start` on lie in.
pub const fn blocks(start: u64, bytes: u64) -> u64 {
    if bytes == 0 { 0 } else { (start + bytes - 1) / FILE_BLOCK_BYTES - start / FILE_BLOCK_BYTES + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_effects_are_counted() {
        for &call in HostCall::ALL {
            assert_eq!(HostCall::from_name(call.name()), Some(call));
            assert_eq!(call.is_file(), call.name().starts_with("file."));
        }
        assert_eq!(HostCall::from_name("file.open "), None);
        let read = Signature { words_in: 2, refs_out: 1, ..Signature::default() };
        assert_eq!(HostCall::FileRead.signature(), read);
        let stat = Signature { refs_in: 1, words_out: 2, ..Signature::default() };
        assert_eq!(HostCall::FileStat.signature(), stat);
    }

    #[test]
    fn bytes_lie_in_blocks() {
        assert_eq!(blocks(0, 0), 0);
        assert_eq!(blocks(4095, 1), 1);
        assert_eq!(blocks(4095, 2), 2);
        assert_eq!(blocks(4096, 4096), 1);
        assert_eq!(blocks(1, 8192), 3);
    }
}
