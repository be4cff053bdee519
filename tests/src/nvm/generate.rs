//! Random programs of NVM: statements that mostly mean something, loops and calls that mostly end, and now and then
//! something else; and noise.

use fastrand::Rng;

use crate::nvm::Case;

/// A program that is being made.
struct Program<'a> {
    rng: &'a mut Rng,
    image: Vec<u8>,
    /// Starts of instructions.
    starts: Vec<u32>,
    /// Places of addresses that become those of an instruction.
    wild: Vec<usize>,
    /// Places of addresses of functions, and which.
    calls: Vec<(usize, usize)>,
    functions: usize,
    /// Statements that may still be made.
    room: usize,
    /// Nesting.
    depth: usize,
    /// Loops around, each with a counter of its own.
    loops: u8,
    careful: bool,
    heap_abi: bool,
    has_children: bool,
    in_frame: bool,
}

const BINARY: [u8; 16] =
    [0x10, 0x11, 0x12, 0x13, 0x14, 0x20, 0x21, 0x22, 0x23, 0x24, 0x60, 0x61, 0x62, 0x64, 0x65, 0x66];
const ALL: [u8; 42] = [
    0, 1, 2, 4, 5, 6, 0x10, 0x11, 0x12, 0x13, 0x14, 0x20, 0x21, 0x22, 0x23, 0x24, 0x30, 0x31, 0x32, 0x33,
    0x34, 0x35, 0x36, 0x37, 0x38, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x50, 0x51, 0x60, 0x61,
    0x62, 0x63, 0x64, 0x65, 0x66,
];

