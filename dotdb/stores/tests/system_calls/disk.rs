//! A file system that is played back, and the states in which a power cut can leave it.
//!
//! As on ext4 and XFS: names are changed in order, and become durable in that order at the next fsync of anything;
//! what is in a file becomes durable at an fsync of that file; until then any part of it may, sector by sector.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fastrand::Rng;

use crate::trace::Call;

const SECTOR_BYTES: usize = 512;

/// Something that was done, or a mark of the workload.
#[derive(Clone, Debug)]
enum Op {
    Write { inode: usize, offset: usize, data: Vec<u8> },
    SetLen { inode: usize, len: usize },
    Create { path: String, inode: usize },
    Rename { from: String, to: String },
    Remove { path: String },
    Directory { path: String },
}

impl Op {
    fn inode(&self) -> Option<usize> {
        match self {
            Op::Write { inode, .. } | Op::SetLen { inode, .. } => Some(*inode),
            _ => None,
        }
    }
}

/// One step of the recording.
enum Step {
    Op(Op),
    /// A file, or only names, become durable as of so many steps.
    Sync {
        inode: Option<usize>,
        began: usize,
    },
    Begin(usize),
    Promised(usize),
}

/// What a store's directory held at first, and all that was done to it.
pub struct Recording {
    names: BTreeMap<String, usize>,
    directories: Vec<String>,
    inodes: Vec<Vec<u8>>,
    steps: Vec<Step>,
}

/// How much of what was not synced a cut leaves.
#[derive(Clone, Copy, Debug)]
pub enum Left {
    Nothing,
    Everything,
    /// A part chosen by a seed.
    Part(u64),
}

impl Recording {
    /// Plays the calls below `root` back over what `root` held before them, which is in `before`.
    pub fn new(root: &Path, before: &Path, marks: &Path, calls: &[Call]) -> Recording {
        let mut recording = Recording {
            names: BTreeMap::new(),
            directories: Vec::new(),
            inodes: Vec::new(),
            steps: Vec::new(),
        };
        recording.load(before, "");
        let mut names = recording.names.clone();
        // Position of each open descriptor, by its number.
        let mut positions: BTreeMap<i64, usize> = BTreeMap::new();
        // Number of steps when so many calls had ended.
        let mut steps_at = Vec::new();
        let mut lengths: Vec<usize> = recording.inodes.iter().map(Vec::len).collect();
        let below = |path: &str| {
            let path = Path::new(path).strip_prefix(root).ok()?;
            Some(path.to_str().expect("a path in UTF-8").to_owned())
        };
        for call in calls {
            steps_at.push(recording.steps.len());
            let mut push = |op: Op| recording.steps.push(Step::Op(op));
            match call.name.as_str() {
                "writev" if Path::new(&call.descriptor(0).1) == marks => {
                    let text = String::from_utf8(call.first_string(1)).expect("a mark");
                    let (word, number) = text.trim().split_once(' ').unwrap_or((&text, ""));
                    match (word, number.parse()) {
                        ("begin", Ok(number)) => recording.steps.push(Step::Begin(number)),
                        ("promised", Ok(number)) => recording.steps.push(Step::Promised(number)),
                        _ => {}
                    }
                }
                "openat" => {
                    let Some(path) = below(&call.path(1)) else { continue };
                    let flags = &call.args[2];
                    let inode = match names.get(&path) {
                        Some(&inode) => inode,
                        None if flags.contains("O_CREAT") => {
                            let inode = lengths.len();
                            lengths.push(0);
                            names.insert(path.clone(), inode);
                            push(Op::Create { path, inode });
                            inode
                        }
                        None => continue,
                    };
                    if flags.contains("O_TRUNC") {
                        lengths[inode] = 0;
                        push(Op::SetLen { inode, len: 0 });
                    }
                    positions
                        .insert(call.result, if flags.contains("O_APPEND") { lengths[inode] } else { 0 });
                }
                "lseek" => {
                    positions.insert(call.descriptor(0).0, call.result as usize);
                }
                name @ ("write" | "pwrite64") => {
                    let (number, path) = call.descriptor(0);
                    let Some(&inode) = below(&path).and_then(|path| names.get(&path)) else { continue };
                    let mut data = call.string(1);
                    data.truncate(call.result as usize);
                    let offset = match name {
                        "write" => positions.insert(number, positions[&number] + data.len()).unwrap_or(0),
                        _ => call.number(3) as usize,
                    };
                    lengths[inode] = lengths[inode].max(offset + data.len());
                    push(Op::Write { inode, offset, data });
                }
                "ftruncate" => {
                    let Some(&inode) = below(&call.descriptor(0).1).and_then(|path| names.get(&path)) else {
                        continue;
                    };
                    let len = call.number(1) as usize;
                    lengths[inode] = len;
                    push(Op::SetLen { inode, len });
                }
                "fsync" | "fdatasync" => {
                    let Some(path) = below(&call.descriptor(0).1) else { continue };
                    let began = steps_at[call.began];
                    recording.steps.push(Step::Sync { inode: names.get(&path).copied(), began });
                }
                "rename" | "renameat" | "renameat2" => {
                    let at = usize::from(call.name != "rename");
                    let (from, to) = (below(&call.path(at)), below(&call.path(at * 2 + 1)));
                    let (Some(from), Some(to)) = (from, to) else { continue };
                    if let Some(inode) = names.remove(&from) {
                        names.insert(to.clone(), inode);
                        push(Op::Rename { from, to });
                    }
                }
                "unlink" | "unlinkat" => {
                    let Some(path) = below(&call.path(usize::from(call.name == "unlinkat"))) else {
                        continue;
                    };
                    names.remove(&path);
                    push(Op::Remove { path });
                }
                "mkdir" | "mkdirat" => {
                    let Some(path) = below(&call.path(usize::from(call.name == "mkdirat"))) else { continue };
                    push(Op::Directory { path });
                }
                "fallocate" => {
                    assert!(call.args[1].contains("KEEP_SIZE"), "{call:?}");
                }
                "sync_file_range" | "pread64" => {}
                other => panic!("what {other} does is not known here"),
            }
        }
        recording
    }

