//! The host of a trial: it knows the environment and notes that it was asked for more, which makes the trial void.

use bytes::Bytes;
use dotvm_core::capability::Capability;
use dotvm_core::env::Env;
use dotvm_core::gas::Gas;
use dotvm_core::host::{Host, HostError, HostResult, SlotValue};
use dotvm_core::host_call::{Answer, HostCall};

pub(crate) struct Bystander {
    env: Env,
    was_asked: bool,
}

impl Bystander {
    pub fn new(env: Env) -> Bystander {
        Bystander { env, was_asked: false }
    }

    /// Whether it was asked for anything but the environment.
    pub fn was_asked(&self) -> bool {
        self.was_asked
    }

    /// Stops what asks at once, as nothing catches running out of gas.
    fn refuse<T>(&mut self) -> HostResult<T> {
        self.was_asked = true;
        Err(HostError::OutOfGas)
    }
}

macro_rules! refuse {
    ($($name:ident($($operand:ty),*) -> $result:ty;)*) => {
        impl Host for Bystander {
            fn env(&self) -> &Env {
                &self.env
            }

            fn random(&mut self, _: &mut [u8]) {
                self.was_asked = true;
            }

            fn capability_dropped(&mut self, _: Capability) {
                self.was_asked = true;
            }

            $(refuse!(@$name $($operand),* => $result);)*
        }
    };
    (@$name:ident $a:ty => $result:ty) => {
        fn $name(&mut self, _: $a) -> HostResult<$result> { self.refuse() }
    };
    (@$name:ident $a:ty, $b:ty => $result:ty) => {
        fn $name(&mut self, _: $a, _: $b) -> HostResult<$result> { self.refuse() }
    };
    (@$name:ident $a:ty, $b:ty, $c:ty => $result:ty) => {
        fn $name(&mut self, _: $a, _: $b, _: $c) -> HostResult<$result> { self.refuse() }
    };
    (@$name:ident $a:ty, $b:ty, $c:ty, $d:ty => $result:ty) => {
        fn $name(&mut self, _: $a, _: $b, _: $c, _: $d) -> HostResult<$result> { self.refuse() }
    };
    (@$name:ident $a:ty, $b:ty, $c:ty, $d:ty, $e:ty => $result:ty) => {
        fn $name(&mut self, _: $a, _: $b, _: $c, _: $d, _: $e) -> HostResult<$result> { self.refuse() }
    };
    (@$name:ident => $result:ty) => {
        fn $name(&mut self) -> HostResult<$result> { self.refuse() }
    };
}

refuse! {
    slot_load(&[u8], &mut Gas) -> SlotValue;
    slot_store(&[u8], &[u8], &mut Gas) -> ();
    slot_delete(&[u8], &mut Gas) -> bool;
    slot_exists(&[u8], &mut Gas) -> bool;
    scratch_load(&[u8]) -> SlotValue;
    scratch_store(&[u8], &[u8]) -> ();
    db_get(u32, &[u8], &mut Gas) -> Option<Bytes>;
    db_put(u32, &[u8], &Bytes, &mut Gas) -> bool;
    db_delete(u32, &[u8], &mut Gas) -> bool;
    db_exists(u32, &[u8], &mut Gas) -> bool;
    db_insert(u32, &Bytes, &mut Gas) -> Bytes;
    db_patch(u32, &[u8], &[u8], &mut Gas) -> bool;
    db_get_at(u32, u64, &[u8], &mut Gas) -> Option<Bytes>;
    db_count(u32, &mut Gas) -> u64;
    db_query(u32, &[u8], Option<&[u8]>, &mut Gas) -> u64;
    db_query_count(u32, &[u8], Option<&[u8]>, &mut Gas) -> u64;
    db_scan(u32, Option<&[u8]>, Option<&[u8]>, bool, &mut Gas) -> u64;
    db_next(u64, &mut Gas) -> Option<(Bytes, Bytes)>;
    db_close(u64) -> ();
    slot_load_at(u64, &[u8], &mut Gas) -> SlotValue;
    state_root(&mut Gas) -> Bytes;
    state_prove(&[u8], &mut Gas) -> Bytes;
    db_prove(u32, &[u8], &mut Gas) -> Bytes;
    state_verify(&[u8], &[u8], &[u8], &[u8], &mut Gas) -> bool;
    tx_begin(bool) -> ();
    tx_commit(&mut Gas) -> bool;
    tx_abort() -> ();
    savepoint() -> u64;
    rollback(u64) -> ();
    contract_create(&[u8], &Bytes, &mut Gas) -> (bool, Option<Bytes>);
    system(HostCall, &[u64], &[Bytes], &mut Gas) -> Answer;
    emit(&[SlotValue], &Bytes, &mut Gas) -> ();
}
