//! What benchmarks of translated programs share: CPU times of the thread, the least of several runs.

use std::time::Instant;

/// CPU seconds of this thread; wall time where the system does not tell.
pub fn cpu_seconds(start: Instant) -> f64 {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = nanoseconds.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds as f64 / 1e9)
}

/// The least time of several runs, seconds.
pub fn measure(runs: usize, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..runs)
        .map(|_| {
            let before = cpu_seconds(start);
            run();
            cpu_seconds(start) - before
        })
        .fold(f64::INFINITY, f64::min)
}

/// The head of a table of programs.
pub fn print_head() {
    println!("{:10} {:>12} {:>10} {:>10} {:>7}", "program", "instructions", "oracle", "DotVM", "times");
}

/// A row of it: seconds for so many instructions of the source machine.
pub fn print_row(name: &str, executed: u64, oracle: f64, dotvm: f64) {
    let nanoseconds = |seconds: f64| seconds * 1e9 / executed as f64;
    println!(
        "{name:10} {executed:12} {:7.2} ns {:7.2} ns {:6.1}x",
        nanoseconds(oracle),
        nanoseconds(dotvm),
        oracle / dotvm
    );
}

/// A row of a table of translations.
pub fn print_translation(name: &str, source_bytes: usize, module_bytes: usize, seconds: f64) {
    let speed = source_bytes as f64 / seconds / 1e6;
    println!("{name:10} {source_bytes:12} {module_bytes:10} {:7.1} ms  {speed:.1} MB/s", seconds * 1e3);
}
