//! `cargo bench -p dotvm-tests --bench nvm`: translated programs of NVM against the oracle, and the speed of translating.

use dotvm_frontend::{Frontend, Options, Source};
use dotvm_nvm::{IMAGE_BYTES, Nvm};
use dotvm_nvm_oracle::{Abi, Machine};
use dotvm_tests::measure::{measure, print_head, print_row, print_translation};
use dotvm_tests::nvm::programs::PROGRAMS;
use dotvm_tests::nvm::{Case, assemble, generate, run, translate};

fn main() {
    print_head();
    for program in PROGRAMS {
        let case = Case::new(assemble(program.text), u64::MAX);
        let mut executed = 0;
        let oracle = measure(5, || {
            let mut machine = Machine::new(&case.image, Abi::Auto, &[]).expect("an image");
            machine.run(&[], u64::MAX);
            assert_eq!(machine.fates[0].end, Some((program.exit_code, None)));
            executed = machine.executed;
        });
        let translated = translate(&case);
        let dotvm = measure(5, || {
            let (outcome, _) = run(&translated, &case, "run");
            assert_eq!(outcome.guest_gas_used, executed);
        });
        print_row(program.name, executed, oracle, dotvm);
        if std::env::args().any(|argument| argument == "--dump") {
            print!("{}", translated.dump(0));
        }
    }
    println!("\n{:10} {:>12} {:>10} {:>10}", "image", "bytes", "module", "translate");
    let programs: Vec<Vec<u8>> =
        (0..20_000).map(|seed| generate::case(seed, 60).image[4..].to_vec()).collect();
    let noise: Vec<Vec<u8>> = (0..30_000).map(|seed| generate::noise(seed).image[4..].to_vec()).collect();
    for (name, pieces) in [("programs", programs), ("noise", noise)] {
        let mut whole = b"NVM0".to_vec();
        whole.extend(pieces.concat());
        whole.truncate(IMAGE_BYTES);
        for parts in [8, 4, 2, 1] {
            let image = &whole[..whole.len() / parts];
            let mut module_bytes = 0;
            let seconds = measure(3, || {
                let parsed = Nvm.parse(&Source::new("large.nvm", image)).expect("an image");
                let translation = parsed.translate(&Options::default()).expect("it translates");
                module_bytes = translation.module.functions[0].code.len();
            });
            print_translation(name, image.len(), module_bytes, seconds);
        }
    }
}
