//! Random programs of PVM: instructions that mostly mean something, loops that mostly end, jumps that mostly lead to
//! instructions, and now and then something else.

use fastrand::Rng;

use crate::pvm::Case;

/// Operands of two bytes and more, with their place in the image, that are to become addresses.
struct Program {
    bytes: Vec<u8>,
    /// Starts of instructions.
    starts: Vec<u32>,
    /// Immediates of eight bytes that become the address of an instruction.
    addresses: Vec<usize>,
}

const IMMEDIATE: u16 = 2;
const RAM: u16 = 1;

fn word(operation: u16, load: u16, size: u16, source: u16, destination: u16) -> u16 {
    operation | load << 4 | size << 6 | source << 8 | destination << 12
}

impl Program {
    fn start(&mut self) {
        self.starts.push(self.bytes.len() as u32);
    }

    fn word(&mut self, word: u16) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }

    fn immediate(&mut self, operation: u16, size: u16, destination: u16, number: u64) {
        self.start();
        self.word(word(operation, IMMEDIATE, size, 0, destination));
        self.bytes.extend_from_slice(&number.to_le_bytes()[..1 << size]);
    }

    fn service(&mut self, vector: u64) {
        self.immediate(0xE, 0, 0, vector);
    }

    /// A register := a number.
    fn load(&mut self, size: u16, register: u16, number: u64) {
        self.immediate(0xD, size, 0, number);
        self.start();
        self.word(word(0xC, 0, size, 0, register));
    }

    /// D := the address of an instruction that is chosen when all are there.
    fn aim(&mut self, rng: &mut Rng) {
        self.immediate(0xD, 3, 0, 0);
        self.addresses.push(self.bytes.len() - 8);
        self.start();
        self.word(word(0xC, 0, 3, 0, 7));
        if rng.u8(..20) == 0 {
            // One instruction behind, perhaps amid one.
            self.immediate(0, 0, 7, rng.u64(..4));
        }
    }
}

/// A number that is likely to matter.
fn number(rng: &mut Rng) -> u64 {
    match rng.u8(..10) {
        0 => 0,
        1 => 1,
        2 => rng.u64(..) >> rng.u32(..64),
        3 => 1 << rng.u32(..64),
        4 => u64::MAX >> rng.u32(..64),
        5 => 0xF_F800 + rng.u64(..0x810) - 8,
        6 => 0xE_F800 + rng.u64(..32) - 16,
        7 => 0x10_0000 - rng.u64(..16),
        8 => rng.u64(..0x400),
        _ => rng.u64(..70),
    }
}

/// A register, mostly one that can be written.
fn register(rng: &mut Rng, careful: bool) -> u16 {
    if !careful && rng.u8(..12) == 0 { rng.u16(..16) } else { rng.u16(..8) }
}

/// A size, mostly one that the register takes.
fn size_of(register: u16, rng: &mut Rng) -> u16 {
    match register {
        _ if rng.u8(..60) == 0 => rng.u16(..4),
        0 | 3 => rng.u16(..4),
        1 | 2 | 4 | 5 | 11 => rng.u16(..3),
        _ => 3,
    }
}

