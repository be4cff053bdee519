//! Numbers of the machine (`docs/machines/nvm.md`), and where a translation keeps its state in memory.

/// The signature of an image.
pub const SIGNATURE: [u8; 4] = *b"NVM0";
/// Longest image that is translated, bytes.
pub const IMAGE_BYTES: usize = 4 << 20;
/// Longest image that SPAWN loads, bytes.
pub const SPAWNED_BYTES: u64 = 65_536;
/// Cells of a process's stack.
pub const STACK_CELLS: u64 = 1024;
/// Locals of a process.
pub const LOCALS: u64 = 256;
/// Bytes of a process's heap.
pub const HEAP_BYTES: u64 = 131_072;
/// Processes of a machine.
pub const PROCESSES: u64 = 32;
/// Instructions of a slice.
pub const SLICE: u64 = 5000;
/// Capabilities that a process holds.
pub const MAX_CAPABILITIES: usize = 8;
/// Longest file, bytes.
pub const FILE_BYTES: u64 = 65_536;
/// Processes, and halts at BREAK, that are told of after a run; later ones are counted.
pub const LOGGED: u64 = 16_384;

/// The capabilities, by name and value.
pub const CAPABILITIES: [(&str, u64); 14] = [
    ("ALL", 0xFFFF),
    ("NONE", 0),
    ("FS_READ", 1),
    ("FS_WRITE", 2),
    ("FS_CREATE", 3),
    ("FS_DELETE", 4),
    ("MEM_MGMT", 5),
    ("DRV_ACCESS", 6),
    ("PROC_MGMT", 7),
    ("CAPS_MGMT", 8),
    ("DRV_GROUP_STORAGE", 0x100),
    ("DRV_GROUP_VIDEO", 0x200),
    ("DRV_GROUP_AUDIO", 0x300),
    ("DRV_GROUP_NETWORK", 0x400),
];

/// How a run ends, with the number that the translated program answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No process is active any more.
    Exit = 0,
    /// All that are active are blocked.
    Deadlock = 1,
    /// The instruction limit.
    Limit = 2,
    /// The arguments do not fit the stack.
    LoadError = 3,
}

impl Status {
    /// All of them, by number.
    pub const ALL: [Status; 4] = [Status::Exit, Status::Deadlock, Status::Limit, Status::LoadError];

    /// The name in results.
    pub fn name(self) -> &'static str {
        match self {
            Status::Exit => "exit",
            Status::Deadlock => "deadlock",
            Status::Limit => "limit",
            Status::LoadError => "load_error",
        }
    }
}

/// The names of faults, by number; 0 is none.
pub const FAULTS: [&str; 13] = [
    "",
    "stack_underflow",
    "stack_overflow",
    "division_by_zero",
    "invalid_opcode",
    "bad_operand",
    "bad_jump",
    "bad_frame",
    "heap_bounds",
    "bad_address",
    "cap_denied",
    "bad_syscall",
    "deadlock",
];

/// Where the locals of the process that runs lie.
pub(crate) const LOCALS_AT: u64 = 0;
/// Where its stack lies.
pub(crate) const STACK_AT: u64 = 0x1000;
/// Where the frame pointer goes when code inside of routines is left.
pub(crate) const FRAME_WORD: u64 = 0x448;
/// Where the image of the program lies; what is behind depends on its length.
pub(crate) const IMAGE_AT: u64 = 0x1_0000;
/// Bytes of the stack and the locals of a process that does not run.
const SAVED_BYTES: u64 = 4 * (STACK_CELLS + LOCALS);

/// Memory behind the image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub image_len: u64,
    pub process_log: u64,
    pub break_log: u64,
    pub saved: u64,
    pub arguments: u64,
    pub stage: u64,
    pub heaps: u64,
    pub final_heap: u64,
    pub images: u64,
    pub screen: u64,
    pub ports: u64,
    pub ram: u64,
    pub pages: u64,
}

impl Layout {
    /// For an image of this length.
    pub fn new(image_len: usize) -> Layout {
        let image_len = image_len as u64;
        let mut at = IMAGE_AT + image_len;
        let mut take = |bytes: u64| {
            let start = at.next_multiple_of(64);
            at = start + bytes;
            start
        };
        let process_log = take(16 * LOGGED);
        let break_log = take(16 * LOGGED);
        let saved = take(SAVED_BYTES * PROCESSES);
        let arguments = take(1024 * PROCESSES);
        let stage = take(SPAWNED_BYTES + 64);
        let heaps = take(HEAP_BYTES * PROCESSES);
        let final_heap = take(HEAP_BYTES);
        let images = take(SPAWNED_BYTES * PROCESSES);
        // Behind the screen four bytes that stay 0.
        let screen = take(4004);
        let ports = take(65_536);
        let ram = take(1 << 20);
        let pages = at.div_ceil(dotvm_core::limits::PAGE_BYTES);
        Layout {
            image_len,
            process_log,
            break_log,
            saved,
            arguments,
            stage,
            heaps,
            final_heap,
            images,
            screen,
            ports,
            ram,
            pages,
        }
    }

