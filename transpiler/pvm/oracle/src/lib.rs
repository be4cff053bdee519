//! A slow and obvious interpreter of PVM v1, written from its reference (`docs/machines/pvm.md`). Section numbers are
//! that text's. It shares no code with the frontend, which is compared with it.

mod word;

use crate::word::{LoadType, Word};

/// Bytes of memory (section 2.3).
pub const MEMORY_BYTES: usize = 0x10_0000;
/// Longest image: it ends where the stack begins.
pub const IMAGE_BYTES: usize = 0xE_F800;
/// Lowest address of the stack.
pub const STACK_LOW: u64 = 0xE_F800;
/// SB: the end of the stack, and the first address of the vector table.
pub const STACK_BASE: u64 = 0xF_F800;
/// The bits of an address that count.
const ADDRESS: u64 = (1 << 48) - 1;

const OVERFLOW: u32 = 1;
const NOT_ZERO: u32 = 1 << 1;
const RING: u32 = 3 << 2;
const EXCEPTION: u32 = 1 << 4;
const GPF: u32 = 1 << 5;
const VECTOR: u32 = 0xFF << 8;

const DIVISION_BY_ZERO: u8 = 0;
const INVALID: u8 = 1;
const PROTECTION: u8 = 2;
const STACK_OVERFLOW: u8 = 3;
const STACK_UNDERFLOW: u8 = 4;

/// How a run ends (section 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The program ran to its end.
    End,
    /// Service 80; the exit code is A.
    Exit,
    /// An exception without a handler.
    Exception(u8),
    /// A software interrupt without handler or service.
    Interrupt(u8),
    /// No stack room to call the handler of this vector.
    DoubleFault(u8),
    /// The instruction limit.
    Limit,
}

/// The machine (section 2).
#[derive(Clone)]
pub struct Machine {
    /// All addresses there are.
    pub memory: Vec<u8>,
    /// Length of the image.
    pub image_len: u64,
    /// A.
    pub a: u64,
    /// B.
    pub b: u64,
    /// C.
    pub c: u64,
    /// D.
    pub d: u64,
    /// Address of the next instruction.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Flags.
    pub fl: u32,
    /// Whether the default services are on.
    pub services: bool,
    /// What service 82 reads.
    pub input: Vec<u8>,
    /// How much of the input is read.
    pub input_at: usize,
    /// What was written.
    pub output: Vec<u8>,
    /// Instructions carried out.
    pub executed: u64,
}

/// Why an instruction does not simply end.
enum Event {
    /// An exception.
    Exception(u8),
    /// A software interrupt.
    Interrupt(u8),
    /// Service 80.
    Exit,
}

type Step<T> = Result<T, Event>;

fn fail<T>(vector: u8) -> Step<T> {
    Err(Event::Exception(vector))
}

impl Machine {
    /// The machine at its start, or `None` for an image that does not fit (section 2.5).
    pub fn new(image: &[u8], input: &[u8]) -> Option<Machine> {
        if image.len() > IMAGE_BYTES {
            return None;
        }
        let mut memory = vec![0; MEMORY_BYTES];
        memory[..image.len()].copy_from_slice(image);
        Some(Machine {
            memory,
            image_len: image.len() as u64,
            a: 0,
            b: 0,
            c: 0,
            d: 0,
            pc: 0,
            sp: STACK_BASE,
            fl: RING,
            services: true,
            input: input.to_vec(),
            input_at: 0,
            output: Vec::new(),
            executed: 0,
        })
    }

    /// Runs at most `limit` instructions.
    pub fn run(&mut self, limit: u64) -> Status {
        loop {
            if self.pc == self.image_len {
                return Status::End;
            }
            if self.executed == limit {
                return Status::Limit;
            }
            self.executed += 1;
            if let Some(status) = self.step() {
                return status;
            }
        }
    }

    fn step(&mut self) -> Option<Status> {
        let start = self.pc;
        let (word, immediate, next) = match self.fetch() {
            Some(fetched) => fetched,
            None => return self.interrupt(PROTECTION, true, start, start),
        };
        self.pc = next;
        match self.execute(word, immediate) {
            Ok(()) => None,
            Err(Event::Exit) => Some(Status::Exit),
            Err(Event::Exception(vector)) => self.interrupt(vector, true, start, next),
            Err(Event::Interrupt(vector)) => self.interrupt(vector, false, start, next),
        }
    }

