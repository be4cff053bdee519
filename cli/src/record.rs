//! A run written down: all that went into it and all that came out, as JSON. Recordings hold one with the module,
//! receipts one with a signature.

use std::time::Duration;

use bytes::Bytes;
use dotdb::commitment::Root;
use dotvm_arch::{W512, Width};
use dotvm_core::capability::{Capability, CapabilitySet};
use dotvm_core::env::Env;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{End, Invocation, Ref};
use dotvm_runtime::args::{parse_hex, parse_reference, parse_word};
use dotvm_runtime::{Event, Execution, Options, OutsideCall, Program, Stream, show};
use serde::{Deserialize, Serialize};

/// A byte string: `0x` and hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HexBytes(pub Bytes);

impl From<HexBytes> for String {
    fn from(bytes: HexBytes) -> String {
        format!("0x{}", show::hex(&bytes.0))
    }
}

impl TryFrom<String> for HexBytes {
    type Error = String;

    fn try_from(text: String) -> Result<HexBytes, String> {
        let digits = text.strip_prefix("0x").ok_or("bytes begin with 0x")?;
        if digits.contains(|c: char| c.is_ascii_uppercase()) {
            return Err("hexadecimal digits are in lower case".to_owned());
        }
        Ok(HexBytes(parse_hex(digits)?.into()))
    }
}

impl HexBytes {
    fn of(bytes: &[u8]) -> HexBytes {
        HexBytes(Bytes::copy_from_slice(bytes))
    }
}

/// A number of up to 512 bits in decimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Number(pub W512);

impl From<Number> for String {
    fn from(number: Number) -> String {
        number.0.to_string()
    }
}

impl TryFrom<String> for Number {
    type Error = String;

    fn try_from(text: String) -> Result<Number, String> {
        let number = parse_word(&text, Width::W512).map_err(|error| error.to_string())?;
        if number.to_string() == text {
            Ok(Number(number))
        } else {
            Err(format!("{text:?} is no decimal number"))
        }
    }
}

/// A capability, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CapabilityName(Capability);

impl From<CapabilityName> for String {
    fn from(name: CapabilityName) -> String {
        name.0.name().to_owned()
    }
}

impl TryFrom<String> for CapabilityName {
    type Error = String;

    fn try_from(name: String) -> Result<CapabilityName, String> {
        Capability::from_name(&name)
            .map(CapabilityName)
            .ok_or_else(|| format!("there is no capability {name:?}"))
    }
}

/// A run: what went in, and what came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Hash of the module.
    pub module: HexBytes,
    /// The name that the state is kept under.
    pub contract: String,
    /// Index of the function.
    pub function: u32,
    /// Word arguments.
    pub words: Vec<Number>,
    /// Reference arguments.
    pub refs: Vec<RefRecord>,
    /// Bounds.
    pub limits: LimitsRecord,
    /// What ENV reads.
    pub environment: EnvironmentRecord,
    /// The capabilities granted.
    pub capabilities: Vec<CapabilityName>,
    /// The public keys of which one must have signed a contract that is called; without them any may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signers: Option<Vec<HexBytes>>,
    /// The files carried in.
    pub files: Vec<FileRecord>,
    /// What was asked of the outside, and its answers.
    pub calls: Vec<CallRecord>,
    /// The version of the state before.
    pub version: u64,
    /// The root of the state before: 64 hexadecimal digits.
    pub root_before: String,
    /// How it ended.
    pub end: EndRecord,
    /// Gas used.
    pub gas_used: u64,
    /// Guest gas used.
    pub guest_gas_used: u64,
    /// Number of keys whose change was kept.
    pub changed_keys: u64,
    /// [`events_hash`] of the events kept.
    pub events: HexBytes,
    /// The root of the state after.
    pub root_after: String,
}

/// Bounds of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsRecord {
    gas: u64,
    guest_gas: u64,
    memory_pages: u64,
    call_depth: u32,
    stack_words: u32,
    stack_refs: u32,
    heap_bytes: u64,
    contract_depth: u32,
    tasks: u32,
    mailbox: u32,
}

