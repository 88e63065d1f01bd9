//! What Alertmanager's and Go's own code say (`fixtures/matchers`), properties, and the stories of matchers.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn matcher(text: &str) -> Matcher {
    Matcher::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// Shows at most this many differences to a table.
const SHOWN: usize = 40;

fn report(wrong: &[String], rows: usize) {
    let shown = &wrong[..wrong.len().min(SHOWN)];
    assert!(wrong.is_empty(), "{} of {rows} rows differ:\n{}", wrong.len(), shown.join("\n"));
}

#[test]
fn patterns_mean_what_go_makes_of_them() {
    let table = include_str!("../../../fixtures/matchers/go_regex.tsv");
    let mut wrong = Vec::new();
    let mut rows = 0;
    let mut last: Option<(String, Result<Regex, go_regex::PatternError>)> = None;
    for line in table.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [pattern, input, wanted] = fields[..] else { panic!("not a row: {line}") };
        let pattern: String = serde_json::from_str(pattern).unwrap();
        let input: String = serde_json::from_str(input).unwrap();
        // Rows of one pattern stand together.
        if last.as_ref().is_none_or(|(before, _)| *before != pattern) {
            last = Some((pattern.clone(), go_regex::compile(&pattern)));
        }
        let found = match &last.as_ref().unwrap().1 {
            Ok(regex) if regex.is_match(&input) => "match",
            Ok(_) => "nomatch",
            Err(error) if error.limit => "limit",
            Err(_) => "error",
        };
        if found != wanted {
            wrong.push(format!("{pattern:?} on {input:?}: {found}, Go says {wanted}"));
        }
        rows += 1;
    }
    report(&wrong, rows);
    assert!(rows >= 2000, "{rows} rows");
}

#[test]
fn texts_read_as_alertmanager_reads_them() {
    let table = include_str!("../../../fixtures/matchers/compat.tsv");
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in table.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [kind, text, wanted, set, matched] = fields[..] else { panic!("not a row: {line}") };
        let text: String = serde_json::from_str(text).unwrap();
        let wanted: serde_json::Value = serde_json::from_str(wanted).unwrap();
        let set: BTreeMap<String, String> = serde_json::from_str(set).unwrap();
        let read = match kind {
            "one" => Matcher::parse(&text).map(|one| vec![one]),
            _ => parse_list(&text),
        };
        let found = match &read {
            Ok(list) => list.iter().map(|m| serde_json::json!([m.name(), m.op().as_str(), m.value()])).collect(),
            Err(_) => serde_json::json!("error"),
        };
        if found != wanted {
            wrong.push(format!("{kind} {text:?}: {found}, Alertmanager says {wanted} ({:?})", read.err()));
        } else if let Ok(list) = read {
            if matches_all(&list, &set) != (matched == "true") {
                wrong.push(format!("{kind} {text:?} on {set:?}: Alertmanager says {matched}"));
            }
            assert_eq!(parse_list(&format_list(&list)).as_ref(), Ok(&list), "{text:?} as a list");
        }
        rows += 1;
    }
    report(&wrong, rows);
    assert!(rows >= 300, "{rows} rows");
}

#[test]
fn an_absent_label_is_an_empty_one() {
    let without = labels(&[("foo", "x")]);
    for text in [r#"bar="""#, r#"bar!="x""#, r#"bar=~".*""#, r#"bar!~".+""#] {
        assert!(matcher(text).matches(&without), "{text}");
    }
    for text in [r#"bar!="""#, r#"bar="x""#, r#"bar=~".+""#, r#"bar!~".*""#] {
        assert!(!matcher(text).matches(&without), "{text}");
    }
}

#[test]
fn only_an_equality_with_a_value_serves_an_index() {
    assert_eq!(matcher("a=b").equality(), Some(("a", "b")));
    for text in ["a=", "a!=b", "a=~b", "a!~b"] {
        assert_eq!(matcher(text).equality(), None, "{text}");
    }
}

