//! Arrays, structures and texts: sections 3, 6.1 and 7 of the reference.

use crate::file::Value;

const MAX_CELLS: usize = 16_777_216;

#[derive(Clone, Debug)]
pub enum Cells {
    Array(u8, usize),
    Structure(Vec<u8>),
}

#[derive(Clone, Debug)]
struct Object {
    cells: Cells,
    payloads: Vec<u64>,
    is_constant: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// Number 1 first; none once freed.
    list: Vec<Option<Object>>,
    cells: usize,
}

type Code = u64;

impl Objects {
    fn get(&self, ptr: u64) -> Result<&Object, Code> {
        let index = ((ptr >> 32) as usize).wrapping_sub(1);
        self.list.get(index).and_then(|object| object.as_ref()).ok_or(4)
    }

    fn get_mut(&mut self, ptr: u64) -> Option<&mut Object> {
        self.list.get_mut(((ptr >> 32) as usize).wrapping_sub(1))?.as_mut()
    }

    pub fn create(&mut self, cells: Cells) -> Result<u64, Code> {
        let count = match &cells {
            Cells::Array(_, count) => *count,
            Cells::Structure(types) => types.len(),
        };
        if count > MAX_CELLS - self.cells {
            return Err(6);
        }
        self.cells += count;
        self.list.push(Some(Object { cells, payloads: vec![0; count], is_constant: false }));
        Ok((self.list.len() as u64) << 32)
    }

    pub fn text(&mut self, text: &[u8]) -> Result<u64, Code> {
        let bits = self.create(Cells::Array(11, text.len() + 1))?;
        if let Some(object) = self.get_mut(bits) {
            for (payload, byte) in object.payloads.iter_mut().zip(text) {
                *payload = (*byte).into();
            }
        }
        Ok(bits)
    }

    pub fn make_constant(&mut self, ptr: u64) {
        if let Some(object) = self.get_mut(ptr) {
            object.is_constant = true;
        }
    }

    /// Puts an initial value.
    pub fn put(&mut self, ptr: u64, value: Value) {
        if let Some(object) = self.get_mut(ptr) {
            object.payloads[ptr as u32 as usize] = value.bits;
        }
    }

    pub fn free(&mut self, ptr: u64) -> Result<(), Code> {
        let object = self.get(ptr)?;
        if object.is_constant {
            return Err(5);
        }
        self.cells -= object.payloads.len();
        self.list[(ptr >> 32) as usize - 1] = None;
        Ok(())
    }

    pub fn size(&self, ptr: u64) -> Result<usize, Code> {
        Ok(self.get(ptr)?.payloads.len())
    }

    fn cell_type(object: &Object, index: usize) -> u8 {
        match &object.cells {
            Cells::Array(ty, _) => *ty,
            Cells::Structure(types) => types.get(index).copied().unwrap_or(4),
        }
    }

    pub fn deref(&self, ptr: u64, unchecked: bool) -> Result<Value, Code> {
        let object = self.get(ptr)?;
        let index = ptr as u32 as usize;
        let ty = Objects::cell_type(object, index);
        match object.payloads.get(index) {
            Some(&bits) => Ok(Value { ty, bits }),
            None if unchecked => Ok(Value { ty, bits: 0 }),
            None => Err(5),
        }
    }

    pub fn store(&mut self, ptr: u64, value: Value, unchecked: bool) -> Result<(), Code> {
        let object = self.get(ptr)?;
        let index = ptr as u32 as usize;
        if index >= object.payloads.len() {
            return if unchecked { Ok(()) } else { Err(5) };
        }
        if object.is_constant {
            return Err(5);
        }
        if Objects::cell_type(object, index) != value.ty {
            return Err(16);
        }
        self.put(ptr, value);
        Ok(())
    }

    /// A ptr moved by cells.
    pub fn move_by(&self, ptr: u64, cells: i128, unchecked: bool) -> Result<u64, Code> {
        let object = self.get(ptr)?;
        let index = i128::from(ptr as u32) + cells;
        if unchecked {
            return Ok(ptr & !0xFFFF_FFFF | u64::from(index as u32));
        }
        let count = object.payloads.len() as i128;
        match &object.cells {
            Cells::Structure(_) if index == count => Ok(0),
            _ if (0..count).contains(&index) => Ok(ptr & !0xFFFF_FFFF | index as u64),
            _ => Err(5),
        }
    }

    /// The text at a ptr, if it points into an array of char.
    pub fn chars(&self, ptr: u64) -> Option<Vec<u8>> {
        let object = self.get(ptr).ok()?;
        let Cells::Array(11, _) = object.cells else { return None };
        let from = object.payloads.get(ptr as u32 as usize..).unwrap_or(&[]);
        Some(from.iter().map(|bits| *bits as u8).take_while(|byte| *byte != 0).collect())
    }

    /// A text argument.
    pub fn text_at(&self, value: Value) -> Result<Vec<u8>, Code> {
        if value.ty != 13 {
            return Err(16);
        }
        self.get(value.bits)?;
        self.chars(value.bits).ok_or(16)
    }

    /// The distance between two ptrs.
    pub fn distance(&self, a: u64, b: u64) -> Result<u64, Code> {
        if a >> 32 != b >> 32 {
            return Err(16);
        }
        self.get(a)?;
        Ok((i64::from(a as u32) - i64::from(b as u32)) as u64)
    }
}
