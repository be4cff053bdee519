//! `cargo bench -p dotvm-tests --bench rvm`: translated programs of RVM against the oracle, and the speed of translating.
//! Times are CPU times of the thread, the least of several runs.

use std::time::Instant;

use dotvm_frontend::{Frontend, Options, Source};
use dotvm_rvm::Rvm;
use dotvm_tests::rvm::programs::PROGRAMS;
use dotvm_tests::rvm::{Case, generate, image, oracle, run, translate};

/// CPU seconds of this thread; wall time where the system does not tell.
fn cpu_seconds(start: Instant) -> f64 {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = nanoseconds.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds as f64 / 1e9)
}

/// The least time of several runs.
fn measure(runs: usize, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..runs)
        .map(|_| {
            let before = cpu_seconds(start);
            run();
            cpu_seconds(start) - before
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    println!("{:10} {:>12} {:>10} {:>10} {:>7}", "program", "instructions", "oracle", "DotVM", "times");
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
        let nanoseconds = |seconds: f64| seconds * 1e9 / executed as f64;
        println!(
            "{:10} {executed:12} {:7.2} ns {:7.2} ns {:6.1}x",
            program.name,
            nanoseconds(slow),
            nanoseconds(fast),
            slow / fast
        );
    }
    println!("\n{:>12} {:>12} {:>10}", "bytes", "module", "translate");
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
        let mut module_bytes = 0;
        let seconds = measure(3, || {
            let parsed = Rvm.parse(&Source::new("large.rvm", &bytes)).expect("it is well formed");
            let translation = parsed.translate(&Options::default()).expect("it translates");
            module_bytes = translation.module.functions.iter().map(|function| function.code.len()).sum();
        });
        let speed = bytes.len() as f64 / seconds / 1e6;
        println!("{:12} {module_bytes:12} {:7.1} ms  {speed:.1} MB/s", bytes.len(), seconds * 1e3);
    }
}
