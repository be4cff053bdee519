//! N-body: binary64 in bytecode against Rust, with every operation in the same order, so that the bits are the same.

use std::fmt::Write;
use std::hint::black_box;

use anyhow::Result;
use dotvm_arch::Width;

use super::Setup;
use crate::dotvm;
use crate::harness::{Contender, Kind, Workload};
use crate::peers::native::{self, Native};

pub const NAME: &str = "nbody";

const PROGRAM: &str = include_str!("../../programs/nbody.dasm");

const DT: f64 = 0.01;

/// Place, velocity and mass of the sun, Jupiter, Saturn, Uranus and Neptune: the figures of the benchmarks game's program,
/// rounded to six decimals; lengths in astronomical units, times in years of 365.24 days, the sun's mass is 4 π².
const BODIES: [[f64; 7]; 5] = [
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 39.478418],
    [4.841431, -1.160320, -0.103622, 0.606326, 2.811987, -0.025218, 0.037694],
    [8.343367, 4.124799, -0.403523, -1.010774, 1.825662, 0.008416, 0.011287],
    [12.894370, -15.111151, -0.223308, 1.082791, 0.868713, -0.010833, 0.001724],
    [15.379697, -25.919315, 0.179259, 0.979091, 0.594699, -0.034756, 0.002034],
];

/// The work, with all its contenders.
pub fn build(setup: &Setup) -> Result<Workload> {
    let steps = setup.pick(100_000, 10_000);
    let contenders: Vec<Box<dyn Contender>> = vec![
        Box::new(dotvm::Call::new(&program(), Width::W64, steps)?),
        Box::new(Native(move || run(black_box(steps)))),
    ];
    Ok(Workload {
        name: NAME,
        summary: format!("{steps} steps of five bodies in binary64, places and velocities in memory"),
        operations: steps,
        unit: "step",
        kind: Kind::Compute,
        baseline: native::NAME,
        expected: run(steps),
        expected_state: None,
        goal: None,
        contenders,
    })
}

/// The program with the bodies written into memory when it begins.
fn program() -> String {
    let mut setup = String::from(".func setup\n");
    for (at, number) in BODIES.iter().flatten().enumerate() {
        let _ = writeln!(setup, "  PUSH {} PUSH {number:?}f64 STORE64 0", 8 * at);
    }
    setup.push_str("  RET\n.end\n");
    PROGRAM.replace("@SETUP", &setup)
}

#[inline(never)]
fn run(steps: u64) -> u64 {
    let mut bodies = BODIES;
    for _ in 0..steps {
        for i in 0..bodies.len() {
            let (before, rest) = bodies.split_at_mut(i + 1);
            let Some(a) = before.last_mut() else { continue };
            for b in rest {
                let [dx, dy, dz] = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
                let d2 = dx * dx + dy * dy + dz * dz;
                let mag = DT / (d2 * d2.sqrt());
                let m = b[6] * mag;
                (a[3], a[4], a[5]) = (a[3] - dx * m, a[4] - dy * m, a[5] - dz * m);
                let m = a[6] * mag;
                (b[3], b[4], b[5]) = (b[3] + dx * m, b[4] + dy * m, b[5] + dz * m);
            }
        }
        for body in &mut bodies {
            for axis in 0..3 {
                body[axis] += DT * body[axis + 3];
            }
        }
    }
    let mut energy = 0.0;
    for (i, a) in bodies.iter().enumerate() {
        energy += 0.5 * a[6] * (a[3] * a[3] + a[4] * a[4] + a[5] * a[5]);
        for b in &bodies[i + 1..] {
            let [dx, dy, dz] = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
            energy -= a[6] * b[6] / (dx * dx + dy * dy + dz * dz).sqrt();
        }
    }
    energy.to_bits()
}
