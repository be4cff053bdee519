//! How much of the stack each block may take for granted: what all direct ways to it prove. A block that is also
//! entered by a computed address checks it there.

use crate::blocks::{Block, Blocks};
use crate::machine::{STACK_BASE, STACK_LOW};

/// Bytes of the stack on both sides of the stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Free at least: what may be pushed.
    pub free: i32,
    /// Used at least: what may be popped.
    pub used: i32,
}

/// Most that is taken for granted beyond what a block needs itself.
const MOST: i32 = 64;

/// How often a block's room is lowered before it is only what the block needs.
const PATIENCE: u8 = 8;

impl Room {
    /// At the start of a run.
    pub const START: Room = Room { free: (STACK_BASE - STACK_LOW) as i32, used: 0 };

    /// What a block needs.
    fn needed(block: &Block) -> Room {
        Room { free: -i32::from(block.low), used: block.high.into() }
    }

    /// After the stack pointer has moved.
    pub fn moved(self, delta: i32) -> Room {
        Room { free: self.free + delta, used: self.used - delta }
    }

    fn least(self, other: Room) -> Room {
        Room { free: self.free.min(other.free), used: self.used.min(other.used) }
    }

    fn most(self, other: Room) -> Room {
        Room { free: self.free.max(other.free), used: self.used.max(other.used) }
    }
}

/// For each block what it takes for granted: never less than it needs.
pub(crate) fn find(blocks: &Blocks) -> Vec<Room> {
    let unknown = Room { free: MOST, used: MOST };
    let mut rooms: Vec<Option<Room>> = vec![None; blocks.list.len()];
    let mut lowered = vec![0u8; blocks.list.len()];
    let mut work = Vec::new();
    let reach = |rooms: &mut Vec<Option<Room>>,
                 lowered: &mut Vec<u8>,
                 work: &mut Vec<usize>,
                 index: usize,
                 room: Room| {
        let needed = Room::needed(&blocks.list[index]);
        let mut met = rooms[index].unwrap_or(unknown).least(room).most(needed);
        if rooms[index] == Some(met) {
            return;
        }
        lowered[index] += 1;
        if lowered[index] > PATIENCE {
            met = needed;
        }
        if rooms[index] != Some(met) {
            rooms[index] = Some(met);
            work.push(index);
        }
    };
    if !blocks.list.is_empty() {
        reach(&mut rooms, &mut lowered, &mut work, 0, Room::START);
    }
    for start in 0..blocks.list.len() {
        // What no direct way leads to is entered with what it needs.
        if rooms[start].is_none() {
            rooms[start] = Some(Room::needed(&blocks.list[start]));
            work.push(start);
        }
        while let Some(index) = work.pop() {
            let block = &blocks.list[index];
            let Some(room) = rooms[index] else { continue };
            let left = room.moved(block.delta.into());
            let behind = if block.falls() { blocks.at(block.end.into()) } else { None };
            let target = block.target().and_then(|target| blocks.at(target));
            for next in [behind, target].into_iter().flatten() {
                reach(&mut rooms, &mut lowered, &mut work, next, left);
            }
        }
    }
    blocks.list.iter().zip(rooms).map(|(block, room)| room.unwrap_or_else(|| Room::needed(block))).collect()
}
