//! What is outside of a run of Nock: nothing.

use bytes::Bytes;
use dotvm_core::env::Env;
use dotvm_core::gas::Gas;
use dotvm_core::host::{Host, HostError, HostResult, SlotValue};
use dotvm_core::host_call::{Answer, HostCall};
use dotvm_core::trap::TrapKind;

/// A host that refuses everything. No code made of a formula asks it for anything.
pub(crate) struct NoHost;

fn refused<T>() -> HostResult<T> {
    Err(HostError::Trap(TrapKind::Cap, String::new()))
}

impl Host for NoHost {
    fn contract_create(&mut self, _: &[u8], _: &Bytes, _: &mut Gas) -> HostResult<(bool, Option<Bytes>)> {
        refused()
    }

    fn env(&self) -> &Env {
        static ENV: std::sync::LazyLock<Env> = std::sync::LazyLock::new(Env::default);
        &ENV
    }

    fn slot_load(&mut self, _key: &[u8], _gas: &mut Gas) -> HostResult<SlotValue> {
        refused()
    }

    fn slot_store(&mut self, _key: &[u8], _value: &[u8], _gas: &mut Gas) -> HostResult<()> {
        refused()
    }

    fn slot_delete(&mut self, _key: &[u8], _gas: &mut Gas) -> HostResult<bool> {
        refused()
    }

    fn slot_exists(&mut self, _key: &[u8], _gas: &mut Gas) -> HostResult<bool> {
        refused()
    }

    fn scratch_load(&mut self, _key: &[u8]) -> HostResult<SlotValue> {
        refused()
    }

    fn scratch_store(&mut self, _key: &[u8], _value: &[u8]) -> HostResult<()> {
        refused()
    }

    fn db_get(&mut self, _coll: u32, _key: &[u8], _gas: &mut Gas) -> HostResult<Option<Bytes>> {
        refused()
    }

    fn db_put(&mut self, _coll: u32, _key: &[u8], _doc: &Bytes, _gas: &mut Gas) -> HostResult<bool> {
        refused()
    }

    fn db_delete(&mut self, _coll: u32, _key: &[u8], _gas: &mut Gas) -> HostResult<bool> {
        refused()
    }

    fn db_exists(&mut self, _coll: u32, _key: &[u8], _gas: &mut Gas) -> HostResult<bool> {
        refused()
    }

    fn db_insert(&mut self, _coll: u32, _doc: &Bytes, _gas: &mut Gas) -> HostResult<Bytes> {
        refused()
    }

    fn db_patch(&mut self, _coll: u32, _key: &[u8], _patch: &[u8], _gas: &mut Gas) -> HostResult<bool> {
        refused()
    }

    fn db_get_at(
        &mut self,
        _coll: u32,
        _version: u64,
        _key: &[u8],
        _gas: &mut Gas,
    ) -> HostResult<Option<Bytes>> {
        refused()
    }

    fn db_count(&mut self, _coll: u32, _gas: &mut Gas) -> HostResult<u64> {
        refused()
    }

    fn db_query(
        &mut self,
        _coll: u32,
        _plan: &[u8],
        _arguments: Option<&[u8]>,
        _gas: &mut Gas,
    ) -> HostResult<u64> {
        refused()
    }

    fn db_query_count(
        &mut self,
        _coll: u32,
        _plan: &[u8],
        _arguments: Option<&[u8]>,
        _gas: &mut Gas,
    ) -> HostResult<u64> {
        refused()
    }

    fn db_scan(
        &mut self,
        _coll: u32,
        _from: Option<&[u8]>,
        _to: Option<&[u8]>,
        _descending: bool,
        _gas: &mut Gas,
    ) -> HostResult<u64> {
        refused()
    }

    fn db_next(&mut self, _cursor: u64, _gas: &mut Gas) -> HostResult<Option<(Bytes, Bytes)>> {
        refused()
    }

    fn db_close(&mut self, _cursor: u64) -> HostResult<()> {
        refused()
    }

    fn slot_load_at(&mut self, _version: u64, _key: &[u8], _gas: &mut Gas) -> HostResult<SlotValue> {
        refused()
    }

    fn state_root(&mut self, _gas: &mut Gas) -> HostResult<Bytes> {
        refused()
    }

    fn state_prove(&mut self, _key: &[u8], _gas: &mut Gas) -> HostResult<Bytes> {
        refused()
    }

    fn db_prove(&mut self, _coll: u32, _key: &[u8], _gas: &mut Gas) -> HostResult<Bytes> {
        refused()
    }

    fn state_verify(
        &mut self,
        _key: &[u8],
        _value: &[u8],
        _root: &[u8],
        _proof: &[u8],
        _gas: &mut Gas,
    ) -> HostResult<bool> {
        refused()
    }

    fn tx_begin(&mut self, _read_only: bool) -> HostResult<()> {
        refused()
    }

    fn tx_commit(&mut self, _gas: &mut Gas) -> HostResult<bool> {
        refused()
    }

    fn tx_abort(&mut self) -> HostResult<()> {
        refused()
    }

    fn savepoint(&mut self) -> HostResult<u64> {
        refused()
    }

    fn rollback(&mut self, _savepoint: u64) -> HostResult<()> {
        refused()
    }

    fn system(
        &mut self,
        _call: HostCall,
        _words: &[u64],
        _refs: &[Bytes],
        _gas: &mut Gas,
    ) -> HostResult<Answer> {
        refused()
    }

    fn random(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn emit(&mut self, _topics: &[SlotValue], _data: &Bytes, _gas: &mut Gas) -> HostResult<()> {
        refused()
    }
}
