//! What a program registered with %fast, and which jets are there for it.

use dotvm_engine::Refusal;
use dotvm_heap::{Axis, Heap, Reference};
use hashbrown::HashMap;

use crate::jets::{Call, JETS, Miss};
use crate::names::cord;

/// A core that was registered. All references are counted.
struct Registered {
    path: String,
    /// The battery, or of a root the whole core.
    battery: Reference,
    /// The axis of the parent and which one it is; none of a root.
    parent: Option<(u64, usize)>,
    /// The clue of the hint that registered it last.
    clue: Reference,
}

/// A jet of a registered core. The reference is counted.
struct Warm {
    formula: Reference,
    core: usize,
    jet: usize,
}

/// The state of registration.
#[derive(Default)]
pub(crate) struct Cold {
    registered: Vec<Registered>,
    /// By the identity of the battery, or of a root.
    by_identity: HashMap<u64, Vec<usize>>,
    /// By its hash.
    by_mug: HashMap<u32, Vec<usize>>,
    /// By the hash of the arm's formula.
    warm: HashMap<u32, Vec<Warm>>,
}

/// The greatest depth of a chain of parents.
const MAX_CHAIN: usize = 64;

/// What is known of a noun by its identity, or by its structure.
fn is_same(call: &mut Call<'_>, a: &Reference, b: &Reference, by_value: bool) -> Result<bool, Miss> {
    if a == b {
        return Ok(true);
    }
    if !by_value || !a.is_cell() || !b.is_cell() {
        return if by_value { call.equal(a, b) } else { Ok(false) };
    }
    Ok(call.mug(a)? == call.mug(b)? && call.equal(a, b)?)
}

impl Cold {
    /// Whether a formula has a jet for some core.
    pub fn is_warm(&self, mug: u32) -> bool {
        self.warm.contains_key(&mug)
    }

    /// Whether a core is the one that was registered: its battery, and its parents up to the root.
    fn is_core(
        &self,
        call: &mut Call<'_>,
        core: &Reference,
        index: usize,
        by_value: bool,
    ) -> Result<bool, Miss> {
        let (mut core, mut index) = (core.alias(), index);
        for _ in 0..MAX_CHAIN {
            let registered = &self.registered[index];
            let Some((axis, parent)) = registered.parent else {
                return is_same(call, &registered.battery, &core, by_value);
            };
            let Some(battery) = call.heap.head(&core).map(Reference::alias) else { return Ok(false) };
            if !is_same(call, &registered.battery, &battery, by_value)? {
                return Ok(false);
            }
            let Some(next) = call.heap.part(&core, Axis::Short(axis)).map(Reference::alias) else {
                return Ok(false);
            };
            (core, index) = (next, parent);
        }
        Ok(false)
    }

    /// The jet for a formula called on a core.
    pub fn jet(&self, call: &mut Call<'_>, formula: &Reference, mug: u32) -> Result<Option<usize>, Miss> {
        for warm in self.warm.get(&mug).into_iter().flatten() {
            let core = call.core;
            if is_same(call, &warm.formula, formula, true)? && self.is_core(call, core, warm.core, true)? {
                return Ok(Some(warm.jet));
            }
        }
        Ok(None)
    }

    /// Which registered core a noun is.
    fn find(&self, call: &mut Call<'_>, core: &Reference) -> Result<Option<usize>, Miss> {
        let Some(battery) = call.heap.head(core).map(Reference::alias) else { return Ok(None) };
        for key in [battery, core.alias()] {
            let mug = call.mug(&key)?;
            for index in self.by_mug.get(&mug).into_iter().flatten() {
                if self.is_core(call, core, *index, true)? {
                    return Ok(Some(*index));
                }
            }
        }
        Ok(None)
    }

