//! The commands of docs/database.md, run in order, print what stands there.

mod common;

use common::Place;

/// The words of a command line; quotation marks of either kind hold a word together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn the_guide_is_true() {
    let place = Place::new();
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/database.md")).unwrap();
    let guide = guide.replace("\r\n", "\n");
    let mut commands = 0;
    for block in guide.split("\n```").skip(1).step_by(2) {
        let (info, text) = block.split_once('\n').unwrap();
        if let Some((_, file)) = info.split_once(' ') {
            place.write(file, format!("{text}\n"));
            continue;
        }
        assert_eq!(info, "console");
        for command in text.trim_start_matches("$ ").split("\n$ ") {
            let (line, expected) = command.split_once('\n').unwrap_or((command, ""));
            let (line, file) = match line.split_once(" > ") {
                Some((line, file)) => (line, Some(file)),
                None => (line, None),
            };
            // `@root.txt` stands for the file's text.
            let words: Vec<String> = words(line)
                .into_iter()
                .map(|word| match word.strip_prefix('@') {
                    Some(file) => String::from_utf8(place.read(file)).unwrap().trim().to_owned(),
                    None => word,
                })
                .collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(words[0], "dotvm");
            let output = place.ok(&words[1..]);
            match file {
                Some(file) => place.write(file, output),
                None => assert_eq!(output.trim_end(), expected, "{line}"),
            }
            commands += 1;
        }
    }
    assert!(commands > 30, "only {commands} commands were found");
}