    /// Section 3: the word, the immediate, and the address behind both.
    fn fetch(&self) -> Option<(Word, u64, u64)> {
        let image = &self.memory[..self.image_len as usize];
        let at = usize::try_from(self.pc).ok()?;
        let bytes = image.get(at..at.checked_add(2)?)?;
        let word = Word(u16::from_le_bytes([bytes[0], bytes[1]]));
        if word.load_type() != LoadType::Immediate {
            return Some((word, 0, self.pc + 2));
        }
        let size = word.size();
        let bytes = image.get(at + 2..at + 2 + size)?;
        Some((word, little_endian(bytes), self.pc + 2 + size as u64))
    }

    fn execute(&mut self, word: Word, immediate: u64) -> Step<()> {
        if word.0 == 0 {
            return fail(INVALID);
        }
        match word.operation() {
            0xC => self.pop(word),
            0xD => {
                let value = self.operand(word, immediate)?;
                self.push(value, word.size())
            }
            0xE => {
                let vector = self.operand(word, immediate)? as u8;
                self.software_interrupt(vector)
            }
            0xF => Ok(()),
            operation => {
                let operand = self.operand(word, immediate)?;
                self.arithmetic(operation, word.destination(), operand)
            }
        }
    }

    /// Section 3.1.
    fn operand(&self, word: Word, immediate: u64) -> Step<u64> {
        let size = word.size();
        match word.load_type() {
            LoadType::Register => {
                let Some(value) = self.register(word.source()) else { return fail(INVALID) };
                if !is_size_allowed(word.source(), size) {
                    return fail(INVALID);
                }
                Ok(value & low_bytes(size))
            }
            LoadType::Ram => {
                let Some(address) = self.register(word.source()) else { return fail(INVALID) };
                self.load(address & ADDRESS, size)
            }
            LoadType::Immediate => Ok(immediate),
            LoadType::None => fail(INVALID),
        }
    }

    /// The value of a register (section 2.1), `None` for the reserved codes.
    pub fn register(&self, code: u8) -> Option<u64> {
        Some(match code {
            0x0 => self.a,
            0x1 => self.a & 0xFFFF_FFFF,
            0x2 => self.a >> 32,
            0x3 => self.b,
            0x4 => self.b & 0xFFFF_FFFF,
            0x5 => self.b >> 32,
            0x6 => self.c,
            0x7 => self.d,
            0x8 => self.pc,
            0x9 => STACK_BASE,
            0xA => self.sp,
            0xB => u64::from(self.fl),
            _ => return None,
        })
    }

    fn set_register(&mut self, code: u8, value: u64) {
        let low = |old: u64| old & !0xFFFF_FFFF | value & 0xFFFF_FFFF;
        let high = |old: u64| old & 0xFFFF_FFFF | value << 32;
        match code {
            0x0 => self.a = value,
            0x1 => self.a = low(self.a),
            0x2 => self.a = high(self.a),
            0x3 => self.b = value,
            0x4 => self.b = low(self.b),
            0x5 => self.b = high(self.b),
            0x6 => self.c = value,
            0x7 => self.d = value,
            _ => unreachable!("register {code:X} is not written here"),
        }
    }

    /// Section 3.2: whether a destination may be written.
    fn check_destination(&self, code: u8) -> Step<()> {
        match code {
            0x0..=0x7 => Ok(()),
            0xB if self.fl & RING == 0 => Ok(()),
            0x8..=0xB => fail(PROTECTION),
            _ => fail(INVALID),
        }
    }

