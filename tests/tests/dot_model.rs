//! What the fuzz target `paradots` does, with random bytes. `DOTVM_SEEDS=0..1000000` runs more.

use fastrand::Rng;

#[test]
fn paradots_come_to_the_same_with_any_number_of_threads() {
    let mut taken = 0;
    for seed in dotvm_test_modes::seeds(0..400) {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let len = random.usize(..600);
        let mut bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
        // Small steps take long, and ParaDots that ask for something are not tried: seldom.
        if let Some(quantum) = bytes.get_mut(4).filter(|_| random.u8(..8) > 0) {
            *quantum |= 8;
        }
        let is_calm = random.bool();
        for operation in bytes.iter_mut().skip(6).step_by(2).filter(|_| is_calm) {
            *operation = random.u8(..10);
        }
        taken += dotvm_tests::dot_model::run(&bytes);
    }
    assert!(taken > 100, "only {taken} turns were taken over from trials");
}