/// What ENV reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentRecord {
    caller: Number,
    value: Number,
    height: u64,
    time: u64,
    chain: u64,
    input: HexBytes,
    seed: HexBytes,
}

/// A file carried in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    path: HexBytes,
    contents: HexBytes,
}

/// Something asked of the outside, under the name of the host call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", deny_unknown_fields)]
pub enum CallRecord {
    /// Bytes written to stream 1 or 2.
    #[serde(rename = "console.write")]
    Write { stream: u8, bytes: HexBytes },
    /// Bytes read.
    #[serde(rename = "console.read")]
    Read { max: u32, bytes: HexBytes },
    /// An argument.
    #[serde(rename = "args.get")]
    Argument { index: u64, argument: Option<HexBytes> },
    /// Time since 1970.
    #[serde(rename = "clock.wall")]
    Wall { seconds: u64, nanoseconds: u32 },
    /// Time since the execution began.
    #[serde(rename = "clock.monotonic")]
    Monotonic { seconds: u64, nanoseconds: u32 },
    /// Random bytes.
    #[serde(rename = "entropy.get")]
    Entropy { bytes: HexBytes },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum EndRecord {
    /// The function returned.
    Returned { words: Vec<Number>, refs: Vec<RefRecord> },
    /// HALT.
    Halted { code: Number, result: RefRecord },
    /// A trap.
    Trapped { trap: String, function: u32, offset: u32 },
}

/// A reference: null, bytes as `0x` and hexadecimal digits, `int:…` or `cell:[…]` as arguments are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Option<String>", into = "Option<String>")]
pub struct RefRecord(Ref);

impl From<RefRecord> for Option<String> {
    fn from(record: RefRecord) -> Option<String> {
        match record.0 {
            Ref::Null => None,
            Ref::Bytes(bytes) => Some(HexBytes(bytes).into()),
            reference => Some(show::reference(&reference)),
        }
    }
}

impl TryFrom<Option<String>> for RefRecord {
    type Error = String;

