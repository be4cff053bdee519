//! Capabilities and host calls.

use bytes::Bytes;
use dotvm_core::capability::Capability;
use dotvm_core::trap::TrapKind;
use num_bigint::BigUint;
use num_traits::ToPrimitive;

use crate::machine::{Fault, Machine};

impl Machine<'_> {
    /// Traps if the program has not, or no more, the capability that an operation needs.
    pub fn check_capability(&self, needed: Option<Capability>) -> Result<(), Fault> {
        match needed {
            Some(capability) if !self.held.contains(&capability) => Err(Fault {
                kind: TrapKind::Cap,
                detail: Some(format!("the program has given up the capability {capability}")),
                exception: None,
            }),
            _ => Ok(()),
        }
    }

    /// The capability with a number, if it is held.
    fn held_capability(&self, number: &BigUint) -> Option<Capability> {
        let code = number.to_u8()?;
        self.held.iter().copied().find(|&capability| capability as u8 == code)
    }

    pub fn cap_test(&mut self) {
        let number = self.pop();
        let holds = self.held_capability(&number).is_some();
        self.push_flag(holds);
    }

    pub fn cap_drop(&mut self) {
        let number = self.pop();
        if let Some(capability) = self.held_capability(&number) {
            self.held.retain(|&held| held != capability);
            self.host.capability_dropped(capability);
        }
    }

    pub fn sys(&mut self, index: usize) -> Result<(), Fault> {
        let call = self.verified.module().host_calls[index];
        self.check_capability(call.capability())?;
        let signature = call.signature();
        // All are taken; what is wrong with the first is what is told.
        let taken: Vec<_> = (0..signature.refs_in).map(|_| self.pop_bytes()).collect();
        let refs: Vec<Bytes> = taken.into_iter().rev().collect::<Result<_, _>>()?;
        let words = self.pop_many(signature.words_in.into());
        let words = words.iter().map(|word| word.to_u64().ok_or(TrapKind::Range));
        let words: Vec<u64> = words.collect::<Result<_, _>>()?;
        let answer = self.host.system(call, &words, &refs, &mut self.gas)?;
        for &word in &answer.words[..signature.words_out.into()] {
            self.push_number(word.into())?;
        }
        if signature.refs_out > 0 {
            self.push_bytes(answer.bytes)?;
        }
        Ok(())
    }
}
