//! `cargo bench -p dotvm-tests --bench pvm`: translated programs of PVM against the oracle, and the speed of translating.
//! Times are CPU times of the thread, the least of several runs.

use dotvm_arch::Width;
use dotvm_core::gas::Gas;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::Invocation;
use dotvm_frontend::{Frontend, Options, Source};
use dotvm_pvm::{IMAGE_BYTES, Pvm};
use dotvm_pvm_oracle::Machine;
use dotvm_tests::generate::env;
use dotvm_tests::measure::{measure, print_head, print_row, print_translation};
use dotvm_tests::mock_host::MockHost;
use dotvm_tests::pvm::asm::assemble;
use dotvm_tests::pvm::programs::PROGRAMS;
use dotvm_tests::pvm::{Case, generate, translate};

fn main() {
    print_head();
    for program in PROGRAMS {
        let image = assemble(program.listing);
        let mut executed = 0;
        let oracle = measure(5, || {
            let mut machine = Machine::new(&image, &[]).expect("the image fits");
            machine.run(u64::MAX);
            assert_eq!(machine.a, program.exit_code);
            executed = machine.executed;
        });
        let case = Case { image, input: Vec::new(), budget: u64::MAX, services: true };
        let translated = translate(&case);
        let function = translated.verified().module().export("run").expect("the export");
        let invocation = Invocation { function, words: Vec::new(), refs: Vec::new() };
        let limits = Limits { gas: Gas::MAX, guest_gas: u64::MAX, ..Limits::default() };
        let dotvm = measure(5, || {
            let mut host = MockHost::new(env(0, Width::W64));
            let outcome = dotvm_engine::run(&translated, &invocation, &limits, &mut host).expect("a run");
            assert_eq!(outcome.guest_gas_used, executed);
        });
        print_row(program.name, executed, oracle, dotvm);
        if std::env::args().any(|argument| argument == "--dump") {
            print!("{}", translated.dump(function));
        }
    }
    println!("\n{:10} {:>12} {:>10} {:>10}", "image", "bytes", "module", "translate");
    let programs: Vec<Vec<u8>> = (0..4_000).map(|seed| generate::case(seed, 120).image).collect();
    let noise: Vec<Vec<u8>> = (0..8_000).map(|seed| generate::noise(seed).image).collect();
    for (name, pieces) in [("programs", programs), ("noise", noise)] {
        let mut whole = pieces.concat();
        whole.truncate(IMAGE_BYTES);
        for parts in [8, 4, 2, 1] {
            let image = &whole[..whole.len() / parts];
            let mut module_bytes = 0;
            let seconds = measure(3, || {
                let parsed = Pvm.parse(&Source::new("large.pvm", image)).expect("the image fits");
                let translation = parsed.translate(&Options::default()).expect("it translates");
                module_bytes = translation.module.functions[0].code.len();
            });
            print_translation(name, image.len(), module_bytes, seconds);
        }
    }
}
