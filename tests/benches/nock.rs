//! `cargo bench -p dotvm-tests --bench nock [FOLDER]`: programs of Nock without jets, from the first formula to the product,
//! compiling included. Times are CPU times of the thread, the least of several runs. Beside them is what nockvm and Vere
//! need, measured when the programs were made, on another day: the ratios are no more exact than that.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use dotvm_nock_machine::{Bounds, Running};

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

/// CPU seconds of this thread; wall time where the system does not tell.
fn cpu_seconds(start: Instant) -> f64 {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = nanoseconds.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds as f64 / 1e9)
}

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).map(PathBuf::from);
    let folder =
        folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/nock/programs"));
    let start = Instant::now();
    let (mut products, mut count) = ([1.0f64; 2], 0);
    println!("{:14} {:>9} {:>9} {:>9} {:>7} {:>7}", "program", "ms", "nockvm", "Vere", "times", "times");
    for (name, nockvm, vere) in PEERS {
        let jam = std::fs::read(folder.join(format!("{name}.jam"))).expect("the program is in the folder");
        let jam = Bytes::from(jam);
        let runs = if *nockvm > 500.0 { 5 } else { 15 };
        let least = (0..runs)
            .map(|_| {
                let running = Running::of_jam(&jam, &Bounds::default()).expect("the program is a jam");
                let before = cpu_seconds(start);
                let ran = running.finish();
                let taken = cpu_seconds(start) - before;
                assert!(ran.result.is_ok(), "{name}: {:?}", ran.result);
                1e3 * taken
            })
            .fold(f64::INFINITY, f64::min);
        let ratios = [nockvm / least, vere / least];
        println!("{name:14} {least:9.2} {nockvm:9.1} {vere:9.1} {:7.2} {:7.2}", ratios[0], ratios[1]);
        products.iter_mut().zip(ratios).for_each(|(product, ratio)| *product *= ratio);
        count += 1;
    }
    let [nockvm, vere] = products.map(|product| product.powf(1.0 / f64::from(count)));
    println!("geometric mean {nockvm:37.2} {vere:7.2}");
}