    fn try_from(text: Option<String>) -> Result<RefRecord, String> {
        let Some(text) = text else { return Ok(RefRecord(Ref::Null)) };
        let reference = match text.starts_with("int:") || text.starts_with("cell:") {
            true => parse_reference(&text).map_err(|error| error.to_string())?,
            false => Ref::Bytes(HexBytes::try_from(text.clone())?.0),
        };
        let record = RefRecord(reference);
        if Option::from(record.clone()) == Some(text) {
            Ok(record)
        } else {
            Err("a reference is not written in its one form".to_owned())
        }
    }
}

/// References that can be written down.
fn references(references: &[Ref]) -> Result<Vec<RefRecord>, String> {
    references
        .iter()
        .map(|reference| match reference {
            Ref::Cell(_) if show::reference(reference).ends_with('…') => {
                Err("a cell of over a megabyte cannot be written down".to_owned())
            }
            _ => Ok(RefRecord(reference.clone())),
        })
        .collect()
}

/// The hash of a list of events: BLAKE3 over the events one behind the other, each as the number of its topics (4
/// bytes), the topics (64 bytes each), the length of its data (8 bytes) and the data; numbers are big-endian.
pub fn events_hash(events: &[Event]) -> HexBytes {
    let mut hasher = blake3::Hasher::new();
    for event in events {
        hasher.update(&(event.topics.len() as u32).to_be_bytes());
        for topic in &event.topics {
            hasher.update(&topic.to_be_bytes::<64>());
        }
        hasher.update(&(event.data.len() as u64).to_be_bytes());
        hasher.update(&event.data);
    }
    HexBytes::of(hasher.finalize().as_bytes())
}

impl RunRecord {
    /// Writes down a run that has come to its end, with the roots of the state before and after it.
    ///
    /// # Errors
    /// A sentence: something is too large.
    pub fn new(
        program: &Program,
        contract: &str,
        invocation: &Invocation,
        options: &Options,
        calls: &[OutsideCall],
        execution: &Execution,
        roots: (Root, Root),
    ) -> Result<RunRecord, String> {
        let Limits {
            gas,
            memory_pages,
            call_depth,
            stack_words,
            stack_refs,
            guest_gas,
            heap_bytes,
            contract_depth,
            tasks,
            mailbox,
        } = options.limits;
        let Env { caller, value, height, time, chain, contract: _, input, seed } = &options.env;
        let numbers = |words: &[W512]| words.iter().copied().map(Number).collect();
        Ok(RunRecord {
            module: HexBytes::of(program.hash()),
            contract: contract.to_owned(),
            function: invocation.function,
            words: numbers(&invocation.words),
            refs: references(&invocation.refs)?,
            limits: LimitsRecord {
                gas,
                guest_gas,
                memory_pages,
                call_depth,
                stack_words,
                stack_refs,
                heap_bytes,
                contract_depth,
                tasks,
                mailbox,
            },
            environment: EnvironmentRecord {
                caller: Number(*caller),
                value: Number(*value),
                height: *height,
                time: *time,
                chain: *chain,
                input: HexBytes(input.clone()),
                seed: HexBytes::of(seed),
            },
            capabilities: options.granted.iter().map(CapabilityName).collect(),
            signers: options.signers.as_ref().map(|keys| keys.iter().map(|key| HexBytes::of(key)).collect()),
            files: options
                .files
                .iter()
                .map(|(path, contents)| FileRecord {
                    path: HexBytes(path.clone()),
                    contents: HexBytes(contents.clone()),
                })
                .collect(),
            calls: calls.iter().map(CallRecord::new).collect(),
            version: execution.version_before,
            root_before: roots.0.to_string(),
            end: match &execution.outcome.end {
                End::Return { words, refs } => {
                    EndRecord::Returned { words: numbers(words), refs: references(refs)? }
                }
                End::Halt { code, result } => EndRecord::Halted {
                    code: Number(*code),
                    result: references(std::slice::from_ref(result))?.remove(0),
                },
                End::Trap(trap) => EndRecord::Trapped {
                    trap: trap.kind.name().to_owned(),
                    function: trap.function,
                    offset: trap.offset,
                },
            },
            gas_used: execution.outcome.gas_used,
            guest_gas_used: execution.outcome.guest_gas_used,
            changed_keys: execution.changed_keys,
            events: events_hash(&execution.events),
            root_after: roots.1.to_string(),
        })
    }

    /// The call that was run.
    pub fn invocation(&self) -> Invocation {
        Invocation {
            function: self.function,
            words: self.words.iter().map(|word| word.0).collect(),
            refs: self.refs.iter().map(|record| record.0.clone()).collect(),
        }
    }

    /// What the host gave, but for the outside.
    ///
    /// # Errors
    /// A sentence: the seed has another length than 32 bytes.
    pub fn options(&self) -> Result<Options, String> {
        let LimitsRecord {
            gas,
            guest_gas,
            memory_pages,
            call_depth,
            stack_words,
            stack_refs,
            heap_bytes,
            contract_depth,
            tasks,
            mailbox,
        } = self.limits;
        let environment = &self.environment;
        let seed = environment.seed.0[..].try_into().map_err(|_| "the seed has not 32 bytes".to_owned())?;
        let key = |key: &HexBytes| key.0[..].try_into().map_err(|_| "a key has not 32 bytes".to_owned());
        let signers = self.signers.as_ref().map(|keys| keys.iter().map(key).collect::<Result<_, String>>());
        Ok(Options {
            signers: signers.transpose()?,
            limits: Limits {
                gas,
                memory_pages,
                call_depth,
                stack_words,
                stack_refs,
                guest_gas,
                heap_bytes,
                contract_depth,
                tasks,
                mailbox,
            },
            env: Env {
                caller: environment.caller.0,
                value: environment.value.0,
                height: environment.height,
                time: environment.time,
                chain: environment.chain,
                contract: Bytes::new(),
                input: environment.input.0.clone(),
                seed,
            },
            granted: self.capabilities.iter().map(|name| name.0).collect::<CapabilitySet>(),
            files: self.files.iter().map(|file| (file.path.0.clone(), file.contents.0.clone())).collect(),
            retries: 0,
            ..Options::default()
        })
    }

