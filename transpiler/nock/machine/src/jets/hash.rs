//! Layer three: SHA-2. Atoms are bytes, the low ones first.

use dotvm_core::gas;
use dotvm_crypto::HashAlg;
use dotvm_heap::Reference;

use super::call::{Call, Miss, Product};

/// The longest message that jets take: 64 MiB.
const MAX_BYTES: u64 = 1 << 26;

fn digest(call: &mut Call<'_>, hash: HashAlg, data: &[u8]) -> Result<Vec<u8>, Miss> {
    call.pay(gas::hash(data.len() as u64, hash.block_bytes(), hash.block_weight()))?;
    Ok(hash.digest(data).as_bytes().to_vec())
}

/// All bytes of an atom.
fn whole(call: &mut Call<'_>, atom: &Reference) -> Result<Vec<u8>, Miss> {
    call.bytes(atom, u64::MAX)
}

/// As many bytes of an atom as the sample says, zeros behind them.
fn of_length(call: &mut Call<'_>) -> Result<Vec<u8>, Miss> {
    let (len, atom) = call.arguments()?;
    let len = call.number(&len)?;
    if len > MAX_BYTES {
        return Err(Miss::Punt);
    }
    let mut bytes = call.bytes(&atom, len)?;
    call.pay(gas::copy(len))?;
    bytes.resize(len as usize, 0);
    Ok(bytes)
}

pub(super) fn shax(call: &mut Call<'_>) -> Product {
    let message = call.sample()?;
    let bytes = whole(call, &message)?;
    let digest = digest(call, HashAlg::Sha2_256, &bytes)?;
    call.atom_of_bytes(&digest)
}

pub(super) fn shay(call: &mut Call<'_>) -> Product {
    let bytes = of_length(call)?;
    let digest = digest(call, HashAlg::Sha2_256, &bytes)?;
    call.atom_of_bytes(&digest)
}

pub(super) fn shal(call: &mut Call<'_>) -> Product {
    let bytes = of_length(call)?;
    let digest = digest(call, HashAlg::Sha2_512, &bytes)?;
    call.atom_of_bytes(&digest)
}

/// The hash of the hash of the second argument, to which the first is added bit by bit.
pub(super) fn shas(call: &mut Call<'_>) -> Product {
    let (salt, message) = call.arguments()?;
    let bytes = whole(call, &message)?;
    let mut inner = digest(call, HashAlg::Sha2_256, &bytes)?;
    let salt = whole(call, &salt)?;
    if inner.len() < salt.len() {
        inner.resize(salt.len(), 0);
    }
    inner.iter_mut().zip(&salt).for_each(|(byte, salt)| *byte ^= salt);
    let len = inner.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let digest = digest(call, HashAlg::Sha2_256, &inner[..len])?;
    call.atom_of_bytes(&digest)
}
