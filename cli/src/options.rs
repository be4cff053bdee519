//! Options that several commands share.

use std::sync::Arc;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use clap::{Args, ValueEnum, ValueHint};
use dotdb::{Database, Durability, Store};
use dotvm_arch::{W512, Width};
use dotvm_core::capability::{Capability, CapabilitySet};
use dotvm_core::env::Env;
use dotvm_core::gas::Gas;
use dotvm_core::limits::{Limits, heap};
use dotvm_core::outcome::Ref;
use dotvm_nock_machine::Bounds;
use dotvm_runtime::Options;
use dotvm_runtime::args::{parse_hex, parse_reference, parse_word};
use dotvm_transpiler::FRONTENDS;
use dotvm_transpiler::frontend::Frontend;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::outside::OutsideOptions;
use crate::receipt::RecordOptions;
use crate::store::{self, Access, StoreUrl};

/// `--arch`.
#[derive(Args)]
pub struct ArchOption {
    /// Word width in bits for source that fixes none: 32, 64, 128, 256 or 512
    #[arg(long, value_name = "BITS", value_parser = parse_width)]
    pub arch: Option<Width>,
}

/// Reads a width.
pub fn parse_width(text: &str) -> Result<Width, String> {
    text.parse().map_err(|error: dotvm_arch::ParseWidthError| error.to_string())
}

/// `--db`, where it must be given.
#[derive(Args)]
pub struct StoreOption {
    /// The store: a path, redb:PATH (the default for a new one), rocksdb:PATH (in builds that have it), sled:PATH
    /// (weaker: 1 of 400 simulated power cuts lost acknowledged commits), or mem: for memory
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    db: StoreUrl,

    #[command(flatten)]
    wait: WaitOption,
}

impl StoreOption {
    /// Opens the store.
    pub fn open(&self, access: Access) -> Result<Database, Failure> {
        store::open(&self.db, access, self.wait.wait)
    }

    /// Opens the store without looking for a database in it.
    pub fn open_store(&self, access: Access) -> Result<Arc<dyn Store>, Failure> {
        store::open_store(&self.db, access, self.wait.wait)
    }

    /// Whether there is no store yet.
    pub fn is_new(&self) -> Result<bool, Failure> {
        store::is_new(&self.db)
    }

    /// The store's name.
    pub fn url(&self) -> &StoreUrl {
        &self.db
    }

    /// How long to wait while another process holds the store.
    pub fn wait(&self) -> Duration {
        self.wait.wait
    }
}

/// `--wait`.
#[derive(Args)]
pub struct WaitOption {
    /// How long to wait while another process holds the store
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = parse_seconds)]
    pub wait: Duration,
}

/// Reads a number of seconds.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "this is not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "this is not a time that can be waited".to_owned())
}

/// When a commit is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DurabilityOption {
    Sync,
    Group,
    None,
}

impl From<DurabilityOption> for Durability {
    fn from(option: DurabilityOption) -> Durability {
        match option {
            DurabilityOption::Sync => Durability::Sync,
            DurabilityOption::Group => Durability::Group,
            DurabilityOption::None => Durability::None,
        }
    }
}

/// Most pages that a program may be given: 4 GiB.
const MAX_PAGES: u64 = 65_536;

/// Help of an option that is not always as it is by default.
fn by_default(help: &str, value: impl std::fmt::Display) -> String {
    format!("{help} [default: {value}]")
}

/// Limits, environment and rights of an execution.
#[derive(Args)]
pub struct ExecutionOptions {
    #[arg(long, value_name = "N", help = by_default("Gas limit", Limits::default().gas), value_parser = clap::value_parser!(u64).range(..=Gas::MAX), help_heading = "Limits")]
    gas: Option<u64>,

    /// Guest gas that METER takes from
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Limits")]
    guest_gas: u64,

