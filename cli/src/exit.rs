//! Exit codes.

use std::process::ExitCode;

macro_rules! exits {
    ($($code:literal $variant:ident $meaning:literal;)*) => {
        /// How the process ends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Exit {
            $(#[doc = concat!($meaning, ".")] $variant,)*
            /// What a program of another machine says itself.
            Guest(u8),
        }

        impl Exit {
            /// The number.
            pub fn code(self) -> u8 {
                match self { $(Exit::$variant => $code,)* Exit::Guest(code) => code }
            }
        }

        /// Every exit code with its meaning, as `--help` and `docs/cli.md` list them.
        pub const TABLE: &[(u8, &str)] = &[$(($code, $meaning)),*, (101, "a bug in dotvm")];

        /// The table as text for `--help`.
        pub const HELP: &str = concat!("Exit codes:\n", $("  ", $code, "    ", $meaning, "\n",)* "  101  a bug in dotvm");
    };
}

exits! {
    0 Success "success";
    1 Program "the program trapped, ran out of gas or halted not with 0; `db get` found nothing, `db check` damage";
    2 Usage "usage: options, a function's name, arguments";
    3 Input "an input, file or value: not readable, wrong, refused, or in need of a capability";
    4 Database "the database: missing, in use, damaged, too new; or no such contract in it";
    5 Output "the output cannot be written";
    6 Conflict "other transactions were in the way each time: it may succeed if tried again";
    7 Outside "what the program read or wrote outside failed, or a replay came apart from what was recorded";
    8 Limit "a run of Nock reached a limit, its own or the machine's: with more of it, it may come to an end";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
