//! The system libraries (`docs/machines/rvm.md`, section 12): the only list of their functions.

macro_rules! functions {
    ($($library:literal $name:literal $variant:ident $takes:literal $gives:literal;)*) => {
        /// A function of a system library.
        #[allow(missing_docs)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Function {
            $($variant,)*
        }

        impl Function {
            /// All of them, by number.
            pub const ALL: &'static [Function] = &[$(Function::$variant),*];

            /// Library and name.
            pub fn names(self) -> (&'static str, &'static str) {
                match self { $(Function::$variant => ($library, $name),)* }
            }

            /// How many values it takes.
            pub fn takes(self) -> usize {
                match self { $(Function::$variant => $takes,)* }
            }

            /// How many values it leaves, if it comes back.
            pub fn gives(self) -> usize {
                match self { $(Function::$variant => $gives,)* }
            }
        }
    };
}

functions! {
    "io" "print" Print 1 0;
    "io" "println" Println 1 0;
    "io" "out" Out 1 0;
    "io" "in" In 0 1;
    "io" "readln" Readln 0 1;
    "str" "len" Len 1 1;
    "str" "concat" Concat 2 1;
    "mem" "alloc" Alloc 2 1;
    "mem" "free" Free 1 0;
    "mem" "set" Set 2 0;
    "mem" "size" Size 1 1;
    "math" "abs" Abs 1 1;
    "math" "min" Min 2 1;
    "math" "max" Max 2 1;
    "math" "sqrt" Sqrt 1 1;
    "math" "pow" Pow 2 1;
    "rand" "seed" Seed 1 0;
    "rand" "next" Next 0 1;
    "vm" "thread_create" ThreadCreate 2 1;
    "vm" "thread_join" ThreadJoin 1 1;
    "vm" "thread_detach" ThreadDetach 1 0;
    "vm" "thread_cancel" ThreadCancel 1 0;
    "vm" "thread_exit" ThreadExit 1 0;
    "vm" "thread_self" ThreadSelf 0 1;
    "vm" "yield" Yield 0 0;
    "vm" "catch" Catch 1 0;
    "vm" "uncatch" Uncatch 0 0;
    "vm" "throw" Throw 1 0;
    "os" "exit" Exit 1 0;
    "os" "argc" Argc 0 1;
    "os" "arg" Arg 1 1;
    "dll" "load" DllLoad 1 1;
    "dll" "loadfunc" DllLoadfunc 2 1;
    "dll" "callfunc" DllCallfunc 1 0;
    "dll" "unload" DllUnload 1 0;
}

/// The names that no other library can have.
const RESERVED: [&str; 9] = ["io", "mem", "math", "rand", "vm", "str", "os", "sys", "dll"];

/// The system library that a name means.
pub fn library(name: &[u8]) -> Option<&'static str> {
    if matches!(name, b"ldex" | b"ldx") {
        return Some("dll");
    }
    RESERVED.iter().copied().find(|reserved| reserved.as_bytes() == name)
}

impl Function {
    /// A function of a system library.
    pub fn find(library: &str, name: &[u8]) -> Option<Function> {
        Function::ALL.iter().copied().find(|function| {
            let names = function.names();
            names.0 == library && names.1.as_bytes() == name
        })
    }
}
