//! Generated programs: all verify, run to an end within their limits, and use every row of the opcode table.

use std::collections::BTreeMap;

use dotvm_arch::Width;
use dotvm_core::opcode::{OPS, Op};
use dotvm_core::outcome::End;
use dotvm_core::verify::verify;
use dotvm_tests::generate::{env, generate, limits};
use dotvm_tests::mock_host::MockHost;

#[test]
fn generated_modules_verify() {
    for width in Width::ALL {
        for seed in 0..2_000 {
            let (module, invocation) = generate(seed, width, 12);
            let verified = verify(module).unwrap_or_else(|error| panic!("seed {seed} at {width}: {error}"));
            assert_eq!(invocation.check(&verified), Ok(()), "seed {seed} at {width}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_program() {
    assert_eq!(generate(7, Width::W128, 30), generate(7, Width::W128, 30));
    assert_ne!(generate(7, Width::W128, 30).0, generate(8, Width::W128, 30).0);
}

/// Every row of the table is executed, and programs end in their own ways rather than at once.
#[test]
fn generated_programs_cover_the_table() {
    let mut executed: BTreeMap<Op, u64> = BTreeMap::new();
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    let (mut instructions, mut runs) = (0u64, 0u64);
    for width in Width::ALL {
        for seed in 0..250 {
            let (module, invocation) = generate(seed, width, 40);
            let verified = verify(module).unwrap_or_else(|error| panic!("seed {seed} at {width}: {error}"));
            let mut host = MockHost::new(env(seed, width));
            host.conflict_every = seed % 4;
            let mut count = |_, inst: &dotvm_core::decode::Inst| {
                *executed.entry(inst.op).or_default() += 1;
                instructions += 1;
            };
            let result = dotvm_reference::run_with(&verified, &invocation, &limits(), &mut host, &mut count);
            let (outcome, _) = result.unwrap_or_else(|error| panic!("seed {seed} at {width}: {error}"));
            runs += 1;
            let end = match outcome.end {
                End::Return { .. } => "Return".to_owned(),
                End::Halt { .. } => "Halt".to_owned(),
                End::Trap(trap) => trap.kind.name().to_owned(),
            };
            *ends.entry(end).or_default() += 1;
        }
    }
    println!("{} instructions a run; ends of {runs} runs: {ends:?}", instructions / runs);
    for info in OPS {
        assert!(executed.contains_key(&info.op), "{} was never executed", info.mnemonic);
    }
    assert!(
        instructions / runs > 200,
        "generated programs run for only {} instructions",
        instructions / runs
    );
    assert!(u64::from(ends["Return"]) * 4 > runs, "most generated programs trap: {ends:?}");
}
