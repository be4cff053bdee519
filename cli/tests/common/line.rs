//! Commands written as one line.

/// `dotvm db` with these words, on state.db; `'…'` is one word.
pub fn line(args: &str) -> Vec<&str> {
    let mut words = vec!["db"];
    for (index, part) in args.split('\'').enumerate() {
        if index % 2 == 1 { words.push(part) } else { words.extend(part.split_whitespace()) }
    }
    words.extend(["--db", "state.db"]);
    words
}

/// The same with `--json`.
pub fn json_line(args: &str) -> Vec<&str> {
    let mut words = line(args);
    words.push("--json");
    words
}
