//! Numbers of the machine (`docs/machines/pvm.md`, sections 2 and 5).

/// Bytes of memory.
pub const MEMORY_BYTES: u64 = 0x10_0000;
/// Longest image.
pub const IMAGE_BYTES: usize = 0xE_F800;
/// Lowest address of the stack.
pub const STACK_LOW: u64 = 0xE_F800;
/// SB: end of the stack, first address of the vector table.
pub const STACK_BASE: u64 = 0xF_F800;
/// FL at the start: ring 3.
pub const RING_3: u64 = 0xC;
/// The general registers of eight bytes, in the order of their locals.
pub const REGISTERS: [&str; 4] = ["a", "b", "c", "d"];

/// How a run ends, with the number that the translated program answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// PC reached the end of the image.
    End = 0,
    /// Service 80.
    Exit = 1,
    /// An exception without a handler.
    Exception = 2,
    /// A software interrupt without handler or service.
    Interrupt = 3,
    /// No stack room to call a handler.
    DoubleFault = 4,
    /// The instruction limit.
    Limit = 5,
}

impl Status {
    /// All of them, by number.
    pub const ALL: [Status; 6] =
        [Status::End, Status::Exit, Status::Exception, Status::Interrupt, Status::DoubleFault, Status::Limit];

    /// The name in results.
    pub fn name(self) -> &'static str {
        match self {
            Status::End => "end",
            Status::Exit => "exit",
            Status::Exception => "exception",
            Status::Interrupt => "interrupt",
            Status::DoubleFault => "double_fault",
            Status::Limit => "limit",
        }
    }
}
