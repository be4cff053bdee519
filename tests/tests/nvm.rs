//! NVM: what the frontend makes of programs runs as its oracle runs them.

use std::collections::BTreeMap;

use dotvm_test_modes::{pick, seeds};
use dotvm_tests::nvm::programs::PROGRAMS;
use dotvm_tests::nvm::{Case, assemble, compare, compare_translated, generate, translate};

/// Runs cases; counts how they ended: statuses, and the faults of all processes.
fn all(cases: impl Iterator<Item = (u64, Case)>) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    for (seed, case) in cases {
        let end = compare(&case).unwrap_or_else(|difference| panic!("seed {seed}: {difference}\n{case:?}"));
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let faults = end.fields["processes"].as_array().expect("a list").iter().map(|end| text(&end[2]));
        for name in faults.chain([text(&end.fields["status"])]).flatten() {
            *ends.entry(name).or_default() += 1;
        }
    }
    ends
}

#[test]
fn random_programs_run_as_under_the_oracle() {
    let ends =
        all(seeds(0..pick(500, 20_000)).map(|seed| (seed, generate::case(seed, 8 + seed as usize % 60))));
    println!("{ends:?}");
    for name in [
        "exit",
        "limit",
        "deadlock",
        "stack_underflow",
        "stack_overflow",
        "division_by_zero",
        "invalid_opcode",
        "bad_jump",
        "bad_frame",
        "heap_bounds",
        "bad_address",
        "cap_denied",
    ] {
        assert!(ends.contains_key(name), "no program ended with {name}: {ends:?}");
    }
}

#[test]
fn noise_runs_as_under_the_oracle() {
    let ends = all(seeds(0..pick(300, 20_000)).map(|seed| (seed, generate::noise(seed))));
    println!("{ends:?}");
}

/// Every limit ends a program where it says, whatever the instruction there is.
#[test]
fn every_limit_ends_a_program_where_it_says() {
    for seed in 0..pick(4, 300) {
        let whole = generate::case(seed, 30);
        let program = translate(&whole);
        for budget in 0..150 {
            let case = Case { budget, ..whole.clone() };
            compare_translated(&program, &case)
                .unwrap_or_else(|difference| panic!("seed {seed}, limit {budget}: {difference}"));
        }
    }
}

#[test]
fn the_measured_programs_answer_what_arithmetic_says() {
    for program in PROGRAMS {
        let case = Case::new(assemble(program.text), u64::MAX);
        let end = compare(&case).unwrap_or_else(|difference| panic!("{}: {difference}", program.name));
        assert_eq!(end.fields["processes"][0][1], program.exit_code, "{}", program.name);
    }
}

/// Programs whose calls and returns belong together, or only seem to.
const ROUTINES: &[(&str, &str)] = &[
    // Recursion until the stack is full.
    ("overflow", "push 2000 \n call f \n hlt \n f: enter 1 \n load_arg 0 \n push 1 \n sub \n call f \n store_arg 0 \n leave \n ret"),
    // A fault at the bottom of a recursion with frames, and what was on the stack then.
    (
        "fault",
        "push 7 \n push 40 \n call f \n syscall exit \n f: enter 2 \n load_arg 0 \n store_rel 1 \n load_arg 0 \n jz bottom \n load_arg 0
         push 1 \n sub \n call f \n load_rel 1 \n add \n store_arg 0 \n leave \n ret \n bottom: push 1 \n load_arg 0 \n div \n leave \n ret",
    ),
    // System calls on the way down and up, so that code inside of routines is left and entered again.
    (
        "system calls",
        "push 9 \n call f \n syscall exit \n f: enter 0 \n load_arg 0 \n push 48 \n add \n syscall print \n load_arg 0 \n jz out
         load_arg 0 \n push 1 \n sub \n call f \n pop \n push 1 \n load_arg 0 \n sub \n call g \n pop \n push 33 \n syscall print
         out: leave \n ret \n g: enter 0 \n load_arg 0 \n push 3 \n mul \n store_arg 0 \n leave \n ret",
    ),
    // Results below the return address, arguments that the callee takes, and more results than arguments.
    (
        "swaps",
        "push 20 \n store 0 \n again: push 3 \n push 4 \n call both \n add \n call more \n add \n add \n store 1 \n load 0 \n push 1 \n sub
         dup \n store 0 \n jnz again \n load 1 \n syscall exit
         both: swap \n push 1 \n add \n swap \n ret
         more: push 5 \n swap \n push 6 \n swap \n ret",
    ),
    (
        "taken arguments",
        "push 30 \n store 0 \n again: push 1 \n push 3 \n push 4 \n call sum \n add \n store 1 \n load 0 \n push 1 \n sub \n dup \n store 0
         jnz again \n load 1 \n syscall exit
         sum: store 9 \n add \n load 9 \n ret",
    ),
    // Return addresses as numbers: read, counted up, thrown away.
    (
        "numbers",
        "push 3 \n call skip \n nop \n nop \n store 1 \n call deep \n load 1 \n syscall exit
         skip: push 1 \n add \n ret \n deep: call deeper \n nop \n ret \n deeper: pop \n dup \n store 2 \n ret",
    ),
    // Loops over frame locals inside of a routine that calls itself, and comparisons that wait.
    (
        "loops",
        "push 6 \n call f \n syscall exit \n f: enter 2 \n load_arg 0 \n store_rel 0 \n next: load_rel 0 \n push 0 \n gt \n push 1 \n xor
         jnz out \n load_rel 1 \n load_rel 0 \n add \n store_rel 1 \n load_rel 0 \n push 1 \n sub \n store_rel 0 \n load_arg 0 \n push 2
         lt \n jnz next \n load_arg 0 \n push 1 \n sub \n call f \n load_rel 1 \n add \n store_rel 1 \n jmp next
         out: load_rel 1 \n store_arg 0 \n leave \n ret",
    ),
    // Routines that call each other, with locals of the program that both change.
    (
        "mutual",
        "push 15 \n call even \n syscall exit \n even: enter 0 \n load 3 \n push 1 \n add \n store 3 \n load_arg 0 \n jz yes \n load_arg 0
         push 1 \n sub \n call odd \n store_arg 0 \n leave \n ret \n yes: load 3 \n store_arg 0 \n leave \n ret
         odd: enter 0 \n load 3 \n push 2 \n mul \n store 3 \n load_arg 0 \n jz no \n load_arg 0 \n push 1 \n sub \n call even \n load 3
         add \n store_arg 0 \n leave \n ret \n no: push -1 \n store_arg 0 \n leave \n ret",
    ),
    // A frame that is entered by the caller and read by a routine without one; a saved frame pointer that is written over.
    (
        "frames",
        "enter 2 \n push 8 \n store_rel 1 \n push 5 \n call reads \n call breaks \n hlt \n reads: load_rel 1 \n pop \n ret
         breaks: enter 1 \n push 77 \n swap \n pop \n push 3 \n store_rel 0 \n load_rel 0 \n pop \n leave \n ret",
    ),
];