    /// Linear memory, in pages of 64 KiB, at most 65536
    #[arg(long, value_name = "PAGES", value_parser = clap::value_parser!(u64).range(..=MAX_PAGES), default_value_t = Limits::default().memory_pages, help_heading = "Limits")]
    memory: u64,

    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(..=heap::BYTES), help = by_default("Managed heap, in bytes", Limits::default().heap_bytes), help_heading = "Limits")]
    heap: Option<u64>,

    #[arg(long, value_name = "N", help = by_default("Nested calls", Limits::default().call_depth), help_heading = "Limits")]
    depth: Option<u32>,

    /// Processes and threads at a time, the first task included
    #[arg(long, value_name = "N", default_value_t = Limits::default().tasks, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Limits")]
    tasks: u32,

    /// Messages that wait in a task's mailbox
    #[arg(long, value_name = "N", default_value_t = Limits::default().mailbox, help_heading = "Limits")]
    mailbox: u32,

    /// Contracts that wait for each other, the first one included
    #[arg(long, value_name = "N", default_value_t = Limits::default().contract_depth, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Limits")]
    contract_depth: u32,

    /// Grant a capability besides the default ones (can be repeated); all grants every one, none takes the default
    /// ones back [default: all but clock and entropy, which make runs differ]. To a program of another machine those
    /// that the machine itself has, by its names [default: none]
    #[arg(long, value_name = "CAP", value_parser = grant(), help_heading = "Capabilities")]
    cap: Vec<Grant>,

    /// Do not grant a capability (can be repeated)
    #[arg(long, value_name = "CAP", value_parser = capability(), help_heading = "Capabilities")]
    deny: Vec<Capability>,

    #[command(flatten)]
    pub outside: OutsideOptions,

    #[command(flatten)]
    pub records: RecordOptions,

    /// Who calls, as a number
    #[arg(long, value_name = "WORD", default_value = "0", value_parser = parse_wide, help_heading = "Environment")]
    caller: W512,

    /// Amount sent along
    #[arg(long, value_name = "WORD", default_value = "0", value_parser = parse_wide, help_heading = "Environment")]
    value: W512,

    /// Input bytes: text, 0x…, @FILE or text:…
    #[arg(
        long,
        value_name = "BYTES",
        default_value = "",
        hide_default_value = true,
        help_heading = "Environment"
    )]
    input: String,

    /// Height of the history
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Environment")]
    height: u64,

    /// Time in seconds since 1970; the clock is never read
    #[arg(long, value_name = "SECONDS", default_value_t = 0, help_heading = "Environment")]
    time: u64,

    /// Identifier of the history
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Environment")]
    chain: u64,

    /// Seed: 0x and 64 hexadecimal digits [default: zeros]
    #[arg(long, value_name = "HEX", value_parser = parse_seed, help_heading = "Environment")]
    seed: Option<[u8; 32]>,

    /// When a commit is acknowledged: sync is once it survives a power cut, group is the same but waits half a
    /// millisecond for others to share the flush, none is at once
    #[arg(long, value_name = "WHEN", value_enum, default_value = "sync")]
    durability: DurabilityOption,

    /// How often to begin again when other transactions changed what this one has read
    #[arg(long, value_name = "N", default_value_t = Options::default().retries)]
    retries: u32,
}

impl ExecutionOptions {
    /// The words by which a translated program gets the capabilities of its machine that are granted.
    pub fn guest_capabilities(&self, frontend: &dyn Frontend) -> Result<Vec<u64>, Failure> {
        let usage = |sentence: String| Failure::new(Exit::Usage, sentence);
        let mut names = Vec::new();
        for grant in &self.cap {
            match grant {
                Grant::Guest(name) if frontend.capabilities().contains(name) => {
                    names.push((*name).to_owned())
                }
                Grant::Guest(name) => {
                    return Err(usage(format!("{} has no capability {name}", frontend.name())));
                }
                Grant::All if !frontend.capabilities().is_empty() => names.push("ALL".to_owned()),
                Grant::All | Grant::None | Grant::One(_) => {}
            }
        }
        frontend.arguments(&names).map_err(usage)
    }

    /// The capabilities granted to a translated program: on a machine that has its own, `all` and `none` mean those.
    pub fn granted_to_guest(&self, frontend: &dyn Frontend) -> CapabilitySet {
        if frontend.capabilities().is_empty() { self.granted() } else { self.granted_but(false) }
    }

    /// The capabilities granted. The order of the options has no meaning.
    fn granted(&self) -> CapabilitySet {
        self.granted_but(true)
    }

    /// The same; `all` and `none` count only if `wholesale`.
    fn granted_but(&self, wholesale: bool) -> CapabilitySet {
        let holds = |grant: Grant| wholesale && self.cap.contains(&grant);
        let mut granted = match (holds(Grant::All), holds(Grant::None)) {
            (true, _) => CapabilitySet::all(),
            (false, true) => CapabilitySet::NONE,
            (false, false) => CapabilitySet::defaults(),
        };
        for grant in &self.cap {
            if let Grant::One(capability) = grant {
                granted.insert(*capability);
            }
        }
        for &capability in &self.deny {
            granted.remove(capability);
        }
        granted
    }

