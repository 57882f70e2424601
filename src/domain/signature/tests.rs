//! Calls that fit and calls that do not, with the words of CPython 3.14's `TypeError`.

use super::*;

/// `f(a, b=…)` is written `a b=`.
fn signature(text: &str) -> Signature {
    let parameter = |word: &str| Parameter {
        name: word.trim_end_matches('=').to_owned(),
        required: !word.ends_with('='),
        default: None,
        schema: Value::Null,
    };
    Signature { parameters: text.split_whitespace().map(parameter).collect() }
}

fn bind(parameters: &str, args: &str, kwargs: &[(&str, &str)]) -> Result<String, String> {
    let args: Vec<&RawValue> = serde_json::from_str(args).unwrap();
    let kwargs: Vec<(&str, &RawValue)> =
        kwargs.iter().map(|(name, value)| (*name, serde_json::from_str(value).unwrap())).collect();
    let bound = signature(parameters).bind(&FunctionName::new("f").unwrap(), &args, &kwargs);
    bound.map(|json| json.as_str().to_owned()).map_err(|error| error.to_string())
}

/// Parameters, positional arguments, keyword arguments, and what comes of them.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

#[test]
fn e1_arguments_are_bound_by_place_then_by_name() {
    let cases: [Case; 8] = [
        ("", "[]", &[], "{}"),
        ("a", "[1]", &[], r#"{"a":1}"#),
        ("a", "[]", &[("a", "1")], r#"{"a":1}"#),
        ("a b", "[1]", &[("b", "2")], r#"{"a":1,"b":2}"#),
        ("a b", "[]", &[("b", "2"), ("a", "1")], r#"{"a":1,"b":2}"#),
        ("a b=", "[1]", &[], r#"{"a":1}"#),
        ("a= b=", "[]", &[("b", "null")], r#"{"b":null}"#),
        // Numbers lose no digit.
        ("a", "[1e999]", &[], r#"{"a":1e999}"#),
    ];
    for (parameters, args, kwargs, bound) in cases {
        assert_eq!(bind(parameters, args, kwargs).as_deref(), Ok(bound), "f({parameters})");
    }
}

#[test]
fn e1_a_call_that_does_not_fit_is_refused_in_pythons_words() {
    let cases: [Case; 13] = [
        ("", "[1]", &[], "f() takes 0 positional arguments but 1 was given"),
        ("", "[1,2]", &[], "f() takes 0 positional arguments but 2 were given"),
        ("a", "[1,2]", &[], "f() takes 1 positional argument but 2 were given"),
        ("a b", "[1,2,3]", &[], "f() takes 2 positional arguments but 3 were given"),
        ("a b=", "[1,2,3]", &[], "f() takes from 1 to 2 positional arguments but 3 were given"),
        ("a=", "[1,2]", &[], "f() takes from 0 to 1 positional arguments but 2 were given"),
        ("a", "[]", &[("x", "1")], "f() got an unexpected keyword argument 'x'"),
        ("a", "[1]", &[("a", "1")], "f() got multiple values for argument 'a'"),
        // As in Python, keywords are looked at before the number of the others.
        ("a", "[1,2]", &[("x", "1")], "f() got an unexpected keyword argument 'x'"),
        ("a", "[]", &[], "f() missing 1 required argument: 'a'"),
        ("a b", "[]", &[], "f() missing 2 required arguments: 'a' and 'b'"),
        ("a b c", "[]", &[], "f() missing 3 required arguments: 'a', 'b', and 'c'"),
        ("a b c=", "[]", &[("a", "1")], "f() missing 1 required argument: 'b'"),
    ];
    for (parameters, args, kwargs, words) in cases {
        let refused = bind(parameters, args, kwargs);
        assert_eq!(refused.as_ref().map_err(String::as_str), Err(words), "f({parameters})");
    }
}
