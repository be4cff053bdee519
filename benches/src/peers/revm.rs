//! revm: the EVM, with its in-memory database, the mainnet interpreter and no inspector.

use anyhow::{Context as _, Result, bail};
use revm::bytecode::Bytecode;
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, Output};
use revm::database::InMemoryDB;
use revm::handler::{MainnetContext, MainnetEvm};
use revm::primitives::{Address, Bytes, TxKind};
use revm::state::AccountInfo;
use revm::{Context, ExecuteEvm, MainBuilder, MainContext};
use ruint::aliases::U256;

use crate::harness::Contender;

/// The name of revm contenders.
pub const NAME: &str = "revm";

/// Where the contract under test lives.
pub const CONTRACT: Address = Address::repeat_byte(0xc0);

/// Who calls, where the caller does not matter.
pub const CALLER: Address = Address::repeat_byte(0xca);

/// The machine with its database.
pub type Evm = MainnetEvm<MainnetContext<InMemoryDB>>;

/// A machine over `database`. Gas is metered, but neither the limit per transaction nor the nonce is
/// enforced, and gas costs nothing, so that balances play no part.
pub fn machine(database: InMemoryDB) -> Evm {
    Context::mainnet()
        .with_db(database)
        .modify_cfg_chained(|cfg| {
            cfg.disable_nonce_check = true;
            cfg.tx_gas_limit_cap = Some(u64::MAX);
        })
        .build_mainnet()
}

/// A database that holds `code` at [`CONTRACT`]. The code is analysed here, not during a call.
pub fn database(code: Vec<u8>) -> InMemoryDB {
    let mut database = InMemoryDB::default();
    let code = Bytecode::new_legacy(Bytes::from(code));
    database.insert_account_info(CONTRACT, AccountInfo::default().with_code(code));
    database
}

/// A transaction of `caller` which calls [`CONTRACT`] with `input`.
pub fn transaction(caller: Address, input: Bytes) -> Result<TxEnv> {
    TxEnv::builder()
        .caller(caller)
        .kind(TxKind::Call(CONTRACT))
        .gas_limit(u64::MAX)
        .data(input)
        .build()
        .map_err(|error| anyhow::anyhow!("revm refused the transaction: {error:?}"))
}

/// The one 256-bit word that a successful call returned.
pub fn returned_word(result: ExecutionResult) -> Result<U256> {
    match result {
        ExecutionResult::Success { output: Output::Call(bytes), .. } => {
            U256::try_from_be_slice(&bytes).with_context(|| format!("{} bytes returned", bytes.len()))
        }
        other => bail!("the call did not succeed: {other:?}"),
    }
}

/// A contract that touches no state and returns one word, called in one transaction a run.
pub struct Call {
    machine: Evm,
    transaction: TxEnv,
}

impl Call {
    /// Puts `code` in place.
    pub fn new(code: Vec<u8>) -> Result<Self> {
        Ok(Self { machine: machine(database(code)), transaction: transaction(CALLER, Bytes::new())? })
    }
}

impl Contender for Call {
    fn name(&self) -> &str {
        NAME
    }

    fn run(&mut self) -> Result<u64> {
        let done = self.machine.transact(self.transaction.clone())?;
        Ok(crate::workloads::fold(returned_word(done.result)?))
    }
}

#[cfg(test)]
mod tests {
    use revm::bytecode::opcode::INVALID;

    use super::*;

    #[test]
    fn a_call_that_halts_is_an_error() {
        let mut call = Call::new(vec![INVALID]).unwrap();
        let message = call.run().unwrap_err().to_string();
        assert!(message.starts_with("the call did not succeed"), "{message}");
    }
}
