//! Documents made from the program itself.

use std::fmt::Write;

/// How arguments are written, shown under `run` and `call`.
pub(crate) const ARGUMENTS_HELP: &str = "\
Arguments:
  words       decimal, 0x… or 0b…, _ between digits, a leading - for two's complement
  references  null, 0x… (bytes in hexadecimal), @FILE (a file's bytes), text:… or else the text itself";

/// Columns of the help in the document.
const COLUMNS: usize = 100;

/// `docs/cli.md`.
pub fn cli_markdown() -> String {
    let mut command = crate::command().term_width(COLUMNS).disable_help_subcommand(true);
    command.build();
    let mut text = String::from(
        "# The command line\n\n\
         Written from the program's own `--help` (`DOTVM_BLESS=1 cargo test -p dotvm-cli --test docs`); do not edit.\n\n\
         ## Exit codes\n\n| code | meaning |\n|---|---|\n",
    );
    for (code, meaning) in crate::exit::TABLE {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
    text.push_str(JSON);
    section(&mut command, &mut text);
    text
}

/// What `--json` answers.
const JSON: &str = "
## JSON

With `--json` standard output is exactly one object, errors before a run included, and the exit code is the same.
`run` and `call` answer:

| field | value |
|---|---|
| `status` | `ok`, `halted` (HALT with another code than 0), `trapped`, or `error` (nothing ran) |
| `result` | `words`: decimal texts; `refs`: null or `hex` and, for text, `text`; null unless the program returned or halted |
| `halt_code` | the code of HALT as a decimal text, or null |
| `gas_used`, `guest_gas_used` | numbers; `gas_used` is null if nothing ran |
| `state_root` | 64 hexadecimal digits: the root of the state, if the database keeps one and the changes were kept; else null |
| `committed`, `changed_keys` | whether the changes were kept, and how many keys they are |
| `events` | each with `topics`, decimal texts, and `data`, `hex` and `text` |
| `stdout`, `stderr` | what the program wrote there, `hex` and `text`, or null |
| `trap` | null, or `kind`, `function`, `offset`, `file`, `line`, `detail`, `sentence` |
| `machine` | the machine that `resume` goes on with; only where the run is kept and out of gas |
| `error` | null, or one sentence; `diagnostics` then lists the errors of a source text one by one |
| `deterministic`, `limit` | only where a run of Nock has no product: whether it has none wherever it runs, and the limit that was reached, or null |

The other commands answer `status` `ok` and fields of their own, or `status` `error` and `error`; `db check` answers
`status` `damaged` if it found something. Three of them answer in several lines, an object each, as they come: `db watch`
(commits), `db query --json` (rows, and last a line with `status`) and `db export` (records).
";

fn section(command: &mut clap::Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(text, "\n## `{name}`\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
    for subcommand in command.get_subcommands_mut() {
        section(subcommand, text);
    }
}