impl Program<'_> {
    fn one_in(&mut self, count: u32) -> bool {
        self.rng.u32(..count) == 0
    }

    fn op(&mut self, op: u8) {
        self.starts.push(self.image.len() as u32);
        self.image.push(op);
    }

    fn byte(&mut self, op: u8, operand: u8) {
        self.op(op);
        self.image.push(operand);
    }

    fn word(&mut self, op: u8, operand: u32) {
        self.op(op);
        self.image.extend_from_slice(&operand.to_be_bytes());
    }

    fn push(&mut self, number: i32) {
        self.word(2, number as u32);
    }

    /// A jump whose target is set later; answers the place of the address.
    fn jump(&mut self, op: u8) -> usize {
        self.word(op, 0);
        self.image.len() - 4
    }

    fn land(&mut self, place: usize) {
        let here = self.image.len() as u32;
        self.aim(place, here);
    }

    fn aim(&mut self, place: usize, target: u32) {
        self.image[place..place + 4].copy_from_slice(&target.to_be_bytes());
    }

    fn number(&mut self) -> i32 {
        match self.rng.u8(..10) {
            0 => 0,
            1 => 1,
            2 => -1,
            3 => self.rng.i32(..),
            4 => self.rng.i32(..) >> self.rng.u32(..32),
            5 => 1i32.wrapping_shl(self.rng.u32(..32)),
            6 => i32::MIN,
            7 => i32::MAX,
            _ => self.rng.i32(..100),
        }
    }

    fn local(&mut self) -> u8 {
        if self.one_in(12) { self.rng.u8(..) } else { self.rng.u8(..6) }
    }

    /// Pushes one value.
    fn expression(&mut self, depth: usize) {
        match self.rng.u8(..14) {
            0..=2 => {
                let number = self.number();
                self.push(number);
            }
            3..=5 => {
                let local = self.local();
                self.byte(0x40, local);
            }
            6 if self.in_frame => {
                let index = self.rng.u8(..3);
                let op = if self.rng.bool() { 0x37 } else { 0x42 };
                self.byte(op, index);
            }
            7 if depth > 0 => {
                self.expression(depth - 1);
                self.op(0x63);
            }
            8 if depth > 0 && !self.careful => {
                // Mostly in bounds.
                let offset = if self.one_in(40) { -2 } else { self.rng.i32(..200) };
                self.push(offset);
                self.op(0x46);
            }
            9 => {
                self.expression(0);
                self.op(5);
                self.binary();
            }
            _ if depth > 0 => {
                self.expression(depth - 1);
                self.expression(depth - 1);
                self.binary();
            }
            _ => self.push(3),
        }
    }

    fn binary(&mut self) {
        let op = if self.careful { BINARY[self.rng.usize(..13)] } else { BINARY[self.rng.usize(..16)] };
        if self.careful && matches!(op, 0x13 | 0x14) {
            // No divisor is 0.
            self.push(1);
            self.op(0x61);
        }
        self.op(op);
    }

    fn statements(&mut self, count: usize) {
        for _ in 0..count {
            if self.room == 0 {
                return;
            }
            self.room -= 1;
            self.statement();
        }
    }

    fn some(&mut self) {
        if self.depth >= 4 {
            return;
        }
        self.depth += 1;
        let count = self.rng.usize(1..5);
        self.statements(count);
        self.depth -= 1;
    }

    fn statement(&mut self) {
        match self.rng.u8(..46) {
            0..=7 => {
                self.expression(2);
                let local = self.local();
                self.byte(0x41, local);
            }
            8..=11 => {
                self.expression(1);
                let op = 0x31 + self.rng.u8(..2);
                let place = self.jump(op);
                self.some();
                if self.rng.bool() {
                    let over = self.jump(0x30);
                    self.land(place);
                    self.some();
                    self.land(over);
                } else {
                    self.land(place);
                }
            }
            12..=15 => self.counted_loop(),
            16 | 17 => {
                // A counter on the stack.
                let count = self.rng.i32(1..8);
                self.push(count);
                let top = self.image.len() as u32;
                self.some();
                self.push(1);
                self.op(0x11);
                self.op(5);
                let place = self.jump(0x32);
                self.aim(place, top);
                self.op(4);
            }
            18..=22 if self.functions > 0 => self.call(),
            23 | 24 => {
                let offset = self.rng.i32(..160);
                self.push(offset);
                self.expression(1);
                self.op(0x47);
            }
            25..=27 => {
                let character = self.rng.i32(32..127);
                self.push(character);
                self.byte(0x50, 0x0E);
            }
            28 => self.expression(1),
            29 => {
                let op = if self.careful { 1 } else { [4, 5, 6][self.rng.usize(..3)] };
                self.op(op);
            }
            30 | 31 if self.in_frame => {
                self.expression(1);
                let index = self.rng.u8(..3);
                let op = if self.rng.bool() { 0x38 } else { 0x43 };
                // Argument 0 is a counter of recursion.
                self.byte(op, if op == 0x38 { index + 1 } else { index });
            }
            32 if !self.careful => {
                let op = ALL[self.rng.usize(..42)];
                self.op(op);
                match op {
                    2 | 0x30..=0x33 => {
                        let number = self.number();
                        self.image.extend_from_slice(&number.to_be_bytes());
                    }
                    0x35 | 0x37 | 0x38 | 0x40..=0x43 | 0x50 => {
                        let operand = self.rng.u8(..18);
                        self.image.push(operand);
                    }
                    _ => {}
                }
            }
            33 if !self.careful => {
                let op = 0x30 + self.rng.u8(..4);
                if op == 0x31 || op == 0x32 {
                    self.expression(1);
                }
                let place = self.jump(op);
                if self.one_in(8) {
                    let target = self.number();
                    self.aim(place, target as u32);
                } else {
                    self.wild.push(place);
                }
            }
            34 => {
                // A return to an address that was pushed.
                self.push(0);
                let place = self.image.len() - 4;
                self.op(0x34);
                if self.careful { self.land(place) } else { self.wild.push(place) }
            }
            35 => {
                // A computed jump.
                self.push(0);
                let place = self.image.len() - 4;
                self.push(1);
                self.op(0x11);
                self.op(0x34);
                let here = self.image.len() as u32;
                self.aim(place, here + 1);
            }
            36 => self.op(0x51),
            37 => {
                let address = match self.rng.u8(..6) {
                    0 => 0xB_8000 + self.rng.i32(..4002),
                    1 => self.number(),
                    _ => 0x10_0000 + self.rng.i32(..64),
                };
                let address = if self.careful { 0x10_0040 } else { address };
                self.push(address);
                if self.rng.bool() {
                    self.op(0x44);
                    self.byte(0x41, 3);
                } else {
                    self.expression(1);
                    self.op(0x45);
                }
            }
            38 => self.ports(),
            39..=41 => self.files(),
            42 | 43 if self.has_children => self.children(),
            44 => {
                let (pid, capability) = (self.rng.i32(..3), [0, 1, 2, 8, 0xFFFF, 77][self.rng.usize(..6)]);
                self.push(pid);
                self.push(capability);
                let call = 7 + self.rng.u8(..2);
                self.byte(0x50, call);
                self.byte(0x41, 4);
            }
            _ => self.op(1),
        }
    }

    fn counted_loop(&mut self) {
        if self.loops >= 4 {
            return;
        }
        let counter = 20 + self.loops;
        self.loops += 1;
        let count = self.rng.i32(1..12);
        self.push(count);
        self.byte(0x41, counter);
        let top = self.image.len() as u32;
        self.some();
        self.byte(0x40, counter);
        self.push(1);
        self.op(0x11);
        self.op(5);
        self.byte(0x41, counter);
        let place = self.jump(0x32);
        self.aim(place, top);
        self.loops -= 1;
    }

    fn call(&mut self) {
        let arguments = self.rng.usize(..3);
        for _ in 0..arguments {
            self.expression(1);
        }
        // The counter of recursion.
        let count = self.rng.i32(0..6);
        self.push(count);
        let place = self.jump(0x33);
        let function = self.rng.usize(..self.functions);
        self.calls.push((place, function));
        self.byte(0x41, 5);
        for _ in 0..arguments {
            self.op(4);
        }
    }

    /// A function of at least one argument, which counts recursion down and becomes the result.
    fn function(&mut self, index: usize) {
        self.in_frame = true;
        self.loops = 2;
        let locals = self.rng.u8(..4);
        self.byte(0x35, locals);
        self.byte(0x37, 0);
        let end = self.jump(0x31);
        self.some();
        for _ in 0..self.rng.usize(..3) {
            self.byte(0x37, 0);
            self.push(1);
            self.op(0x11);
            let place = self.jump(0x33);
            let callee = if self.careful { index } else { self.rng.usize(..self.functions) };
            self.calls.push((place, callee));
            self.byte(0x41, 5);
        }
        self.some();
        self.land(end);
        self.expression(1);
        self.byte(0x38, 0);
        self.op(0x36);
        if self.one_in(4) {
            // The same by hand.
            self.op(6);
            self.op(6);
        }
        self.op(0x34);
        self.in_frame = false;
        self.loops = 0;
    }

    fn ports(&mut self) {
        let port = self.rng.i32(..4);
        self.push(port);
        if self.rng.bool() {
            self.byte(0x50, 0x0C);
            self.byte(0x41, 2);
        } else {
            self.expression(0);
            self.byte(0x50, 0x0D);
        }
    }

    /// Leaves what a call takes as a path.
    fn path(&mut self, path: &[u8]) {
        if self.heap_abi {
            let offset = 1000 + self.rng.i32(..100);
            let mut at = offset;
            let text = [path, &[0]].concat();
            for part in text.chunks(4) {
                let mut word = [0; 4];
                word[..part.len()].copy_from_slice(part);
                self.push(at);
                self.push(i32::from_le_bytes(word));
                self.op(0x47);
                at += 4;
            }
            self.push(offset);
        } else {
            self.push(0);
            for character in path {
                self.push((*character).into());
            }
        }
    }

    fn any_path(&mut self) -> &'static [u8] {
        const PATHS: [&[u8]; 16] = [
            b"/a",
            b"/b",
            b"/a",
            b"/b",
            b"/text",
            b"/none",
            b"/dev/tty",
            b"/dev/null",
            b"/dev/zero",
            b"/dev/full",
            b"/dev/stdin",
            b"/proc/self",
            b"/proc/version",
            b"/proc/1/args",
            b"/dir/",
            b"x",
        ];
        PATHS[self.rng.usize(..PATHS.len())]
    }

    fn files(&mut self) {
        match self.rng.u8(..8) {
            0 | 1 => {
                let path = self.any_path();
                self.path(path);
                let call = [2, 5, 6][self.rng.usize(..3)];
                self.byte(0x50, call);
                self.byte(0x41, 1);
            }
            2 => {
                let path = self.any_path();
                self.path(path);
                self.byte(0x50, 2);
                self.byte(0x41, 1);
            }
            3..=5 => {
                self.descriptor();
                self.byte(0x50, 3);
                self.byte(0x41, 2);
            }
            _ => {
                self.descriptor();
                if self.heap_abi {
                    let offset = 1000 + self.rng.i32(..100);
                    self.push(offset);
                } else {
                    let character = self.rng.i32(32..127);
                    self.push(character);
                }
                self.byte(0x50, 4);
                self.byte(0x41, 3);
            }
        }
    }

    fn descriptor(&mut self) {
        if self.rng.bool() {
            self.byte(0x40, 1);
        } else {
            let fd = self.rng.i32(..6) - 1;
            self.push(fd);
        }
    }

    fn children(&mut self) {
        match self.rng.u8(..5) {
            0 | 1 => {
                let path: &[u8] = if self.rng.bool() { b"/bin/child" } else { b"/bin/self" };
                let arguments = self.rng.i32(..3);
                for argument in 0..arguments {
                    self.push(0);
                    for character in 0..argument + self.rng.i32(..3) {
                        self.push(0x61 + character);
                    }
                }
                self.push(arguments);
                self.path(path);
                self.byte(0x50, 2);
                self.byte(0x50, 1);
                self.byte(0x41, 0);
            }
            2 | 3 => {
                if self.rng.bool() {
                    self.byte(0x40, 0);
                } else {
                    let pid = self.rng.i32(..3);
                    self.push(pid);
                }
                self.expression(0);
                self.byte(0x50, 0x0A);
            }
            _ => {
                self.byte(0x50, 0x0B);
                self.byte(0x41, 2);
                self.byte(0x41, 1);
            }
        }
    }
}

