//! What Terraform answers to arguments that are out of the ordinary, class by class.

use std::collections::BTreeMap;

use super::super::eval::{Result, Scope, evaluate};
use super::super::parse;
use super::super::value::Value;

struct Pure;

impl Scope for Pure {
    fn root(&self, name: &str) -> Option<Result<Value>> {
        let template = Value::string("a${x}");
        (name == "local").then(|| Ok(Value::object(BTreeMap::from([("t".into(), template)]))))
    }

    fn call(&self, name: &str, _: &[Value]) -> Option<Result<Value>> {
        (name == "templatestring").then(|| Ok(Value::bool(true)))
    }

    fn roots(&self) -> Vec<String> {
        Vec::new()
    }
}

fn answer(expr: &str) -> Option<String> {
    let expr = parse::expression(expr).ok()?;
    evaluate(&expr, &Pure).ok()?.to_json()
}

#[track_caller]
fn gives(cases: &[(&str, &str)]) {
    for (expr, wanted) in cases {
        assert_eq!(answer(expr).as_deref(), Some(*wanted), "{expr}");
    }
}

#[track_caller]
fn refuses(cases: &[&str]) {
    for expr in cases {
        assert_eq!(answer(expr), None, "{expr}");
    }
}

#[test]
fn a_list_argument_has_elements_of_one_type() {
    gives(&[
        (r#"chunklist(["1", 2, true], 2)"#, r#"[["1","2"],["true"]]"#),
        (r#"distinct([1, "1", 2])"#, r#"["1","2"]"#),
        (r#"matchkeys([1, 2], ["a", "b"], ["b"])"#, "[2]"),
    ]);
    refuses(&["chunklist([1, [2]], 1)", "distinct([1, [2]])", "setproduct([1, [2]], [3])"]);
}

#[test]
fn a_set_has_no_order() {
    refuses(&[
        "concat([1], toset([2]))",
        "coalescelist([1], toset([2]))",
        r#"zipmap(["a"], toset([1]))"#,
        "matchkeys([1], [[2]], [3])",
    ]);
    gives(&[
        ("setproduct(toset([true, false]), [2, 1])", "[[false,1],[false,2],[true,1],[true,2]]"),
        ("setproduct([2, 1], [true])", "[[2,true],[1,true]]"),
        (r#"toset(["b", null, "a"])"#, r#"["a","b",null]"#),
    ]);
}

#[test]
fn only_values_of_one_type_are_contained() {
    gives(&[
        (r#"contains(["true"], true)"#, "false"),
        ("contains([1, 2], 2)", "true"),
        ("element([1, 2, 3], 4)", "2"),
        ("element([1, 2], -2)", "1"),
        (r#"element(split("-", "a-b-c"), -1)"#, r#""c""#),
        (r#"element(split("-", "a-b-c"), -4)"#, r#""c""#),
        ("element(tolist([1, 2, 3]), -3)", "1"),
    ]);
    refuses(&["contains([null], null)", "element([1, 2, 3], -1)"]);
}

#[test]
fn numbers_are_whole_where_they_must_be() {
    refuses(&[
        "signum(0.5)",
        r#"format("%d", 1.5)"#,
        r#"format("%x", "a")"#,
        r#"format("%q", null)"#,
    ]);
    gives(&[
        (r#"format("%.3d|%05v|%-5v|", 7, "ab", 1)"#, r#""007|000ab|1    |""#),
        (r#"substr("abc", -2, 0)"#, r#""bc""#),
        (r#"substr("abc", 1, 0)"#, r#""""#),
        ("1 + ( - 4) * 2", "-7"),
        ("1.1 - 1 == 0.1", "false"),
    ]);
}

#[test]
fn times_are_those_of_go() {
    gives(&[
        (r#"timeadd("2026-11-22T21:05:09.5Z", "600ms")"#, r#""2026-11-22T21:05:10Z""#),
        (r#"timecmp("9999-12-31T23:59:59Z", "2026-01-01T00:00:00Z")"#, "1"),
        (r#"timecmp("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z")"#, "0"),
        (r#"formatdate("ss", "2026-11-22T21:05:09.123456789123Z")"#, r#""09""#),
    ]);
    refuses(&[
        r#"timeadd("2026-11-22T21:05:60Z", "1s")"#,
        r#"formatdate("ss", "2026-11-22T21:05:09,5Z")"#,
    ]);
}

#[test]
fn yaml_is_that_of_terraforms_library() {
    gives(&[
        (r#"yamldecode("[0b1, 1_0, -0x1, 0x1F, 0o17]")"#, r#"["0b1","1_0","-0x1",31,15]"#),
        (r#"yamldecode("[0x9FFFFFFFFFFFFFFF]")"#, "[11529215046068469759]"),
        (r#"yamldecode("[0o1777777777777777777777]")"#, "[18446744073709551615]"),
        (r#"yamldecode("x: &x {a: 2}\nz: {a: 1, <<: *x}")["z"]"#, r#"{"a":2}"#),
        (r#"yamldecode("x: &x {a: 2}\nz: {<<: *x, a: 1}")["z"]"#, r#"{"a":1}"#),
        (r#"yamldecode("x: &x {a: 2, b: 3}\nz: {b: 1, <<: *x, a: 5}")["z"]"#, r#"{"a":5,"b":3}"#),
        (r#"yamldecode("!!int '5'")"#, r#""5""#),
        (r#"yamldecode("2001-12-14t21:59:43.10-05:00")"#, r#""2001-12-14T21:59:43-05:00""#),
        (r#"yamlencode([" a\n"])"#, r#""- |2\n   a\n""#),
        (r#"yamlencode(["\n\n"])"#, r#""- |2+\n\n\n""#),
        (r#"yamlencode(["a\tb\n"])"#, r#""- \"a\\tb\\n\"\n""#),
        (r#"yamlencode(["\U0001F600\u2028\u0007"])"#, r#""- \"\\U0001F600\\L\\a\"\n""#),
    ]);
    refuses(&[
        r#"yamldecode(".inf")"#,
        r#"yamldecode("!x 1")"#,
        r#"yamldecode("0x1FFFFFFFFFFFFFFFF")"#,
        r#"yamldecode("%YAML 1.2\n---\na: 1")"#,
        r#"yamldecode("x: &x {a: 1}\ny: {<<: [*x]}")"#,
    ]);
}

#[test]
fn encodings_and_words_are_as_lenient_as_go() {
    gives(&[
        (r#"base64decode("YR==")"#, r#""a""#),
        (r#"title("it's a-b")"#, r#""It'S A-B""#),
        ("ephemeralasnull([1])", "[1]"),
    ]);
    refuses(&["setsymmetricdifference([1], [2])"]);
}

#[test]
fn what_is_expanded_is_evaluated_before_try_and_can() {
    gives(&[("try([1, 2]...)", "1"), ("try(1 + [], [2]...)", "2"), ("can([1]...)", "true")]);
    refuses(&["try(1...)", "can(1...)", "try([][0]...)", "try(1, [][0]...)"]);
}

#[test]
fn a_templates_text_is_named_not_written() {
    gives(&[("templatestring(local.t, {})", "true")]);
    refuses(&[r#"templatestring("a", {})"#]);
}

#[test]
fn a_key_may_stand_twice_and_be_any_word() {
    gives(&[
        (r#"{ "x y" = 1, "x y" = 4, null = 2, true = 3 }"#, r#"{"null":2,"true":3,"x y":4}"#),
        (r#"{ "é" = 1, b = { é = 2, é = 3 }, "é" = 4 }"#, r#"{"b":{"é":3},"é":4}"#),
        (r#"{ ("k") = 1, ("k") = 2, (1) = 3, (1): 4 }"#, r#"{"1":4,"k":2}"#),
        (r#"{ (upper("a")) = 1, (upper("a")) = { ("b") = 1, ("b") = 2 } }"#, r#"{"A":{"b":2}}"#),
    ]);
}

#[test]
fn a_splat_may_stand_within_another() {
    gives(&[
        ("[{a=[{b=1},{b=2}]}][*].a[*].b", "[[1,2]]"),
        ("[[1],[2]].*.0", "[1,2]"),
        ("[][*].*", "[]"),
    ]);
    refuses(&["[].*.a.*.b", "{}.*.0", "\"a\nb\"", "\"a${1}\n\""]);
}

#[test]
fn a_null_has_the_type_it_was_given() {
    gives(&[
        ("tostring(tobool(null))", "null"),
        ("coalesce(null, tonumber(null), \"a\")", "\"a\""),
        ("merge({ a = 1 }, tomap(null))", "{\"a\":1}"),
        ("tostring(null) == tonumber(null)", "true"),
        ("[null] == [tostring(null)]", "false"),
        ("[for x in [one(tolist([])), 1] : x]", "[null,1]"),
    ]);
    refuses(&[
        "tonumber(tobool(null))",
        "tolist(tostring(null))",
        "coalesce(tonumber(null), true)",
        "merge(tobool(null), {})",
        "one(slice([\"a\"], 0, 0)).b",
        "true ? 0 : tobool(null)",
        "tobool(null) ? 1 : 2",
    ]);
}

#[test]
fn several_types_become_the_one_that_terraform_chooses() {
    gives(&[
        ("toset([1, false, \"1\"])", "[\"1\",\"false\"]"),
        ("tolist([{ a = null }, { a = 1, b = 2 }])", "[{\"a\":null},{\"a\":1,\"b\":2}]"),
        ("tomap({ a = [1], b = null })", "{\"a\":[1],\"b\":null}"),
        ("tolist([[], [\"a\", 1]])", "[[],[\"a\",\"1\"]]"),
        ("setproduct([1], [\"a\", true])", "[[1,\"a\"],[1,\"true\"]]"),
        ("setunion([1], toset([]), [\"a\"])", "[\"1\",\"a\"]"),
        ("concat(tolist([1]), tolist([\"a\"]))", "[\"1\",\"a\"]"),
        ("merge(tomap({ a = 1 }), tomap({ b = \"x\" }))", "{\"a\":1,\"b\":\"x\"}"),
        ("slice(tolist([\"a\"]), 0, 0) == slice(tolist([1]), 0, 0)", "false"),
    ]);
    refuses(&[
        "toset([1, false])",
        "tolist([null, [1]])",
        "tolist([null, { a = 1 }])",
        "tolist([{ a = null }, { a = [1] }])",
        "tomap({ a = [1], b = null, c = [\"x\"] })",
        "index([\"1\"], 1)",
        "lookup(tomap({ a = 1 }), \"a\", {})",
        "transpose({ a = [null] })",
    ]);
}

#[test]
fn the_branch_that_is_not_taken_has_a_say_in_the_type() {
    gives(&[
        ("true ? 1 : tobool(\"x\")", "1"),
        ("true ? [1] : tolist([\"x\", {}])", "[1]"),
        ("(true ? [1] : tolist([\"a\"]))", "[\"1\"]"),
        ("true ? {} : { a = tonumber(\"x\") }", "{}"),
        ("true ? [] : \"${tonumber(\"x\")}\"", "[]"),
        ("false ? [\"a\"] : [true]", "[\"true\"]"),
    ]);
    refuses(&[
        "true ? 1 : [tonumber(\"x\")]",
        "true ? 1 : { a = tonumber(\"x\") }",
        "true ? [] : \"a${tonumber(\"x\")}\"",
        "true ? [] : 1 + \"x\"",
        "true ? [] : !\"x\"",
        "true ? [] : {}",
        "false ? { a = 1 } : tostring(null)",
    ]);
}

#[test]
fn a_set_is_gone_through_in_terraforms_order() {
    gives(&[
        ("[for x in toset([{ id = 1 }, { id = 10 }, { id = 2 }]) : x.id]", "[10,1,2]"),
        (
            "tolist(toset([[\"a\", 1], [\"a\", null], [\"a\", 1e30]]))",
            r#"[["a",1],["a",1000000000000000000000000000000],["a",null]]"#,
        ),
        ("tolist(toset([{ a = true }, { a = false }]))", r#"[{"a":false},{"a":true}]"#),
        (
            "tolist(toset([tomap({ b = 1 }), tomap({ a = 2 }), tomap({})]))",
            r#"[{"a":2},{"b":1},{}]"#,
        ),
    ]);
}

#[test]
fn the_branch_that_is_not_taken_hides_what_a_condition_gives() {
    gives(&[
        ("issensitive(true ? 1 : sensitive(2))", "true"),
        ("issensitive(false ? sensitive(null) : 2)", "true"),
        ("issensitive(sensitive(true) ? 1 : 2)", "true"),
        // A mark within is not one of the whole, and what fails has none.
        ("issensitive(true ? [1] : [sensitive(2)])", "false"),
        ("issensitive((true ? { a = 1 } : { a = sensitive(2) }).a)", "false"),
        (r#"issensitive(true ? 1 : tonumber(sensitive("x")))"#, "false"),
    ]);
}

#[test]
fn numbers_have_the_bits_that_terraform_computes_with() {
    gives(&[
        ("ceil(log(9, 3))", "3"),
        ("floor(log(1000, 10))", "2"),
        ("log(3, 2)", "1.584962500721156"),
        ("pow(2, 64) + 1", "18446744073709551617"),
        ("pow(2, 64)", "18446744073709550000"),
        ("pow(2, 64) == 18446744073709551616", "true"),
        ("pow(10, 23)", "100000000000000000000000"),
        ("pow(10, -1) == 0.1", "true"),
        ("pow(2, 0.5) * pow(2, 0.5)", "2.0000000000000004"),
        ("length([1]) / length([1, 2, 3])", "0.33333333333333333334"),
        (r#"cidrhost("fd00::/16", pow(2, 64))"#, r#""fd00:0:0:1::""#),
        ("pow(0, 0)", "1"),
        ("pow(2, -1074) > 0", "true"),
    ]);
    refuses(&["pow(10, 400)", "log(0, 2)"]);
}

#[test]
fn a_heredoc_ends_at_its_marker_alone_on_a_line() {
    gives(&[
        ("<<EOT\na\nEOT)\nEOTX\nEOT x\nEOT\n", r#""a\nEOT)\nEOTX\nEOT x\n""#),
        ("<<-EOT\n  a\n  EOT,\n  EOT \n", r#""a\nEOT,\n""#),
        ("[<<EOT\nEOT]\nEOT\t\n, 1]", r#"["EOT]\n",1]"#),
        ("upper(<<x\nxx ${\"y\"}\nx\n)", r#""XX Y\n""#),
        ("\"<<EOT ${1 + 1}\"", r#""<<EOT 2""#),
        ("[<<EOT\nEOT\n, <<-EOT\n  EOT \n, <<EOT\na\nEOT\n]", r#"["","","a\n"]"#),
        ("<<EOT\n$${a} \"\nEOT\n", r#""${a} \"\n""#),
    ]);
    refuses(&["upper(<<EOT\na\nEOT)", "[<<EOT\na\nEOT, 1]", "<<EOT\nEOT\n\nEOT", "<<EOT\na"]);
}

#[test]
fn text_is_encoded_under_the_names_of_iana() {
    gives(&[
        (r#"textencodebase64("é", "latin1")"#, r#""6Q==""#),
        (r#"textencodebase64("a", "UTF-16")"#, r#""/v8AYQ==""#),
        (r#"textdecodebase64("//5hAA==", "csUTF16")"#, r#""a""#),
        (r#"textencodebase64("ı", " ISO-8859-9 ")"#, r#""/Q==""#),
        (r#"textdecodebase64("0A==", "l5")"#, r#""Ğ""#),
        (r#"textencodebase64("日本", "Shift_JIS")"#, r#""k/qWew==""#),
        (r#"textdecodebase64("gA==", "windows-1252")"#, r#""€""#),
        (r#"textdecodebase64("YWJj\n", "KOI8-R")"#, r#""abc""#),
    ]);
    refuses(&[
        r#"textencodebase64("ı", "latin1")"#,
        r#"textencodebase64("ð", "latin5")"#,
        r#"textencodebase64("é", "US-ASCII")"#,
        r#"textdecodebase64("/w==", "us")"#,
        r#"textencodebase64("a", "windows-31j")"#,
        r#"textencodebase64("a", "utf8")"#,
        r#"textdecodebase64("YQ", "utf-8")"#,
        r#"textdecodebase64("77+9", "utf-8")"#,
        r#"textdecodebase64("gQ==", "windows-1252")"#,
    ]);
}
