//! Text tests: programs with their expected results as comments, run by every implementation at every width.
//!
//! The format is described in `tests/text/README.md`.

mod directive;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use dotdb::{Database, Durability, History, Settings};
use dotdb_memory::MemoryStore;
use dotvm_arch::{W512, Width};
use dotvm_asm::Options;
use dotvm_core::capability::CapabilitySet;
use dotvm_core::container;
use dotvm_core::opcode::Op;
use dotvm_core::outcome::{End, Invocation, Outcome, Ref};
use dotvm_core::trap::TrapKind;
use dotvm_core::verify::{Verified, verify};
use dotvm_runtime::{Outside, Program};
use num_bigint::BigUint;

use crate::mock_host::{Code, MockHost, State};
use crate::outside::Script;
use directive::{Body, Directive, Expected, Step, parse, parse_step};

/// What the reference interpreter executed in text tests.
#[derive(Debug, Default)]
pub struct Coverage {
    /// Widths at which each operation ran.
    pub executed: BTreeMap<Op, BTreeSet<Width>>,
    /// Operations and the bits of the width prefixes they ran behind.
    pub prefixed: BTreeSet<(Op, u32)>,
    /// Traps and the operation each happened at.
    pub traps: BTreeSet<(Op, TrapKind)>,
}

impl Coverage {
    fn note_trap(&mut self, verified: &Verified, outcome: &Outcome) {
        if let End::Trap(trap) = &outcome.end {
            self.traps.extend(op_at(verified, trap.function, trap.offset).map(|op| (op, trap.kind)));
        }
    }
}

/// What became of text tests.
#[derive(Debug, Default)]
pub struct Report {
    /// One sentence with `file:line` for each expectation that does not hold.
    pub failures: Vec<String>,
    /// Runs, each counted once however many implementations do it.
    pub runs: usize,
    /// What was executed.
    pub coverage: Coverage,
}

/// Runs a text test file.
pub fn run_file(path: &Path, report: &mut Report) {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(source) => run_source(&name, &source, report),
        Err(error) => report.failures.push(format!("{name}: {error}")),
    }
}

/// Runs the text of a text test.
pub fn run_source(name: &str, source: &str, report: &mut Report) {
    let directives = match parse(source) {
        Ok(directives) => directives,
        Err((line, sentence)) => return report.failures.push(format!("{name}:{line}: {sentence}")),
    };
    let (refusals, steps): (Vec<&Directive>, Vec<&Directive>) =
        directives.steps.iter().partition(|step| matches!(step.body, Body::Refused(_)));
    if directives.steps.is_empty() {
        report.failures.push(format!("{name}: the file expects nothing"));
    }
    for refusal in &refusals {
        let Body::Refused(part) = &refusal.body else { continue };
        for &width in &refusal.widths {
            let message = load(name, source, width).err().unwrap_or_else(|| "it is accepted".to_owned());
            report.runs += 1;
            if !message.contains(part) {
                report.failures.push(format!("{name}:{} (width {width}): {message}", refusal.line));
            }
        }
    }
    let refused = |width: &Width| refusals.iter().any(|refusal| refusal.widths.contains(width));
    let widths = directives.widths.unwrap_or_else(|| Width::ALL.to_vec());
    let widths: Vec<Width> = widths.into_iter().filter(|width| !refused(width)).collect();
    let mut programs = BTreeMap::new();
    for &width in &widths {
        match load(name, source, width) {
            Ok(program) => drop(programs.insert(width, program)),
            Err(message) => report.failures.push(format!("{name} (width {width}): {message}")),
        }
    }
    for step in steps.iter().filter(|step| !step.widths.iter().any(|width| widths.contains(width))) {
        report.failures.push(format!("{name}:{}: the line is for no width of the file", step.line));
    }
    for width in widths.into_iter().filter(|width| programs.contains_key(width)) {
        let mut world = None;
        for directive in steps.iter().filter(|step| step.widths.contains(&width)) {
            report.runs += 1;
            let result = run_directive(&programs, width, directive, &mut world, &mut report.coverage);
            if let Err(message) = result {
                report.failures.push(format!("{name}:{} (width {width}): {message}", directive.line));
            }
        }
    }
}

