//! Instructions and system calls (sections 5 and 8). A fault leaves the stack as it was before the instruction.

use crate::devices::Read;
use crate::{Fault, Machine, STACK};

/// What an instruction does to its process: it goes on, or ends with a code.
type Outcome = Result<Option<i32>, Fault>;

impl Machine {
    /// Carries out the instruction at `ip`, which is in the image.
    pub(crate) fn step(&mut self, pid: usize) -> Outcome {
        let process = self.process(pid);
        let ip = process.ip as usize;
        let len = process.image.len();
        let op = process.image[ip];
        let byte = || process.image.get(ip + 1).copied().ok_or(Fault::BadOperand);
        let word = || {
            let bytes = process.image.get(ip + 1..ip + 5).ok_or(Fault::BadOperand)?;
            Ok(u32::from_be_bytes(bytes.try_into().unwrap_or_default()))
        };
        let target = |address: u32| {
            if (4..len as u64).contains(&u64::from(address)) { Ok(address) } else { Err(Fault::BadJump) }
        };
        let need = |cells: usize| {
            if process.stack.len() < cells { Err(Fault::StackUnderflow) } else { Ok(()) }
        };
        let room = |cells: usize| {
            if process.stack.len() + cells > STACK { Err(Fault::StackOverflow) } else { Ok(()) }
        };
        let next = |length: usize| (ip + length) as u32;
        match op {
            0x00 => return Ok(Some(0)),
            0x01 => process.ip = next(1),
            0x02 => {
                let value = word()?;
                room(1)?;
                process.stack.push(value as i32);
                process.ip = next(5);
            }
            0x04 => {
                need(1)?;
                process.stack.pop();
                process.ip = next(1);
            }
            0x05 => {
                need(1)?;
                room(1)?;
                process.stack.push(process.stack[process.stack.len() - 1]);
                process.ip = next(1);
            }
            0x06 => {
                need(2)?;
                let top = process.stack.len() - 1;
                process.stack.swap(top, top - 1);
                process.ip = next(1);
            }
            0x10..=0x14 | 0x20..=0x24 | 0x60..=0x62 | 0x64..=0x66 => {
                need(2)?;
                let top = process.stack.len() - 1;
                let result = binary(op, process.stack[top - 1], process.stack[top])?;
                process.stack.pop();
                process.stack[top - 1] = result;
                process.ip = next(1);
            }
            0x63 => {
                need(1)?;
                let top = process.stack.len() - 1;
                process.stack[top] = !process.stack[top];
                process.ip = next(1);
            }
            0x30 => process.ip = target(word()?)?,
            0x31 | 0x32 => {
                need(1)?;
                let address = word()?;
                let value = process.stack[process.stack.len() - 1];
                let goes = if (value == 0) == (op == 0x31) { target(address)? } else { next(5) };
                process.stack.pop();
                process.ip = goes;
            }
            0x33 => {
                let address = word()?;
                room(1)?;
                let address = target(address)?;
                process.stack.push(next(5) as i32);
                process.ip = address;
            }
            0x34 => {
                need(1)?;
                let address = target(process.stack[process.stack.len() - 1] as u32)?;
                process.stack.pop();
                process.ip = address;
            }
            0x35 => {
                let locals = usize::from(byte()?);
                room(1 + locals)?;
                let frame = process.stack.len();
                process.stack.push(process.fp);
                process.fp = frame as i32;
                process.stack.resize(frame + 1 + locals, 0);
                process.ip = next(2);
            }
            0x36 => {
                let frame = usize::try_from(process.fp).map_err(|_| Fault::BadFrame)?;
                let saved = *process.stack.get(frame).ok_or(Fault::BadFrame)?;
                process.fp = saved;
                process.stack.truncate(frame);
                process.ip = next(1);
            }
            0x37 | 0x42 => {
                let index = i64::from(byte()?);
                room(1)?;
                let fp = i64::from(process.fp);
                let cell = if op == 0x37 { fp - 2 - index } else { fp + 1 + index };
                if fp < 0 || cell < 0 || cell >= process.stack.len() as i64 {
                    return Err(Fault::BadFrame);
                }
                process.stack.push(process.stack[cell as usize]);
                process.ip = next(2);
            }
            0x38 | 0x43 => {
                let index = i64::from(byte()?);
                let fp = i64::from(process.fp);
                let cell = if op == 0x38 { fp - 2 - index } else { fp + 1 + index };
                if fp < 0 || cell < 0 || cell >= STACK as i64 {
                    return Err(Fault::BadFrame);
                }
                need(1)?;
                let value = process.stack.pop().unwrap_or_default();
                if let Some(place) = process.stack.get_mut(cell as usize) {
                    *place = value;
                }
                process.ip = next(2);
            }
            0x40 => {
                let index = byte()?;
                room(1)?;
                process.stack.push(process.locals[usize::from(index)]);
                process.ip = next(2);
            }
            0x41 => {
                let index = byte()?;
                need(1)?;
                process.locals[usize::from(index)] = process.stack.pop().unwrap_or_default();
                process.ip = next(2);
            }
            0x46 => {
                need(1)?;
                let top = process.stack.len() - 1;
                let offset = heap_word(process.stack[top])?;
                let bytes: [u8; 4] = std::array::from_fn(|index| process.heap[offset + index]);
                process.stack[top] = i32::from_le_bytes(bytes);
                process.ip = next(1);
            }
            0x47 => {
                need(2)?;
                let top = process.stack.len() - 1;
                let offset = heap_word(process.stack[top - 1])?;
                process.heap[offset..offset + 4].copy_from_slice(&process.stack[top].to_le_bytes());
                process.stack.truncate(top - 1);
                process.ip = next(1);
            }
            0x44 => {
                need(1)?;
                let top = process.stack.len() - 1;
                let address = process.stack[top] as u32;
                process.ip = next(1);
                if !self.may(pid, 6) {
                    return Err(Fault::CapDenied);
                }
                let value = self.load_abs(address).ok_or(Fault::BadAddress)?;
                self.process(pid).stack[top] = value;
            }
            0x45 => {
                need(2)?;
                let top = process.stack.len() - 1;
                let (address, value) = (process.stack[top - 1] as u32, process.stack[top]);
                process.ip = next(1);
                if !self.may(pid, 6) {
                    return Err(Fault::CapDenied);
                }
                if !self.store_abs(address, value) {
                    return Err(Fault::BadAddress);
                }
                self.process(pid).stack.truncate(top - 1);
            }
            0x50 => {
                let number = byte()?;
                return self.call(pid, number, next(2));
            }
            0x51 => {
                process.ip = next(1);
                let top = process.stack.last().copied();
                self.breaks.push(top);
            }
            _ => return Err(Fault::InvalidOpcode),
        }
        Ok(None)
    }

