//! A store, the contracts in it, and how both come back after a restart.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dotdb::{Database, Direction, Durability, Mode, Settings, Store};
use dotdb_memory::MemoryStore;
use dotdb_redb::RedbStore;
use dotvm_arch::{W512, Width};
use dotvm_core::container;
use dotvm_core::env::Env;
use dotvm_core::outcome::{End, Ref};
use dotvm_runtime::args::{find_function, parse_invocation};
use dotvm_runtime::{Execution, Options, Program, Runtime, execute};
use tempfile::TempDir;

/// The module file of an example.
pub fn module(name: &str, width: Width) -> Vec<u8> {
    let path = Path::new("../examples").join(name).with_extension("dasm");
    let source = std::fs::read_to_string(&path).unwrap();
    let options = dotvm_asm::Options { width: Some(width), ..dotvm_asm::Options::for_file(name) };
    let assembled =
        dotvm_asm::assemble(&source, &options).unwrap_or_else(|error| panic!("{}", error.render(false)));
    assert_eq!(assembled.module.width, width);
    container::write(&assembled.module).unwrap()
}

/// Runs a function (`None` = the entry) of an example in a store of its own.
pub fn run(name: &str, width: Width, function: Option<&str>, arguments: &[&str]) -> End {
    let program = Program::load(&module(name, width)).unwrap();
    let function = find_function(program.module(), function).unwrap();
    let invocation = parse_invocation(program.verified(), function, arguments).unwrap();
    let database = Database::open(Arc::new(MemoryStore::new())).unwrap();
    execute(&database, "example", &program, &invocation, &Options::default()).unwrap().outcome.end
}

enum Place {
    Memory(Arc<MemoryStore>),
    Redb(TempDir),
}

/// A contract in a store.
pub struct Ledger {
    place: Place,
    contract: &'static str,
    open: Option<(Runtime, Arc<dyn Store>)>,
}

impl Ledger {
    /// Deploys an example in a new store of each kind.
    pub fn of_each_kind(name: &'static str, width: Width) -> [Ledger; 2] {
        let places = [Place::Memory(Arc::default()), Place::Redb(tempfile::tempdir().unwrap())];
        places.map(|place| {
            let mut ledger = Ledger { place, contract: name, open: None };
            ledger.restart();
            ledger.runtime().deploy(name, &module(name, width), false).unwrap();
            ledger
        })
    }

    /// Closes everything that is open, and opens the store anew.
    pub fn restart(&mut self) {
        self.open = None;
        let store: Arc<dyn Store> = match &self.place {
            Place::Memory(store) => store.clone(),
            Place::Redb(folder) => {
                Arc::new(RedbStore::open_or_create(folder.path().join("state.redb")).unwrap())
            }
        };
        let settings = Settings { state_root: true, ..Settings::default() };
        let database = Database::open_or_create(store.clone(), settings).unwrap();
        self.open = Some((Runtime::new(database), store));
    }

    fn runtime(&self) -> &Runtime {
        &self.open.as_ref().unwrap().0
    }

    /// The database in the store.
    pub fn database(&self) -> Database {
        self.runtime().database().clone()
    }

    /// Every key and value of the store.
    pub fn contents(&self) -> Vec<(Bytes, Bytes)> {
        let snapshot = self.open.as_ref().unwrap().1.snapshot().unwrap();
        let pairs = snapshot.range(Bound::Unbounded, Bound::Unbounded, Direction::Forward).unwrap();
        pairs.collect::<Result<_, _>>().unwrap()
    }

    /// The slot with this key, as a number.
    pub fn slot(&self, key: &[u8]) -> W512 {
        let mut tx = self.runtime().database().begin(Mode::ReadOnly).unwrap();
        let contract = tx.contract(self.contract).unwrap().unwrap().id;
        let start = key.iter().position(|&byte| byte != 0).unwrap_or(key.len());
        W512::try_from_be_slice(tx.slot_get(contract, &key[start..]).unwrap().as_bytes()).unwrap()
    }

    /// Calls a function as `caller`, with `value` sent along.
    pub fn execute(&self, caller: W512, value: W512, function: &str, arguments: &[&str]) -> Execution {
        let options = Options {
            env: Env { caller, value, ..Env::default() },
            durability: Durability::None,
            ..Options::default()
        };
        let invocation = |program: &Program| {
            let function = find_function(program.module(), Some(function))?;
            Ok(parse_invocation(program.verified(), function, arguments)?)
        };
        self.runtime().call(self.contract, invocation, &options).unwrap().1
    }

    /// Calls a function that succeeds; its word results.
    pub fn words(&self, caller: u64, value: u64, function: &str, arguments: &[&str]) -> Vec<W512> {
        words(self.execute(W512::from(caller), W512::from(value), function, arguments).outcome.end)
    }

    /// Calls a function that throws and changes nothing; the detail of the exception.
    pub fn exception(&self, caller: u64, value: u64, function: &str, arguments: &[&str]) -> String {
        let before = self.contents();
        let execution = self.execute(W512::from(caller), W512::from(value), function, arguments);
        assert!(!execution.committed && execution.events.is_empty() && execution.changed_keys == 0);
        assert!(self.contents() == before, "{function}{arguments:?} changed the store");
        let End::Trap(trap) = execution.outcome.end else { panic!("{function}{arguments:?} did not trap") };
        assert_eq!(trap.kind, dotvm_core::trap::TrapKind::User);
        trap.detail.unwrap()
    }
}

/// The word results of a function that returned.
pub fn words(end: End) -> Vec<W512> {
    match end {
        End::Return { words, .. } => words,
        end => panic!("the function did not return: {end:?}"),
    }
}

/// The reference results of a function that returned.
pub fn refs(end: End) -> Vec<Ref> {
    match end {
        End::Return { refs, .. } => refs,
        end => panic!("the function did not return: {end:?}"),
    }
}