#[test]
fn where_both_grammars_hold_the_classic_reading_wins() {
    assert_eq!(matcher(r#"foo="\xf0\x9f\x99\x82""#).value(), r"\xf0\x9f\x99\x82");
    assert_eq!(matcher(r#""foo"="\xf0\x9f\x99\x82""#).value(), "🙂");
}

#[test]
fn the_canonical_text_is_also_the_serialised_form() {
    let one = matcher(r#" "a b" =~ "x|\"y\"" "#);
    let text = serde_json::to_string(&one).unwrap();
    assert_eq!(text, r#""\"a b\"=~\"x|\\\"y\\\"\"""#);
    assert_eq!(serde_json::from_str::<Matcher>(&text).unwrap(), one);
    let error = serde_json::from_str::<Matcher>(r#""a=~(""#).unwrap_err().to_string();
    assert!(error.contains("bad matcher at byte 3"), "{error}");
}

#[test]
fn errors_say_what_and_where_and_what_to_do() {
    let told = |text: &str| {
        let error = parse_list(text).unwrap_err();
        (error.at(), error.what().to_owned(), error.hint().unwrap_or_default().to_owned())
    };
    let (at, what, hint) = told(r#"severity~"page""#);
    assert_eq!(
        (at, what.as_str(), hint.as_str()),
        (8, "one of `=`, `!=`, `=~`, `!~` is expected", "use `=~` for a pattern")
    );
    let (at, what, hint) = told(r#"foo=="bar""#);
    assert_eq!((at, what.as_str(), hint.as_str()), (5, "a quote inside the value", "`==` is not an operator, use `=`"));
    let (at, what, _) = told(r#"{a="b",c=~"d("}"#);
    assert_eq!((at, what.as_str()), (10, "not a pattern: a `(` is not closed (at byte 2 of the pattern)"));
    let (at, _, hint) = told(r#"{team.name=b c}"#);
    assert_eq!((at, hint.as_str()), (13, "quote the value"));
    let (_, what, hint) = told(r#"a=~"(?!b)""#);
    assert!(what.contains("at byte 0 of the pattern") && hint.contains("look-around"), "{what}; {hint}");
    assert!(Matcher::parse("{a=b}").unwrap_err().what().contains("brace"));
}

#[test]
fn a_pattern_that_makes_others_backtrack_is_matched() {
    let text = "a".repeat(100_000);
    for pattern in ["(a*)*b", "(a|a)*b", "(a|aa)+b", "(.*)*(.*)*x", "((a{0,10})*)*c"] {
        let one = Matcher::new("a", MatchOp::Matches, pattern).unwrap();
        assert!(!one.matches_value(&text), "{pattern}");
        assert!(one.matches_value(&format!("{text}{}", &pattern[pattern.len() - 1..])), "{pattern}");
    }
}

#[test]
fn a_pattern_beyond_the_bounds_is_refused_and_never_read_otherwise() {
    let deep = format!("{}a{}", "(".repeat(5_000), ")".repeat(5_000));
    let stars = format!("{}a{}", "(?:".repeat(3_000), ")*".repeat(3_000));
    let classes = r"\pL".repeat(3_334);
    let repeated = r"[^x]{1000}".repeat(1_000);
    let long = "a".repeat(100_000);
    for pattern in [deep, stars, classes, repeated, long] {
        assert!(pattern.len() >= 10_000);
        let error = Matcher::new("a", MatchOp::Matches, pattern.as_str()).unwrap_err();
        assert!(error.is_limit() && error.hint().is_some(), "{error}");
        assert!(Matcher::parse(&format!("a=~\"{pattern}\"")).is_err());
    }
}

#[test]
fn large_patterns_of_daily_life_are_within_the_bounds() {
    let names: Vec<String> = (0..1_000).map(|n| format!("node-{n:04}\\.eu-west")).collect();
    let one = Matcher::new("node", MatchOp::Matches, names.join("|")).unwrap();
    assert!(one.matches_value("node-0999.eu-west") && !one.matches_value("node-1000.eu-west"));
    for pattern in [r"[^x]{1000}", r"\w{1,1000}", r"(?i)\pL{1,20}"] {
        assert!(Matcher::new("a", MatchOp::Matches, pattern).is_ok(), "{pattern}");
    }
}

#[test]
fn the_deepest_patterns_compile_on_half_a_tasks_stack() {
    let nested = |open: &str, close: &str, levels| format!("{}a{}", open.repeat(levels), close.repeat(levels));
    let shapes =
        [("(", ")"), ("(?:", ")*"), ("(?:", ")+"), ("(?:", "){0,1}"), ("(", ")*"), ("(?:b|", ")"), ("(?:b|c", ")?")];
    let work = move || {
        for (open, close) in shapes {
            let deepest = (1..100).take_while(|n| Matcher::new("a", MatchOp::Matches, nested(open, close, *n)).is_ok());
            assert!(deepest.count() >= 15, "{open}{close}");
            let over = Matcher::new("a", MatchOp::Matches, nested(open, close, 100)).unwrap_err();
            assert!(over.is_limit(), "{over}");
        }
    };
    std::thread::Builder::new().stack_size(1024 * 1024).spawn(work).unwrap().join().unwrap();
}

/// Texts near the grammars: any text at all would hardly ever be a matcher.
fn near_matcher() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("foo"),
        Just("a"),
        Just("é"),
        Just("="),
        Just("!="),
        Just("=~"),
        Just("!~"),
        Just("\""),
        Just("\\"),
        Just("\\x"),
        Just("41"),
        Just("\\u"),
        Just("n"),
        Just("{"),
        Just("}"),
        Just(","),
        Just(" "),
        Just("\n"),
        Just("("),
        Just("[^"),
        Just("]"),
        Just("(?"),
        Just("\\p{"),
        Just("\u{a0}"),
        Just("🙂"),
        Just("*"),
        Just("{2}"),
        Just("|"),
    ];
    proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

fn any_op() -> impl Strategy<Value = MatchOp> {
    prop_oneof![Just(MatchOp::Equal), Just(MatchOp::NotEqual), Just(MatchOp::Matches), Just(MatchOp::NotMatches)]
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>(), near in near_matcher()) {
        for text in [text, near] {
            for error in [Matcher::parse(&text).err(), parse_list(&text).err()].into_iter().flatten() {
                prop_assert!(text.is_char_boundary(error.at()), "{:?} at {}", text, error.at());
            }
            if let Err(error) = go_regex::compile(&text) {
                prop_assert!(error.at.is_none_or(|at| text.is_char_boundary(at)), "{:?} at {:?}", text, error.at);
            }
        }
    }

    #[test]
    fn what_is_read_is_written_and_read_again(near in near_matcher()) {
        if let Ok(one) = Matcher::parse(&near) {
            prop_assert_eq!(&Matcher::parse(&one.to_string()), &Ok(one.clone()));
        }
        if let Ok(list) = parse_list(&near) {
            prop_assert_eq!(&parse_list(&format_list(&list)), &Ok(list.clone()));
        }
    }

    #[test]
    fn any_name_and_value_survive_their_canonical_text(name in any::<String>(), op in any_op(), value in any::<String>()) {
        if let Ok(one) = Matcher::new(name, op, value) {
            prop_assert_eq!(&Matcher::parse(&one.to_string()), &Ok(one.clone()));
            prop_assert_eq!(&parse_list(&format_list(&[one.clone(), one.clone()])), &Ok(vec![one.clone(), one]));
        }
    }

    #[test]
    fn absent_and_empty_are_one(op in any_op(), value in "[a-c.*|()]{0,6}") {
        if let Ok(one) = Matcher::new("foo", op, value) {
            prop_assert_eq!(one.matches(&labels(&[])), one.matches(&labels(&[("foo", "")])));
        }
    }

    #[test]
    fn a_negation_is_the_opposite(value in "[a-c.*|()\\\\]{0,6}", text in "[a-c]{0,4}") {
        if let Ok(positive) = Matcher::new("foo", MatchOp::Matches, value.clone()) {
            let negative = Matcher::new("foo", MatchOp::NotMatches, value).unwrap();
            prop_assert_ne!(positive.matches_value(&text), negative.matches_value(&text));
        }
    }

    #[test]
    fn a_quoted_text_matches_itself_only(text in any::<String>(), other in any::<String>()) {
        if !text.contains("\\E") && !text.ends_with('\\') {
            let one = Matcher::new("foo", MatchOp::Matches, format!("\\Q{text}\\E")).unwrap();
            prop_assert!(one.matches_value(&text));
            prop_assert_eq!(one.matches_value(&other), text == other);
        }
    }
}