fn image(rng: &mut Rng, length: usize, has_children: bool, heap_abi: bool) -> Vec<u8> {
    let careful = rng.u8(..3) != 0;
    let functions = rng.usize(..4);
    let mut program = Program {
        rng,
        image: b"NVM0".to_vec(),
        starts: Vec::new(),
        wild: Vec::new(),
        calls: Vec::new(),
        functions,
        room: length,
        depth: 0,
        loops: 0,
        careful,
        heap_abi,
        has_children,
        in_frame: false,
    };
    program.statements(length);
    match program.rng.u8(..4) {
        0 => program.op(0),
        1 => {}
        _ => {
            program.byte(0x40, 0);
            program.byte(0x50, 0);
        }
    }
    let mut starts = Vec::new();
    if program.image.len() > 4 && functions > 0 {
        // Nobody falls into a function, or somebody does.
        if program.rng.u8(..8) != 0 {
            program.op(0);
        }
        for index in 0..functions {
            starts.push(program.image.len() as u32);
            program.room = 12;
            program.function(index);
        }
    }
    for (place, function) in std::mem::take(&mut program.calls) {
        let target = starts.get(function).copied().unwrap_or(4);
        program.aim(place, target);
    }
    for place in std::mem::take(&mut program.wild) {
        let at = program.rng.usize(..program.starts.len());
        let odd = u32::from(program.rng.u8(..8) == 0);
        let target = program.starts[at] + odd;
        program.aim(place, target);
    }
    program.image
}