    /// Registers the call's core as a clue says; answers whether there are jets that were not there before. What is no
    /// clue is passed over.
    pub fn register(&mut self, call: &mut Call<'_>, clue: &Reference) -> Result<bool, Miss> {
        let core = call.core.alias();
        let Some(battery) = call.heap.head(&core).map(Reference::alias) else { return Ok(false) };
        for key in [&battery, &core] {
            for index in self.by_identity.get(&key.identity()).into_iter().flatten() {
                let registered = &self.registered[*index];
                if registered.clue == *clue && self.is_core(call, &core, *index, false)? {
                    return Ok(false);
                }
            }
        }
        let Some((name, way)) = read(call.heap, clue) else { return Ok(false) };
        let (path, parent, battery) = match way {
            Way::Root => (name, None, core.alias()),
            Way::Parent(axis) => {
                let Some(parent) = call.heap.part(&core, Axis::Short(axis)).map(Reference::alias) else {
                    return Ok(false);
                };
                let Some(index) = self.find(call, &parent)? else { return Ok(false) };
                (format!("{}/{name}", self.registered[index].path), Some((axis, index)), battery)
            }
        };
        let mug = call.mug(&battery)?;
        for index in self.by_mug.get(&mug).into_iter().flatten().copied() {
            let registered = &self.registered[index];
            if registered.path != path || registered.parent != parent {
                continue;
            }
            if is_same(call, &self.registered[index].battery, &battery, true)? {
                // The same by another hint: it is met by identity from now on.
                let clue = call.share(clue);
                let battery = call.share(&battery);
                let registered = &mut self.registered[index];
                let old = [
                    std::mem::replace(&mut registered.clue, clue),
                    std::mem::replace(&mut registered.battery, battery.alias()),
                ];
                if let Some(indices) = self.by_identity.get_mut(&old[1].identity()) {
                    indices.retain(|other| *other != index);
                }
                self.by_identity.entry(battery.identity()).or_default().push(index);
                old.into_iter().for_each(|old| call.heap.release(old));
                return Ok(false);
            }
        }
        let index = self.registered.len();
        let mut is_new = false;
        if parent.is_some() {
            for (jet, _) in JETS.iter().enumerate().filter(|(_, jet)| jet.path == path) {
                let formula = call.share(&battery);
                self.warm.entry(mug).or_default().push(Warm { formula, core: index, jet });
                is_new = true;
            }
        }
        self.by_identity.entry(battery.identity()).or_default().push(index);
        self.by_mug.entry(mug).or_default().push(index);
        let (battery, clue) = (call.share(&battery), call.share(clue));
        self.registered.push(Registered { path, battery, parent, clue });
        Ok(is_new)
    }

    /// The paths that were registered.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = &str> {
        self.registered.iter().map(|registered| registered.path.as_str())
    }
}

/// Where the parent of a core is.
enum Way {
    Root,
    Parent(u64),
}

/// Name and parent of a clue `[name parent hooks]`.
fn read(heap: &Heap, clue: &Reference) -> Option<(String, Way)> {
    let name = heap.head(clue)?;
    let name = match (heap.head(name), heap.tail(name)) {
        (Some(first), Some(second)) => {
            format!("{}.{}", cord(heap, first)?, second.as_small()?)
        }
        _ => cord(heap, name)?,
    };
    let mut parent = heap.head(heap.tail(clue)?)?.alias();
    loop {
        let (op, rest) = (heap.head(&parent)?.as_small()?, heap.tail(&parent)?);
        match op {
            11 => parent = heap.tail(rest)?.alias(),
            1 if rest.as_small() == Some(0) => return Some((name, Way::Root)),
            // A parent in the battery would be the same for all cores.
            0 => {
                let axis = rest.as_small().and_then(|axis| u64::try_from(axis).ok())?;
                let is_in_payload = axis >= 3 && axis >> (axis.ilog2() - 1) & 1 == 1;
                return is_in_payload.then_some((name, Way::Parent(axis)));
            }
            _ => return None,
        }
    }
}

/// What registering a core cannot do is no fault of the program; only the run's end is.
pub(crate) fn only_refusals(result: Result<bool, Miss>) -> Result<bool, Refusal> {
    match result {
        Ok(is_new) => Ok(is_new),
        Err(Miss::Refused(refusal)) => Err(refusal),
        Err(Miss::Punt | Miss::Crash) => Ok(false),
    }
}
