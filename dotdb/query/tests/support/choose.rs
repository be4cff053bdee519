//! Random collections, indexes and queries out of bytes: what proptest shrinks and fuzzers mutate.

use std::collections::BTreeMap;

use dotdb_query::{Index, IndexSpec, Value};

/// A source of choices; without bytes it chooses the first.
pub struct Choices<'b> {
    bytes: std::slice::Iter<'b, u8>,
}

impl<'b> Choices<'b> {
    pub fn new(bytes: &'b [u8]) -> Choices<'b> {
        Choices { bytes: bytes.iter() }
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % limit
    }

    pub fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }
}

const NUMBERS: [&str; 14] = [
    "1",
    "2",
    "1.0",
    "0",
    "-1",
    "2.5",
    "-0.0",
    "9007199254740993",
    "9007199254740992.0",
    "1e300",
    "-123456789012345678901234567890123456789012345678901234567890",
    "5e-324",
    "18446744073709551616",
    "3",
];
const TEXTS: [&str; 8] = ["", "a", "ab", "abc", "b", "é", "a%", "A"];
const PATHS: [&str; 8] = ["a", "b", "a", "b", "m.x", "tags[0]", "tags", "m"];
const SPECS: [&str; 14] = [
    "a",
    "b",
    "a, b",
    "b, a",
    "m.x",
    "tags[*]",
    "tags[*], a",
    "b, tags[*]",
    "tags",
    "a, m.x, b",
    "tags[0]",
    "m",
    "items[*].x",
    "a, items[*].x, b",
];

fn scalar(choices: &mut Choices<'_>) -> String {
    match choices.below(8) {
        0..=1 => choices.one(&NUMBERS[..4]).to_owned(),
        2..=3 => choices.one(&NUMBERS).to_owned(),
        4..=5 => format!("{:?}", choices.one(&TEXTS)),
        6 => choices.one(&["true", "false"]).to_owned(),
        _ => "null".to_owned(),
    }
}

fn document(choices: &mut Choices<'_>) -> String {
    let mut fields = vec![];
    for name in ["a", "b"] {
        if !choices.one_in(5) {
            fields.push(format!("{name:?}: {}", scalar(choices)));
        }
    }
    match choices.below(6) {
        0 => {}
        1 => fields.push(format!("\"tags\": {}", scalar(choices))),
        _ => {
            let count = choices.below(4);
            let tags: Vec<String> = (0..count).map(|_| scalar(choices)).collect();
            fields.push(format!("\"tags\": [{}]", tags.join(", ")));
        }
    }
    if choices.one_in(2) {
        let item = |choices: &mut Choices<'_>| match choices.below(5) {
            0 => scalar(choices),
            1 => "{}".to_owned(),
            _ => format!("{{\"x\": {}}}", scalar(choices)),
        };
        let items: Vec<String> = (0..choices.below(4)).map(|_| item(choices)).collect();
        fields.push(format!("\"items\": [{}]", items.join(", ")));
    }
    match choices.below(3) {
        0 => {}
        1 => fields.push(format!("\"m\": {{\"x\": {}}}", scalar(choices))),
        _ => fields.push("\"m\": {}".to_owned()),
    }
    format!("{{{}}}", fields.join(", "))
}

pub fn records(choices: &mut Choices<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let count = choices.below(24);
    (0..count)
        .map(|number| {
            let key = match choices.below(4) {
                0 => vec![],
                1 => (number as u64).to_be_bytes().to_vec(),
                _ => format!("k{}", choices.below(40)).into_bytes(),
            };
            (key, dotdb_document::from_json(&document(choices)).unwrap())
        })
        .collect()
}

/// Records that statistics pretend.
pub fn pretended(choices: &mut Choices<'_>) -> u64 {
    [0, 1_000_000][choices.below(2)]
}

pub fn indexes(choices: &mut Choices<'_>) -> Vec<Index> {
    let start = choices.below(SPECS.len());
    let count = choices.below(5);
    (0..count)
        .map(|number| {
            let text = SPECS[(start + number * 5) % SPECS.len()];
            Index { name: format!("i{number}"), spec: IndexSpec::parse(text).unwrap() }
        })
        .collect()
}

fn literal(choices: &mut Choices<'_>, parameters: &mut Vec<Value>) -> String {
    let json = scalar(choices);
    if choices.one_in(6) {
        let value = match choices.below(4) {
            0 => Value::Missing,
            1 => Value::Float([f64::NAN, f64::INFINITY, f64::NEG_INFINITY][choices.below(3)]),
            _ => Value::from_json(&json).unwrap(),
        };
        parameters.push(value);
        return format!("${}", parameters.len());
    }
    if json.starts_with('"') {
        json.replace('"', "'")
    } else {
        json.to_uppercase().replace("5E-324", "5e-324")
    }
}

fn key(choices: &mut Choices<'_>) -> String {
    match choices.below(5) {
        0 => "''".to_owned(),
        1 => choices.below(24).to_string(),
        2 => "x'6b31'".to_owned(),
        3 => "NULL".to_owned(),
        _ => format!("'k{}'", choices.below(40)),
    }
}