    /// Section 4, operations 0 to B.
    fn arithmetic(&mut self, operation: u8, destination: u8, operand: u64) -> Step<()> {
        self.check_destination(destination)?;
        let width = register_bits(destination);
        let mask = low_bytes(width as usize / 8);
        let d = self.register(destination).unwrap_or(0);
        let s = operand & mask;
        if operation == 3 && s == 0 {
            return fail(DIVISION_BY_ZERO);
        }
        // The exact result, where it is wider than the register, in 128 bits.
        let (exact_d, exact_s) = (u128::from(d), u128::from(s));
        let (result, overflow) = match operation {
            0x0 => (exact_d + exact_s, exact_d + exact_s > u128::from(mask)),
            0x1 => (exact_d.wrapping_sub(exact_s), d < s),
            0x2 => (exact_d * exact_s, exact_d * exact_s > u128::from(mask)),
            0x3 => (exact_d / exact_s, false),
            0x4 => (exact_d & exact_s, false),
            0x5 => (exact_d | exact_s, false),
            0x6 => (!(exact_d & exact_s), false),
            0x7 => (!(exact_d | exact_s), false),
            0x8 => (exact_d ^ exact_s, false),
            0x9 if s >= u64::from(width) => (0, d != 0),
            0x9 => (exact_d << s, exact_d << s > u128::from(mask)),
            0xA if s >= u64::from(width) => (0, false),
            0xA => (exact_d >> s, false),
            _ => {
                let by = (s % u64::from(width)) as u32;
                (exact_d << by | exact_d >> (width - by), false)
            }
        };
        let result = result as u64 & mask;
        if destination == 0xB {
            return self.write_flags(result as u32);
        }
        self.set_register(destination, result);
        self.fl &= !(OVERFLOW | NOT_ZERO);
        if overflow {
            self.fl |= OVERFLOW;
        }
        if result != 0 {
            self.fl |= NOT_ZERO;
        }
        Ok(())
    }

    /// Section 6: a write of FL in ring 0.
    fn write_flags(&mut self, value: u32) -> Step<()> {
        if value & RING != RING {
            self.fl = self.fl & !RING | value & RING;
            return Ok(());
        }
        if self.sp + 16 > STACK_BASE {
            return fail(STACK_UNDERFLOW);
        }
        self.pc = self.load(self.sp, 8)? & ADDRESS;
        self.fl = self.load(self.sp + 8, 8)? as u32 & 0xFFFF;
        self.sp += 16;
        Ok(())
    }

    /// Section 2.3.
    fn load(&self, address: u64, size: usize) -> Step<u64> {
        if address + size as u64 > MEMORY_BYTES as u64 {
            return fail(PROTECTION);
        }
        let at = address as usize;
        Ok(little_endian(&self.memory[at..at + size]))
    }

