//! Descriptors, files, devices, ports and memory of the machine (sections 8 and 9).

use crate::Machine;

/// What a descriptor is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File(Vec<u8>),
    /// Console input.
    Input,
    /// Console output.
    Output,
    /// Console error output.
    Errors,
    /// The console both ways.
    Both,
    /// `/dev/null`.
    Null,
    /// `/dev/zero`.
    Zero,
    /// `/dev/full`.
    Full,
    /// `/dev/urandom`.
    Random,
    /// `/proc/self`.
    Myself,
    /// `/proc/<pid>/args`.
    Arguments(usize),
    /// A text that the host chooses.
    Text(&'static str),
}

/// An open descriptor.
#[derive(Clone, Debug)]
pub struct Descriptor {
    /// What it is of.
    pub kind: Kind,
    /// Who opened it.
    pub owner: usize,
    /// The position of the next byte.
    pub position: usize,
}

impl Descriptor {
    pub(crate) fn new(kind: Kind, owner: usize) -> Descriptor {
        Descriptor { kind, owner, position: 0 }
    }
}

/// A byte of a descriptor.
pub(crate) enum Read {
    Byte(u8),
    End,
    Refused,
}

impl Machine {
    fn device(&self, path: &[u8]) -> Option<Kind> {
        Some(match path {
            b"/dev/stdin" => Kind::Input,
            b"/dev/stdout" => Kind::Output,
            b"/dev/stderr" => Kind::Errors,
            b"/dev/tty" | b"/dev/console" => Kind::Both,
            b"/dev/null" => Kind::Null,
            b"/dev/zero" => Kind::Zero,
            b"/dev/full" => Kind::Full,
            b"/dev/urandom" => Kind::Random,
            b"/proc/self" => Kind::Myself,
            b"/proc/uptime" => Kind::Text("0"),
            b"/proc/meminfo" => Kind::Text("4194304"),
            b"/proc/cpuinfo" => Kind::Text("DotVM"),
            b"/proc/version" => Kind::Text("NVM0"),
            _ => {
                let number = path.strip_prefix(b"/proc/")?.strip_suffix(b"/args")?;
                let text = std::str::from_utf8(number).ok()?;
                let pid: usize = text.parse().ok()?;
                // Decimal as it is written: no sign, no zero in front.
                if pid.to_string() != text || self.processes.get(pid)?.is_none() {
                    return None;
                }
                Kind::Arguments(pid)
            }
        })
    }

    fn closed(&self) -> Option<usize> {
        (3..67).find(|fd| self.descriptors[*fd].is_none())
    }

    pub(crate) fn open(&mut self, pid: usize, path: &[u8]) -> i32 {
        let Some(fd) = self.closed().filter(|_| (1..=255).contains(&path.len())) else { return -1 };
        let kind = match self.device(path) {
            Some(kind) => kind,
            None if self.files.contains_key(path) => Kind::File(path.to_vec()),
            None => return -1,
        };
        self.descriptors[fd] = Some(Descriptor::new(kind, pid));
        fd as i32
    }

    pub(crate) fn create(&mut self, pid: usize, path: &[u8]) -> i32 {
        let is_name = (1..=255).contains(&path.len()) && path[0] == b'/' && !path.ends_with(b"/");
        let is_proc = path == b"/proc" || path.starts_with(b"/proc/");
        if !is_name || is_proc || self.device(path).is_some() {
            return -1;
        }
        let Some(fd) = self.closed() else { return -1 };
        self.files.insert(path.to_vec(), Vec::new());
        self.descriptors[fd] = Some(Descriptor::new(Kind::File(path.to_vec()), pid));
        fd as i32
    }

    pub(crate) fn delete(&mut self, path: &[u8]) -> i32 {
        if path.len() > 255 || self.device(path).is_some() || self.files.remove(path).is_none() {
            return -1;
        }
        for descriptor in &mut self.descriptors {
            if descriptor.as_ref().is_some_and(|open| matches!(&open.kind, Kind::File(open) if open == path))
            {
                *descriptor = None;
            }
        }
        0
    }

    pub(crate) fn kind(&self, fd: i32) -> Option<&Kind> {
        let descriptor = self.descriptors.get(usize::try_from(fd).ok()?)?.as_ref()?;
        Some(&descriptor.kind)
    }