/// Assembles, verifies and lowers; the module's disassembly must assemble to the same bytes.
fn load(name: &str, source: &str, width: Width) -> Result<Program, String> {
    let options = Options { width: Some(width), ..Options::for_file(name) };
    let assembled = dotvm_asm::assemble(source, &options).map_err(|error| error.render(false))?;
    if assembled.module.width != width {
        return Err(format!("the file is for {} bits: say so with `; widths:`", assembled.module.width));
    }
    // Verified here too for the message with the source line.
    if let Err(error) = verify(assembled.module.clone()) {
        return Err(dotvm_asm::explain_verify_error(source, &assembled.module, &error, false));
    }
    let bytes = container::write(&assembled.module).map_err(|error| error.to_string())?;
    let text = dotvm_asm::disassemble(&assembled.module).map_err(|error| error.to_string())?;
    let again = dotvm_asm::assemble(&text, &Options::default()).map_err(|error| error.render(false))?;
    if container::write(&again.module).as_deref() != Ok(&bytes) {
        return Err(format!("the disassembly assembles to another module:\n{text}"));
    }
    Program::load(&bytes).map_err(|error| error.to_string())
}

/// The state that runs leave to those that follow: one for each host.
struct World {
    mock: State,
    /// The states that the mock host has committed before.
    versions: Vec<Arc<State>>,
    database: Database,
}

impl World {
    fn new() -> Result<World, String> {
        let settings = Settings { history: History::All, state_root: true };
        let database = Database::open_or_create(Arc::new(MemoryStore::new()), settings)
            .map_err(|error| error.to_string())?;
        Ok(World { mock: State::default(), versions: Vec::new(), database })
    }
}

fn run_directive(
    programs: &BTreeMap<Width, Program>,
    width: Width,
    directive: &Directive,
    world: &mut Option<World>,
    coverage: &mut Coverage,
) -> Result<(), String> {
    let Body::Run { follows, end, text } = &directive.body else { return Ok(()) };
    let step = parse_step(text, *end, width)?;
    let program =
        programs.get(&step.width).ok_or_else(|| format!("the file is not for {} bits", step.width))?;
    if !follows || world.is_none() {
        if *follows {
            return Err("`then` has nothing before it".to_owned());
        }
        *world = Some(World::new()?);
    }
    let Some(world) = world else { return Ok(()) };
    let module = program.module();
    let function = module
        .export(&step.function)
        .ok_or_else(|| format!("the file exports no function `{}`", step.function))?;
    let invocation = Invocation { function, words: step.words.clone(), refs: step.refs.clone() };
    if step.runtime_only {
        return run_on_runtime(program, &invocation, &step, world, coverage).map(drop);
    }
    let (outcome, events) = run_on_mock_hosts(program, &invocation, &step, world, coverage)?;
    if step.conflict_every > 0 {
        return Ok(());
    }
    let (on_runtime, runtime_events) = run_on_runtime(program, &invocation, &step, world, coverage)?;
    if without_host_detail(&on_runtime) != without_host_detail(&outcome) {
        return Err(format!("mock host and runtime differ:\n  {outcome:?}\n  {on_runtime:?}"));
    }
    if runtime_events != events {
        return Err(format!(
            "mock host and runtime keep different events:\n  {events:?}\n  {runtime_events:?}"
        ));
    }
    Ok(())
}

/// Events as pairs of topics and data.
type Events = Vec<(Vec<W512>, Ref)>;

/// Runs a step on the reference interpreter and on the engine with mock hosts, and compares everything.
fn run_on_mock_hosts(
    program: &Program,
    invocation: &Invocation,
    step: &Step,
    world: &mut World,
    coverage: &mut Coverage,
) -> Result<(Outcome, Events), String> {
    let width = program.width();
    let verified = program.verified();
    let mut before = MockHost::with_state(step.env.clone(), std::mem::take(&mut world.mock));
    before.conflict_every = step.conflict_every;
    before.outside = step.script.clone();
    before.collections.clone_from(&verified.module().collections);
    before.versions = std::mem::take(&mut world.versions);
    before.code = Some(Code(Arc::new(verified.clone())));
    before.limits = step.limits;

    let mut host = before.clone();
    let mut inspect = |_: u32, inst: &dotvm_core::decode::Inst| {
        coverage.executed.entry(inst.op).or_default().insert(width);
        coverage.prefixed.extend(inst.prefix.map(|prefix| (inst.op, prefix.bits())));
    };
    let (outcome, state) =
        dotvm_reference::run_with(verified, invocation, &step.limits, &mut host, &mut inspect)?;
    coverage.note_trap(verified, &outcome);

    let mut engine_host = before;
    let (engine_outcome, engine_state) =
        dotvm_engine::run_to_state(program.lowered(), invocation, &step.limits, &mut engine_host)?;

    check_written(step, &host.outside).map_err(|error| format!("reference: {error}"))?;
    check_written(step, &engine_host.outside).map_err(|error| format!("engine: {error}"))?;
    let is_success = outcome.end.is_success();
    let mock_events = finish(&mut host, is_success);
    check(step, verified, &outcome, &mock_events).map_err(|error| format!("reference: {error}"))?;
    let engine_events = finish(&mut engine_host, engine_outcome.end.is_success());
    check(step, verified, &engine_outcome, &engine_events).map_err(|error| format!("engine: {error}"))?;
    if engine_outcome != outcome {
        return Err(format!("reference and engine differ:\n  {outcome:?}\n  {engine_outcome:?}"));
    }
    if engine_state != state {
        return Err("reference and engine leave different memory or globals".to_owned());
    }
    if engine_host != host {
        return Err(format!("reference and engine leave different hosts:\n  {host:?}\n  {engine_host:?}"));
    }
    world.mock = host.committed;
    world.versions = host.versions;
    Ok((outcome, mock_events))
}