/// A program of about `length` instructions, drawn from a seed.
pub fn case(seed: u64, length: usize) -> Case {
    let rng = &mut Rng::with_seed(seed);
    let mut program = Program { bytes: Vec::new(), starts: Vec::new(), addresses: Vec::new() };
    // Programs that run long, or meet every mistake soon.
    let careful = rng.u8(..4) != 0;
    let handlers = rng.u8(..4) == 0;
    if careful {
        // Something to pop.
        for _ in 0..rng.u8(..30) {
            program.immediate(0xD, 3, 0, number(rng));
        }
    }
    if handlers {
        for _ in 0..rng.u8(1..4) {
            let vector = [0, 1, 2, 3, 4, 0x20, 0x86, 0x88][rng.usize(..8)];
            program.load(3, 3, 0xF_F800 + 8 * vector);
            program.immediate(0xD, 3, 0, 0);
            program.addresses.push(program.bytes.len() - 8);
            program.start();
            program.word(word(0xC, RAM, 3, 0, 3));
        }
    }
    while program.starts.len() < length {
        match rng.u8(..40) {
            0..=10 => {
                let destination = register(rng, careful);
                program.immediate(rng.u16(..12), rng.u16(..4), destination, number(rng));
            }
            11..=17 => {
                let source = register(rng, careful);
                let size = size_of(source, rng);
                program.start();
                // A division by a register is often one by 0.
                let operation = if careful && rng.bool() { rng.u16(..3) } else { rng.u16(..12) };
                program.word(word(operation, 0, size, source, register(rng, careful)));
            }
            18..=20 => {
                // An address, then an operation on what lies there.
                let pointer = [3, 4, 6, 0, 10, 8][rng.usize(..6)];
                if rng.bool() && pointer < 8 {
                    let size = if pointer == 6 { 3 } else { 2 };
                    let address = number(rng);
                    program.load(size, pointer, address);
                }
                program.start();
                program.word(word(rng.u16(..12), RAM, rng.u16(..4), pointer, register(rng, careful)));
            }
            21..=24 => {
                let source = register(rng, careful);
                let size = size_of(source, rng);
                program.start();
                program.word(word(0xD, if careful { 0 } else { rng.u16(..10) / 9 }, size, source, 0));
            }
            25 | 26 => program.immediate(0xD, rng.u16(..4), 0, number(rng)),
            27..=30 => {
                let destination = register(rng, careful);
                let size = size_of(destination, rng);
                program.start();
                program.word(word(0xC, [0, 0, 0, 3][rng.usize(..4)], size, 0, destination));
            }
            31 => {
                let pointer = [3, 4, 6, 0, 10, 5][rng.usize(..6)];
                if rng.bool() {
                    program.load(if pointer == 6 { 3 } else { 2 }, pointer.min(9), number(rng));
                }
                program.start();
                program.word(word(0xC, RAM, rng.u16(..4), 0, pointer));
            }
            32..=35 => {
                if rng.u8(..4) != 0 {
                    program.aim(rng);
                }
                program.service(rng.u64(0x84..0x8A));
            }
            36 => program.service(if rng.bool() { rng.u64(0x81..0x8B) } else { 0x20 }),
            37..39 if careful => {
                let destination = rng.u16(..8);
                program.immediate(rng.u16(..12), 0, destination, rng.u64(1..9));
            }
            37 => program.immediate(if rng.bool() { 5 } else { 0 }, 0, 11, rng.u64(..16)),
            38 => {
                program.start();
                program.word(0xFFFF);
            }
            _ if careful => {
                let source = rng.u16(..8);
                program.start();
                program.word(word(0xD, 0, if matches!(source, 6 | 7) { 3 } else { 2 }, source, 0));
            }
            _ => {
                program.start();
                let random = rng.u16(..);
                program.word(random);
            }
        }
    }
    let mut bytes = program.bytes;
    for at in program.addresses {
        let target = match rng.u8(..24) {
            0 => rng.u64(..bytes.len() as u64 + 4),
            1 => bytes.len() as u64,
            _ => program.starts[rng.usize(..program.starts.len())].into(),
        };
        bytes[at..at + 8].copy_from_slice(&target.to_le_bytes());
    }
    if rng.u8(..8) == 0 {
        bytes.truncate(rng.usize(..=bytes.len()));
    }
    Case {
        image: bytes,
        input: (0..rng.u8(..4)).map(|_| rng.u8(..)).collect(),
        budget: if rng.u8(..3) == 0 { rng.u64(..100) } else { 2_000 },
        services: rng.u8(..16) != 0,
    }
}

/// Bytes that are no program, but are run as one.
pub fn noise(seed: u64) -> Case {
    let rng = &mut Rng::with_seed(seed);
    let mut image: Vec<u8> = (0..rng.usize(..400)).map(|_| rng.u8(..)).collect();
    if rng.bool() {
        // Words that mean something are a small part of all.
        for byte in &mut image {
            if rng.u8(..3) == 0 {
                *byte = [0x20, 0xAD, 0x2D, 0x2E, 0x84, 0x86, 0x88, 0xCC, 0x00, 0xC0][rng.usize(..10)];
            }
        }
    }
    Case { image, input: Vec::new(), budget: 500, services: true }
}
