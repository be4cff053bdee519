//! A token: 5,000 transfers between 256 accounts, in memory.
//!
//! The plain simple variant of an ERC-20: a balance lies in the storage slot keccak256(address . 0), as
//! Solidity lays out a mapping in slot 0; a transfer reads two slots, refuses an overdraft, and writes
//! two slots. There are no allowances and no event.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use revm::bytecode::opcode::{
    ADD, AND, CALLDATALOAD, CALLER, DUP1, DUP2, DUP3, EQ, GT, JUMPI, KECCAK256, LT, MOD, MSTORE, MUL, POP,
    PUSH0, RETURN, REVERT, SHR, SLOAD, SSTORE, SUB, SWAP1, SWAP2,
};
use revm::context::TxEnv;
use revm::database::InMemoryDB;
use revm::primitives::{Address, Bytes};
use revm::{DatabaseRef, ExecuteCommitEvm};
use ruint::aliases::U256;
use sha3::{Digest, Keccak256};

use super::Setup;
use super::token_dotvm::{Place, Token};
use crate::evm::Assembler;
use crate::harness::{Contender, Kind, Workload};
use crate::peers::native::NAME as NATIVE;
use crate::peers::revm as peer;

pub const NAME_EACH: &str = "token";
pub const NAME_ALL: &str = "token_loop";

/// How many accounts there are; a power of two.
pub const ACCOUNTS: u64 = 256;

/// What every account starts with. No account ever sends more in all.
pub const INITIAL_BALANCE: U256 = U256::from_limbs([1_000_000, 0, 0, 0]);

/// `transfer(address,uint256)`: the first four bytes of its keccak-256.
const SELECTOR: u64 = 0xa905_9cbb;

/// The address of account 0; the others follow.
const FIRST_ADDRESS: U256 = U256::from_limbs([0, 0x2222_2222_2222_2222, 0x1111_1111, 0]);

// Transfer i goes from account 7i to account 13i + 5, modulo ACCOUNTS: the two differ by 6i + 5, which is
// odd and therefore never 0. The amount is 1 + i mod 100.
const FROM_FACTOR: u64 = 7;
const TO_FACTOR: u64 = 13;
const TO_OFFSET: u64 = 5;
const AMOUNTS: u64 = 100;

/// How transfers are divided into transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// A transaction each.
    Each,
    /// All in one transaction.
    All,
}

/// One transfer of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Index of the sending account.
    pub from: u64,
    /// Index of the receiving account, never the sender.
    pub to: u64,
    /// How much, from 1 to 100.
    pub amount: u64,
}

/// The `i`-th transfer of the schedule.
pub fn transfer(i: u64) -> Transfer {
    Transfer {
        from: FROM_FACTOR * i % ACCOUNTS,
        to: (TO_FACTOR * i + TO_OFFSET) % ACCOUNTS,
        amount: 1 + i % AMOUNTS,
    }
}

/// The address of an account.
pub fn address(account: u64) -> [u8; 20] {
    let word = (FIRST_ADDRESS + U256::from(account)).to_be_bytes::<32>();
    std::array::from_fn(|i| word[12 + i])
}

/// The storage slot of an account's balance: keccak256 of the address as a word and of slot 0 as a word.
pub fn slot(address: &[u8; 20]) -> U256 {
    let mut hasher = Keccak256::new();
    hasher.update([0; 12]);
    hasher.update(address);
    hasher.update([0; 32]);
    U256::from_be_bytes(<[u8; 32]>::from(hasher.finalize()))
}

/// A checksum of all balances in account order: the sum of (account + 1) * balance, modulo 2^64.
pub fn state_checksum(balances: impl IntoIterator<Item = U256>) -> u64 {
    balances
        .into_iter()
        .zip(1u64..)
        .fold(0, |sum, (balance, weight)| sum.wrapping_add(weight.wrapping_mul(balance.wrapping_to())))
}

/// The state checksum after the first `transfers` of the schedule, by plain additions on an array.
pub fn expected_state(transfers: u64) -> u64 {
    let mut balances = [INITIAL_BALANCE; ACCOUNTS as usize];
    for Transfer { from, to, amount } in (0..transfers).map(transfer) {
        balances[from as usize] -= U256::from(amount);
        balances[to as usize] += U256::from(amount);
    }
    state_checksum(balances)
}

/// The number of transfers at this scale.
pub fn transfers(setup: &Setup) -> u64 {
    setup.pick(5_000, 500)
}

/// One transaction a transfer, with all its contenders.
pub fn build_each(setup: &Setup) -> Result<Workload> {
    let transfers = transfers(setup);
    let mut contenders: Vec<Box<dyn Contender>> = Vec::new();
    contenders.push(Box::new(Token::new(Place::Memory, Grouping::Each, transfers)?));
    contenders.push(Box::new(Revm::new(Grouping::Each, transfers)?));
    contenders.push(Box::new(Native { transfers, balances: HashMap::new() }));
    Ok(Workload {
        name: NAME_EACH,
        summary: format!("{transfers} token transfers, a committed transaction each, in memory"),
        operations: transfers,
        unit: "transfer",
        kind: Kind::Compute,
        baseline: peer::NAME,
        expected: transfers,
        expected_state: Some(expected_state(transfers)),
        goal: None,
        contenders,
    })
}