    /// What a name of the runtime's text stands for.
    pub fn number(&self, name: &str) -> Option<u64> {
        if let Some(number) = NUMBERS.iter().find(|number| number.0 == name) {
            return Some(number.1);
        }
        Some(match name {
            "image_len" => self.image_len,
            "log" => self.process_log,
            "log_state" => self.process_log + 4,
            "log_code" => self.process_log + 8,
            "log_fault" => self.process_log + 12,
            "breaks" => self.break_log,
            "break_at" => self.break_log + 4,
            "break_has" => self.break_log + 8,
            "break_top" => self.break_log + 12,
            "saved" => self.saved,
            "saved_locals" => self.saved + 4 * STACK_CELLS,
            "arguments" => self.arguments,
            "stage" => self.stage,
            "heaps" => self.heaps,
            "final_heap" => self.final_heap,
            "images" => self.images,
            "screen" => self.screen,
            "ports" => self.ports,
            "ram" => self.ram,
            _ => return None,
        })
    }
}

/// What stands at the same place in every translation: variables of the machine, tables, buffers, fields of records.
const NUMBERS: &[(&str, u64)] = &[
    ("locals", LOCALS_AT),
    // Variables.
    ("out_len", 0x400),
    ("out_stream", 0x404),
    ("held_fd", 0x408),
    ("held_len", 0x40C),
    ("queue_len", 0x410),
    ("active", 0x414),
    ("processes", 0x418),
    ("break_count", 0x41C),
    ("in_at", 0x420),
    ("in_left", 0x424),
    ("in_ended", 0x428),
    ("file_ids", 0x42C),
    ("denied", 0x430),
    ("final_s", 0x434),
    ("kept_heap", 0x438),
    ("device_aux", 0x43C),
    ("text_len", 0x440),
    // The queue: recipient, sender, byte.
    ("queue", 0x500),
    ("queue_from", 0x504),
    ("queue_byte", 0x508),
    ("queue_next", 0x510),
    // Descriptors, 32 bytes each: kind, owner, handle, position, which file, length of the path, number.
    ("fd_kind", 0x700),
    ("fd_owner", 0x704),
    ("fd_handle", 0x708),
    ("fd_at", 0x70C),
    ("fd_file", 0x710),
    ("fd_path_len", 0x714),
    ("fd_aux", 0x718),
    ("fds", 67),
    // The stack of the process that runs, and cells below its top.
    ("stack", STACK_AT),
    ("top", STACK_AT - 4),
    ("second", STACK_AT - 8),
    ("top_full", 4 * STACK_CELLS),
    // Processes, 128 bytes each.
    ("p_state", 0x2000),
    ("p_ip", 0x2004),
    ("p_s", 0x2008),
    ("p_fa", 0x200C),
    ("p_fw", 0x2010),
    ("p_ib", 0x2014),
    ("p_il", 0x2018),
    ("p_direct", 0x201C),
    ("p_heap_abi", 0x2020),
    ("p_cursor", 0x2024),
    ("p_log", 0x2028),
    ("p_arguments", 0x202C),
    ("p_used", 0x2030),
    ("p_cap_count", 0x2034),
    ("p_caps", 0x2038),
    // A path, up to 1,024 bytes, and other short texts.
    ("path", 0x3000),
    ("path2", 0x3002),
    ("path4", 0x3004),
    ("path6", 0x3006),
    ("path7", 0x3007),
    ("out", 0x4000),
    ("held", 0x5000),
    ("final_stack", 0x6000),
    ("final_locals", 0x7000),
    ("paths", 0x8000),
    ("strings", 0xD000),
    ("image", IMAGE_AT),
    ("slice", SLICE),
    ("long_slice", SLICE * 400_000),
    ("logged", LOGGED),
    ("heap_bytes", HEAP_BYTES),
    ("heap_last", HEAP_BYTES - 1),
    ("heap_word", HEAP_BYTES - 4),
    ("file_bytes", FILE_BYTES),
    ("spawned", SPAWNED_BYTES),
    ("saved_bytes", SAVED_BYTES),
];
