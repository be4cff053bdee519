//! `cargo bench -p dotvm-tests --bench nock [FOLDER]`: programs of Nock without jets, from the first formula to the product,
//! compiling included. Times are CPU times of the thread, the least of several runs. Beside them is what nockvm and Vere
//! need, measured when the programs were made, on another day: the ratios are no more exact than that.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use dotvm_nock_machine::{Bounds, Running};
use dotvm_tests::measure::cpu_seconds;

/// Program; milliseconds of nockvm fe4f5870 and of Vere 4.6 without jets.
const PEERS: &[(&str, f64, f64)] = &[
    ("dec_1000000", 176.1, 60.3),
    ("dec_10000000", 1759.2, 609.1),
    ("fib_20", 33.1, 13.1),
    ("fib_25", 388.0, 151.8),
    ("ack_3_5", 233.1, 95.0),
    ("ack_3_6", 1867.8, 764.2),
    ("mul_300_300", 17.0, 6.7),
    ("sum_10k", 65.1, 31.8),
    ("len_10k", 1.2, 0.6),
    ("flop_10k", 1.4, 0.7),
    ("sort_200", 28.9, 10.7),
    ("sort_10k", 1530.0, 367.3),
    ("tree_16", 56.5, 18.2),
    ("tree_20", 971.2, 306.5),
];

/// Milliseconds of a run: the least of several batches of so many, begun before the clock runs.
fn measure_batches(times: usize, begin: impl Fn() -> Running, name: &str) -> f64 {
    let start = Instant::now();
    (0..5)
        .map(|_| {
            let batch: Vec<Running> = (0..times).map(|_| begin()).collect();
            let before = cpu_seconds(start);
            for running in batch {
                let ran = running.finish();
                assert!(ran.result.is_ok(), "{name}: {:?}", ran.result);
            }
            1e3 * (cpu_seconds(start) - before) / times as f64
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let folder =
        folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/nock/programs"));
    let (mut products, mut count) = ([1.0f64; 2], 0);
    println!("{:14} {:>9} {:>9} {:>9} {:>7} {:>7}", "program", "ms", "nockvm", "Vere", "times", "times");
    for (name, nockvm, vere) in PEERS {
        let jam = std::fs::read(folder.join(format!("{name}.jam"))).expect("the program is in the folder");
        let jam = Bytes::from(jam);
        // The system counts CPU time in steps of milliseconds: short programs run many times at a stretch.
        let times = (2_000.0 / nockvm).clamp(1.0, 400.0) as usize;
        let least =
            measure_batches(times, || Running::of_jam(&jam, &Bounds::default()).expect("it is a jam"), name);
        let ratios = [nockvm / least, vere / least];
        println!("{name:14} {least:9.2} {nockvm:9.1} {vere:9.1} {:7.2} {:7.2}", ratios[0], ratios[1]);
        products.iter_mut().zip(ratios).for_each(|(product, ratio)| *product *= ratio);
        count += 1;
    }
    let [nockvm, vere] = products.map(|product| product.powf(1.0 / f64::from(count)));
    println!("geometric mean {nockvm:37.2} {vere:7.2}");
}
