//! Contracts: code in the store, under its hash and a name.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use dotdb::{CodeHash, ContractId, Database, DbError, Durability, Mode, Tx};
use dotvm_core::outcome::Invocation;

use crate::args::nearest;
use crate::audit;
use crate::calls::Programs;
use crate::error::RuntimeError;
use crate::execute::{Execution, Options, Place, execute_in, retrying};
use crate::open_tx::Files;
use crate::program::Program;
use crate::show::hex;

/// Programs kept ready to run.
const CACHED_PROGRAMS: usize = 64;

/// Contracts over one database, with the programs used last kept ready to run.
pub struct Runtime {
    database: Database,
    /// The program used last in front.
    programs: Mutex<VecDeque<Program>>,
}

/// What a deployment did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Number of the contract.
    pub contract: ContractId,
    /// Hash of the code.
    pub hash: CodeHash,
    /// What changed.
    pub change: Change,
}

/// What changed by a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The name had no code.
    New,
    /// The name had the same code.
    None,
    /// The name had other code, with this hash; the state stays.
    Upgrade(CodeHash),
}

impl Runtime {
    /// Contracts over `database`.
    pub fn new(database: Database) -> Runtime {
        Runtime { database, programs: Mutex::default() }
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Keeps a module's code and gives it the name `name`, all in one durable transaction. The same code under
    /// the same name is no change; other code takes an `upgrade`, which leaves the state as it is. A module in a signed
    /// envelope that is not encrypted is kept in it, so that its signature is checked whenever it is loaded; of code that
    /// is kept already the last signature stays.
    ///
    /// # Errors
    /// What [`Program::load`] answers; [`RuntimeError::NameTaken`]; [`RuntimeError::Db`].
    pub fn deploy(&self, name: &str, module: &[u8], upgrade: bool) -> Result<Deployed, RuntimeError> {
        let program = Program::load(module)?;
        let hash = *program.hash();
        let mut tx = self.database.begin(Mode::ReadWrite)?;
        let existing = tx.contract(name)?;
        let change = match existing.as_ref().and_then(|contract| contract.code) {
            None => Change::New,
            Some(code) if code == hash => Change::None,
            Some(code) if upgrade => Change::Upgrade(code),
            Some(code) => {
                return Err(RuntimeError::NameTaken { name: name.to_owned(), deployed: hex(&code) });
            }
        };
        let kept = tx.code(&hash)?;
        let is_newly_signed = program.signer().is_some() && kept.as_deref() != Some(module);
        let contract = match existing {
            Some(contract) if change == Change::None && !is_newly_signed => contract.id,
            _ => {
                if kept.is_none() || is_newly_signed {
                    tx.put_code(hash, Bytes::copy_from_slice(module))?;
                }
                let contract = tx.bind(name, hash)?;
                tx.commit(Durability::Sync)?;
                contract
            }
        };
        audit::contract_deployed(name, contract, &hash, &change);
        self.remember(program);
        Ok(Deployed { contract, hash, change })
    }

    /// Runs a program that is not deployed on the state kept under `name`.
    ///
    /// # Errors
    /// Those of [`execute`](crate::execute), and [`RuntimeError::NameTaken`] if other code is deployed under the
    /// name: its state is that code's alone.
    pub fn run(
        &self,
        name: &str,
        program: &Program,
        invocation: &Invocation,
        options: &Options,
    ) -> Result<Execution, RuntimeError> {
        retrying(options, || {
            let tx = self.database.begin(Mode::ReadWrite)?;
            let (place, tx) = self.place_of(tx, name, program)?;
            execute_in(&self.database, tx, place, program, invocation, options, self)
        })
    }

    /// Whose state a program that is not deployed runs on.
    pub(crate) fn place_of<'a>(
        &self,
        mut tx: Tx,
        name: &'a str,
        program: &Program,
    ) -> Result<(Place<'a>, Tx), RuntimeError> {
        let contract = tx.find_contract(name)?;
        if let Some((_, Some(code))) = contract
            && code != *program.hash()
        {
            return Err(RuntimeError::NameTaken { name: name.to_owned(), deployed: hex(&code) });
        }
        Ok((Place::of(name, contract.map(|(id, _)| id), program), tx))
    }