/// Runs a step with the runtime over the memory store.
fn run_on_runtime(
    program: &Program,
    invocation: &Invocation,
    step: &Step,
    world: &mut World,
    coverage: &mut Coverage,
) -> Result<(Outcome, Events), String> {
    let contract = std::str::from_utf8(&step.env.contract).map_err(|error| error.to_string())?;
    let script = Arc::new(Mutex::new(step.script.clone()));
    let options = dotvm_runtime::Options {
        limits: step.limits,
        env: step.env.clone(),
        durability: Durability::None,
        granted: CapabilitySet::all(),
        outside: Outside::shared(script.clone()),
        ..dotvm_runtime::Options::default()
    };
    let execution = dotvm_runtime::execute(&world.database, contract, program, invocation, &options)
        .map_err(|error| format!("runtime: {error}"))?;
    let script = script.lock().map_err(|error| error.to_string())?;
    check_written(step, &script).map_err(|error| format!("runtime: {error}"))?;
    let events: Events =
        execution.events.into_iter().map(|event| (event.topics, Ref::Bytes(event.data))).collect();
    check(step, program.verified(), &execution.outcome, &events)
        .map_err(|error| format!("runtime: {error}"))?;
    coverage.note_trap(program.verified(), &execution.outcome);
    Ok((execution.outcome, events))
}

/// Ends a mock host's execution as the runtime does, and answers the events kept.
fn finish(host: &mut MockHost, is_success: bool) -> Events {
    if let Some(transaction) = host.transaction.take().filter(|_| is_success) {
        host.commit(transaction);
    }
    let topic = |bytes: &Vec<u8>| W512::try_from_be_slice(bytes).unwrap_or_default();
    let events = std::mem::take(&mut host.committed.events);
    events
        .iter()
        .map(|event| (event.topics.iter().map(topic).collect(), Ref::Bytes(event.data.clone())))
        .collect()
}

/// The outcome without what hosts may word differently.
fn without_host_detail(outcome: &Outcome) -> Outcome {
    let mut outcome = outcome.clone();
    if let End::Trap(trap) = &mut outcome.end
        && trap.kind != TrapKind::User
    {
        trap.detail = None;
    }
    outcome
}

/// Whether an outcome is the expected one.
fn check(
    step: &Step,
    verified: &Verified,
    outcome: &Outcome,
    events: &[(Vec<W512>, Ref)],
) -> Result<(), String> {
    let ends = match (&step.end, &outcome.end) {
        (Expected::Return(words, refs), End::Return { words: got, refs: got_refs }) => {
            words == got && refs == got_refs
        }
        (Expected::Halt(code, result), End::Halt { code: got, result: got_result }) => {
            code == got && result == got_result
        }
        (Expected::Trap(kind, detail, at), End::Trap(trap)) => {
            let mnemonic = op_at(verified, trap.function, trap.offset).map(Op::mnemonic);
            let got_detail = trap.detail.as_deref().unwrap_or_default();
            *kind == trap.kind
                && detail.as_ref().is_none_or(|part| got_detail.contains(part))
                && at.as_ref().is_none_or(|at| Some(at.as_str()) == mnemonic)
        }
        _ => false,
    };
    if !ends {
        let expected = match &step.end {
            Expected::Return(words, refs) => show_results(words, refs),
            Expected::Halt(code, result) => {
                format!("HALT {}", show_results(&[*code], std::slice::from_ref(result)))
            }
            Expected::Trap(kind, detail, at) => format!("trap {kind} {detail:?} at {at:?}"),
        };
        return Err(format!("expected {expected}, got {}", show_end(verified, &outcome.end)));
    }
    if step.gas.is_some_and(|gas| gas != outcome.gas_used) {
        return Err(format!("expected gas {:?}, got {}", step.gas.unwrap_or_default(), outcome.gas_used));
    }
    if step.guest.is_some_and(|gas| gas != outcome.guest_gas_used) {
        let expected = step.guest.unwrap_or_default();
        return Err(format!("expected guest gas {expected}, got {}", outcome.guest_gas_used));
    }
    match &step.events {
        Some(expected) if expected != events => Err(format!("expected events {expected:?}, got {events:?}")),
        _ => Ok(()),
    }
}

