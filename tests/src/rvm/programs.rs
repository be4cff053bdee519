//! Programs that are measured: what arithmetic says they print.

/// A program and what it prints.
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Assembly.
    pub text: &'static str,
    /// What comes out.
    pub output: &'static str,
}

/// Loops, recursion, arrays.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "factorial",
        // 20! again and again, by recursion.
        text: "
            begin i64 fact
                store n
                load n
                push i64 2
                lt
                brf more
                push i64 1
                ret
            more:
                load n
                load n
                push i64 1
                sub
                call fact
                mul
            end
            push 20000
            store left
            again:
                push i64 20
                call fact
                store result
                load left
                dec
                dup
                store left
                brt again
            load result
            call [io]print",
        output: "2432902008176640000",
    },
    Program {
        name: "fib",
        text: "
            begin i32 fib
                store n
                load n
                push 2
                bge more
                load n
                ret
            more:
                load n
                dec
                call fib
                load n
                push 2
                sub
                call fib
                add
            end
            push 25
            call fib
            call [io]print",
        output: "75025",
    },
    Program {
        name: "sieve",
        // Primes below 200,000.
        text: "
            push [bool:200000]
            store composite
            push 2
            store i
            push 0
            store count
            next:
                load composite
                load i
                add
                deref
                brt skip
                load count
                inc
                store count
                load i
                dup
                add
                store j
                mark:
                    load j
                    push 200000
                    bge skip
                    load composite
                    load j
                    add
                    push true
                    store composite
                    load j
                    load i
                    add
                    store j
                    br mark
            skip:
                load i
                inc
                dup
                store i
                push 200000
                blt next
            load count
            call [io]print",
        output: "17984",
    },
    Program {
        name: "sort",
        // Bubble sort of 500 descending numbers, then the sum of x[i] * i, i from 1.
        text: "
            .data
            .var x [i32:500]
            .code
            push 0
            store i
            fill:
                load x
                load i
                add
                push 500
                load i
                sub
                store x
                load i
                inc
                dup
                store i
                push 500
                blt fill
            push 499
            store last
            pass:
                load x
                store p
                push 0
                store i
                inner:
                    load p
                    deref
                    store a
                    load p
                    inc
                    store q
                    load q
                    deref
                    store b
                    load a
                    load b
                    ble ordered
                    load p
                    load b
                    call [mem]set
                    load q
                    load a
                    call [mem]set
                ordered:
                    load q
                    store p
                    load i
                    inc
                    dup
                    store i
                    load last
                    blt inner
                load last
                dec
                dup
                store last
                brt pass
            push 0
            store i
            push i64 0
            store sum
            weigh:
                load x
                load i
                add
                deref
                load i
                inc
                dup
                store i
                mul
                conv i64
                load sum
                add
                store sum
                load i
                push 500
                blt weigh
            load sum
            call [io]print",
        output: "41791750",
    },
    Program {
        name: "loop",
        text: "
            push i64 0
            store s
            push 0
            store i
            again:
                load s
                push i64 31
                mul
                load i
                conv i64
                add
                store s
                load i
                inc
                dup
                store i
                push 1000000
                blt again
            load s
            call [io]print",
        output: "-9000519036673629920",
    },
];
