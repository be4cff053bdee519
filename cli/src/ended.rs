//! What `run` and `call` do alike: give a program its outside, and after the run show and keep what came of it.

use std::sync::{Arc, Mutex, PoisonError};

use dotdb::MachineId;
use dotvm_core::outcome::Invocation;
use dotvm_runtime::{Execution, Options, Outside, Program, Recorder, Runtime};
use zeroize::Zeroizing;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::options::ExecutionOptions;
use crate::output::Output;
use crate::outside::{FilesOut, InputOption, Recorded};
use crate::receipt::{Ended, RecordOptions};
use crate::report::{self, Report};

/// A run before it begins.
pub struct Prepared<'a> {
    /// What the host gives.
    pub options: Options,
    files_out: &'a FilesOut,
    records: &'a RecordOptions,
    outside: Recorded,
    key: Option<Zeroizing<Vec<u8>>>,
    json: bool,
}

/// A run that has come to its end.
pub struct Finished<'a> {
    /// What ran.
    pub program: &'a Program,
    /// Its source text, if it is at hand.
    pub source: Option<&'a str>,
    /// The module's file, if the database does not keep it.
    pub module: Option<&'a [u8]>,
    /// The name that the state is kept under.
    pub contract: &'a str,
    /// The call.
    pub invocation: &'a Invocation,
    /// How it went.
    pub execution: &'a Execution,
    /// The machine that waits for more gas, if it is kept and out of gas.
    pub machine: Option<MachineId>,
}

impl<'a> Prepared<'a> {
    /// Reads what the options name. `more` are arguments behind those of `--argv`; `taken` says that standard input is
    /// the program itself.
    pub fn new(
        execution: &'a ExecutionOptions,
        more: &[String],
        json: bool,
        taken: bool,
    ) -> Result<Prepared<'a>, Failure> {
        let console = execution.outside.console(more, json, taken)?;
        let outside = Arc::new(Mutex::new(Recorder::new(console, execution.records.is_on())));
        let options = Options { outside: Outside::shared(outside.clone()), ..execution.runtime()? };
        let (files_out, records) = (&execution.outside.files_out, &execution.records);
        Ok(Prepared { options, files_out, records, outside, key: records.key()?, json })
    }

    /// The same for a run that goes on, whose options are there already but for the outside.
    pub fn resumed(
        input: &InputOption,
        files_out: &'a FilesOut,
        records: &'a RecordOptions,
        options: Options,
        json: bool,
    ) -> Result<Prepared<'a>, Failure> {
        let console = input.console(json, false)?;
        let outside = Arc::new(Mutex::new(Recorder::new(console, records.is_on())));
        let options = Options { outside: Outside::shared(outside.clone()), ..options };
        Ok(Prepared { options, files_out, records, outside, key: records.key()?, json })
    }

    /// Shows a run that goes on later.
    pub fn show(&self, run: &Finished<'_>, runtime: &Runtime, output: &Output) -> Result<Exit, Failure> {
        let mut outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        let report = Report {
            module: run.program.module(),
            source: run.source,
            execution: run.execution,
            root: report::root_after(runtime.database(), run.execution)?,
            console: outside.inner().collected(),
            machine: run.machine,
        };
        report.print(self.json, output)
    }

    /// What a run wrote to the two streams, where that is kept for the answer.
    pub fn collected(&self) -> Option<[Vec<u8>; 2]> {
        self.outside.lock().unwrap_or_else(PoisonError::into_inner).inner().collected()
    }

    /// Shows the run, carries files out, writes it down.
    pub fn finish(&self, run: &Finished<'_>, runtime: &Runtime, output: &Output) -> Result<Exit, Failure> {
        let Finished { program, source, module, contract, invocation, execution, machine } = *run;
        let mut outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = |failure: Failure| although_kept(failure, execution);
        let database = runtime.database();
        let report = Report {
            module: program.module(),
            source,
            execution,
            root: report::root_after(database, execution).map_err(kept)?,
            console: outside.inner().collected(),
            machine,
        };
        let exit = report.print(self.json, output)?;
        // What fails from here on is told on standard error: the answer is printed.
        let told = |failure: Failure| {
            let failure = although_kept(failure, execution);
            if self.json { failure.told_with(output) } else { failure }
        };
        if execution.committed {
            self.files_out.write_files(runtime, contract).map_err(told)?;
        }
        let ended = Ended {
            program,
            contract,
            invocation,
            options: &self.options,
            calls: outside.calls(),
            execution,
            database,
        };
        let key = self.key.as_ref().map(|key| &key[..]);
        self.records.write(&ended, module, key).map_err(told)?;
        Ok(exit)
    }
}

/// A failure after a run whose changes are kept all the same, which its sentence says.
fn although_kept(failure: Failure, execution: &Execution) -> Failure {
    if execution.changed_keys == 0 {
        return failure;
    }
    Failure { sentence: format!("the program's changes are kept, but {}", failure.sentence), ..failure }
}
