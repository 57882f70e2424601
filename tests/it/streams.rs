//! Streams as readers of all kinds take them: by lines of text, as events, with and without a last row.

use reqwest::Method;
use serde_json::{Value, json};

use crate::batches::{path, submit};
use crate::lines::lines_of;
use crate::server::TestServer;
use crate::submit_lines::{request, text};

/// What some reader of text takes for the end of a line.
const BREAKS: &str = "\u{b}\u{c}\u{1c}\u{1d}\u{1e}\u{85}\u{2028}\u{2029}";

fn breaks(body: &[u8]) -> Vec<char> {
    let text = std::str::from_utf8(body).expect("a text");
    text.chars().filter(|letter| BREAKS.contains(*letter)).collect()
}

#[tokio::test]
async fn nothing_in_a_line_or_an_event_ends_a_line_for_any_reader() {
    let it = TestServer::start().await;
    let value = format!("a{BREAKS}b");
    let calls = json!([{"args": [value]}]);
    let batch = submit(&it, &json!({"function": "echo", "calls": calls, "tags": [value]})).await;
    let waited = it.get(&format!("{}?wait=60", path(&batch, ""))).await.expect(200).json();
    assert_eq!(waited["done"], true);
    let results = it.get(&path(&batch, "/results?with=arguments")).await.expect(200);
    assert_eq!(lines_of(&results)[0]["result"], value);
    let completed = json!({"batch": batch["id"]});
    let completed = it.post("/v1/jobs/as-completed", &completed).await.expect(200);
    let job = lines_of(&completed)[0]["job"].clone();
    let mapped = it.send(request(&it, "/v1/map?function=echo", text(&[json!([value])]))).await;
    let refused = json!({"function": value});
    let submission = json!({"function": "echo", "args": [value], "metadata": {"k": value}});
    let lines = text(&[submission, refused]);
    let submitted = it.send(request(&it, "/v1/jobs", lines)).await;
    let events = it.get(&crate::process::path_of(&job)).await.expect(200).json();
    let events = it.get(events["urls"]["events"].as_str().expect("a path")).await.expect(200);
    for answer in [results, completed, mapped.expect(200), submitted.expect(200), events] {
        let text = String::from_utf8_lossy(&answer.body);
        assert!(breaks(&answer.body).is_empty(), "{text}");
    }
}

#[tokio::test]
async fn results_come_as_events_too_and_whoever_has_seen_their_end_is_sent_away() {
    let it = TestServer::start().await;
    let batch = submit(&it, &json!({"function": "echo", "iterables": [[1, 2, 3]]})).await;
    let results = path(&batch, "/results");
    let lines = lines_of(&it.get(&results).await.expect(200));
    let as_events = async |method: Method, path: &str, body: Option<Value>, last: &str| {
        let mut request = it.request(method, path).header("accept", "text/event-stream");
        if let Some(body) = body {
            request = request.json(&body);
        }
        it.send(request.header("last-event-id", last)).await
    };
    let events = |body: &[u8]| crate::sse::Parser::default().push(body);
    let whole = as_events(Method::GET, &results, None, "").await.expect(200);
    assert_eq!(whole.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let whole = events(&whole.body);
    let data: Vec<&Value> = whole.iter().map(|event| &event.data).collect();
    assert_eq!(data, lines.iter().collect::<Vec<_>>(), "the same content");
    let ids: Vec<&str> = whole.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["0", "1", "2", "2.end"]);
    let rest = as_events(Method::GET, &results, None, "1").await.expect(200);
    assert_eq!(events(&rest.body), whole[2..]);
    as_events(Method::GET, &results, None, "2.end").await.expect(204);

    let asked = json!({"batch": batch["id"]});
    let lines = lines_of(&it.post("/v1/jobs/as-completed", &asked).await.expect(200));
    let completed = "/v1/jobs/as-completed";
    let whole = as_events(Method::POST, completed, Some(asked.clone()), "").await.expect(200);
    let whole = events(&whole.body);
    assert_eq!(whole.iter().map(|it| it.data.clone()).collect::<Vec<_>>(), lines);
    let second = whole[1].id.clone();
    let rest = as_events(Method::POST, completed, Some(asked.clone()), &second).await.expect(200);
    assert_eq!(events(&rest.body), whole[2..]);
    let end = whole[3].id.clone();
    as_events(Method::POST, completed, Some(asked), &end).await.expect(204);
}

