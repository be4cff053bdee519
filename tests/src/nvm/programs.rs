//! Programs that loop and recurse: what the speed of translated code is measured on.

/// A program and what it answers.
pub struct Program {
    /// Name.
    pub name: &'static str,
    /// Assembly text.
    pub text: &'static str,
    /// Exit code, worked out by arithmetic.
    pub exit_code: i32,
}

/// The programs.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "loop",
        // s = s * 31 + i for i from 3,000,000 down to 1, modulo 2^32.
        text: "
            push 3000000
            store 0
            next:
            load 1
            push 31
            mul
            load 0
            add
            store 1
            load 0
            push 1
            sub
            dup
            store 0
            jnz next
            load 1
            syscall exit",
        exit_code: -1_006_576_480,
    },
    Program {
        name: "factorial",
        // 12! by recursion, 40,000 times.
        text: "
            push 40000
            store 0
            again:
            push 12
            call fact
            store 1
            load 0
            push 1
            sub
            dup
            store 0
            jnz again
            load 1
            syscall exit
            fact:
            enter 0
            load_arg 0
            push 2
            lt
            jnz base
            load_arg 0
            load_arg 0
            push 1
            sub
            call fact
            mul
            store_arg 0
            leave
            ret
            base:
            push 1
            store_arg 0
            leave
            ret",
        exit_code: 479_001_600,
    },
    Program {
        name: "fib",
        // The 27th Fibonacci number by recursion.
        text: "
            push 27
            call fib
            syscall exit
            fib:
            enter 0
            load_arg 0
            push 2
            lt
            jnz small
            load_arg 0
            push 1
            sub
            call fib
            load_arg 0
            push 2
            sub
            call fib
            add
            store_arg 0
            small:
            leave
            ret",
        exit_code: 196_418,
    },
    Program {
        name: "sieve",
        // How many primes there are below 30,000, four times: words of the heap.
        text: "
            push 4
            store 9
            again:
            push 0
            store 2
            push 0
            store 0
            clear:
            load 0
            push 4
            mul
            push 0
            store_heap
            load 0
            push 1
            add
            dup
            store 0
            push 30000
            lt
            jnz clear
            push 2
            store 0
            outer:
            load 0
            push 4
            mul
            load_heap
            jnz composite
            load 2
            push 1
            add
            store 2
            load 0
            dup
            add
            store 1
            strike:
            load 1
            push 30000
            lt
            jz composite
            load 1
            push 4
            mul
            push 1
            store_heap
            load 1
            load 0
            add
            store 1
            jmp strike
            composite:
            load 0
            push 1
            add
            dup
            store 0
            push 30000
            lt
            jnz outer
            load 9
            push 1
            sub
            dup
            store 9
            jnz again
            load 2
            syscall exit",
        exit_code: 3245,
    },
    Program {
        name: "sort",
        // 500 numbers from a generator, by insertion; how many of the neighbours are in order, and that is 499.
        text: "
            push 12345
            store 3
            push 0
            store 0
            fill:
            load 0
            push 4
            mul
            load 3
            push 1103515245
            mul
            push 12345
            add
            dup
            store 3
            push 16
            shr
            store_heap
            load 0
            push 1
            add
            dup
            store 0
            push 500
            lt
            jnz fill
            push 1
            store 0
            outer:
            load 0
            push 4
            mul
            dup
            store 1
            load_heap
            store 2
            inner:
            load 1
            jz place
            load 1
            push 4
            sub
            load_heap
            dup
            store 4
            load 2
            gt
            jz place
            load 1
            load 4
            store_heap
            load 1
            push 4
            sub
            store 1
            jmp inner
            place:
            load 1
            load 2
            store_heap
            load 0
            push 1
            add
            dup
            store 0
            push 500
            lt
            jnz outer
            push 0
            store 5
            push 4
            store 1
            check:
            load 1
            push 4
            sub
            load_heap
            load 1
            load_heap
            gt
            push 1
            xor
            load 5
            add
            store 5
            load 1
            push 4
            add
            dup
            store 1
            push 2000
            lt
            jnz check
            load 5
            syscall exit",
        exit_code: 499,
    },
];