/// A program of about `length` statements, drawn from a seed.
pub fn case(seed: u64, length: usize) -> Case {
    let rng = &mut Rng::with_seed(seed);
    let heap_abi = rng.u8(..3) == 0;
    let has_children = rng.u8(..4) == 0;
    let mut case = Case::new(image(rng, length, has_children, heap_abi), 60_000);
    case.abi = if heap_abi { "heap" } else { ["stack", "stack", "auto"][rng.usize(..3)] };
    if rng.u8(..4) == 0 {
        case.capabilities = (1..9).filter(|_| rng.bool()).collect();
    }
    case.input = (0..rng.usize(..40)).map(|_| rng.u8(..128)).collect();
    if rng.u8(..6) == 0 {
        case.arguments = (0..rng.usize(..4)).map(|_| vec![b'x'; rng.usize(..5)]).collect();
    }
    case.files.insert(b"/text".to_vec(), b"some text\0and more".to_vec());
    if has_children {
        let child = image(rng, length / 3, true, false);
        case.files.insert(b"/bin/child".to_vec(), child);
        case.files.insert(b"/bin/self".to_vec(), case.image.clone());
    }
    case
}

/// An image of random bytes, most of them opcodes.
pub fn noise(seed: u64) -> Case {
    let rng = &mut Rng::with_seed(seed);
    let mut image = b"NVM0".to_vec();
    for _ in 0..rng.usize(..200) {
        match rng.u8(..8) {
            0 => image.push(rng.u8(..)),
            1 => image.extend_from_slice(&[0x02, 0, 0, 0, rng.u8(..)]),
            2 => image.extend_from_slice(&[0x30 + rng.u8(..4), 0, 0, 0, rng.u8(..200)]),
            _ => image.push(ALL[rng.usize(..42)]),
        }
    }
    let mut case = Case::new(image, 3000);
    case.input = b"noise".to_vec();
    case
}