/// One transaction with a loop, with all its contenders.
pub fn build_all(setup: &Setup) -> Result<Workload> {
    let mut workload = build_each(setup)?;
    let transfers = workload.operations;
    workload.name = NAME_ALL;
    workload.summary =
        format!("{transfers} token transfers by a loop in one committed transaction, in memory");
    workload.contenders.clear();
    workload.contenders.push(Box::new(Token::new(Place::Memory, Grouping::All, transfers)?));
    workload.contenders.push(Box::new(Revm::new(Grouping::All, transfers)?));
    workload.contenders.push(Box::new(Native { transfers, balances: HashMap::new() }));
    Ok(workload)
}

/// The token as an EVM contract; the database and the transactions are made anew before every run.
struct Revm {
    grouping: Grouping,
    transfers: u64,
    initial: InMemoryDB,
    machine: peer::Evm,
    transactions: Vec<TxEnv>,
}

impl Revm {
    fn new(grouping: Grouping, transfers: u64) -> Result<Self> {
        let code = match grouping {
            Grouping::Each => transfer_program()?,
            Grouping::All => loop_program(transfers)?,
        };
        let mut initial = peer::database(code);
        for account in 0..ACCOUNTS {
            initial.insert_account_storage(peer::CONTRACT, slot(&address(account)), INITIAL_BALANCE)?;
        }
        let machine = peer::machine(initial.clone());
        Ok(Self { grouping, transfers, initial, machine, transactions: Vec::new() })
    }
}

impl Contender for Revm {
    fn name(&self) -> &str {
        peer::NAME
    }

    fn prepare(&mut self) -> Result<()> {
        self.machine = peer::machine(self.initial.clone());
        self.transactions = match self.grouping {
            Grouping::Each => (0..self.transfers).map(|i| call(transfer(i))).collect::<Result<_>>()?,
            Grouping::All => vec![peer::transaction(peer::CALLER, Bytes::new())?],
        };
        Ok(())
    }

    fn run(&mut self) -> Result<u64> {
        let mut done = 0;
        for transaction in self.transactions.drain(..) {
            done += peer::returned_word(self.machine.transact_commit(transaction)?)?.to::<u64>();
        }
        Ok(done)
    }

    fn audit(&mut self) -> Result<Option<u64>> {
        let database = &self.machine.ctx.journaled_state.database;
        let balances: Vec<U256> = (0..ACCOUNTS)
            .map(|account| database.storage_ref(peer::CONTRACT, slot(&address(account))))
            .collect::<Result<_, _>>()?;
        let entries =
            database.cache.accounts.get(&peer::CONTRACT).context("the contract is gone")?.storage.len();
        ensure!(entries == balances.len(), "{entries} storage slots for {} accounts", balances.len());
        Ok(Some(state_checksum(balances)))
    }
}

/// The sender's transaction with the standard call data: selector, receiver, amount.
fn call(Transfer { from, to, amount }: Transfer) -> Result<TxEnv> {
    let mut input = (SELECTOR as u32).to_be_bytes().to_vec();
    input.extend([0; 12]);
    input.extend(address(to));
    input.extend(U256::from(amount).to_be_bytes::<32>());
    peer::transaction(Address::from(address(from)), input.into())
}

/// Replaces the address word on the stack by the slot of its balance. Memory from 32 to 64 stays zero.
fn slot_of_top(asm: &mut Assembler) {
    asm.ops(&[PUSH0, MSTORE]).push_u64(64).ops(&[PUSH0, KECCAK256]);
}

/// `transfer(address to, uint256 amount)` of the caller, returns 1 or reverts.
fn transfer_program() -> Result<Vec<u8>> {
    let mut asm = Assembler::default();
    let refuse = asm.label();
    let body = asm.label();
    asm.ops(&[PUSH0, CALLDATALOAD]).push_u64(224).ops(&[SHR]).push_u64(SELECTOR).ops(&[EQ]);
    asm.push_label(body).ops(&[JUMPI]);
    asm.bind(refuse).ops(&[PUSH0, PUSH0, REVERT]);
    asm.bind(body);
    // slot, balance, amount of the sender
    asm.ops(&[CALLER]);
    slot_of_top(&mut asm);
    asm.ops(&[DUP1, SLOAD]).push_u64(36).ops(&[CALLDATALOAD]);
    asm.ops(&[DUP1, DUP3, LT]).push_label(refuse).ops(&[JUMPI]);
    // Writes balance - amount, leaves the amount below the slot.
    asm.ops(&[DUP1, SWAP2, SUB, DUP3, SSTORE]);
    // Writes the receiver's balance + amount.
    asm.push_u64(4).ops(&[CALLDATALOAD]);
    slot_of_top(&mut asm);
    asm.ops(&[DUP1, SLOAD, DUP3, ADD, SWAP1, SSTORE]);
    asm.push_u64(1).ops(&[PUSH0, MSTORE]).push_u64(32).ops(&[PUSH0, RETURN]);
    asm.finish()
}

