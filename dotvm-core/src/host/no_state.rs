//! The host of programs without state.

use bytes::Bytes;

use super::{Host, HostError, HostResult, SlotValue};
use crate::env::{Env, RandomStream};
use crate::gas::Gas;
use crate::host_call::{Answer, HostCall};
use crate::trap::TrapKind;

/// A host without an open transaction, and without any to open: whatever a program asks for but the environment traps
/// Tx.
#[derive(Clone, Debug, Default)]
pub struct NoState {
    /// What ENV reads.
    pub env: Env,
    /// What RANDOM has given of the seed's stream.
    pub random: RandomStream,
}

fn refuse<T>() -> HostResult<T> {
    Err(HostError::Trap(TrapKind::Tx, "no transaction is open".to_owned()))
}

impl Host for NoState {
    fn random(&mut self, bytes: &mut [u8]) {
        self.random.fill(&self.env.seed, bytes);
    }
    fn env(&self) -> &Env {
        &self.env
    }
    fn slot_load(&mut self, _: &[u8], _: &mut Gas) -> HostResult<SlotValue> {
        refuse()
    }
    fn slot_store(&mut self, _: &[u8], _: &[u8], _: &mut Gas) -> HostResult<()> {
        refuse()
    }
    fn slot_delete(&mut self, _: &[u8], _: &mut Gas) -> HostResult<bool> {
        refuse()
    }
    fn slot_exists(&mut self, _: &[u8], _: &mut Gas) -> HostResult<bool> {
        refuse()
    }
    fn scratch_load(&mut self, _: &[u8]) -> HostResult<SlotValue> {
        refuse()
    }
    fn scratch_store(&mut self, _: &[u8], _: &[u8]) -> HostResult<()> {
        refuse()
    }
    fn db_get(&mut self, _: u32, _: &[u8], _: &mut Gas) -> HostResult<Option<Bytes>> {
        refuse()
    }
    fn db_put(&mut self, _: u32, _: &[u8], _: &Bytes, _: &mut Gas) -> HostResult<bool> {
        refuse()
    }
    fn db_delete(&mut self, _: u32, _: &[u8], _: &mut Gas) -> HostResult<bool> {
        refuse()
    }
    fn db_exists(&mut self, _: u32, _: &[u8], _: &mut Gas) -> HostResult<bool> {
        refuse()
    }
    fn db_insert(&mut self, _: u32, _: &Bytes, _: &mut Gas) -> HostResult<Bytes> {
        refuse()
    }
    fn db_patch(&mut self, _: u32, _: &[u8], _: &[u8], _: &mut Gas) -> HostResult<bool> {
        refuse()
    }
    fn db_get_at(&mut self, _: u32, _: u64, _: &[u8], _: &mut Gas) -> HostResult<Option<Bytes>> {
        refuse()
    }
    fn db_query(&mut self, _: u32, _: &[u8], _: Option<&[u8]>, _: &mut Gas) -> HostResult<u64> {
        refuse()
    }
    fn db_query_count(&mut self, _: u32, _: &[u8], _: Option<&[u8]>, _: &mut Gas) -> HostResult<u64> {
        refuse()
    }
    fn slot_load_at(&mut self, _: u64, _: &[u8], _: &mut Gas) -> HostResult<SlotValue> {
        refuse()
    }
    fn state_root(&mut self, _: &mut Gas) -> HostResult<Bytes> {
        refuse()
    }
    fn state_prove(&mut self, _: &[u8], _: &mut Gas) -> HostResult<Bytes> {
        refuse()
    }
    fn db_prove(&mut self, _: u32, _: &[u8], _: &mut Gas) -> HostResult<Bytes> {
        refuse()
    }
    fn state_verify(&mut self, _: &[u8], _: &[u8], _: &[u8], _: &[u8], _: &mut Gas) -> HostResult<bool> {
        refuse()
    }
    fn db_count(&mut self, _: u32, _: &mut Gas) -> HostResult<u64> {
        refuse()
    }
    fn db_scan(
        &mut self,
        _: u32,
        _: Option<&[u8]>,
        _: Option<&[u8]>,
        _: bool,
        _: &mut Gas,
    ) -> HostResult<u64> {
        refuse()
    }
    fn db_next(&mut self, _: u64, _: &mut Gas) -> HostResult<Option<(Bytes, Bytes)>> {
        refuse()
    }
    fn db_close(&mut self, _: u64) -> HostResult<()> {
        refuse()
    }
    fn tx_begin(&mut self, _: bool) -> HostResult<()> {
        refuse()
    }
    fn tx_commit(&mut self, _: &mut Gas) -> HostResult<bool> {
        refuse()
    }
    fn tx_abort(&mut self) -> HostResult<()> {
        refuse()
    }
    fn savepoint(&mut self) -> HostResult<u64> {
        refuse()
    }
    fn rollback(&mut self, _: u64) -> HostResult<()> {
        refuse()
    }
    fn contract_create(&mut self, _: &[u8], _: &Bytes, _: &mut Gas) -> HostResult<(bool, Option<Bytes>)> {
        refuse()
    }
    fn system(&mut self, _: HostCall, _: &[u64], _: &[Bytes], _: &mut Gas) -> HostResult<Answer> {
        refuse()
    }
    fn emit(&mut self, _: &[SlotValue], _: &Bytes, _: &mut Gas) -> HostResult<()> {
        refuse()
    }
}
