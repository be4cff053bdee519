//! What benchmarks of translated programs share: CPU times of the thread, the least of several runs.

use std::time::Instant;

/// CPU seconds of this thread; wall time where the system does not tell.
pub fn cpu_seconds(start: Instant) -> f64 {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = nanoseconds.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds as f64 / 1e9)
}

/// What is measured at once takes at least this many seconds: the system counts CPU time in steps of milliseconds.
const LEAST_SECONDS: f64 = 0.1;

/// The least time of several measurements, seconds for one run.
pub fn measure(measurements: usize, mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut runs = 1;
    let mut least = f64::INFINITY;
    let mut done = 0;
    while done < measurements {
        let before = cpu_seconds(start);
        (0..runs).for_each(|_| run());
        let seconds = cpu_seconds(start) - before;
        if seconds < LEAST_SECONDS {
            runs *= 2;
            continue;
        }
        least = least.min(seconds / f64::from(runs));
        done += 1;
    }
    least
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
