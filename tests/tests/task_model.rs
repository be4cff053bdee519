//! What the fuzz target `tasks` does, with random bytes. `DOTVM_SEEDS=0..1000000` runs more.

use fastrand::Rng;

#[test]
fn tasks_have_one_history_wherever_they_are_stopped() {
    for seed in dotvm_test_modes::seeds(0..1_000) {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let len = random.usize(..300);
        let mut bytes: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
        // Small steps take long: seldom.
        if let Some([quantum, portion]) = bytes.get_mut(4..6).map(|pair| [pair[0], pair[1]])
            && random.u8(..8) > 0
        {
            (bytes[4], bytes[5]) = (quantum | 8, portion | 16);
        }
        dotvm_tests::task_model::run(&bytes);
    }
}
