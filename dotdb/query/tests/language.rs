//! What the language is and what it refuses, its printed and its compiled form.

use dotdb_query::query::MAX_FILTER_DEPTH;
use dotdb_query::{IndexSpec, Query, QueryError};
use proptest::prelude::*;

fn refused(text: &str) -> String {
    Query::parse(text).unwrap_err().to_string()
}

#[test]
fn texts_in_their_printed_form() {
    for (text, printed) in [
        ("select * from people", "SELECT * FROM people"),
        ("SELECT * FROM token.balances;", "SELECT * FROM token.balances"),
        ("SELECT a.b[0].c AS x, _key FROM \"two words\"", "SELECT a.b[0].c AS x, _key FROM \"two words\""),
        ("SELECT \"_key\" FROM c", "SELECT \"_key\" FROM c"),
        ("SELECT * FROM c WHERE active", "SELECT * FROM c WHERE active = TRUE"),
        (
            "SELECT * FROM c WHERE NOT active AND a != 1.50",
            "SELECT * FROM c WHERE NOT (active = TRUE) AND a <> 1.5",
        ),
        (
            "SELECT * FROM c WHERE a BETWEEN -1 AND 2 AND b",
            "SELECT * FROM c WHERE a >= -1 AND a <= 2 AND b = TRUE",
        ),
        ("SELECT * FROM c WHERE (a=1 OR b=2) AND c=3", "SELECT * FROM c WHERE (a = 1 OR b = 2) AND c = 3"),
        ("SELECT * FROM c WHERE a=1 OR b=2 AND c=3", "SELECT * FROM c WHERE a = 1 OR b = 2 AND c = 3"),
        (
            "SELECT * FROM c WHERE x IS NOT MISSING OR y IS NULL",
            "SELECT * FROM c WHERE x IS NOT MISSING OR y IS NULL",
        ),
        ("SELECT * FROM c WHERE contains(tags, 'x')", "SELECT * FROM c WHERE 'x' = ANY(tags)"),
        ("SELECT * FROM c WHERE 5 < ANY(items[*].price)", "SELECT * FROM c WHERE 5 < ANY(items[*].price)"),
        (
            "SELECT * FROM c WHERE $1 = ANY ( a.b[0].items[*][1].\"two words\" )",
            "SELECT * FROM c WHERE $1 = ANY(a.b[0].items[*][1].\"two words\")",
        ),
        ("SELECT * FROM c WHERE contains(\"by\"[*].x, 'y')", "SELECT * FROM c WHERE 'y' = ANY(\"by\"[*].x)"),
        ("SELECT * FROM c WHERE 'x' = ANY(tags[*])", "SELECT * FROM c WHERE 'x' = ANY(tags)"),
        ("SELECT * FROM c WHERE n LIKE 'it''s%'", "SELECT * FROM c WHERE n LIKE 'it''s%'"),
        ("SELECT * FROM c WHERE h = X'00fF'", "SELECT * FROM c WHERE h = x'00ff'"),
        ("SELECT * FROM c WHERE a = ? AND b IN (?, 3)", "SELECT * FROM c WHERE a = $1 AND b IN ($2, 3)"),
        (
            "SELECT city, count(*) n FROM c GROUP BY city HAVING n > 1 ORDER BY n DESC LIMIT 3 OFFSET $1",
            "SELECT city, COUNT(*) AS n FROM c GROUP BY city HAVING COUNT(*) > 1 ORDER BY COUNT(*) DESC LIMIT 3 OFFSET $1",
        ),
        (
            "SELECT * FROM c ORDER BY name COLLATE \"sv\" DESC",
            "SELECT * FROM c ORDER BY name COLLATE \"sv\" DESC",
        ),
        ("SELECT * FROM c -- a note\nLIMIT 1", "SELECT * FROM c LIMIT 1"),
    ] {
        let query = Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(query.to_string(), printed);
        assert_eq!(Query::parse(printed).unwrap(), query);
        assert_eq!(Query::from_bytes(&query.to_bytes()).unwrap(), query);
    }
}