    /// What a run of Nock may use.
    ///
    /// # Errors
    /// Options that say nothing to such a run, each with why.
    pub fn bounds(&self) -> Result<Bounds, Failure> {
        let limits = Limits::default();
        let is_zero = |word: &W512| *word == W512::ZERO;
        let has_env = !is_zero(&self.caller)
            || !is_zero(&self.value)
            || !self.input.is_empty()
            || self.height != 0
            || self.time != 0
            || self.chain != 0
            || self.seed.is_some();
        let refused = [
            (
                self.memory != limits.memory_pages,
                "--memory: it has no linear memory, --heap limits its nouns",
            ),
            (self.guest_gas != 0, "--guest-gas: it has no METER"),
            (
                self.tasks != limits.tasks || self.mailbox != limits.mailbox,
                "--tasks, --mailbox: it has one task",
            ),
            (self.contract_depth != limits.contract_depth, "--contract-depth: it calls no contract"),
            (
                !self.cap.is_empty() || !self.deny.is_empty(),
                "--cap, --deny: it can do nothing that has to be granted",
            ),
            (has_env, "--caller, --value, --input, --height, --time, --chain, --seed: it has no environment"),
            (
                self.outside.is_on(),
                "--stdin, --argv, --file, --file-out: nothing of the outside is within its reach",
            ),
            (self.records.is_on(), "--record, --receipt: the jam and its product are the record"),
        ];
        if let Some((_, which)) = refused.iter().find(|(is_given, _)| *is_given) {
            let (options, why) = which.split_once(": ").unwrap_or((which, ""));
            return Err(Failure::new(Exit::Usage, format!("a run of Nock takes no {options}: {why}")));
        }
        let bounds = Bounds::default();
        Ok(Bounds {
            max_memory: self.heap.unwrap_or(bounds.max_memory),
            max_computation: self.gas.unwrap_or(bounds.max_computation),
            max_stack_depth: self.depth.unwrap_or(bounds.max_stack_depth),
        })
    }

    /// The options as the runtime takes them.
    pub fn runtime(&self) -> Result<Options, Failure> {
        let Ref::Bytes(input) = parse_reference(&self.input)? else {
            return Err(Failure::new(Exit::Usage, "the input is bytes, not null, an integer or a cell"));
        };
        Ok(Options {
            limits: Limits {
                gas: self.gas.unwrap_or(Limits::default().gas),
                guest_gas: self.guest_gas,
                memory_pages: self.memory,
                heap_bytes: self.heap.unwrap_or(Limits::default().heap_bytes),
                call_depth: self.depth.unwrap_or(Limits::default().call_depth),
                tasks: self.tasks,
                mailbox: self.mailbox,
                contract_depth: self.contract_depth,
                ..Limits::default()
            },
            env: Env {
                caller: self.caller,
                value: self.value,
                height: self.height,
                time: self.time,
                chain: self.chain,
                input,
                seed: self.seed.unwrap_or_default(),
                ..Env::default()
            },
            granted: self.granted(),
            files: self.outside.files()?,
            durability: self.durability.into(),
            retries: self.retries,
            ..Options::default()
        })
    }
}

/// A value of `--cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grant {
    All,
    None,
    One(Capability),
    /// A capability of another machine.
    Guest(&'static str),
}

fn grant() -> impl TypedValueParser<Value = Grant> {
    let names = Capability::ALL.iter().map(|capability| capability.name());
    let guests = FRONTENDS.iter().flat_map(|frontend| frontend.capabilities());
    let all = ["all", "none"].into_iter().chain(names).chain(guests.copied());
    PossibleValuesParser::new(all).try_map(|name| match &*name {
        "all" => Ok(Grant::All),
        "none" => Ok(Grant::None),
        name => {
            let mut guests = FRONTENDS.iter().flat_map(|frontend| frontend.capabilities());
            Capability::from_name(name)
                .map(Grant::One)
                .or_else(|| guests.find(|guest| **guest == name).map(|guest| Grant::Guest(guest)))
                .ok_or_else(|| format!("there is no capability {name}"))
        }
    })
}

fn capability() -> impl TypedValueParser<Value = Capability> {
    let names = Capability::ALL.iter().map(|capability| capability.name());
    PossibleValuesParser::new(names)
        .try_map(|name| Capability::from_name(&name).ok_or_else(|| format!("there is no capability {name}")))
}

/// Reads a number of up to 512 bits.
pub fn parse_wide(text: &str) -> Result<W512, String> {
    parse_word(text, Width::W512).map_err(|error| error.to_string())
}

fn parse_seed(text: &str) -> Result<[u8; 32], String> {
    let bytes = parse_hex(text.strip_prefix("0x").unwrap_or(text))?;
    let len = bytes.len();
    bytes.try_into().map_err(|_| format!("a seed has 32 bytes, and these are {len}"))
}
