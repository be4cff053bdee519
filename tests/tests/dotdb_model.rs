//! What the fuzz target `dotdb_model` does, with random bytes. `DOTVM_SEEDS=0..1000000` runs more.

use fastrand::Rng;

#[test]
fn random_operations_answer_as_the_model() {
    let seeds = dotvm_test_modes::seeds(0..3_000);
    for seed in seeds {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let bytes: Vec<u8> = (0..random.usize(..400)).map(|_| random.u8(..)).collect();
        dotvm_tests::dotdb_model::run(&bytes);
    }
}