/// The whole schedule in a loop, returns the number of transfers or reverts.
fn loop_program(transfers: u64) -> Result<Vec<u8>> {
    let mut asm = Assembler::default();
    let refuse = asm.label();
    let next = asm.label();
    // i
    asm.ops(&[PUSH0]);
    asm.bind(next);
    // i, amount
    asm.push_u64(AMOUNTS).ops(&[DUP2, MOD]).push_u64(1).ops(&[ADD]);
    // i, amount, slot, balance of the sender
    asm.push_u64(FROM_FACTOR).ops(&[DUP3, MUL]).push_u64(ACCOUNTS - 1).ops(&[AND]);
    asm.push(FIRST_ADDRESS).ops(&[ADD]);
    slot_of_top(&mut asm);
    asm.ops(&[DUP1, SLOAD]);
    asm.ops(&[DUP3, DUP2, LT]).push_label(refuse).ops(&[JUMPI]);
    asm.ops(&[DUP3, SWAP1, SUB, SWAP1, SSTORE]);
    // i, amount, slot of the receiver
    asm.push_u64(TO_FACTOR).ops(&[DUP3, MUL]).push_u64(TO_OFFSET).ops(&[ADD]);
    asm.push_u64(ACCOUNTS - 1).ops(&[AND]).push(FIRST_ADDRESS).ops(&[ADD]);
    slot_of_top(&mut asm);
    asm.ops(&[DUP1, SLOAD, DUP3, ADD, SWAP1, SSTORE]);
    asm.ops(&[POP]).push_u64(1).ops(&[ADD]);
    asm.ops(&[DUP1]).push_u64(transfers).ops(&[GT]).push_label(next).ops(&[JUMPI]);
    asm.ops(&[PUSH0, MSTORE]).push_u64(32).ops(&[PUSH0, RETURN]);
    asm.bind(refuse).ops(&[PUSH0, PUSH0, REVERT]);
    asm.finish()
}

/// Slots and balances in a hash map, without transactions: what the work itself costs.
struct Native {
    transfers: u64,
    balances: HashMap<U256, U256>,
}

impl Contender for Native {
    fn name(&self) -> &str {
        NATIVE
    }

    fn prepare(&mut self) -> Result<()> {
        self.balances = (0..ACCOUNTS).map(|account| (slot(&address(account)), INITIAL_BALANCE)).collect();
        Ok(())
    }

    fn run(&mut self) -> Result<u64> {
        for Transfer { from, to, amount } in (0..self.transfers).map(transfer) {
            let amount = U256::from(amount);
            let from = self.balances.get_mut(&slot(&address(from))).context("no such account")?;
            *from = from.checked_sub(amount).context("overdraft")?;
            let to = self.balances.get_mut(&slot(&address(to))).context("no such account")?;
            *to = to.checked_add(amount).context("overflow")?;
        }
        Ok(self.transfers)
    }

    fn audit(&mut self) -> Result<Option<u64>> {
        let balances: Option<Vec<U256>> =
            (0..ACCOUNTS).map(|account| self.balances.get(&slot(&address(account))).copied()).collect();
        Ok(Some(state_checksum(balances.context("an account is gone")?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_pays_himself_or_more_than_he_has() {
        let mut sent = [0; ACCOUNTS as usize];
        for transfer in (0..5_000).map(transfer) {
            assert_ne!(transfer.from, transfer.to);
            sent[transfer.from as usize] += transfer.amount;
        }
        assert!(sent.iter().all(|&sent| U256::from(sent) <= INITIAL_BALANCE));
    }

    #[test]
    fn the_selector_is_that_of_transfer() {
        let digest = Keccak256::digest(b"transfer(address,uint256)");
        assert_eq!(digest[..4], (SELECTOR as u32).to_be_bytes());
    }

    #[test]
    fn the_contract_refuses_overdrafts_and_other_selectors() {
        let mut revm = Revm::new(Grouping::Each, 1).unwrap();
        let overdraft = call(Transfer { from: 0, to: 1, amount: 1_000_001 }).unwrap();
        assert!(!revm.machine.transact_commit(overdraft).unwrap().is_success());
        let mut unknown = call(transfer(0)).unwrap();
        unknown.data = Bytes::from(vec![0; 68]);
        assert!(!revm.machine.transact_commit(unknown).unwrap().is_success());
        assert_eq!(revm.audit().unwrap(), Some(expected_state(0)));
        let all = call(Transfer { from: 0, to: 1, amount: 1_000_000 }).unwrap();
        assert!(revm.machine.transact_commit(all).unwrap().is_success());
    }

    #[test]
    fn the_state_checksum_tells_accounts_apart() {
        let [a, b] = [U256::from(1), U256::from(2)];
        assert_ne!(state_checksum([a, b]), state_checksum([b, a]));
        assert_ne!(expected_state(0), expected_state(1));
    }
}