    /// What was asked of the outside.
    ///
    /// # Errors
    /// A sentence: a stream that does not exist, a time that is none.
    pub fn outside_calls(&self) -> Result<Vec<OutsideCall>, String> {
        self.calls.iter().map(CallRecord::call).collect()
    }

    /// The fields in which another run differs, each with both values as JSON.
    pub fn differences(&self, other: &RunRecord) -> Vec<Difference> {
        let fields = |record| match serde_json::to_value(record) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let (ours, theirs) = (fields(self), fields(other));
        ours.into_iter()
            .filter_map(|(field, recorded)| {
                let again = theirs.get(&field).cloned().unwrap_or_default();
                (recorded != again).then_some(Difference { field, recorded, again })
            })
            .collect()
    }
}

/// A field in which a run differs from what was written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its name.
    pub field: String,
    /// What was written down.
    pub recorded: serde_json::Value,
    /// What came out this time.
    pub again: serde_json::Value,
}

/// Longest value that a message shows.
const SHOWN_CHARS: usize = 80;

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |value: &serde_json::Value| {
            let text = value.to_string();
            match text.char_indices().nth(SHOWN_CHARS) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        };
        write!(f, "{}: {} was recorded, now it is {}", self.field, short(&self.recorded), short(&self.again))
    }
}

impl CallRecord {
    fn new(call: &OutsideCall) -> CallRecord {
        let parts = |time: &Duration| (time.as_secs(), time.subsec_nanos());
        match call {
            OutsideCall::Write(stream, bytes) => CallRecord::Write {
                stream: match stream {
                    Stream::Output => 1,
                    Stream::Error => 2,
                },
                bytes: HexBytes(bytes.clone()),
            },
            // At most the longest byte string.
            OutsideCall::Read(max, bytes) => {
                CallRecord::Read { max: *max as u32, bytes: HexBytes(bytes.clone()) }
            }
            OutsideCall::Argument(index, argument) => {
                CallRecord::Argument { index: *index, argument: argument.clone().map(HexBytes) }
            }
            OutsideCall::Wall(time) => {
                let (seconds, nanoseconds) = parts(time);
                CallRecord::Wall { seconds, nanoseconds }
            }
            OutsideCall::Monotonic(time) => {
                let (seconds, nanoseconds) = parts(time);
                CallRecord::Monotonic { seconds, nanoseconds }
            }
            OutsideCall::Entropy(bytes) => CallRecord::Entropy { bytes: HexBytes(bytes.clone()) },
        }
    }

    fn call(&self) -> Result<OutsideCall, String> {
        let time = |seconds: u64, nanoseconds: u32| match nanoseconds {
            0..1_000_000_000 => Ok(Duration::new(seconds, nanoseconds)),
            _ => Err("a second has 1000000000 nanoseconds".to_owned()),
        };
        Ok(match self {
            CallRecord::Write { stream: 1, bytes } => OutsideCall::Write(Stream::Output, bytes.0.clone()),
            CallRecord::Write { stream: 2, bytes } => OutsideCall::Write(Stream::Error, bytes.0.clone()),
            CallRecord::Write { stream, .. } => return Err(format!("there is no stream {stream}")),
            CallRecord::Read { max, bytes } => OutsideCall::Read(*max as usize, bytes.0.clone()),
            CallRecord::Argument { index, argument } => {
                OutsideCall::Argument(*index, argument.as_ref().map(|argument| argument.0.clone()))
            }
            CallRecord::Wall { seconds, nanoseconds } => OutsideCall::Wall(time(*seconds, *nanoseconds)?),
            CallRecord::Monotonic { seconds, nanoseconds } => {
                OutsideCall::Monotonic(time(*seconds, *nanoseconds)?)
            }
            CallRecord::Entropy { bytes } => OutsideCall::Entropy(bytes.0.clone()),
        })
    }
}