    /// A system call; `next` is the address behind it.
    fn call(&mut self, pid: usize, number: u8, next: u32) -> Outcome {
        let process = self.process(pid);
        let heap_abi = process.heap_abi;
        let cells = process.stack.len();
        let need = |count: usize| if cells < count { Err(Fault::StackUnderflow) } else { Ok(()) };
        let result = match number {
            0x00 => return Ok(Some(process.stack.pop().unwrap_or(0))),
            0x01 => {
                need(2)?;
                let fd = self.pop(pid);
                let argc = self.pop(pid);
                Some(self.spawn(pid, argc, fd))
            }
            0x02 | 0x05 | 0x06 => {
                let path = if heap_abi {
                    need(1)?;
                    let offset = self.pop(pid);
                    self.process(pid).heap_string(offset)
                } else {
                    self.process(pid).pop_string()
                };
                let capability = match number {
                    0x02 => 1,
                    0x05 => 3,
                    _ => 4,
                };
                let may = self.may(pid, capability);
                Some(match path.filter(|_| may) {
                    None => -1,
                    Some(path) => match number {
                        0x02 => self.open(pid, &path),
                        0x05 => self.create(pid, &path),
                        _ => self.delete(&path),
                    },
                })
            }
            0x03 => {
                need(1)?;
                let fd = self.pop(pid);
                Some(match self.may(pid, 1) {
                    false => -1,
                    true if heap_abi => self.read_string(pid, fd),
                    true => match self.byte_of(pid, fd) {
                        Read::Byte(byte) => byte.into(),
                        Read::End => 0,
                        Read::Refused => -1,
                    },
                })
            }
            0x04 => {
                need(2)?;
                let value = self.pop(pid);
                let fd = self.pop(pid);
                Some(match self.may(pid, 2) {
                    false => -1,
                    true if heap_abi => self.write_string(pid, fd, value),
                    true if self.byte_to(fd, value as u8) => 1,
                    true => -1,
                })
            }
            0x07 | 0x08 => {
                need(2)?;
                let capability = self.pop(pid);
                let other = self.pop(pid);
                Some(if number == 0x07 {
                    self.cap_request(other, capability)
                } else {
                    self.cap_spawn(pid, other, capability)
                })
            }
            0x0A => {
                need(2)?;
                let byte = self.pop(pid);
                let to = self.pop(pid);
                if self.send(pid, to, byte) { None } else { Some(-1) }
            }
            0x0B => {
                if cells + 2 > STACK {
                    return Err(Fault::StackOverflow);
                }
                let Some((sender, byte)) = self.receive(pid) else {
                    // It is carried out again when a message is there.
                    self.process(pid).blocked = true;
                    return Ok(None);
                };
                self.process(pid).stack.push(sender as i32);
                Some(byte.into())
            }
            0x0C => {
                need(1)?;
                let port = self.pop(pid);
                Some(if self.may(pid, 6) { (*self.port(port)).into() } else { -1 })
            }
            0x0D => {
                need(2)?;
                let byte = self.pop(pid);
                let port = self.pop(pid);
                if self.may(pid, 6) {
                    *self.port(port) = byte as u8;
                }
                None
            }
            0x0E => {
                need(1)?;
                let byte = self.pop(pid);
                self.output.push(byte as u8);
                None
            }
            _ => return Err(Fault::BadSyscall),
        };
        let process = self.process(pid);
        process.stack.extend(result);
        process.ip = next;
        Ok(None)
    }

    fn pop(&mut self, pid: usize) -> i32 {
        self.process(pid).stack.pop().unwrap_or_default()
    }
}

fn heap_word(offset: i32) -> Result<usize, Fault> {
    usize::try_from(offset).ok().filter(|offset| *offset <= 131_068).ok_or(Fault::HeapBounds)
}

fn binary(op: u8, a: i32, b: i32) -> Result<i32, Fault> {
    Ok(match op {
        0x10 => a.wrapping_add(b),
        0x11 => a.wrapping_sub(b),
        0x12 => a.wrapping_mul(b),
        0x13 | 0x14 if b == 0 => return Err(Fault::DivisionByZero),
        0x13 => a.wrapping_div(b),
        0x14 => a.wrapping_rem(b),
        0x20 => a.cmp(&b) as i32,
        0x21 => (a == b).into(),
        0x22 => (a != b).into(),
        0x23 => (a > b).into(),
        0x24 => (a < b).into(),
        0x60 => a & b,
        0x61 => a | b,
        0x62 => a ^ b,
        0x64 => a.wrapping_shl(b as u32),
        0x65 => ((a as u32).wrapping_shr(b as u32)) as i32,
        _ => a.wrapping_shr(b as u32),
    })
}
