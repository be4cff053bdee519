//! `cargo bench -p dotvm-tests --bench rvm`: translated programs of RVM against the oracle, and the speed of translating.

use std::fmt::Write as _;

use dotvm_frontend::{Frontend, Options, Source};
use dotvm_rvm::Rvm;
use dotvm_tests::measure::{measure, print_head, print_row, print_translation};
use dotvm_tests::rvm::programs::PROGRAMS;
use dotvm_tests::rvm::{Case, generate, image, oracle, run, translate};

/// A program of so many subroutines, all of which have direct code: loops over numbers and arrays.
fn subroutines(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        // One calls the next: types of a unit with calls of more than 40 others are not found.
        let next = number + 1;
        let call = if next < count { format!("call s{next}") } else { "inc".to_owned() };
        let _ = write!(
            text,
            "begin i32 s{number}
                store n
                push 0
                store i
                push {number}
                store sum
                push [i32:20]
                store x
            next{number}:
                load x
                load i
                add
                load i
                load sum
                mul
                store x
                load sum
                push 31
                mul
                load x
                load i
                add
                deref
                add
                store sum
                load i
                inc
                dup
                store i
                load n
                blt next{number}
                load n
                {call}
                load sum
                add
                store sum
                load sum
                push {number}
                bge large{number}
                push 3
                load sum
                sub
                ret
            large{number}:
                load sum
            end
            "
        );
    }
    text.push_str("push 10\ncall s0\ncall [io]println\n");
    text
}

fn main() {
    print_head();
    for program in PROGRAMS {
        let case = Case { budget: u64::MAX, ..Case::assembly(program.text) };
        let mut executed = 0;
        let slow = measure(3, || {
            let end = oracle(&case).expect("it loads");
            assert_eq!(end.output, program.output.as_bytes());
            executed = end.executed;
        });
        let translated = translate(&case).expect("it translates");
        let fast = measure(3, || {
            let (outcome, output) = run(&translated, &case);
            assert_eq!((outcome.guest_gas_used, &output[..]), (executed, program.output.as_bytes()));
        });
        print_row(program.name, executed, slow, fast);
    }
    println!("\n{:10} {:>12} {:>10} {:>10}", "bytes", "", "module", "translate");
    for count in [500, 1000, 2000, 4000] {
        let case = Case { main: subroutines(count).into_bytes(), ..Case::default() };
        let bytes = image(&case, "direct.ras", &case.main).unwrap_or_else(|error| panic!("{error}"));
        let parsed = Rvm.parse(&Source::new("direct.rvm", &bytes)).expect("it is well formed");
        let explained = parsed.explain(&Options::default()).expect("it is explained");
        let direct = explained.remarks.first().map(String::as_str).unwrap_or_default();
        assert_eq!(direct, format!("{0} of {0} units have direct code", count + 1));
        translation("direct", &bytes);
    }
    for count in [50, 100, 200, 400] {
        let mut text = Vec::new();
        for seed in 0..count {
            let case = generate::case(seed, 300);
            let body = String::from_utf8(case.main).expect("text");
            let body = body.split(".code\n").nth(1).unwrap_or_default();
            let body = body.split("end\n").last().unwrap_or_default();
            text.extend(format!("begin s{seed}\n").into_bytes());
            for line in body.lines().filter(|line| !line.contains("call f") && !line.contains("store fixed"))
            {
                let word = |word: &str| line.contains(&format!(" {word}"));
                let own = ["g0", "g1", "g2", "a0", "a1", "a2"].iter().any(|name| word(name));
                let label = line.trim().ends_with(':')
                    || line
                        .split_whitespace()
                        .nth(1)
                        .is_some_and(|w| w.starts_with('l') && w[1..].parse::<u32>().is_ok());
                if !own && !label {
                    text.extend(line.bytes().chain([b'\n']));
                }
            }
            text.extend(b"end\n");
            text.extend(format!("call s{seed}\n").into_bytes());
        }
        let case = Case { main: text, ..Case::default() };
        let bytes = image(&case, "large.ras", &case.main).unwrap_or_else(|error| panic!("{error}"));
        translation("general", &bytes);
    }
}

/// Measures how long a program takes to translate.
fn translation(name: &str, bytes: &[u8]) {
    let mut module_bytes = 0;
    let seconds = measure(3, || {
        let parsed = Rvm.parse(&Source::new("large.rvm", bytes)).expect("it is well formed");
        let translation = parsed.translate(&Options::default()).expect("it translates");
        module_bytes = translation.module.functions.iter().map(|function| function.code.len()).sum();
    });
    print_translation(name, bytes.len(), module_bytes, seconds);
}
