//! Which headers make two requests different.

use axum::{Router, http::Method, routing::any, routing::post};

use crate::stage::{Stage, create, on_every_store, on_memory};

on_every_store!(another_method_or_route_is_another_key,);

on_memory!(
    another_precondition_is_another_request,
    the_same_bytes_of_another_type_are_another_request,
    a_type_in_another_spelling_is_the_same_request,
    utf_8_says_nothing_new_of_json_and_of_a_form,
    headers_that_say_what_the_bytes_mean_count,
    white_space_around_commas_does_not_count,
    another_content_encoding_is_another_request,
    headers_that_the_service_names_count,
    named_headers_are_compared_by_what_they_mean,
    headers_that_say_nothing_of_the_request_do_not_count,
);

async fn another_precondition_is_another_request(stage: Stage) {
    let server = stage.serve(Router::new().route("/", any(create))).await;
    let names = ["if-match", "if-none-match", "if-unmodified-since", "if-modified-since", "if-range"];
    for (index, name) in names.into_iter().enumerate() {
        let put = |value| server.call(Method::PUT, "/").key(name).header(name, value).body("same");
        put("\"1\"").send().await.is_run(index + 1);
        put("\"2\"").send().await.is_problem(422, "key-reused");
        server.call(Method::PUT, "/").key(name).body("same").send().await.is_problem(422, "key-reused");
        put("\"1\"").send().await.is_replay_of_run(index + 1);
    }
    // Two header lines count as one list.
    let listed = server.call(Method::PUT, "/").key("list").header("if-match", "\"1\", \"2\"");
    listed.send().await.is_run(names.len() + 1);
    let lines = server.call(Method::PUT, "/").key("list").header("if-match", "\"1\"").header("if-match", "\"2\"");
    lines.send().await.is_replay_of_run(names.len() + 1);
}

async fn the_same_bytes_of_another_type_are_another_request(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create))).await;
    let of = |kind: &str| server.post("/").key("k").header("content-type", kind).body("{}");
    of("application/json").send().await.is_run(1);
    for other in ["text/plain", "application/json; charset=latin1", "application/merge-patch+json", ""] {
        of(other).send().await.is_problem(422, "key-reused");
    }
    server.post("/").key("k").body("{}").send().await.is_problem(422, "key-reused");
    of("application/json").send().await.is_replay_of_run(1);
}

async fn a_type_in_another_spelling_is_the_same_request(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create))).await;
    let of = |kind: &str| server.post("/").key("k").header("content-type", kind).body("{}");
    of("application/json; charset=utf-8").send().await.is_run(1);
    for same in
        ["application/json;charset=UTF-8", "Application/JSON ; Charset=\"utf-8\"", "application/json;charset=utf-8;"]
    {
        of(same).send().await.is_replay_of_run(1);
    }
    // A boundary is compared exactly, because it decides how the body is read.
    let of = |boundary: &str| {
        server.post("/").key("m").header("content-type", format!("multipart/form-data; boundary={boundary}")).body("x")
    };
    of("AaB").send().await.is_run(2);
    of("aab").send().await.is_problem(422, "key-reused");
}

async fn utf_8_says_nothing_new_of_json_and_of_a_form(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create))).await;
    let kinds = ["application/json", "application/vnd.bank+json", "text/json", "application/x-www-form-urlencoded"];
    for (index, kind) in kinds.into_iter().enumerate() {
        let of = |parameters: &str| {
            server.post("/").key(kind).header("content-type", format!("{kind}{parameters}")).body("{}")
        };
        of("").send().await.is_run(index + 1);
        for same in ["; charset=utf-8", ";charset=\"UTF-8\"", "; Charset=utf-8;", ";"] {
            of(same).send().await.is_replay_of_run(index + 1);
        }
        // Other characters, and parameters with a meaning.
        for other in ["; charset=latin1", "; profile=x", "; charset=utf-8; profile=x"] {
            of(other).send().await.is_problem(422, "key-reused");
        }
    }
    // Without a charset, text may be anything.
    let of = |kind: &str| server.post("/").key("text").header("content-type", kind).body("{}");
    of("text/plain").send().await.is_run(kinds.len() + 1);
    of("text/plain; charset=utf-8").send().await.is_problem(422, "key-reused");
}

async fn headers_that_say_what_the_bytes_mean_count(stage: Stage) {
    let server = stage.serve(Router::new().route("/", any(create))).await;
    let names = [
        ("content-range", "bytes 0-3/8", "bytes 4-7/8"),
        ("content-location", "/a", "/b"),
        ("content-language", "de", "en"),
        ("content-disposition", "attachment; filename=a", "attachment; filename=b"),
        ("upload-offset", "0", "4"),
        ("upload-complete", "?0", "?1"),
        ("upload-length", "8", "9"),
        ("upload-metadata", "filename YQ==", "filename Yg=="),
        ("upload-concat", "partial", "final;/1 /2"),
        ("slug", "a", "b"),
        ("destination", "/a", "/b"),
        ("depth", "0", "infinity"),
        ("overwrite", "T", "F"),
        ("lock-token", "<urn:1>", "<urn:2>"),
        ("if", "(<urn:1>)", "(<urn:2>)"),
        ("range", "bytes=0-3", "bytes=4-7"),
    ];
    for (index, (name, value, other)) in names.into_iter().enumerate() {
        let patch = |value: &str| server.call(Method::PATCH, "/").key(name).header(name, value).body("part");
        patch(value).send().await.is_run(index + 1);
        patch(other).send().await.is_problem(422, "key-reused");
        server.call(Method::PATCH, "/").key(name).body("part").send().await.is_problem(422, "key-reused");
        patch(value).send().await.is_replay_of_run(index + 1);
    }
}

