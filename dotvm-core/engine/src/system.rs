//! Capabilities and host calls.

use bytes::Bytes;
use dotvm_arch::Word;
use dotvm_core::capability::Capability;
use dotvm_core::host_call::MAX_OPERANDS;
use dotvm_core::trap::TrapKind;

use crate::ext::word_of_count;
use crate::machine::{Machine, Stop};
use crate::references::bytes_of;

impl<W: Word> Machine<'_, W> {
    /// Traps if the program has given up the capability.
    pub fn check_held(&self, capability: Option<Capability>) -> Result<(), Stop> {
        match capability.filter(|&capability| self.dropped.contains(capability)) {
            None => Ok(()),
            Some(capability) => {
                let sentence = format!("the program has given up the capability {capability}");
                Err(Stop::Trap(TrapKind::Cap, Some(sentence.into_boxed_str())))
            }
        }
    }

    /// The capability whose number is the word at `w`, if the instance holds it.
    fn held(&self, w: usize) -> Option<Capability> {
        let code = self.words[w].try_u64().and_then(|code| u8::try_from(code).ok())?;
        let listed = &self.verified.module().capabilities;
        Capability::from_code(code)
            .filter(|capability| listed.contains(capability) && !self.dropped.contains(*capability))
    }

    /// CAP_TEST.
    pub fn cap_test(&mut self, w: usize) {
        self.words[w] = W::from_bool(self.held(w).is_some());
    }

    /// CAP_DROP.
    pub fn cap_drop(&mut self, w: usize) {
        if let Some(capability) = self.held(w) {
            self.dropped.insert(capability);
            self.host.capability_dropped(capability);
        }
    }

    /// SYS.
    pub fn sys(&mut self, w: usize, r: usize, index: u64) -> Result<(), Stop> {
        let call = self.verified.module().host_calls[index as usize];
        self.check_held(call.capability())?;
        let signature = call.signature();
        let mut refs: [Bytes; MAX_OPERANDS] = Default::default();
        let refs = &mut refs[..signature.refs_in as usize];
        for (index, operand) in refs.iter_mut().enumerate() {
            *operand = bytes_of(&self.heap, &self.refs[r + index])?.clone();
        }
        let mut words = [0; MAX_OPERANDS];
        let words = &mut words[..signature.words_in as usize];
        for (index, operand) in words.iter_mut().enumerate() {
            *operand = self.words[w + index].try_u64().ok_or(Stop::trap(TrapKind::Range))?;
        }
        let answer = self.host.system(call, words, refs, &mut self.gas)?;
        let [first, second] = answer.words;
        if signature.words_out > 0 {
            let first = word_of_count(first)?;
            if signature.words_out > 1 {
                self.words[w + 1] = word_of_count(second)?;
            }
            self.words[w] = first;
        }
        let refs_in = signature.refs_in as usize;
        if signature.refs_out == 0 {
            self.clear_refs(r, refs_in);
            return Ok(());
        }
        self.set_optional_bytes(r, answer.bytes)?;
        self.clear_refs(r + 1, refs_in.saturating_sub(1));
        Ok(())
    }
}