/// A program of routines that call each other and themselves: most of them give the stack back as they should, some do
/// something with a return address or a frame that they should not.
pub fn routines(seed: u64) -> Case {
    let rng = &mut Rng::with_seed(seed);
    let count = rng.usize(1..5);
    // How many arguments each takes, and how it returns: result in argument 0, below the return address, or instead of all.
    let kinds: Vec<(i32, u8)> = (0..count).map(|_| (rng.i32(1..4), rng.u8(..3))).collect();
    let mut program = Program {
        rng,
        image: b"NVM0".to_vec(),
        starts: Vec::new(),
        wild: Vec::new(),
        calls: Vec::new(),
        functions: count,
        room: 0,
        depth: 0,
        loops: 0,
        careful: true,
        heap_abi: false,
        has_children: false,
        in_frame: false,
    };
    for _ in 0..program.rng.usize(1..4) {
        program.counted_calls(&kinds);
    }
    program.byte(0x40, 1);
    program.byte(0x50, 0);
    let mut starts = Vec::new();
    for index in 0..count {
        starts.push(program.image.len() as u32);
        program.routine(&kinds, index);
    }
    for (place, function) in std::mem::take(&mut program.calls) {
        program.aim(place, starts[function]);
    }
    let image = program.image;
    let budget = if rng.u8(..3) == 0 { rng.u64(..3000) } else { 30_000 };
    Case::new(image, budget)
}