    /// Calls a contract. `invocation` chooses the function and its arguments once the program is known; code and
    /// state are of one transaction, which is tried again if another one is in its way.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownContract`], what `invocation` answers, and those of [`execute`](crate::execute).
    pub fn call(
        &self,
        name: &str,
        invocation: impl Fn(&Program) -> Result<Invocation, RuntimeError>,
        options: &Options,
    ) -> Result<(Program, Execution), RuntimeError> {
        retrying(options, || {
            let mut tx = self.database.begin(Mode::ReadWrite)?;
            let (contract, program) = self.program_in(&mut tx, name)?;
            if let Some(trusted) = &options.signers {
                audit::check_signer(name, program.signer(), trusted)
                    .map_err(|why| RuntimeError::Untrusted { name: name.to_owned(), why })?;
            }
            let invocation = invocation(&program)?;
            let place = Place::of(name, Some(contract), &program);
            let execution = execute_in(&self.database, tx, place, &program, &invocation, options, self)?;
            Ok((program, execution))
        })
    }

    /// What a file of a contract holds, if it is there.
    ///
    /// # Errors
    /// [`RuntimeError::Db`].
    pub fn file(&self, name: &str, path: &[u8]) -> Result<Option<Bytes>, RuntimeError> {
        let mut tx = self.database.begin(Mode::ReadOnly)?;
        let Some((contract, _)) = tx.find_contract(name)? else { return Ok(None) };
        let files = Files::open(&mut tx, contract)?;
        Ok(files.read(&mut tx, path)?)
    }

    /// The files of a contract, by path.
    ///
    /// # Errors
    /// [`RuntimeError::Db`].
    pub fn files(&self, name: &str) -> Result<Vec<(Bytes, Bytes)>, RuntimeError> {
        let mut tx = self.database.begin(Mode::ReadOnly)?;
        let Some((contract, _)) = tx.find_contract(name)? else { return Ok(Vec::new()) };
        let files = Files::open(&mut tx, contract)?;
        Ok(files.all(&mut tx)?)
    }

    /// The program of a contract.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownContract`], [`RuntimeError::Db`].
    pub fn program(&self, name: &str) -> Result<Program, RuntimeError> {
        Ok(self.program_in(&mut self.database.begin(Mode::ReadOnly)?, name)?.1)
    }

    fn program_in(&self, tx: &mut Tx, name: &str) -> Result<(ContractId, Program), RuntimeError> {
        let Some((contract, Some(hash))) = tx.find_contract(name)? else {
            let deployed = tx.contracts()?.into_iter().filter(|contract| contract.code.is_some());
            let names: Vec<String> = deployed.map(|contract| contract.name).collect();
            let nearest = nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
            return Err(RuntimeError::UnknownContract { name: name.to_owned(), nearest });
        };
        if let Some(program) = self.recall(&hash) {
            return Ok((contract, program));
        }
        let code = tx.code(&hash)?.ok_or_else(|| DbError::UnknownCode { hash: hex(&hash) })?;
        let program = Program::load(&code)
            .map_err(|source| RuntimeError::StoredCode { name: name.to_owned(), source: Box::new(source) })?;
        self.remember(program.clone());
        Ok((contract, program))
    }
}

impl Programs for Runtime {
    fn recall(&self, hash: &CodeHash) -> Option<Program> {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let place = programs.iter().position(|program| program.hash() == hash)?;
        if place > 0 {
            let program = programs.remove(place)?;
            programs.push_front(program);
        }
        programs.front().cloned()
    }

    fn remember(&self, program: Program) {
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        programs.retain(|other| other.hash() != program.hash());
        programs.push_front(program);
        programs.truncate(CACHED_PROGRAMS);
    }
}