#[tokio::test]
async fn rows_without_a_last_one_are_counted_in_the_header_and_have_what_was_asked_for() {
    let it = TestServer::start().await;
    let batch = submit(&it, &json!({"function": "echo", "iterables": [[1, 2, 3]]})).await;
    let query = "/results?end=false&with=arguments,run_ms";
    let rows = it.get(&path(&batch, query)).await.expect(200);
    assert_eq!(rows.header("futurity-total"), Some("3"));
    let rows = lines_of(&rows);
    assert_eq!(rows.len(), 3);
    for (index, row) in rows.iter().enumerate() {
        let value = json!(index + 1);
        assert_eq!((&row["index"], &row["result"]), (&json!(index), &value));
        assert_eq!((&row["args"], &row["kwargs"]), (&json!([value]), &json!({})));
        assert!(row["run_ms"].is_u64() && row["attempt"] == 1, "{row}");
    }
    let lines = text(&[json!([1]), json!([2])]);
    let rows = request(&it, "/v1/map?function=echo&end=false&with=arguments", lines.clone());
    assert_eq!(lines_of(&it.send(rows).await.expect(200)).len(), 2);
    let lines = text(&[json!({"function": "echo"})]);
    let answers = it.send(request(&it, "/v1/jobs?end=false", lines)).await.expect(200);
    assert_eq!(lines_of(&answers).len(), 1);
    for query in ["?end=maybe", "?with=everything", "?max_result_bytes=-1"] {
        it.get(&path(&batch, &format!("/results{query}"))).await.expect(422);
    }
}

#[tokio::test]
async fn results_are_as_large_as_was_asked_for_wherever_many_are_shown() {
    let it = TestServer::start().await;
    let large = json!("x".repeat(300_000));
    let batch = submit(&it, &json!({"function": "echo", "iterables": [[large]]})).await;
    let most = 400_000;
    let results = it.get(&path(&batch, &format!("/results?max_result_bytes={most}"))).await;
    assert_eq!(lines_of(&results.expect(200))[0]["result"], large);
    let asked = json!({"batch": batch["id"], "max_result_bytes": most});
    let completed = it.post("/v1/jobs/as-completed", &asked).await.expect(200);
    assert_eq!(lines_of(&completed)[0]["job"]["result"], large);
    let waited = it.post("/v1/jobs/wait", &asked).await.expect(200).json();
    assert_eq!(waited["done"][0]["result"], large);
    let map = format!("/v1/map?function=echo&max_result_bytes={most}");
    let mapped = it.send(request(&it, &map, text(&[json!([large])]))).await.expect(200);
    assert_eq!(lines_of(&mapped)[0]["result"], large);
    let mapped = it.send(request(&it, "/v1/map?function=echo", text(&[json!([large])]))).await;
    let row = lines_of(&mapped.expect(200))[0].clone();
    assert_eq!((row.get("result"), &row["result_omitted"]), (None, &json!(true)));
}

#[tokio::test]
async fn lines_that_were_lost_on_the_way_are_missed() {
    let it = TestServer::start().await;
    let calls = text(&[json!([1]), json!([2])]);
    let jobs = text(&[json!({"function": "echo"}), json!({"function": "echo"})]);
    let told = |lines: u64| text(&[json!({"end": {"lines": lines}})]);
    for (path, lines) in [("/v1/map?function=echo", &calls), ("/v1/jobs?end=true", &jobs)] {
        for (path, body, is_missed) in [
            (format!("{path}&lines=2"), lines.clone(), false),
            (format!("{path}&lines=3"), lines.clone(), true),
            (format!("{path}&lines=1"), lines.clone(), true),
            (path.to_owned(), format!("{lines}{}", told(2)), false),
            (path.to_owned(), format!("{lines}{}", told(3)), true),
            (path.to_owned(), format!("{}{lines}", told(3)), true),
        ] {
            let answers = lines_of(&it.send(request(&it, &path, body)).await.expect(200));
            let (end, answers) = answers.split_last().expect("an end");
            assert_eq!(end["end"]["lines"], 2, "{path}");
            let missed = answers.iter().filter(|it| it["problem"]["code"] == "lines_lost");
            assert_eq!(missed.count(), usize::from(is_missed), "{path}: {answers:?}");
            assert_eq!(answers.len(), 2 + usize::from(is_missed), "each that came has its answer");
        }
    }
    // What only looks like it is a line like any other.
    let body = text(&[json!({"end": {"lines": 1, "more": 2}}), json!(["\"end\""])]);
    let answers = lines_of(&it.send(request(&it, "/v1/map?function=echo", body)).await.expect(200));
    assert_eq!((answers.len(), &answers[2]["end"]["lines"]), (3, &json!(2)));
    it.send(request(&it, "/v1/jobs?lines=many", String::new())).await.expect(422);
}

#[tokio::test]
async fn whoever_follows_all_changes_is_told_its_place_before_anything_changes() {
    let it = TestServer::start().await;
    it.done(&json!({"function": "echo"})).await;
    let request = it.request(Method::GET, "/v1/events");
    let mut response = request.send().await.expect("an answer");
    let mut parser = crate::sse::Parser::default();
    let mut events = Vec::new();
    while events.is_empty() {
        events = parser.push(&response.chunk().await.expect("a stream").expect("its beginning"));
    }
    assert_eq!((events[0].kind.as_str(), &events[0].data), ("alive", &json!({})));
    assert!(events[0].id.parse::<i64>().expect("a place") > 0);
    drop(response);
    let between = it.done(&json!({"function": "echo"})).await;
    let request = it.request(Method::GET, "/v1/events").header("last-event-id", &events[0].id);
    let mut events = crate::sse::Events::open(request).await;
    assert_eq!(events.next().await.data["id"], between["id"]);
}
