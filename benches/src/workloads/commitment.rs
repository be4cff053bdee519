//! The state tree: a root after a commit, proofs and their verification, against jmt called directly.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use dotdb_commitment::{Change, NodeReader, Proof, Root, SnapshotReader, load, prove, root, update};
use dotdb_memory::MemoryStore;
use dotdb_store::{Batch, Direction, Durability, Store, StoreError};
use jmt::proof::SparseMerkleProof;
use jmt::storage::{LeafNode, Node, NodeKey, TreeReader, TreeUpdateBatch};
use jmt::{JellyfishMerkleTree, KeyHash, OwnedValue, RootHash, SimpleHasher, Version};
use sha2::{Digest, Sha256};

use super::Setup;
use crate::harness::{Contender, Goal, Kind, OURS, Workload};

pub const NAME_1: &str = "state_root_1";
pub const NAME_10: &str = "state_root_10";
pub const NAME_100: &str = "state_root_100";
pub const NAME_1000: &str = "state_root_1000";
pub const NAME_PROVE: &str = "state_prove";
pub const NAME_VERIFY: &str = "state_verify";

/// Ours with its rows in the in-memory store, where each read is a search; without, they are in a hash map.
const OURS_FROM_STORE: &str = "DotVM, from the in-memory store";
/// jmt over a hash map of its own nodes.
const DIRECT: &str = "jmt called directly";
/// The same, with its call for puts only, which hashes shared nodes once.
const DIRECT_BATCH: &str = "jmt called directly, by the batch";

/// Where the rows lie in our store.
const PREFIX: u8 = 0x82;
/// Changes in one chunk while the tree is built: more write the upper nodes less often, and take more memory.
const CHUNK: u64 = 250_000;
/// The version before the measured one.
const BUILT: u64 = 1;
/// Key `i` of the changed ones is `i * KEY_FACTOR` modulo the number of keys, which is a power of ten or two.
const KEY_FACTOR: u64 = 40_503;

fn pair(number: u64, round: u64) -> (Bytes, Bytes) {
    (Bytes::copy_from_slice(&number.to_be_bytes()), Bytes::from(format!("value {number} of round {round}")))
}

