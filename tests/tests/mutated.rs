//! What the verifier accepts never misbehaves: the code of generated programs is damaged at random, and whatever
//! still verifies runs on the engine, whose debug builds check every slot, and on the reference interpreter alike.

use dotvm_arch::Width;
use dotvm_core::limits::Limits;
use dotvm_core::opcode::OPS;
use dotvm_core::outcome::{FinalState, Invocation, Outcome};
use dotvm_core::verify::{Verified, verify};
use dotvm_tests::differential::{Case, reference};
use dotvm_tests::mock_host::MockHost;

const MUTATIONS: u64 = 10_000;

fn engine(
    verified: &Verified,
    invocation: &Invocation,
    limits: &Limits,
    host: &mut MockHost,
) -> Result<(Outcome, FinalState), String> {
    let program = dotvm_engine::lower(verified.clone()).map_err(|error| error.to_string())?;
    dotvm_engine::run_to_state(&program, invocation, limits, host)
}

#[test]
fn damaged_programs_are_refused_or_run_alike() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut accepted = 0;
    let mut case = None;
    for number in 0..MUTATIONS {
        if number % 50 == 0 {
            let width = Width::ALL[(number / 50) as usize % Width::ALL.len()];
            let mut fresh = Case::generate(number, width, 12);
            fresh.limits.gas = fresh.limits.gas.min(20_000);
            case = Some(fresh);
        }
        let Some(whole) = &case else { unreachable!("set for the first number") };
        let mut case = whole.clone();
        let index = random.usize(..case.module.functions.len());
        let code = &mut case.module.functions[index].code;
        for _ in 0..random.usize(1..3) {
            let at = random.usize(..code.len());
            match random.u32(..6) {
                0 => code[at] = random.u8(..),
                1 => code[at] ^= 1 << random.u32(..8),
                2 | 3 => {
                    let op = OPS[random.usize(..OPS.len())].op;
                    let bytes = [op.page(), op as u8];
                    let replaced = usize::from(random.bool());
                    code.splice(at..at + replaced, bytes[usize::from(!op.is_paged())..].iter().copied());
                }
                4 if code.len() > 1 => {
                    code.remove(at);
                }
                _ => {
                    // A piece of this function at another place of it.
                    let len = random.usize(..8).min(code.len() - at);
                    let piece = code[at..at + len].to_vec();
                    let to = random.usize(..code.len());
                    code.splice(to..to, piece);
                }
            }
        }
        if verify(case.module.clone()).is_err() {
            continue;
        }
        accepted += 1;
        if let Some(difference) = case.difference(&engine, &reference) {
            panic!("mutation {number}: {difference}\n{}", case.dump());
        }
    }
    // Enough of them must get past the verifier for the rest to mean something.
    assert!(accepted > MUTATIONS / 50, "only {accepted} of {MUTATIONS} mutations verify");
}
