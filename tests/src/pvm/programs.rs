//! Programs that loop: what the speed of translated code is measured on.

/// A program and what it answers.
pub struct Program {
    /// Name.
    pub name: &'static str,
    /// Listing.
    pub listing: &'static str,
    /// Exit code, worked out by arithmetic.
    pub exit_code: u64,
}

/// The programs.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "factorial",
        // 20! in a loop, 50,000 times.
        listing: "
            push.q #50000
            pop.q c
            outer: push.b #1
            pop.b a
            push.b #20
            pop.b b
            push.q #inner
            pop.q d
            inner: mul.q a, b
            sub.b b, #1
            swi #0x86
            push.q #outer
            pop.q d
            sub.b c, #1
            swi #0x86
            swi #0x80",
        exit_code: 2_432_902_008_176_640_000,
    },
    Program {
        name: "fib",
        // The 25th Fibonacci number by recursion.
        listing: "
            push.b #25
            pop.b b
            push.q #fib
            pop.q d
            swi #0x88
            push.q c
            pop.q a
            swi #0x80
            fib: push.q #small
            pop.q d
            push.q b
            pop.q a
            sub.b a, #2
            swi #0x87
            push.q b
            sub.b b, #1
            push.q #fib
            pop.q d
            swi #0x88
            pop.q b
            push.q c
            sub.b b, #2
            push.q #fib
            pop.q d
            swi #0x88
            pop.q a
            sum.q c, a
            swi #0x89
            small: push.q b
            pop.q c
            swi #0x89",
        exit_code: 75_025,
    },
    Program {
        name: "sieve",
        // Primes below 200,000: a byte for each number at 0x20000, the count in Z.
        listing: "
            push.q #2
            pop.q c
            next: push.d #0x20000
            pop.d w
            sum.q w, c
            xor.q a, a
            push.q #composite
            pop.q d
            sum.b a, [w]
            swi #0x86
            sum.b z, #1
            push.q #mark
            pop.q d
            mark: push.b #1
            pop.b [w]
            sum.q w, c
            push.d w
            pop.d a
            sub.d a, #331072
            swi #0x87
            composite: sum.b c, #1
            push.q c
            pop.q a
            push.q #next
            pop.q d
            sub.d a, #200000
            swi #0x87
            push.d z
            pop.d a
            swi #0x80",
        exit_code: 17_984,
    },
    Program {
        name: "sort",
        // Bubble sort of 600 descending numbers of 8 bytes at 0x20000; then the sum of x[i] * i, for i from 1.
        listing: "
            push.d #0x20000
            pop.d w
            push.q #600
            pop.q c
            push.q #fill
            pop.q d
            fill: push.q c
            pop.q [w]
            sum.b w, #8
            sub.b c, #1
            swi #0x86
            push.q #600
            pop.q c
            pass: push.d #0x20000
            pop.d w
            inner: xor.q a, a
            sum.q a, [w]
            sum.b w, #8
            push.q a
            push.q #ordered
            pop.q d
            sub.q a, [w]
            swi #0x87
            swi #0x85
            xor.q a, a
            sum.q a, [w]
            sub.b w, #8
            push.q a
            pop.q [w]
            sum.b w, #8
            pop.q [w]
            push.q #0
            ordered: pop.q a
            push.q #inner
            pop.q d
            push.d w
            pop.d a
            sub.d a, #135864
            swi #0x86
            push.q #pass
            pop.q d
            sub.b c, #1
            swi #0x86
            push.d #0x20000
            pop.d w
            push.q #weigh
            pop.q d
            weigh: sum.b c, #1
            push.q c
            pop.q a
            mul.q a, [w]
            sum.d z, x
            sum.b w, #8
            push.q c
            pop.q a
            sub.w a, #600
            swi #0x86
            push.d z
            pop.d a
            swi #0x80",
        exit_code: 600 * 601 * 1201 / 6,
    },
];