fn sha(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn checksum(root: &[u8; 32]) -> u64 {
    root.iter().rev().take(8).fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

pub fn build_1(setup: &Setup) -> Result<Workload> {
    build_root(setup, NAME_1, 1)
}

pub fn build_10(setup: &Setup) -> Result<Workload> {
    build_root(setup, NAME_10, 10)
}

pub fn build_100(setup: &Setup) -> Result<Workload> {
    build_root(setup, NAME_100, 100)
}

pub fn build_1000(setup: &Setup) -> Result<Workload> {
    build_root(setup, NAME_1000, 1000)
}

/// The trees that all workloads of this file read, which takes long to build.
#[derive(Clone)]
struct Built {
    keys: u64,
    rows: Arc<Rows>,
    store: Arc<MemoryStore>,
    direct: Arc<Memory>,
}

impl Built {
    /// The trees, from the workload before if they are of the same size. The `last` one leaves none behind.
    fn get(keys: u64, last: bool) -> Result<Self> {
        static BUILT: Mutex<Option<Built>> = Mutex::new(None);
        let mut kept = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        let built = match kept.take().filter(|built| built.keys == keys) {
            Some(built) => built,
            None => {
                let rows = Arc::new(Rows::new(keys)?);
                Self { keys, store: rows.in_store()?, rows, direct: Arc::new(Memory::new(keys)?) }
            }
        };
        if !last {
            *kept = Some(built.clone());
        }
        Ok(built)
    }
}

fn keys(setup: &Setup) -> u64 {
    setup.pick(1_000_000, 20_000)
}

/// The root of a commit that changes `changed` keys. Small ones are repeated with other keys, for a measurable time.
fn build_root(setup: &Setup, name: &'static str, changed: u64) -> Result<Workload> {
    let keys = keys(setup);
    let commits = (setup.pick(1000, 100) / changed).max(1);
    let sets: Vec<Vec<(Bytes, Bytes)>> = (0..commits)
        .map(|commit| {
            let numbers = commit * changed..(commit + 1) * changed;
            numbers.map(|i| pair(i * KEY_FACTOR % keys, 1)).collect()
        })
        .collect();
    let Built { rows, store, direct, .. } = Built::get(keys, false)?;
    let mut expected = 0u64;
    for set in &sets {
        expected ^= checksum(&direct.by_key(set)?.0.0);
    }
    Ok(Workload {
        name,
        summary: format!("the root and the rows of {commits} commits that change {changed} of {keys} keys"),
        operations: commits * changed,
        unit: "changed key",
        kind: Kind::Compute,
        baseline: DIRECT,
        expected,
        expected_state: None,
        goal: Some(Goal::TimesBaseline(2.0)),
        contenders: vec![
            Box::new(Ours::new(rows, None, &sets)),
            Box::new(Ours::new(Arc::default(), Some(store), &sets)),
            Box::new(Direct { memory: Arc::clone(&direct), sets: sets.clone(), by_batch: false }),
            Box::new(Direct { memory: direct, sets, by_batch: true }),
        ],
    })
}

/// Our rows in a hash map, which is what jmt is given too.
#[derive(Default)]
struct Rows(HashMap<Bytes, Bytes>);

impl NodeReader for Rows {
    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn rows(&self, _: &[u8], _: &[u8], _: Direction, _: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        Err(StoreError::Corrupt { detail: "a hash map has no order".to_owned() })
    }
}

impl Rows {
    fn new(keys: u64) -> Result<Self> {
        let mut rows = Self::default();
        for start in (0..keys).step_by(CHUNK as usize) {
            let chunk: Vec<Change> = (start..keys.min(start + CHUNK))
                .map(|number| pair(number, 0))
                .map(|(key, value)| (key, Some(value)))
                .collect();
            for (row, value) in load(&rows, BUILT, &chunk)?.writes {
                match value {
                    Some(value) => rows.0.insert(row, value),
                    None => rows.0.remove(&row),
                };
            }
        }
        Ok(rows)
    }

    /// The same in the in-memory store.
    fn in_store(&self) -> Result<Arc<MemoryStore>> {
        let write =
            |(row, value): (&Bytes, &Bytes)| (SnapshotReader::store_key(PREFIX, row), Some(value.clone()));
        // Collected: rows come in no order.
        let batch: Batch = self.0.iter().map(write).collect();
        let store = MemoryStore::new();
        store.apply(&batch, Durability::None)?;
        Ok(Arc::new(store))
    }
}

/// The tree in our rows, and the changes.
struct Ours {
    rows: Arc<Rows>,
    /// Where the rows are read from instead.
    store: Option<Arc<MemoryStore>>,
    sets: Vec<Vec<Change>>,
}

impl Ours {
    fn new(rows: Arc<Rows>, store: Option<Arc<MemoryStore>>, sets: &[Vec<(Bytes, Bytes)>]) -> Self {
        let changes = |set: &Vec<(Bytes, Bytes)>| {
            set.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect()
        };
        Self { rows, store, sets: sets.iter().map(changes).collect() }
    }

    fn read<T>(&self, with: impl FnOnce(&dyn NodeReader) -> Result<T>) -> Result<T> {
        match &self.store {
            None => with(&*self.rows),
            Some(store) => {
                let snapshot = store.snapshot()?;
                with(&SnapshotReader::new(&*snapshot, PREFIX))
            }
        }
    }
}

impl Contender for Ours {
    fn name(&self) -> &str {
        if self.store.is_some() { OURS_FROM_STORE } else { OURS }
    }

    fn run(&mut self) -> Result<u64> {
        let mut sum = 0;
        for set in &self.sets {
            sum ^= checksum(&self.read(|reader| Ok(update(reader, BUILT + 1, set)?))?.root.0);
        }
        Ok(sum)
    }
}

struct Hasher(Sha256);

impl SimpleHasher for Hasher {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn update(&mut self, data: &[u8]) {
        Digest::update(&mut self.0, data);
    }

    fn finalize(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

type Tree<'a> = JellyfishMerkleTree<'a, Memory, Hasher>;

/// jmt's nodes and values in memory. Its versions are consecutive; the last of the build comes before the measured one.
#[derive(Default)]
struct Memory {
    nodes: HashMap<NodeKey, Node>,
    values: HashMap<KeyHash, OwnedValue>,
    latest: Version,
    root: Option<RootHash>,
}

impl TreeReader for Memory {
    fn get_node_option(&self, key: &NodeKey) -> Result<Option<Node>> {
        Ok(self.nodes.get(key).cloned())
    }

    fn get_value_option(&self, _: Version, key_hash: KeyHash) -> Result<Option<OwnedValue>> {
        Ok(self.values.get(&key_hash).cloned())
    }

    fn get_rightmost_leaf(&self) -> Result<Option<(NodeKey, LeafNode)>> {
        bail!("the tree is not restored leaf by leaf")
    }
}

impl Memory {
    fn new(keys: u64) -> Result<Self> {
        let mut memory = Self::default();
        for (version, start) in (0..keys).step_by(CHUNK as usize).enumerate() {
            let chunk: Vec<(KeyHash, OwnedValue)> = (start..keys.min(start + CHUNK))
                .map(|number| pair(number, 0))
                .map(|(key, value)| (KeyHash(sha(&key)), value.to_vec()))
                .collect();
            let version = version as Version;
            let made = Tree::new(&memory).batch_put_value_sets(vec![chunk.clone()], None, version);
            let (roots, batch) = made?;
            for stale in &batch.stale_node_index_batch {
                memory.nodes.remove(&stale.node_key);
            }
            memory
                .nodes
                .extend(batch.node_batch.nodes().iter().map(|(key, node)| (key.clone(), node.clone())));
            memory.values.extend(chunk);
            memory.latest = version;
            memory.root = roots.last().copied();
        }
        Ok(memory)
    }

    fn by_key(&self, set: &[(Bytes, Bytes)]) -> Result<(RootHash, TreeUpdateBatch)> {
        let changes = set.iter().map(|(key, value)| (KeyHash(sha(key)), Some(value.to_vec())));
        Tree::new(self).put_value_set(changes, self.latest + 1)
    }

    fn by_batch(&self, set: &[(Bytes, Bytes)]) -> Result<(RootHash, TreeUpdateBatch)> {
        let changes = set.iter().map(|(key, value)| (KeyHash(sha(key)), value.to_vec())).collect();
        let (roots, batch) = Tree::new(self).batch_put_value_sets(vec![changes], None, self.latest + 1)?;
        Ok((*roots.last().context("jmt made no root")?, batch))
    }
}

/// jmt as its documentation shows it.
struct Direct {
    memory: Arc<Memory>,
    sets: Vec<Vec<(Bytes, Bytes)>>,
    by_batch: bool,
}

impl Contender for Direct {
    fn name(&self) -> &str {
        if self.by_batch { DIRECT_BATCH } else { DIRECT }
    }

    fn run(&mut self) -> Result<u64> {
        let mut sum = 0;
        for set in &self.sets {
            let (root, _) = if self.by_batch { self.memory.by_batch(set) } else { self.memory.by_key(set) }?;
            sum ^= checksum(&root.0);
        }
        Ok(sum)
    }
}

/// Keys that are proved, every fourth of them absent.
fn proved(setup: &Setup) -> Vec<(Bytes, Option<Bytes>)> {
    let keys = keys(setup);
    (0..setup.pick(2000, 200))
        .map(|i| match i % 4 {
            3 => (pair(keys + i, 0).0, None),
            _ => {
                let (key, value) = pair(i * KEY_FACTOR % keys, 0);
                (key, Some(value))
            }
        })
        .collect()
}

fn sizes(bytes: impl Iterator<Item = usize>) -> u64 {
    let sizes: Vec<usize> = bytes.collect();
    (sizes.iter().sum::<usize>() / sizes.len().max(1)) as u64
}

fn our_proofs(ours: &Ours, proved: &[(Bytes, Option<Bytes>)]) -> Result<Vec<Proof>> {
    let made = |reader: &dyn NodeReader| {
        proved.iter().map(|(key, value)| Ok(prove(reader, BUILT, key, value.as_deref())?)).collect()
    };
    ours.read(made)
}

fn jmt_proofs(memory: &Memory, proved: &[(Bytes, Option<Bytes>)]) -> Result<Vec<SparseMerkleProof<Hasher>>> {
    let tree = Tree::new(memory);
    proved.iter().map(|(key, _)| Ok(tree.get_with_proof(KeyHash(sha(key)), memory.latest)?.1)).collect()
}

/// Proofs of presence and absence.
pub fn build_prove(setup: &Setup) -> Result<Workload> {
    build_proofs(setup, NAME_PROVE, false)
}

/// The verification of them.
pub fn build_verify(setup: &Setup) -> Result<Workload> {
    build_proofs(setup, NAME_VERIFY, true)
}

fn build_proofs(setup: &Setup, name: &'static str, verify: bool) -> Result<Workload> {
    let keys = keys(setup);
    let proved = proved(setup);
    let count = proved.len() as u64;
    let Built { rows, direct: memory, .. } = Built::get(keys, verify)?;
    let ours = Ours::new(rows, None, &[]);
    let our_root = ours.read(|reader| Ok(root(reader, BUILT)?))?;
    let proofs = our_proofs(&ours, &proved)?;
    let jmts = jmt_proofs(&memory, &proved)?;
    let our_bytes = sizes(proofs.iter().map(|proof| proof.to_bytes().len()));
    let jmt_bytes = sizes(jmts.iter().map(|proof| borsh::to_vec(proof).map_or(0, |bytes| bytes.len())));
    Ok(Workload {
        name,
        summary: format!(
            "{} {count} proofs over {keys} keys, a quarter of them of absence; {our_bytes} bytes each with key and value, \
             jmt's {jmt_bytes} without",
            if verify { "verifying" } else { "making" }
        ),
        operations: count,
        unit: "proof",
        kind: Kind::Compute,
        baseline: DIRECT,
        expected: count,
        expected_state: None,
        goal: Some(Goal::TimesBaseline(2.0)),
        contenders: vec![
            Box::new(OurProofs { ours, root: our_root, proofs, proved: proved.clone(), verify }),
            Box::new(JmtProofs { memory, proofs: jmts, proved, verify }),
        ],
    })
}

struct OurProofs {
    ours: Ours,
    root: Root,
    proofs: Vec<Proof>,
    proved: Vec<(Bytes, Option<Bytes>)>,
    verify: bool,
}

impl Contender for OurProofs {
    fn name(&self) -> &str {
        OURS
    }

    fn run(&mut self) -> Result<u64> {
        if !self.verify {
            return Ok(our_proofs(&self.ours, &self.proved)?.len() as u64);
        }
        let mut sum = 0;
        for (proof, (_, value)) in self.proofs.iter().zip(&self.proved) {
            sum += u64::from(proof.verify(&self.root)?.value == *value);
        }
        Ok(sum)
    }
}

struct JmtProofs {
    memory: Arc<Memory>,
    proofs: Vec<SparseMerkleProof<Hasher>>,
    proved: Vec<(Bytes, Option<Bytes>)>,
    verify: bool,
}

impl Contender for JmtProofs {
    fn name(&self) -> &str {
        DIRECT
    }

    fn run(&mut self) -> Result<u64> {
        if !self.verify {
            return Ok(jmt_proofs(&self.memory, &self.proved)?.len() as u64);
        }
        let root = self.memory.root.context("the tree has no root")?;
        let mut sum = 0;
        for (proof, (key, value)) in self.proofs.iter().zip(&self.proved) {
            proof.verify(root, KeyHash(sha(key)), value.as_deref())?;
            sum += 1;
        }
        Ok(sum)
    }
}
