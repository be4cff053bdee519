//! Damaged files: refused, without a panic. With a checksum made to match, whatever is still accepted is the one
//! encoding of its module.

use dotvm_core::container::{read, seal, write};
use dotvm_core::verify;

use crate::samples;

const MUTATIONS: usize = 10_000;

/// The generator of xorshift64*, so that a failure repeats everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// Changes one to three places of a file.
fn mutate(random: &mut Random, files: &[Vec<u8>]) -> (usize, Vec<u8>) {
    let original = random.below(files.len());
    let mut bytes = files[original].clone();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len().max(1));
        match random.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => {
                // Values at the edges of LEB128 lengths and of one-byte codes.
                bytes[at] = [0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff][random.below(8)];
            }
            2 => bytes.truncate(at),
            3 => {
                let inserted = 1 + random.below(8);
                let filler = random.next().to_le_bytes();
                bytes.splice(at..at, filler[..inserted].iter().copied());
            }
            4 => {
                let end = (at + 1 + random.below(16)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let donor = &files[random.below(files.len())];
                let from = random.below(donor.len());
                let piece = &donor[from..(from + 1 + random.below(64)).min(donor.len())];
                let end = (at + piece.len()).min(bytes.len());
                bytes.splice(at..end, piece.iter().copied());
            }
            _ => {
                let donor = &files[random.below(files.len())];
                let from = random.below(donor.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&donor[from..]);
            }
        }
    }
    (original, bytes)
}

#[test]
fn damaged_files_are_refused() {
    let files = samples::files();
    let mut random = Random(0x0d07_0001);
    let mut refused = 0;
    for round in 0..MUTATIONS {
        let (original, bytes) = mutate(&mut random, &files);
        match read(&bytes) {
            Err(error) => {
                refused += 1;
                assert!(error.offset <= bytes.len(), "round {round}: {error}");
            }
            // A mutation may change nothing, or splice a whole other file.
            Ok(_) => {
                assert!(files.contains(&bytes), "round {round}: a damaged copy of file {original} was read")
            }
        }
    }
    assert!(refused > MUTATIONS * 9 / 10, "only {refused} mutations changed a file");
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    for file in samples::files() {
        for bit in 0..file.len() * 8 {
            let mut bytes = file.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bytes).is_err(), "bit {bit}");
        }
        for len in 0..file.len() {
            assert!(read(&file[..len]).is_err(), "cut to {len} bytes");
        }
    }
}

#[test]
fn behind_a_matching_checksum_only_the_one_encoding_is_read() {
    let files = samples::files();
    let mut random = Random(0x0d07_0002);
    let mut accepted = 0;
    for round in 0..MUTATIONS {
        let (_, mut bytes) = mutate(&mut random, &files);
        seal(&mut bytes);
        if let Ok(module) = read(&bytes) {
            accepted += usize::from(!files.contains(&bytes));
            assert_eq!(write(&module), Ok(bytes), "round {round}");
            // Whether it is sound does not matter here, only that the verifier answers.
            let _ = verify::verify(module);
        }
    }
    assert!(accepted > 100, "only {accepted} mutations reached the end of the parser");
}

#[test]
fn behind_a_matching_checksum_every_single_byte_is_parsed_without_a_panic() {
    for file in samples::files() {
        for at in 0..file.len() {
            for value in 0..=u8::MAX {
                let mut bytes = file.clone();
                bytes[at] = value;
                seal(&mut bytes);
                if let Ok(module) = read(&bytes) {
                    assert_eq!(write(&module), Ok(bytes), "byte {at} = {value:#04x}");
                    let _ = verify::verify(module);
                }
            }
        }
    }
}