    /// The next byte of a descriptor for a process.
    pub(crate) fn byte_of(&mut self, pid: usize, fd: i32) -> Read {
        let Some(kind) = self.kind(fd).cloned() else { return Read::Refused };
        let text: Vec<u8> = match kind {
            Kind::Input | Kind::Both => return self.input.pop_front().map_or(Read::End, Read::Byte),
            Kind::Output | Kind::Errors => return Read::Refused,
            Kind::Null => return Read::End,
            // No test compares what is random.
            Kind::Zero | Kind::Full | Kind::Random => return Read::Byte(0),
            Kind::File(path) => self.files.get(&path).cloned().unwrap_or_default(),
            Kind::Myself => pid.to_string().into_bytes(),
            Kind::Arguments(pid) => {
                self.processes[pid].as_ref().map_or(Vec::new(), |process| process.arguments.clone())
            }
            Kind::Text(text) => text.into(),
        };
        let Some(Some(descriptor)) = self.descriptors.get_mut(fd as usize) else { return Read::Refused };
        match text.get(descriptor.position) {
            Some(byte) => {
                descriptor.position += 1;
                Read::Byte(*byte)
            }
            None => Read::End,
        }
    }

    /// Writes a byte; whether that could be.
    pub(crate) fn byte_to(&mut self, fd: i32, byte: u8) -> bool {
        match self.kind(fd) {
            Some(Kind::Output | Kind::Both) => self.output.push(byte),
            Some(Kind::Errors) => self.errors.push(byte),
            Some(Kind::Null | Kind::Zero) => {}
            Some(Kind::File(_)) => {
                let Some(Some(descriptor)) = self.descriptors.get_mut(fd as usize) else { return false };
                let Kind::File(path) = &descriptor.kind else { return false };
                let Some(contents) = self.files.get_mut(path) else { return false };
                if descriptor.position >= 65_536 {
                    return false;
                }
                // A gap behind the end, after another process emptied the file, is zeros.
                if contents.len() <= descriptor.position {
                    contents.resize(descriptor.position + 1, 0);
                }
                contents[descriptor.position] = byte;
                descriptor.position += 1;
            }
            _ => return false,
        }
        true
    }

    /// READ by strings.
    pub(crate) fn read_string(&mut self, pid: usize, fd: i32) -> i32 {
        let start = self.process(pid).cursor;
        if start >= crate::HEAP || matches!(self.kind(fd), None | Some(Kind::Output | Kind::Errors)) {
            return -1;
        }
        let mut at = start;
        while at < crate::HEAP - 1 {
            match self.byte_of(pid, fd) {
                Read::Byte(byte) if byte != 0 => self.process(pid).heap[at] = byte,
                _ => break,
            }
            at += 1;
        }
        let process = self.process(pid);
        process.heap[at] = 0;
        process.cursor = at + 1;
        start as i32
    }

    /// WRITE by strings.
    pub(crate) fn write_string(&mut self, pid: usize, fd: i32, offset: i32) -> i32 {
        let Some(string) = self.process(pid).heap_string(offset) else { return -1 };
        let is_writable = matches!(
            self.kind(fd),
            Some(Kind::File(_) | Kind::Output | Kind::Errors | Kind::Both | Kind::Null | Kind::Zero)
        );
        if !is_writable {
            return -1;
        }
        let written = string.iter().take_while(|byte| self.byte_to(fd, **byte)).count();
        if written == 0 && !string.is_empty() { -1 } else { written as i32 }
    }

    /// What SPAWN reads: the rest of a descriptor, at most one byte more than an image has.
    pub(crate) fn rest_of(&mut self, pid: usize, fd: i32) -> Option<Vec<u8>> {
        match self.kind(fd)? {
            Kind::File(_) | Kind::Input | Kind::Both | Kind::Myself | Kind::Arguments(_) | Kind::Text(_) => {}
            _ => return None,
        }
        let mut rest = Vec::new();
        while rest.len() <= 65_536
            && let Read::Byte(byte) = self.byte_of(pid, fd)
        {
            rest.push(byte);
        }
        Some(rest)
    }

    pub(crate) fn port(&mut self, port: i32) -> &mut u8 {
        &mut self.ports[port as usize & 0xFFFF]
    }

    /// A word of the machine's memory.
    pub(crate) fn load_abs(&self, address: u32) -> Option<i32> {
        let (window, offset) = self.window(address)?;
        let byte = |index: usize| window.get(offset + index).copied().unwrap_or(0);
        Some(i32::from_le_bytes(std::array::from_fn(byte)))
    }

    fn window(&self, address: u32) -> Option<(&[u8], usize)> {
        match address {
            0xB_8000..=0xB_8F9E => Some((&self.screen, address as usize - 0xB_8000)),
            0x10_0000..=0x1F_FFFC => Some((&self.ram, address as usize - 0x10_0000)),
            _ => None,
        }
    }

    /// Sets one; false where there is none.
    pub(crate) fn store_abs(&mut self, address: u32, value: i32) -> bool {
        let Some((_, offset)) = self.window(address) else { return false };
        let bytes = value.to_le_bytes();
        if address < 0x10_0000 {
            self.screen[offset..offset + 2].copy_from_slice(&bytes[..2]);
        } else {
            self.ram[offset..offset + 4].copy_from_slice(&bytes);
        }
        true
    }
}