async fn white_space_around_commas_does_not_count(stage: Stage) {
    let settings = stage.settings().fingerprint_headers(["X-Tags"]).credentials(["X-Groups"]);
    let server = stage.serve_with(settings, Router::new().route("/", post(create))).await;
    for (index, name) in ["x-tags", "x-groups", "if-match"].into_iter().enumerate() {
        let run = index + 1;
        let one = |value: &str| server.post("/").key(name).header(name, value);
        one("a").header(name, "\"b, c\"").send().await.is_run(run);
        for same in ["a,\"b, c\"", "a, \"b, c\"", "a ,\t\"b, c\" "] {
            one(same).send().await.is_replay_of_run(run);
        }
        // Inside quotes it counts.
        for other in ["a,\"b,c\"", "\"b, c\",a", "a \"b, c\""] {
            one(other).send().await.is_problem(422, "key-reused");
        }
    }
}

async fn another_content_encoding_is_another_request(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create))).await;
    let encoded = |encoding: &str| server.post("/").key("k").header("content-encoding", encoding).body("x");
    encoded("gzip").send().await.is_run(1);
    encoded("br").send().await.is_problem(422, "key-reused");
    server.post("/").key("k").body("x").send().await.is_problem(422, "key-reused");
    encoded("GZIP").send().await.is_replay_of_run(1);
}

async fn headers_that_the_service_names_count(stage: Stage) {
    let settings = stage.settings().fingerprint_headers(["Accept", "X-Api-Version"]);
    let server = stage.serve_with(settings, Router::new().route("/", post(create))).await;
    let call = |version: &str| server.post("/").key("k").header("accept", "a/b").header("x-api-version", version);
    call("1").send().await.is_run(1);
    call("2").send().await.is_problem(422, "key-reused");
    call("1").header("accept", "c/d").send().await.is_problem(422, "key-reused");
    server.post("/").key("k").header("accept", "a/b").send().await.is_problem(422, "key-reused");
    call("1").send().await.is_replay_of_run(1);
}

async fn named_headers_are_compared_by_what_they_mean(stage: Stage) {
    let named = ["cookie", "content-type", "content-encoding", "if-match"];
    let settings = stage.settings().fingerprint_headers(named);
    let server = stage.serve_with(settings, Router::new().route("/", post(create))).await;
    let of = |lines: &[(&'static str, &str)]| {
        lines.iter().fold(server.post("/").key("k").body("{}"), |call, (name, value)| call.header(name, value))
    };
    let [cookie, kind, coding] =
        [("cookie", "a=1; b=2"), ("content-type", "application/json"), ("content-encoding", "gzip")];
    of(&[cookie, kind, coding]).send().await.is_run(1);
    for same in [
        [("cookie", "b=2; a=1"), kind, coding],
        [("cookie", "a=1;b=2;"), kind, coding],
        [cookie, ("content-type", "Application/JSON; charset=utf-8"), coding],
        [cookie, kind, ("content-encoding", "GZIP")],
    ] {
        of(&same).send().await.is_replay_of_run(1);
    }
    of(&[("cookie", "a=1"), ("cookie", "b=2"), kind, coding]).send().await.is_replay_of_run(1);
    for other in [
        [("cookie", "a=1; b=3"), kind, coding],
        [("cookie", "a=1"), kind, coding],
        [cookie, ("content-type", "text/plain"), coding],
        [cookie, kind, ("content-encoding", "br")],
        [cookie, kind, ("if-match", "1")],
    ] {
        of(&other).send().await.is_problem(422, "key-reused");
    }
}

async fn headers_that_say_nothing_of_the_request_do_not_count(stage: Stage) {
    let server = stage.serve(Router::new().route("/", post(create))).await;
    server.post("/").key("k").body("x").send().await.is_run(1);
    for (name, value) in [
        ("user-agent", "another/1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-request-id", "2"),
        ("x-forwarded-for", "10.0.0.1"),
        ("accept", "text/plain"),
        ("date", "Tue, 15 Nov 1994 08:12:31 GMT"),
    ] {
        server.post("/").key("k").body("x").header(name, value).send().await.is_replay_of_run(1);
    }
}

async fn another_method_or_route_is_another_key(stage: Stage) {
    let server = stage.serve(Router::new().route("/a", any(create)).route("/b", any(create))).await;
    for (index, (method, path)) in
        [(Method::POST, "/a"), (Method::PUT, "/a"), (Method::POST, "/b")].into_iter().enumerate()
    {
        let call = server.call(method, path).key("k").body("same");
        call.send().await.is_run(index + 1);
        call.send().await.is_replay_of_run(index + 1);
    }
    let reused = server.post("/a").key("k").body("another").send().await;
    reused.is_problem(422, "key-reused");
    let detail = reused.detail();
    assert!(!detail.contains("method"), "another method is another key: {detail}");
}
