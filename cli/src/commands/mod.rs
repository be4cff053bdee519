//! The commands, one file each.

mod asm;
mod call;
mod compare;
mod completions;
mod conformance;
mod db;
mod decode;
mod deploy;
mod disasm;
pub mod isa;
mod keygen;
mod nock;
mod replay;
mod resume;
mod run;
mod rvm;
mod seal;
mod transpile;
mod verify;
mod verify_receipt;

use clap::Subcommand;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// A command with its arguments.
#[derive(Subcommand)]
pub(crate) enum Command {
    Asm(asm::Args),
    Disasm(disasm::Args),
    Verify(verify::Args),
    Run(run::Args),
    Deploy(deploy::Args),
    Call(call::Args),
    Resume(resume::Args),
    Compare(compare::Args),
    Replay(replay::Args),
    VerifyReceipt(verify_receipt::Args),
    Db(db::Args),
    Seal(seal::Args),
    Unseal(seal::UnsealArgs),
    Keygen(keygen::Args),
    Isa(isa::Args),
    Transpile(transpile::Args),
    Rvm(rvm::Args),
    Decode(decode::Args),
    Conformance(conformance::Args),
    Nock(nock::Args),
    Completions(completions::Args),
}

impl Command {
    /// Whether the answer, errors included, is one JSON object.
    pub(crate) fn json(&self) -> bool {
        match self {
            Command::Asm(args) => args.json,
            Command::Verify(args) => args.json,
            Command::Run(args) => args.json,
            Command::Deploy(args) => args.json,
            Command::Call(args) => args.json,
            Command::Resume(args) => args.json,
            Command::Compare(args) => args.json,
            Command::Replay(args) => args.json,
            Command::VerifyReceipt(args) => args.json,
            Command::Db(args) => args.json,
            Command::Seal(args) => args.json,
            Command::Unseal(args) => args.json,
            Command::Keygen(args) => args.json,
            Command::Isa(args) => args.json,
            Command::Transpile(args) => args.json,
            Command::Rvm(_) => false,
            Command::Decode(args) => args.json,
            Command::Conformance(args) => args.json,
            Command::Nock(args) => args.json,
            Command::Disasm(_) | Command::Completions(_) => false,
        }
    }

    /// Does it.
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        match self {
            Command::Asm(args) => asm::run(args, output),
            Command::Disasm(args) => disasm::run(args, output),
            Command::Verify(args) => verify::run(args, output),
            Command::Run(args) => run::run(args, output),
            Command::Deploy(args) => deploy::run(args, output),
            Command::Call(args) => call::run(args, output),
            Command::Resume(args) => resume::run(args, output),
            Command::Compare(args) => compare::run(args, output),
            Command::Replay(args) => replay::run(args, output),
            Command::VerifyReceipt(args) => verify_receipt::run(args, output),
            Command::Db(args) => db::run(args, output),
            Command::Seal(args) => seal::run(args, output),
            Command::Unseal(args) => seal::unseal(args, output),
            Command::Keygen(args) => keygen::run(args, output),
            Command::Isa(args) => isa::run(args, output),
            Command::Transpile(args) => transpile::run(args, output),
            Command::Rvm(args) => rvm::run(args, output),
            Command::Decode(args) => decode::run(args, output),
            Command::Conformance(args) => conformance::run(args, output),
            Command::Nock(args) => nock::run(args, output),
            Command::Completions(args) => completions::run(args, output),
        }
    }
}