#[test]
fn refused_texts_name_the_place() {
    for (text, message) in [
        ("", "the query is empty at line 1, column 1"),
        ("  -- nothing", "the query is empty at line 1, column 1"),
        ("FROM c", "a query begins with SELECT, this one with FROM at line 1, column 1"),
        (
            "DELETE FROM c",
            "queries only read, and DELETE writes: a query begins with SELECT at line 1, column 1",
        ),
        (
            "SELECT * FROM a JOIN b ON a.x = b.x",
            "JOIN is not supported: a query reads one collection at line 1, column 17",
        ),
        ("SELECT * FROM a, b", "a query reads one collection at line 1, column 10"),
        ("SELECT * FROM (SELECT * FROM b)", "queries in queries are not supported at line 1, column 15"),
        (
            "SELECT * FROM c WHERE a IN (SELECT b FROM d)",
            "queries in queries are not supported at line 1, column 29",
        ),
        (
            "SELECT *\nFROM c\nWHERE a + 1 = 2",
            "the operator + is not supported: queries compare values and do not compute at line 3, column 7",
        ),
        (
            "SELECT totl(a) FROM c",
            "there is no function totl; there are count, sum, min, max, avg, starts_with, contains at line 1, column 8",
        ),
        ("SELECT cuont(*) FROM c", "there is no function cuont; did you mean count? at line 1, column 8"),
        ("SELECT sum(*) FROM c", "sum takes a path; only COUNT takes * at line 1, column 8"),
        ("SELECT DISTINCT a FROM c", "DISTINCT is not supported: use GROUP BY at line 1, column 8"),
        (
            "SELECT * FROM c WHERE items[*].price > 5",
            "`[*]` stands only in ANY and contains: `5 < ANY(items[*].price)` at line 1, column 23",
        ),
        ("SELECT * FROM c WHERE 1 = ANY(a[*].b[*])", "a second `[*]` in one path at line 1, column 37"),
        ("SELECT SUM(items[*].price) FROM c", "sum takes a path or _key at line 1, column 8"),
        ("SELECT * FROM c WHERE a =", "expected a value or a path, found the end at line 1, column 26"),
        (
            "SELECT * FROM c WHERE count(*) > 1",
            "COUNT(*) is of a group, WHERE is of single rows: use HAVING at line 1, column 23",
        ),
        (
            "SELECT a, count(*) FROM c",
            "a differs within a group: add it to GROUP BY, or use a function such as MIN(a) at line 1, column 8",
        ),
        (
            "SELECT * FROM c GROUP BY a",
            "a grouped query shows paths of GROUP BY and functions such as COUNT(*), not * at line 1, column 8",
        ),
        ("SELECT a, b AS a FROM c", "two columns have the name \"a\": name one with AS at line 1, column 11"),
        ("SELECT a, * FROM c", "* stands alone: it shows whole documents at line 1, column 11"),
        (
            "SELECT * FROM c ORDER BY a NULLS LAST",
            "NULLS FIRST and LAST are not supported: missing and null are least, first with ASC at line 1, column 28",
        ),
        ("SELECT * FROM c ORDER BY 1", "ORDER BY takes columns by name, not by number at line 1, column 26"),
        ("SELECT * FROM c LIMIT -1", "LIMIT is a number of rows from 0 to 2^64 - 1 at line 1, column 23"),
        (
            "SELECT * FROM c WHERE a = $0",
            "a parameter is `?`, or `$` and a number from 1 at line 1, column 27",
        ),
        (
            "SELECT * FROM c WHERE a = ? AND b = $1",
            "a query has parameters `?` or `$1`, not both at line 1, column 37",
        ),
        (
            "SELECT * FROM c WHERE a = x'0'",
            "a byte string has an even number of hexadecimal digits at line 1, column 27",
        ),
        (
            "SELECT * FROM c WHERE a = 1e999",
            "the number exceeds the range of 64-bit floats at line 1, column 27",
        ),
        (
            "SELECT * FROM a.b.c",
            "a collection is named `collection` or `contract.collection` at line 1, column 10",
        ),
        ("SELECT * FROM c AS d", "a collection takes no other name in a query at line 1, column 20"),
        (
            "SELECT * FROM c WHERE a LIKE 'x' ESCAPE '!'",
            "LIKE takes one pattern of % and _, without ESCAPE at line 1, column 23",
        ),
        ("SELECT * FROM c; SELECT * FROM d", "queries in queries are not supported at line 1, column 18"),
        ("SELECT CASE WHEN a THEN 1 END FROM c", "CASE is not supported at line 1, column 8"),
        (
            "SELECT * FROM c WHERE exists(a)",
            "EXISTS is not supported: a field that is there is `field IS NOT MISSING` at line 1, column 23",
        ),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
    for text in [
        "SELECT 'a",
        "SELECT * FROM c WHERE a = 'é",
        "SELECT * FROM c WHERE (a = 1",
        "SELECT * FROM c FOO BAR",
        "SELECT",
        "SELECT * FROM",
        "SELECT * FROM c WHERE a = 1::int",
        "SELECT 1 FROM c",
        "SELECT * FROM c WHERE a[b] = 1",
        "SELECT * FROM c WHERE a[*] = 1",
    ] {
        assert!(
            matches!(Query::parse(text), Err(QueryError::Text { line: 1, .. })),
            "{text}: {:?}",
            Query::parse(text)
        );
    }
}

/// Any name is a field's, quoted where it must be.
#[test]
fn names_that_are_words_of_sql() {
    for word in sqlparser::keywords::ALL_KEYWORDS.iter().chain(&[
        "MISSING",
        "_KEY",
        "CONTAINS",
        "STARTS_WITH",
        "COUNT",
    ]) {
        for name in [(*word).to_owned(), word.to_lowercase()] {
            let quoted = format!("\"{name}\"");
            for pattern in [
                "SELECT @, @.@ AS x, a AS @ FROM c",
                "SELECT a.@ FROM c",
                "SELECT MAX(@) FROM @.@",
                "SELECT * FROM @",
                "SELECT * FROM c WHERE @ = 1 AND 1 = @ OR @ IN (@, 1)",
                "SELECT * FROM c WHERE @ IS NULL OR 1 = ANY(@)",
                "SELECT * FROM c WHERE @ LIKE 'a' AND starts_with(@, @) AND NOT @",
                "SELECT @ FROM c GROUP BY @ HAVING @ > 1",
                "SELECT * FROM c ORDER BY @ COLLATE \"de\" DESC, @ LIMIT 1",
                "SELECT * FROM c WHERE @ = @ ORDER BY @",
            ] {
                let Ok(query) = Query::parse(&pattern.replace('@', &quoted)) else {
                    // Two columns of one name.
                    assert!(pattern.starts_with("SELECT @, @.@"), "{pattern} {quoted}");
                    continue;
                };
                let printed = query.to_string();
                assert_eq!(Query::parse(&printed).as_ref(), Ok(&query), "{printed}");
            }
        }
    }
    let swapped = Query::parse("SELECT a AS b, b AS a FROM c ORDER BY a, b DESC").unwrap();
    assert_eq!(swapped.to_string(), "SELECT a AS b, b AS a FROM c ORDER BY a, b DESC");
}

#[test]
fn numbers_are_exact() {
    let wide = format!("SELECT * FROM c WHERE a = {}", num_bigint::BigInt::from(1) << 511u32);
    assert_eq!(Query::parse(&wide).unwrap().to_string(), wide);
    let too_wide = format!("SELECT * FROM c WHERE a = {}", num_bigint::BigInt::from(1) << 512u32);
    assert_eq!(refused(&too_wide), "the integer exceeds 512 bits at line 1, column 27");
    assert!(refused(&format!("SELECT * FROM c WHERE a = {}", "9".repeat(100_000))).contains("512 bits"));
}

/// Neither depth nor length exhausts the stack or time. Tests run on threads with 2 MiB.
#[test]
fn large_texts_are_read_or_refused() {
    let conditions = |count: usize, word: &str| {
        format!("SELECT * FROM c WHERE a = 0{}", format!(" {word} a = 1").repeat(count))
    };
    for word in ["AND", "OR"] {
        let query = Query::parse(&conditions(900, word)).unwrap();
        assert_eq!(Query::parse(&query.to_string()).unwrap(), query);
        assert!(refused(&conditions(5000, word)).contains("more than 4096 words"));
    }
    for (open, close) in [
        ("(", ")"),
        ("NOT ", ""),
        ("sum(", ")"),
        ("a IN (", ")"),
        ("-", ""),
        ("[", "]"),
        ("a = ANY(", ")"),
        ("CASE ", ""),
        ("a.b[", "]"),
        ("x::a[", "]"),
        ("interval ", ""),
        ("a BETWEEN ", ""),
    ] {
        for depth in [10, 40, 100, 1000, 4000] {
            let text = format!("SELECT * FROM c WHERE {}a = 1{}", open.repeat(depth), close.repeat(depth));
            if let Ok(query) = Query::parse(&text) {
                assert!(depth <= MAX_FILTER_DEPTH + 10);
                assert_eq!(Query::parse(&query.to_string()).unwrap(), query);
            }
        }
    }
    for chain in
        ["1 + ", "a IS NULL IS NULL ", "a.", "a = ", "a::b::", "a COLLATE b ", "a AT TIME ZONE ", "a NOT "]
    {
        for count in [100, 500, 2000] {
            let _ = Query::parse(&format!("SELECT * FROM c WHERE {}a", chain.repeat(count)));
            let _ = Query::parse(&format!("SELECT {}a FROM c", chain.repeat(count)));
            let _ = Query::parse(&format!("SELECT * FROM c ORDER BY {}a", chain.repeat(count)));
            let _ = Query::parse(&format!("SELECT * FROM {}a", chain.repeat(count)));
        }
    }
    assert!(refused(&" ".repeat(300 << 10)).contains("bytes"));
}

#[test]
fn compiled_forms_that_are_refused() {
    let good = Query::parse("SELECT a FROM c WHERE a = 1 AND b = $1 ORDER BY a LIMIT 2").unwrap().to_bytes();
    Query::from_bytes(&good).unwrap();
    for end in 0..good.len() {
        assert!(matches!(Query::from_bytes(&good[..end]), Err(QueryError::Compiled(_))), "cut at {end}");
    }
    assert!(
        Query::from_bytes(&[&good[..], &[0]].concat()).unwrap_err().to_string().contains("bytes behind it")
    );
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            if let Ok(query) = Query::from_bytes(&bad) {
                assert_eq!(query.to_bytes(), bad);
                assert_eq!(Query::parse(&query.to_string()).unwrap(), query);
            }
        }
    }
    // NOT of NOT of NOT ...: [9, [9, ...
    let mut deep = vec![0x89, 0x01, 0x81, 0x61, b'c', 0xf6];
    deep.extend([0x82, 0x09].repeat(100_000));
    assert!(Query::from_bytes(&deep).unwrap_err().to_string().contains("too deep"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        if let Err(QueryError::Text { line, column, .. }) = Query::parse(&text) {
            prop_assert!(line == 1 && column as usize <= text.chars().count() + 1);
        }
    }

    #[test]
    fn any_words_are_read_or_refused(words in prop::collection::vec(prop::sample::select(vec![
        "SELECT", "*", "FROM", "c", "WHERE", "a", "=", "1", "AND", "OR", "NOT", "IN", "(", ")", ",", "LIKE", "'x'", "IS",
        "NULL", "MISSING", "GROUP", "BY", "ORDER", "LIMIT", "ANY", "count", "[", "]", ".", "$1", "?", "BETWEEN", "AS",
        "HAVING", "COLLATE", "\"q\"", "-", "::", "CASE", "END", "INTERVAL", "UNION", "INTO", "FOR", "UPDATE", "TABLE",
    ]), 0..14)) {
        let text = format!("SELECT {}", words.join(" "));
        if let Ok(query) = Query::parse(&text) {
            prop_assert_eq!(&Query::parse(&query.to_string()).unwrap(), &query);
            prop_assert_eq!(&Query::from_bytes(&query.to_bytes()).unwrap(), &query);
        }
    }

    #[test]
    fn any_bytes_are_compiled_queries_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(query) = Query::from_bytes(&bytes) {
            prop_assert_eq!(&query.to_bytes(), &bytes);
        }
        let _ = dotdb_query::Token::from_bytes(&bytes);
        let _ = dotdb_query::Schema::from_bytes(&bytes);
        let _ = IndexSpec::from_bytes(&bytes);
    }
}

/// Found by fuzzing: `[97]` and `[*]` are no columns that a text can name.
#[test]
fn a_compiled_index_has_a_text_form() {
    let index = |column: &[u8]| IndexSpec::from_bytes(&[&[0x82, 0xf4, 0x81][..], column].concat());
    let named = index(&[0x81, 0x61, b'a']).unwrap();
    assert_eq!(IndexSpec::parse(&named.to_string()), Ok(named));
    for column in [&[0x81, 0x18, 0x61][..], &[0x81, 0xf6], &[0x82, 0x00, 0xf6]] {
        let error = index(column).unwrap_err().to_string();
        assert!(error.ends_with("a path of an index begins with a field"), "{error}");
    }
}