    fn store(&mut self, address: u64, value: u64, size: usize) -> Step<()> {
        if address < self.image_len || address + size as u64 > MEMORY_BYTES as u64 {
            return fail(PROTECTION);
        }
        let at = address as usize;
        self.memory[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
        Ok(())
    }

    /// Section 2.4.
    fn push(&mut self, value: u64, size: usize) -> Step<()> {
        let Some(sp) = self.sp.checked_sub(size as u64).filter(|sp| *sp >= STACK_LOW) else {
            return fail(STACK_OVERFLOW);
        };
        self.store(sp, value, size)?;
        self.sp = sp;
        Ok(())
    }

    /// What a pop of `size` bytes would give.
    fn top(&self, size: usize) -> Step<u64> {
        if self.sp + size as u64 > STACK_BASE {
            return fail(STACK_UNDERFLOW);
        }
        self.load(self.sp, size)
    }

    /// Section 4, Pop.
    fn pop(&mut self, word: Word) -> Step<()> {
        let size = word.size();
        let destination = word.destination();
        match word.load_type() {
            LoadType::Immediate => fail(INVALID),
            LoadType::Ram => {
                let value = self.top(size)?;
                let Some(address) = self.register(destination) else { return fail(INVALID) };
                self.store(address & ADDRESS, value, size)?;
                self.sp += size as u64;
                Ok(())
            }
            LoadType::Register | LoadType::None => {
                let value = self.top(size)?;
                if destination > 0xB || !is_size_allowed(destination, size) {
                    return fail(INVALID);
                }
                self.check_destination(destination)?;
                if destination == 0xB {
                    // What returning pops lies behind the value.
                    let sp = self.sp;
                    self.sp += size as u64;
                    return self.write_flags(value as u32).inspect_err(|_| self.sp = sp);
                }
                self.set_register(destination, value);
                self.sp += size as u64;
                Ok(())
            }
        }
    }

    /// Sections 5 and 7.
    fn software_interrupt(&mut self, vector: u8) -> Step<()> {
        if self.entry(vector) != 0 || !self.services {
            return Err(Event::Interrupt(vector));
        }
        let is_true = self.fl & NOT_ZERO == 0;
        match vector {
            0x80 => return Err(Event::Exit),
            0x81 => self.output.push(self.a as u8),
            0x82 => {
                self.a = match self.input.get(self.input_at) {
                    Some(&byte) => u64::from(byte),
                    None => u64::MAX,
                };
                self.input_at = (self.input_at + 1).min(self.input.len());
            }
            0x83 => {
                let start = self.a & ADDRESS;
                let Some(end) = start.checked_add(self.b).filter(|end| *end <= MEMORY_BYTES as u64) else {
                    return fail(PROTECTION);
                };
                self.output.extend_from_slice(&self.memory[start as usize..end as usize]);
            }
            0x84 => self.pc = self.d & ADDRESS,
            0x85 if is_true => self.pc = self.d & ADDRESS,
            0x86 if !is_true => self.pc = self.d & ADDRESS,
            0x87 if self.fl & OVERFLOW != 0 => self.pc = self.d & ADDRESS,
            0x85..=0x87 => {}
            0x88 => {
                self.push(self.pc, 8)?;
                self.pc = self.d & ADDRESS;
            }
            0x89 => {
                self.pc = self.top(8)? & ADDRESS;
                self.sp += 8;
            }
            0x8A => self.output.extend_from_slice(self.a.to_string().as_bytes()),
            _ => return Err(Event::Interrupt(vector)),
        }
        Ok(())
    }

    fn entry(&self, vector: u8) -> u64 {
        let at = STACK_BASE as usize + 8 * vector as usize;
        little_endian(&self.memory[at..at + 8])
    }

    /// Section 5: calls the handler of a vector, or stops.
    fn interrupt(&mut self, vector: u8, is_exception: bool, failing: u64, resume: u64) -> Option<Status> {
        let saved = self.fl;
        let mut fl = saved & !(EXCEPTION | GPF | VECTOR) | u32::from(vector) << 8;
        if is_exception {
            fl |= EXCEPTION;
            if vector == PROTECTION {
                fl |= GPF;
            }
        }
        let entry = self.entry(vector);
        let has_room = self.sp >= STACK_LOW + 16;
        if entry == 0 || !has_room {
            self.fl = fl;
            self.pc = failing;
            return Some(match (entry, is_exception) {
                (0, true) => Status::Exception(vector),
                (0, false) => Status::Interrupt(vector),
                _ => Status::DoubleFault(vector),
            });
        }
        // Both fit: the room was checked, and the image ends below the stack.
        let pushed = self.push(u64::from(saved), 8).and_then(|()| self.push(resume, 8));
        debug_assert!(pushed.is_ok());
        self.fl = fl & !RING;
        self.pc = entry & ADDRESS;
        None
    }
}

/// The number in up to eight bytes.
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A mask of the low bytes.
fn low_bytes(size: usize) -> u64 {
    u64::MAX >> (64 - 8 * size)
}

/// Section 2.1.
fn register_bits(code: u8) -> u32 {
    match code {
        0x1 | 0x2 | 0x4 | 0x5 | 0xB => 32,
        _ => 64,
    }
}

/// Section 3.1: the sizes allowed for a register as operand and as destination of Pop.
fn is_size_allowed(code: u8, size: usize) -> bool {
    match code {
        0x0 | 0x3 => true,
        0x1 | 0x2 | 0x4 | 0x5 | 0xB => size <= 4,
        _ => size == 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_image_ends_at_once() {
        let mut machine = Machine::new(&[], &[]).expect("an image");
        assert_eq!(machine.run(10), Status::End);
        assert_eq!(machine.executed, 0);
    }

    #[test]
    fn rotation_goes_left() {
        // sum.b a, #0x81; rlr.b x, #33
        let mut machine = Machine::new(&[0x20, 0, 0x81, 0x2B, 0x10, 33], &[]).expect("an image");
        assert_eq!(machine.run(10), Status::End);
        assert_eq!(machine.a, 0x102);
    }

    #[test]
    fn an_image_ends_below_the_stack() {
        assert!(Machine::new(&vec![0xFF; IMAGE_BYTES], &[]).is_some());
        assert!(Machine::new(&vec![0xFF; IMAGE_BYTES + 1], &[]).is_none());
    }
}