/// Every limit, every slice: code inside of routines leaves what the program would have left.
#[test]
fn routines_are_exact_wherever_they_are_left() {
    for (name, text) in ROUTINES {
        let case = Case::new(assemble(text), 20_000);
        let program = translate(&case);
        let end = compare_translated(&program, &case).unwrap_or_else(|error| panic!("{name}: {error}"));
        for budget in (0..end.executed).step_by(pick(1 + end.executed as usize / 400, 1)) {
            let case = Case { budget, ..case.clone() };
            compare_translated(&program, &case)
                .unwrap_or_else(|error| panic!("{name}, limit {budget}: {error}"));
        }
    }
}

/// Processes that recurse beside each other: their slices end anywhere.
#[test]
fn processes_recurse_beside_each_other() {
    let spawn = "push 0 \n push 47 \n push 115 \n syscall open \n push 0 \n swap \n syscall spawn \n pop \n";
    let fib = "push 17 \n call fib \n store 7 \n load 7 \n syscall exit
        fib: enter 0 \n load_arg 0 \n push 2 \n lt \n jnz small \n load_arg 0 \n push 1 \n sub \n call fib \n load_arg 0 \n push 2 \n sub
        call fib \n add \n store_arg 0 \n small: leave \n ret";
    let image = assemble(&format!("load 0 \n jnz child \n {spawn}{spawn} child: {fib}"));
    let child = assemble(fib);
    let mut case = Case::new(image, 1_000_000);
    case.files.insert(b"/s".to_vec(), child);
    let end = compare(&case).unwrap_or_else(|error| panic!("{error}"));
    println!("{:?}", end.fields["processes"]);
    // The same image in all processes: all of them are direct code.
    let image = assemble(&format!(
        "push 0 \n push 47 \n push 115 \n syscall open \n store 5 \n load 5 \n push -1 \n eq \n jnz child \n push 0 \n load 5 \n syscall spawn \n pop \n child: {fib}"
    ));
    for budget in [4_999, 5_000, 5_001, 12_345, 33_333, 77_777, 1_000_000] {
        let mut case = Case::new(image.clone(), budget);
        case.files.insert(b"/s".to_vec(), image.clone());
        compare(&case).unwrap_or_else(|error| panic!("limit {budget}: {error}"));
    }
}

/// Random programs of nothing but routines: arguments, frames, results and returns of all kinds, right and wrong.
#[test]
fn random_routines_run_as_under_the_oracle() {
    let ends = all(seeds(0..pick(600, 20_000)).map(|seed| (seed, generate::routines(seed))));
    println!("{ends:?}");
    for name in ["exit", "limit", "stack_overflow", "stack_underflow", "bad_jump", "division_by_zero"] {
        assert!(ends.contains_key(name), "no program ended with {name}: {ends:?}");
    }
}