/// Whether what was written to the console is what was expected.
fn check_written(step: &Step, script: &Script) -> Result<(), String> {
    for (expected, written) in step.written.iter().zip(&script.written) {
        if let Some(expected) = expected.as_ref().filter(|expected| expected[..] != written[..]) {
            let show = dotvm_runtime::show::bytes;
            return Err(format!("expected {} to be written, got {}", show(expected), show(written)));
        }
    }
    Ok(())
}

/// The operation at an offset of a function.
fn op_at(verified: &Verified, function: u32, offset: u32) -> Option<Op> {
    verified.functions().get(function as usize)?;
    let code = verified.body(function).code;
    Some(code.insts[code.index_of(offset)? as usize].op)
}

fn show_end(verified: &Verified, end: &End) -> String {
    match end {
        End::Return { words, refs } => show_results(words, refs),
        End::Halt { code, result } => {
            format!("HALT {}", show_results(&[*code], std::slice::from_ref(result)))
        }
        End::Trap(trap) => {
            let module = verified.module();
            let function = module.function_name(trap.function);
            let mnemonic = op_at(verified, trap.function, trap.offset).map_or("?", Op::mnemonic);
            let line = module.source_line(trap.function, trap.offset).unwrap_or_default();
            format!("trap {} {:?} at {mnemonic} (line {line}, {function})", trap.kind, trap.detail)
        }
    }
}

fn show_results(words: &[W512], refs: &[Ref]) -> String {
    let words: Vec<String> = words.iter().map(show_word).collect();
    let refs: Vec<String> = refs.iter().map(dotvm_runtime::show::reference).collect();
    format!("[{}] {{{}}}", words.join(" "), refs.join(" "))
}

fn show_word(word: &W512) -> String {
    let number = BigUint::from_bytes_le(&word.to_le_bytes::<64>());
    if number.bits() <= 32 { number.to_string() } else { format!("{number:#x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(source: &str) -> Vec<String> {
        let mut report = Report::default();
        run_source("t.dasm", source, &mut report);
        report.failures
    }

    /// Each kind of expectation fails when it is wrong, and says where.
    #[test]
    fn wrong_expectations_fail_with_their_line() {
        let body = "\n.func pub f [a] -> [r]\n  PUSH 7 RNULL RPOP RCONST \"d\" EMIT 1 LGET a PUSH 10 LGET a DIV ADD RET\n.end\n\
            .func pub stop [code]\n  LGET code RCONST \"x\" HALT\n.end\n";
        let right = [
            "; run: f [5] => [7] events [7]{\"d\"}",
            "; traps: f [0] => DivZero at DIV",
            "; halts: stop [3] => [3] {\"x\"}",
        ];
        assert_eq!(failures(&(right.join("\n") + body)), [""; 0]);
        for wrong in [
            "; run: f [5] => [8]",
            "; run: f [5] => [7] {null}",
            "; run: f [0] => [7]",
            "; run: f [5] => [7] gas 1",
            "; run: f [5] => [7] guest 1",
            "; run: f [5] => [7] events none",
            "; run: f [5] => [7] events [8]{\"d\"}",
            "; run: g [5] => [7]",
            "; then run: f [5] => [7]",
            "; traps: f [5] => DivZero",
            "; traps: f [0] => Overflow",
            "; traps: f [0] => DivZero at ADD",
            "; traps: f [0] => DivZero \"because\"",
            "; halts: stop [3] => [4] {\"x\"}",
            "; halts: stop [3] => [3] {\"y\"}",
            "; refused: no such reason",
        ] {
            let failures = failures(&format!("\n{wrong}{body}"));
            assert_eq!(failures.len(), 5, "{wrong}: {failures:?}");
            assert!(failures.iter().all(|failure| failure.starts_with("t.dasm:2 (width ")), "{failures:?}");
        }
        assert_eq!(failures(body), ["t.dasm: the file expects nothing"]);
        let unused = "; widths: 64..\n; run@32: f [5] => [7]\n; run: f [5] => [7]";
        assert_eq!(failures(&format!("{unused}{body}")), ["t.dasm:2: the line is for no width of the file"]);
    }
}
