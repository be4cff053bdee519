//! The audit log: what matters for security, told through `tracing` under the target [`TARGET`].
//!
//! Each event has the field `event` with its name and the fields of its row in [`EVENTS`], from which `docs/audit.md` is
//! written. Nothing of it reaches a result: where nobody listens, an event costs a look at a flag.

use dotdb::ContractId;
use dotvm_arch::W512;
use dotvm_core::capability::Capability;
use dotvm_core::container::KEY_BYTES;
use dotvm_core::module::Module;
use dotvm_core::outcome::End;

use crate::contracts::Change;
use crate::show;

/// The target of the events.
pub const TARGET: &str = "dotvm::audit";

/// What a field of an event is in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// True or false.
    Flag,
}

/// An event of the log.
#[derive(Debug)]
pub struct EventKind {
    /// Its name.
    pub name: &'static str,
    /// Its fields in their order.
    pub fields: &'static [(&'static str, FieldKind)],
    /// What happened.
    pub meaning: &'static str,
}

/// Every event there is.
pub const EVENTS: &[EventKind] = &[
    EventKind {
        name: "module_linked",
        fields: &[
            ("contract", FieldKind::Text),
            ("module", FieldKind::Text),
            ("hash", FieldKind::Text),
            ("capabilities", FieldKind::Text),
        ],
        meaning: "a module is about to run on a contract's state, with these capabilities, separated by spaces",
    },
    EventKind {
        name: "capability_denied",
        fields: &[("module", FieldKind::Text), ("capability", FieldKind::Text)],
        meaning: "a module asked for a capability that is not granted, and does not run",
    },
    EventKind {
        name: "capability_dropped",
        fields: &[("contract", FieldKind::Text), ("capability", FieldKind::Text)],
        meaning: "a program gave up a capability",
    },
    EventKind {
        name: "right_denied",
        fields: &[
            ("contract", FieldKind::Text),
            ("subject", FieldKind::Number),
            ("right", FieldKind::Text),
            ("action", FieldKind::Text),
        ],
        meaning: "a program kept a part of itself from an action for lack of a right: a guest machine's process, by its number, that lacks a capability of that machine",
    },
    EventKind {
        name: "file_opened",
        fields: &[("contract", FieldKind::Text), ("path", FieldKind::Text), ("created", FieldKind::Flag)],
        meaning: "a program opened one of its contract's files, or made or emptied it",
    },
    EventKind {
        name: "contract_deployed",
        fields: &[
            ("contract", FieldKind::Text),
            ("number", FieldKind::Number),
            ("hash", FieldKind::Text),
            ("change", FieldKind::Text),
        ],
        meaning: "code was bound to a contract's name; the change is new, none, or the hash of the code it replaces",
    },
    EventKind {
        name: "contract_called",
        fields: &[("contract", FieldKind::Text), ("function", FieldKind::Text), ("caller", FieldKind::Text)],
        meaning: "a function runs, called by this number",
    },
    EventKind {
        name: "transaction_committed",
        fields: &[
            ("contract", FieldKind::Text),
            ("version", FieldKind::Number),
            ("changed_keys", FieldKind::Number),
        ],
        meaning: "changes became this version of the state",
    },
    EventKind {
        name: "transaction_undone",
        fields: &[("contract", FieldKind::Text), ("reason", FieldKind::Text)],
        meaning: "a transaction was undone: by abort, a conflict, failure, halt or the kind of a trap",
    },
    EventKind {
        name: "signature_trusted",
        fields: &[("what", FieldKind::Text), ("signer", FieldKind::Text)],
        meaning: "a module's file or a contract was signed with one of the keys required, and is taken",
    },
    EventKind {
        name: "signature_refused",
        fields: &[("what", FieldKind::Text), ("reason", FieldKind::Text)],
        meaning: "a module's file or a contract is not signed with any of the keys required, or is not what was signed, and is not taken",
    },
    EventKind {
        name: "proof_refused",
        fields: &[("contract", FieldKind::Text)],
        meaning: "STATE_VERIFY found that a proof does not show what it should",
    },
];

macro_rules! event {
    ($name:literal, $($fields:tt)*) => {
        tracing::info!(target: TARGET, event = $name, $($fields)*)
    };
}

/// Whether anybody listens.
fn is_on() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

pub(crate) fn module_linked(contract: &str, module: &Module, hash: &[u8]) {
    if is_on() {
        let names: Vec<&str> = module.capabilities.iter().map(|capability| capability.name()).collect();
        let (hash, capabilities) = (show::hex(hash), names.join(" "));
        event!(
            "module_linked",
            contract,
            module = &*module.name,
            hash = &*hash,
            capabilities = &*capabilities
        );
    }
}

pub(crate) fn capability_denied(module: &str, capability: Capability) {
    event!("capability_denied", module, capability = capability.name());
}

pub(crate) fn capability_dropped(contract: &str, capability: Capability) {
    event!("capability_dropped", contract, capability = capability.name());
}

pub(crate) fn right_denied(contract: &str, subject: u64, right: &[u8], action: &[u8]) {
    if is_on() {
        let (right, action) = (show::bytes(right), show::bytes(action));
        event!("right_denied", contract, subject, right = &*right, action = &*action);
    }
}

pub(crate) fn file_opened(contract: &str, path: &[u8], created: bool) {
    if is_on() {
        event!("file_opened", contract, path = &*show::bytes(path), created);
    }
}

pub(crate) fn contract_deployed(contract: &str, number: ContractId, hash: &[u8], change: &Change) {
    if is_on() {
        let change = match change {
            Change::New => "new".to_owned(),
            Change::None => "none".to_owned(),
            Change::Upgrade(replaced) => show::hex(replaced),
        };
        let hash = show::hex(hash);
        event!("contract_deployed", contract, number = u64::from(number.0), hash = &*hash, change = &*change);
    }
}

pub(crate) fn contract_called(contract: &str, module: &Module, function: u32, caller: &W512) {
    if is_on() {
        let (function, caller) = (module.function_name(function), caller.to_string());
        event!("contract_called", contract, function = &*function, caller = &*caller);
    }
}

pub(crate) fn transaction_committed(contract: &str, version: u64, changed_keys: u64) {
    event!("transaction_committed", contract, version, changed_keys);
}

pub(crate) fn transaction_undone(contract: &str, reason: &str) {
    event!("transaction_undone", contract, reason);
}

/// Holds the signer of a module against those who are trusted, and tells the log what came of it. `what` is the file's or
/// the contract's name.
///
/// # Errors
/// A sentence: nobody trusted signed it.
pub fn check_signer(
    what: &str,
    signer: Option<&[u8; KEY_BYTES]>,
    trusted: &[[u8; KEY_BYTES]],
) -> Result<(), String> {
    let why = match signer {
        Some(signer) if trusted.contains(signer) => {
            event!("signature_trusted", what, signer = &*show::hex(signer));
            return Ok(());
        }
        Some(signer) => {
            format!("it was signed with the key {}, which is none of those required", show::hex(signer))
        }
        None => "it is not signed, and a signature is required".to_owned(),
    };
    signature_refused(what, &why);
    Err(why)
}

/// Tells the log that a signature is not taken.
pub fn signature_refused(what: &str, reason: &str) {
    event!("signature_refused", what, reason);
}

pub(crate) fn proof_refused(contract: &str) {
    event!("proof_refused", contract);
}

/// Why an execution's last transaction is undone.
pub(crate) fn reason_of(end: &End) -> &'static str {
    match end {
        End::Return { .. } => "failure",
        End::Halt { .. } => "halt",
        End::Trap(trap) => trap.kind.name(),
    }
}