fn condition(choices: &mut Choices<'_>, parameters: &mut Vec<Value>, depth: usize) -> String {
    let path = choices.one(&PATHS);
    let comparison = choices.one(&["=", "<>", "<", "<=", ">", ">="]);
    let not = if choices.one_in(4) { "NOT " } else { "" };
    match choices.below(if depth > 0 { 17 } else { 13 }) {
        0..=1 => format!("{path} {comparison} {}", literal(choices, parameters)),
        3 => format!("{} {comparison} {path}", literal(choices, parameters)),
        2 | 4 => {
            let count = choices.below(5) + 1;
            let list: Vec<String> = (0..count).map(|_| literal(choices, parameters)).collect();
            format!("{path} {not}IN ({})", list.join(", "))
        }
        5 => {
            let low = literal(choices, parameters);
            format!("{path} {not}BETWEEN {low} AND {}", literal(choices, parameters))
        }
        6 => format!("{path} IS {not}NULL"),
        7 => format!("{path} IS {not}MISSING"),
        8 => format!("{path} {not}LIKE '{}'", choices.one(&["a%", "a_", "%b%", "abc", "%", "", "_%", "a%%"])),
        9 => format!("{not}starts_with({path}, '{}')", choices.one(&TEXTS)),
        10 => {
            let array = choices.one(&["tags", "items[*].x", "items", "tags[*]"]);
            format!("{not}{} {comparison} ANY({array})", literal(choices, parameters))
        }
        11 => match choices.below(4) {
            0 => format!("{not}_key {comparison} {}", key(choices)),
            1 => format!("_key {not}IN ({}, {})", key(choices), key(choices)),
            2 => format!("_key LIKE '{}'", choices.one(&["k%", "k_", "k1", "%1"])),
            _ => format!("starts_with(_key, '{}')", choices.one(&["k", "k1", ""])),
        },
        12 => {
            let tags: Vec<String> = (0..choices.below(3)).map(|_| scalar(choices)).collect();
            parameters.push(Value::from_json(&format!("[{}]", tags.join(", "))).unwrap());
            format!("{not}{path} = ANY(${})", parameters.len())
        }
        which => {
            let count = choices.below(2) + 2;
            let word = if which < 15 { " AND " } else { " OR " };
            let parts: Vec<String> = (0..count).map(|_| condition(choices, parameters, depth - 1)).collect();
            format!("{not}({})", parts.join(word))
        }
    }
}

/// A query's text and its values.
pub fn query(choices: &mut Choices<'_>) -> (String, Vec<Value>) {
    let mut parameters = vec![];
    let filter = match choices.below(5) {
        0 => String::new(),
        // Branches that indexes of their own can serve.
        4 => {
            let branches: Vec<String> = (0..choices.below(2) + 2)
                .map(|_| match choices.below(6) {
                    0 => format!("_key = {}", key(choices)),
                    1 => format!("{} = ANY(tags)", literal(choices, &mut parameters)),
                    2 => format!("{} < ANY(items[*].x)", literal(choices, &mut parameters)),
                    3 => format!("a > {}", literal(choices, &mut parameters)),
                    4 => format!("b = {}", literal(choices, &mut parameters)),
                    _ => condition(choices, &mut parameters, 0),
                })
                .collect();
            let also = match choices.below(3) {
                0 => format!(" AND {}", condition(choices, &mut parameters, 1)),
                _ => String::new(),
            };
            format!(" WHERE ({}){also}", branches.join(" OR "))
        }
        1 => format!(" WHERE {}", condition(choices, &mut parameters, 2)),
        _ => {
            let first = condition(choices, &mut parameters, 1);
            format!(" WHERE {first} AND {}", condition(choices, &mut parameters, 1))
        }
    };
    let limit = match choices.below(4) {
        0 => format!(" LIMIT {}", choices.below(6)),
        1 => format!(" LIMIT {} OFFSET {}", choices.below(6), choices.below(4)),
        _ => String::new(),
    };
    let direction = |choices: &mut Choices<'_>| choices.one(&["", " DESC", " ASC"]);
    let text = if choices.one_in(8) {
        format!("SELECT COUNT(*) FROM c{filter}{limit}")
    } else if choices.one_in(3) {
        let groups: Vec<&str> = match choices.below(6) {
            0 | 1 => vec![],
            5 => vec!["a"],
            2 => vec!["b", "a"],
            3 => vec!["a", "b"],
            _ => vec![choices.one(&["m.x", "tags[0]", "_key", "tags"])],
        };
        let functions = [
            "COUNT(*)",
            "COUNT(b)",
            "SUM(a)",
            "MIN(a)",
            "MAX(b)",
            "AVG(a)",
            "MIN(_key)",
            "MAX(m.x)",
            "SUM(b)",
        ];
        let count = choices.below(3) + 1;
        let start = if choices.one_in(3) { 0 } else { choices.below(functions.len()) };
        let mut columns: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
        columns.extend((0..count).map(|number| functions[(start + number) % functions.len()].to_owned()));
        let group_by =
            if groups.is_empty() { String::new() } else { format!(" GROUP BY {}", groups.join(", ")) };
        let having = if choices.one_in(4) { " HAVING COUNT(*) > 1" } else { "" };
        let order = match choices.below(3) {
            0 => String::new(),
            1 => format!(" ORDER BY COUNT(*){}", direction(choices)),
            _ if groups.is_empty() => String::new(),
            _ => format!(" ORDER BY {}{}", groups[0], direction(choices)),
        };
        format!("SELECT {} FROM c{filter}{group_by}{having}{order}{limit}", columns.join(", "))
    } else {
        let columns = choices.one(&["*", "a, m.x", "_key", "b AS other, tags", "*"]);
        let order = match choices.below(5) {
            0 | 1 => String::new(),
            2 => format!(" ORDER BY {}{}", choices.one(&PATHS), direction(choices)),
            3 => format!(" ORDER BY a{}, b{}", direction(choices), direction(choices)),
            _ => format!(" ORDER BY b{}, _key{}", direction(choices), direction(choices)),
        };
        format!("SELECT {columns} FROM c{filter}{order}{limit}")
    };
    (text, parameters)
}