impl Program<'_> {
    /// A loop around a call.
    fn counted_calls(&mut self, kinds: &[(i32, u8)]) {
        let times = self.rng.i32(1..6);
        self.push(times);
        self.byte(0x41, 30);
        let top = self.image.len() as u32;
        let most = [4, 12, 12, 60, 700][self.rng.usize(..5)];
        let depth = self.rng.i32(0..most);
        self.push(depth);
        self.byte(0x41, 31);
        self.byte(0x40, 31);
        self.routine_call(kinds);
        self.byte(0x40, 1);
        self.op(0x10);
        self.byte(0x41, 1);
        self.byte(0x40, 30);
        self.push(1);
        self.op(0x11);
        self.op(5);
        self.byte(0x41, 30);
        let place = self.jump(0x32);
        self.aim(place, top);
    }

    /// Calls some routine with the value on top, which becomes its last argument; leaves one result.
    fn routine_call(&mut self, kinds: &[(i32, u8)]) {
        let callee = self.rng.usize(..kinds.len());
        let (arguments, kind) = kinds[callee];
        for _ in 1..arguments {
            let number = self.rng.i32(..20);
            self.push(number);
            self.op(6);
        }
        let place = self.jump(0x33);
        self.calls.push((place, callee));
        match kind {
            // The result is argument 0, on top of the others.
            0 => {
                for _ in 1..arguments {
                    self.op(6);
                    self.op(4);
                }
            }
            // It is on top of all arguments.
            1 => {
                for _ in 0..arguments {
                    self.op(6);
                    self.op(4);
                }
            }
            // The routine has taken them.
            _ => {}
        }
    }

    fn routine(&mut self, kinds: &[(i32, u8)], index: usize) {
        let (arguments, kind) = kinds[index];
        let locals = self.rng.u8(..3);
        self.byte(0x35, locals);
        self.byte(0x37, 0);
        self.push(1);
        self.op(0x24);
        let end = self.jump(0x32);
        let calls = self.rng.usize(1..3);
        for call in 0..calls {
            if self.one_in(4) {
                self.oddity();
            }
            self.byte(0x37, 0);
            let less = if call == 0 { 1 } else { self.rng.i32(2..8) };
            self.push(less);
            self.op(0x11);
            self.routine_call(kinds);
            match self.rng.u8(..3) {
                0 => self.byte(0x41, 2),
                1 if locals > 0 => {
                    let index = self.rng.u8(..locals);
                    self.byte(0x43, index);
                }
                _ => {
                    self.byte(0x40, 1);
                    self.op(0x10);
                    self.byte(0x41, 1);
                }
            }
        }
        self.land(end);
        let source = self.rng.u8(..4);
        match source {
            0 => self.byte(0x40, 2),
            1 if locals > 0 => self.byte(0x42, locals - 1),
            2 => {
                let index = self.rng.u8(..arguments as u8);
                self.byte(0x37, index);
            }
            _ => self.push(7),
        }
        if self.one_in(3) {
            self.byte(0x40, 1);
            self.op(0x10);
        }
        match kind {
            0 => {
                self.byte(0x38, 0);
                self.op(0x36);
            }
            1 => {
                self.byte(0x41, 40);
                self.op(0x36);
                self.byte(0x40, 40);
                self.op(6);
            }
            _ => {
                self.byte(0x41, 40);
                self.op(0x36);
                for _ in 0..arguments {
                    self.op(6);
                    self.op(4);
                }
                self.byte(0x40, 40);
                self.op(6);
            }
        }
        if self.one_in(12) {
            self.oddity();
        }
        self.op(0x34);
    }

    /// Something that a routine seldom does.
    fn oddity(&mut self) {
        match self.rng.u8(..12) {
            0 => self.op(6),
            1 => self.op(5),
            2 => self.op(4),
            3 => self.op(0x51),
            4 => {
                self.push(65);
                self.byte(0x50, 0x0E);
            }
            5 => {
                self.push(1);
                self.byte(0x40, 2);
                self.op(0x13);
                self.byte(0x41, 2);
            }
            6 => {
                self.push(3);
                let index = self.rng.u8(..6);
                self.byte(0x43, index);
            }
            7 => {
                let index = self.rng.u8(..6);
                self.byte(0x37, index);
                self.byte(0x41, 2);
            }
            8 => {
                let index = self.rng.u8(..3);
                self.push(9);
                self.byte(0x38, index);
            }
            9 => self.op(0x36),
            10 => {
                // A loop on the frame's stack.
                self.push(3);
                let top = self.image.len() as u32;
                self.push(1);
                self.op(0x11);
                self.op(5);
                let place = self.jump(0x32);
                self.aim(place, top);
                self.op(4);
            }
            _ => {
                self.push(1);
                self.op(0x10);
            }
        }
    }
}