    fn load(&mut self, path: &Path, below: &str) {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let name = if below.is_empty() { name } else { format!("{below}/{name}") };
            if entry.file_type().unwrap().is_dir() {
                self.load(&entry.path(), &name);
                self.directories.push(name);
            } else {
                self.names.insert(name, self.inodes.len());
                self.inodes.push(fs::read(entry.path()).unwrap());
            }
        }
    }

    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// As if no sync had done anything.
    pub fn without_syncs(mut self) -> Recording {
        self.steps.retain(|step| !matches!(step, Step::Sync { .. }));
        self
    }

    /// What was promised and what was begun before a step.
    pub fn bounds(&self, position: usize) -> (usize, usize) {
        let (mut promised, mut begun) = (0, 0);
        for step in &self.steps[..position] {
            match step {
                Step::Begin(number) => begun = *number,
                Step::Promised(number) => promised = *number,
                _ => {}
            }
        }
        (promised, begun)
    }

    /// Writes what a cut before the step at `position` leaves into a new directory.
    pub fn cut(&self, position: usize, left: Left, target: &Path) {
        let steps = &self.steps[..position];
        // Up to which step names and each file are durable.
        let mut durable_names = 0;
        let mut durable: BTreeMap<usize, usize> = BTreeMap::new();
        for step in steps {
            if let Step::Sync { inode, began } = step {
                durable_names = durable_names.max(*began);
                if let Some(inode) = inode {
                    durable.insert(*inode, *began);
                }
            }
        }
        let seed = match left {
            Left::Part(seed) => seed,
            _ => 0,
        };
        let mut random = Rng::with_seed(seed);
        let name_ops: Vec<usize> =
            (0..steps.len()).filter(|&i| matches!(&steps[i], Step::Op(op) if op.inode().is_none())).collect();
        let pending = name_ops.iter().filter(|&&i| i >= durable_names).count();
        let kept_names = name_ops.len() - pending
            + match left {
                Left::Nothing => 0,
                Left::Everything => pending,
                Left::Part(_) => random.usize(..=pending),
            };
        let mut names = self.names.clone();
        let mut directories = self.directories.clone();
        for &i in &name_ops[..kept_names] {
            match &steps[i] {
                Step::Op(Op::Create { path, inode }) => drop(names.insert(path.clone(), *inode)),
                Step::Op(Op::Rename { from, to }) => {
                    if let Some(inode) = names.remove(from) {
                        names.insert(to.clone(), inode);
                    }
                }
                Step::Op(Op::Remove { path }) => drop(names.remove(path)),
                Step::Op(Op::Directory { path }) => directories.push(path.clone()),
                _ => {}
            }
        }
        directories.sort();
        fs::create_dir_all(target).unwrap();
        for path in directories {
            fs::create_dir_all(target.join(path)).unwrap();
        }
        for (path, inode) in names {
            let mut bytes = self.inodes.get(inode).cloned().unwrap_or_default();
            let durable = durable.get(&inode).copied().unwrap_or(0);
            let mut pending = Vec::new();
            for (i, step) in steps.iter().enumerate() {
                match step {
                    Step::Op(op) if op.inode() == Some(inode) && i < durable => apply(&mut bytes, op),
                    Step::Op(op) if op.inode() == Some(inode) => pending.push(op),
                    _ => {}
                }
            }
            match left {
                Left::Nothing => {}
                Left::Everything => pending.into_iter().for_each(|op| apply(&mut bytes, op)),
                Left::Part(_) => leave_part(&mut bytes, &pending, &mut random),
            }
            fs::write(target.join(path), bytes).unwrap();
        }
    }
}

/// Some of the sectors of some writes, and some length that the file had meanwhile.
fn leave_part(bytes: &mut Vec<u8>, pending: &[&Op], random: &mut Rng) {
    let kept = [0, 30, 90, 100][random.usize(..4)];
    let mut lengths = vec![bytes.len()];
    let mut whole = bytes.clone();
    for op in pending {
        apply(&mut whole, op);
        lengths.push(whole.len());
        if let Op::Write { offset, data, .. } = op {
            let mut from = 0;
            while from < data.len() {
                let at = offset + from;
                let len = (SECTOR_BYTES - at % SECTOR_BYTES).min(data.len() - from);
                if random.u8(..100) < kept {
                    apply(bytes, &Op::Write { inode: 0, offset: at, data: data[from..from + len].to_vec() });
                }
                from += len;
            }
        }
    }
    bytes.resize(lengths[random.usize(..lengths.len())], 0);
}

fn apply(bytes: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Write { offset, data, .. } => {
            if bytes.len() < offset + data.len() {
                bytes.resize(offset + data.len(), 0);
            }
            bytes[*offset..offset + data.len()].copy_from_slice(data);
        }
        Op::SetLen { len, .. } => bytes.resize(*len, 0),
        _ => {}
    }
}
