//! The deterministic random stream.

/// Bytes of the stream that are made at a time.
pub const RANDOM_BLOCK_BYTES: u64 = 64;

/// Fills `out` with the stream of a seed from a place on: BLAKE3's extended output, keyed with the seed (BLAKE3
/// specification section 2.6), of nothing. Two places that overlap give the same bytes where they do.
pub fn random(seed: &[u8; 32], place: u64, out: &mut [u8]) {
    let mut stream = blake3::Hasher::new_keyed(seed).finalize_xof();
    stream.set_position(place);
    stream.fill(out);
}
